"""The SDK's leanest public path and nothing else, to compare with: `client.post` of a body that is JSON already.

`python -m tests.bench.bare_client URL REQUESTS IN_FLIGHT` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient

PROMPT = "a word or two " * 107


async def _main(url: str, count: int, in_flight: int) -> dict[str, float]:
    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, http_client=DefaultAioHttpClient(timeout=600, limits=limits)
    ) as client:
        message = [{"role": "user", "content": PROMPT}]
        body = json.dumps({"model": "offline-canned", "messages": message, "max_tokens": 600}).encode()
        options: Any = {"headers": {"Content-Type": "application/json"}}
        replies: list[str] = []

        async def send() -> None:
            got = await client.post("/chat/completions", cast_to=httpx2.Response, content=body, options=options)
            replies.append(json.loads(got.content)["choices"][0]["message"]["content"])

        async def work(numbers: list[int]) -> None:
            while numbers:
                numbers.pop()
                await send()

        await send()
        began, cpu = time.monotonic(), _cpu_s()
        left = list(range(count))
        await asyncio.gather(*(work(left) for _ in range(in_flight)))
        seconds = time.monotonic() - began
        return {"seconds": seconds, "per_s": count / seconds, "cpu_ms": 1000 * (_cpu_s() - cpu) / count}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))  # noqa: T201 (what the caller reads)
