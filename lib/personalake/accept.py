"""The third step of a paid stage: what becomes of each request's completion, as rows that say so.

Every request comes out as one or more outcome rows, so that the two identities of a stage can be counted from them:
``requests = answered + rejected + deferred`` and ``items = accepted + duplicates + item rejects``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.schemas import Table, arrow_fields

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ACCEPTED, ITEM_REJECT, NONE_FOUND, REJECTED, DEFERRED = "accepted", "item_reject", "none_found", "rejected", "deferred"

_ABOUT = (
    "request_key", "origin_id", "sample", "prompt_id", "body", "request_id", "prompt_tokens", "completion_tokens",
    "reasoning_tokens", "cached_tokens", "cost_microusd",
)  # fmt: skip
_ABOUT_DDL = (
    "request_key string, origin_id string, sample int, prompt_id string, body string, request_id string, "
    "prompt_tokens long, completion_tokens long, reasoning_tokens long, cached_tokens long, cost_microusd long"
)
_ABOUT_FIELDS = [
    ("request_key", pa.string()), ("origin_id", pa.string()), ("sample", pa.int32()), ("prompt_id", pa.string()),
    ("body", pa.string()), ("request_id", pa.string()), ("prompt_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("reasoning_tokens", pa.int64()), ("cached_tokens", pa.int64()), ("cost_microusd", pa.int64()),
]  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """Why an item, or a whole reply, isn't taken."""

    reason: str
    detail: str | None = None
    raw: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a reply brought: a refusal of the whole, or items and refusals of items by their place in it."""

    refused: Refusal | None = None
    items: list[tuple[int, dict[str, Any] | Refusal]] = field(default_factory=list)


Read = Callable[[Mapping[str, Any]], Reading]
"""Reads one answered row (request, completion and the stage's own columns) into a :class:`Reading`."""


def outcomes(answers: DataFrame, read: Read, table: Table) -> DataFrame:
    """Turn *answers* (requests beside their completions, and what *read* needs) into outcome rows.

    An accepted row carries `item`, the columns of *table* but `seq`; a refused one its reason. The first row of each
    request carries its usage, and what was paid for it in vain, so that sums over outcome rows count each once.
    """
    arrow = arrow_schema(table)
    ddl = ", ".join(f"{c.name}: {c.type}" for c in table.columns if c.name != "seq")

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from judge(batches, read, arrow)

    return answers.mapInArrow(
        body,
        "kind string, reason string, detail string, raw string, ordinal int, first boolean, wasted_microusd long, "
        f"{_ABOUT_DDL}, item struct<{ddl}>",
    )


def arrow_schema(table: Table) -> pa.DataType:
    """The Arrow type of a row of *table* but its `seq`."""
    return pa.struct(arrow_fields(column for column in table.columns if column.name != "seq"))


def judge(batches: Iterable[pa.RecordBatch], read: Read, item: pa.DataType) -> Iterator[pa.RecordBatch]:
    """The Arrow kernel of :func:`outcomes`: a batch of answers in, a batch of outcome rows out."""
    schema = pa.schema(
        [
            ("kind", pa.string()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("raw", pa.string()),
            ("ordinal", pa.int32()),
            ("first", pa.bool_()),
            ("wasted_microusd", pa.int64()),
            *_ABOUT_FIELDS,
            ("item", item),
        ]
    )
    for batch in batches:
        rows = [outcome for answer in batch.to_pylist() for outcome in _judge_one(answer, read)]
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _judge_one(answer: dict[str, Any], read: Read) -> list[dict[str, Any]]:
    about = {name: answer[name] for name in _ABOUT}
    if answer["answered_at"] is None:
        return [{**about, "kind": DEFERRED, "ordinal": 0, "first": True}]
    about["body"] = None  # Only a request that has to wait is needed again.
    if answer["error"] is not None:
        reading = Reading(Refusal(answer["error"], answer["error_detail"], answer["reply"]))
    else:
        reading = read(answer)
    rows = [{"kind": kind, "ordinal": ordinal, **told} for kind, ordinal, told in _found(reading)]
    # Usage stands on the first row alone, so that sums count it once.
    alike = {name: about[name] for name in ("request_key", "origin_id", "sample", "prompt_id")}
    paid_for_nothing = 0 if any(row["kind"] == ACCEPTED for row in rows) else answer["cost_microusd"]
    first = {**about, **rows[0], "first": True, "wasted_microusd": paid_for_nothing}
    return [first, *({**alike, **row, "first": False} for row in rows[1:])]


def _found(reading: Reading) -> Iterator[tuple[str, int, dict[str, Any]]]:
    if reading.refused is not None:
        yield REJECTED, 0, _told(reading.refused)
    elif not reading.items:
        yield NONE_FOUND, 0, {}
    for ordinal, item in reading.items:
        if isinstance(item, Refusal):
            yield ITEM_REJECT, ordinal, _told(item)
        else:
            yield ACCEPTED, ordinal, {"item": item}


def _told(refusal: Refusal) -> dict[str, str | None]:
    return {"reason": refusal.reason, "detail": refusal.detail, "raw": refusal.raw}


def content_id(*parts: str | int) -> str:
    """The 64-hex id of *parts*: sha256 over them with a separator that none of them holds."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")).hexdigest()
