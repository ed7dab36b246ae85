"""Embeddings through the engine: a request a text, of which many go out as one and come back as one each.

So the same text is never paid twice, whichever others it is asked with, and one that is refused costs the others
nothing. A reply is a vector as base64 of little-endian 32-bit floats, as the endpoint sends it.

Source: https://platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from personalake.llm.models import Question, canonical, estimate_tokens
from personalake.llm.outcome import Kind, Outcome, Usage, of_response, usage_of
from personalake.llm.requests import REQUESTS, REQUESTS_DDL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from personalake.llm.models import Price

PATH: Final = "/embeddings"

_REASONS = {"not_a_chat_endpoint": "not_an_embeddings_endpoint", "unknown_model": "unknown_embedding_model"}
"""What is mended by other settings than where a text is asked for."""


def embedding_requests(texts: DataFrame, question: Question) -> DataFrame:
    """One request a text: (id, text) in, the engine's request columns out."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = zip(*(batch.column(name).to_pylist() for name in ("id", "text")), strict=True)
            asked = [embedding_request(id_, text, question) for id_, text in rows]
            yield pa.RecordBatch.from_pylist(asked, schema=REQUESTS)

    return texts.select("id", "text").mapInArrow(body, REQUESTS_DDL)


def embedding_request(id_: str, text: str, question: Question) -> dict[str, Any]:
    """One row of `requests.REQUESTS`: the vector of *text* asked on behalf of *id_*."""
    role = question.role
    body = {"model": role.model, "input": text, "encoding_format": "base64"}
    body = {**body, **question.abilities.extra_body, **question.extra_body, **role.extra_body}
    written = canonical(body).decode("utf-8", "surrogatepass")
    return {
        "request_key": question.key(body, 0),
        "origin_id": id_,
        "sample": 0,
        "prompt_id": "",
        "body": written,
        "est_tokens": estimate_tokens(text),
        "worst_microusd": question.worst_microusd(written),
    }


def packed(bodies: Sequence[str]) -> str:
    """The body that asks for what each of *bodies* asks, which differ in their input alone."""
    first, *others = map(json.loads, bodies)
    texts = [first["input"], *(other["input"] for other in others)]
    return canonical({**first, "input": texts}).decode("utf-8", "surrogatepass")


def of_embeddings(status: int, headers: dict[str, str], content: bytes, price: Price | None) -> Outcome:
    """Read one HTTP response; the reply has a line of base64 for each input, in their order."""
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    data = body.get("data") if isinstance(body, dict) else None
    if not 200 <= status <= 299 or not isinstance(data, list) or not data:  # noqa: PLR2004 (HTTP's successes)
        outcome = of_response(status, headers, content, price)
        return replace(outcome, reason=_REASONS.get(outcome.reason, outcome.reason))
    usage = usage_of(body.get("usage"), price)
    told = Outcome(Kind.ANSWERED, usage=usage, model=_text(body.get("model")), request_id=headers.get("x-request-id"))
    lines = _lines(data)
    if lines is None:
        broken = "not a vector for each input"
        return replace(told, kind=Kind.RETRY, reason="unusable_reply", detail=broken, unknown=not usage.prompt)
    return replace(told, reply="\n".join(lines))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _lines(data: list[Any]) -> list[str] | None:
    """Each vector as base64, in the order of the inputs; null where one is missing or no vector."""
    lines: dict[int, str] = {}
    for place, one in enumerate(data):
        value = one.get("embedding") if isinstance(one, dict) else None
        if isinstance(value, list):
            # Some servers know no encoding but this.
            try:
                value = base64.b64encode(np.asarray(value, dtype="<f4").tobytes()).decode("ascii")
            except (ValueError, TypeError):
                return None
        index = one.get("index", place) if isinstance(one, dict) else place
        if not isinstance(value, str) or not isinstance(index, int):
            return None
        lines[index] = value
    return [lines[index] for index in range(len(data))] if lines.keys() == set(range(len(data))) else None


def whole(outcome: Outcome, inputs: int) -> Outcome:
    """*outcome*, unusable where it answers but has another number of vectors than *inputs*."""
    found = (outcome.reply or "").count("\n") + 1
    if outcome.kind is not Kind.ANSWERED or found == inputs:
        return outcome
    return replace(outcome, kind=Kind.RETRY, reason="unusable_reply", detail=f"{found} vectors of {inputs}", reply=None)


def one_each(outcome: Outcome, weights: Sequence[int]) -> list[Outcome]:
    """What an answer to several inputs, which is `whole`, is to each; its usage is shared by their *weights*."""
    each = zip((outcome.reply or "").split("\n"), shared(outcome.usage, weights), strict=True)
    return [replace(outcome, reply=line, usage=own) for line, own in each]


def shared(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """*usage* in whole parts by *weights*; together they are the whole."""
    ends = np.cumsum(np.maximum(np.asarray(weights, dtype=np.int64), 1))
    total = int(ends[-1])

    def parts(value: int) -> list[int]:
        return [high - low for low, high in pairwise([0, *(value * int(end) // total for end in ends)])]

    counts = (usage.prompt, usage.completion, usage.reasoning, usage.cached, usage.microusd)
    return [Usage(*each) for each in zip(*map(parts, counts), strict=True)]
