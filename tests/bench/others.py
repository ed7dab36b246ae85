"""Other tools at the same endpoint, each in the Python that has it: `python others.py TOOL URL REQUESTS IN_FLIGHT`.

Each is told to keep as many requests in flight as the engine, in its own words, and not to limit, cache or repeat
anything. Prints one JSON object. This file imports nothing of ours: it runs in environments without this project.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable

MODEL, KEY, MAX_TOKENS = "offline-canned", "none", 600
PADDING = "a word or two " * 107


def _prompts(count: int) -> list[str]:
    return [f"{number} {PADDING}" for number in range(count)]


def curator(url: str, count: int, in_flight: int) -> int:
    """Bespoke Curator, its own OpenAI backend."""
    import tiktoken  # noqa: PLC0415 (only there where it is installed)
    from bespokelabs import curator as library  # noqa: PLC0415

    # Its estimate of tokens fetches a vocabulary from the net. One of bytes does as well here: no limit is set.
    tiktoken.get_encoding = lambda name: tiktoken.Encoding(
        name, pat_str=r"[\s\S]", mergeable_ranks={bytes([number]): number for number in range(256)}, special_tokens={}
    )

    class Asker(library.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, str]) -> str:
            return row["text"]

        def parse(self, row: dict[str, str], response: str) -> list[dict[str, str]]:
            return [{"reply": response}]

    most = 10_000_000
    asker = Asker(
        model_name=MODEL, backend="openai", generation_params={"max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": url, "api_key": KEY, "max_concurrent_requests": in_flight, "max_requests_per_minute": most,
            "max_tokens_per_minute": 1000 * most, "max_retries": 0, "require_all_responses": True,
        },
    )  # fmt: skip
    answered = asker([{"text": text} for text in _prompts(count)])
    return len(getattr(answered, "dataset", answered))


def litellm(url: str, count: int, in_flight: int) -> int:
    """LiteLLM's `acompletion` with a semaphore, as its documents show it."""
    import litellm as library  # noqa: PLC0415 (as above)

    library.suppress_debug_info = True

    async def ask_all() -> int:
        gate = asyncio.Semaphore(in_flight)

        async def ask(text: str) -> bool:
            async with gate:
                got = await library.acompletion(
                    model=f"openai/{MODEL}", api_base=url, api_key=KEY, max_tokens=MAX_TOKENS, num_retries=0,
                    messages=[{"role": "user", "content": text}],
                )  # fmt: skip
                return bool(got.choices[0].message.content)

        return sum(await asyncio.gather(*map(ask, _prompts(count))))

    return asyncio.run(ask_all())


def distilabel(url: str, count: int, in_flight: int) -> int:
    """Distilabel's `OpenAILLM` in a pipeline of one step; a batch is what it keeps in flight."""
    from distilabel.models import OpenAILLM  # noqa: PLC0415 (as above)
    from distilabel.pipeline import Pipeline  # noqa: PLC0415
    from distilabel.steps import LoadDataFromDicts  # noqa: PLC0415
    from distilabel.steps.tasks import TextGeneration  # noqa: PLC0415

    with Pipeline() as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": text} for text in _prompts(count)], batch_size=in_flight)
        model = OpenAILLM(
            model=MODEL, base_url=url, api_key=KEY, max_retries=0, generation_kwargs={"max_new_tokens": MAX_TOKENS}
        )
        rows >> TextGeneration(llm=model, input_batch_size=in_flight)
    return sum(bool(row["generation"]) for row in pipeline.run(use_cache=False)["default"]["train"])


def daft(url: str, count: int, in_flight: int) -> int:
    """Daft's `prompt` over a column; it takes no number of requests in flight, and keeps to its own."""
    import daft as library  # noqa: PLC0415 (as above)
    from daft.functions import prompt  # noqa: PLC0415

    os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"] = KEY, url
    frame = library.from_pydict({"text": _prompts(count)})
    asked = prompt(frame["text"], provider="openai", model=MODEL, use_chat_completions=True, max_tokens=MAX_TOKENS)
    return sum(bool(reply) for reply in frame.with_column("reply", asked).to_pydict()["reply"])


TOOLS: dict[str, Callable[[str, int, int], int]] = {
    "curator": curator, "litellm": litellm, "distilabel": distilabel, "daft": daft,
}  # fmt: skip


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _main(tool: str, url: str, count: int, in_flight: int) -> dict[str, float]:
    os.environ["HOME"] = tempfile.mkdtemp()  # Their caches: nothing of an earlier run is taken for an answer.
    TOOLS[tool](url, 2 * in_flight, in_flight)
    began, cpu = time.monotonic(), _cpu_s()
    answered = TOOLS[tool](url, count, in_flight)
    seconds = time.monotonic() - began
    return {"answered": answered, "seconds": seconds, "cpu_ms": 1000 * (_cpu_s() - cpu) / count}


if __name__ == "__main__":
    print("\n" + json.dumps(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201 (what the caller reads)
