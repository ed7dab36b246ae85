"""The third step of a paid stage: what becomes of each request's completion, as rows that say so.

Every request comes out as one or more outcome rows, so that the two identities of a stage can be counted from them:
``requests = answered + rejected + deferred`` and ``items = accepted + duplicates + item rejects``.
"""

from __future__ import annotations

import functools
import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.schemas import Table, arrow_fields

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ACCEPTED, ITEM_REJECT, NONE_FOUND, REJECTED, DEFERRED = "accepted", "item_reject", "none_found", "rejected", "deferred"

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
_UNREAD = (
    "body", "request_id", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "cost_microusd",
    "answered_at",
)  # fmt: skip
"""What no stage reads of an answer."""


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


Read = Callable[[Sequence[Mapping[str, Any]]], Iterable[Reading]]
"""Reads answered rows (request, completion and the stage's own columns), each into a :class:`Reading`."""


def row_by_row(read: Callable[[Mapping[str, Any]], Reading]) -> Read:
    """What reads rows one by one, as :data:`Read`."""
    return functools.partial(map, read)


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
    """The Arrow kernel of :func:`outcomes`: a batch of answers in, a batch of outcome rows out.

    *read* makes rows of replies, and everything else goes by columns: what a request says of itself is never made into
    Python's objects, nor a row into a dict, which would take longer than the reading.
    """
    for batch in batches:
        with _uncollected():
            rows = _Judged(batch, read).batch(item)
        yield rows


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: there are none, and it goes through a batch's rows again and again.

    That is a sixth of the time.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


class _Judged:
    """The outcome rows of a batch, column by column; `places` has the answer that each comes from."""

    def __init__(self, batch: pa.RecordBatch, read: Read) -> None:
        self._answers, self._places = batch, list[int]()
        self._kinds, self._ordinals, self._firsts = list[str](), list[int](), list[bool]()
        self._told = list[Refusal | None]()
        self._wasted, self._items = list[int | None](), list[Mapping[str, Any] | None]()
        waiting = batch.column("answered_at").is_null().to_pylist()
        costs = batch.column("cost_microusd").to_pylist()
        rows = batch.drop_columns([*_UNREAD]).to_pylist()
        whole = [not waits and row["error"] is None for row, waits in zip(rows, waiting, strict=True)]
        readings = iter(read([row for row, is_whole in zip(rows, whole, strict=True) if is_whole]))
        for place, (row, waits, is_whole, cost) in enumerate(zip(rows, waiting, whole, costs, strict=True)):
            if waits:
                self._add(place, DEFERRED, 0)
                continue
            begun = len(self._kinds)
            broken = None if is_whole else Refusal(row["error"], row["error_detail"], row["reply"])
            self._judge(place, next(readings) if broken is None else Reading(broken))
            self._wasted[begun] = 0 if ACCEPTED in self._kinds[begun:] else cost

    def _judge(self, place: int, reading: Reading) -> None:
        if reading.refused is not None:
            self._add(place, REJECTED, 0, reading.refused)
        elif not reading.items:
            self._add(place, NONE_FOUND, 0)
        for ordinal, found in reading.items:
            if isinstance(found, Refusal):
                self._add(place, ITEM_REJECT, ordinal, found)
            else:
                self._add(place, ACCEPTED, ordinal, item=found)

    def _add(
        self, place: int, kind: str, ordinal: int, told: Refusal | None = None, item: Mapping[str, Any] | None = None
    ) -> None:
        # Usage stands on the first row of each answer alone, so that sums count it once.
        self._firsts.append(not self._places or self._places[-1] != place)
        self._places.append(place)
        self._kinds.append(kind)
        self._ordinals.append(ordinal)
        self._told.append(told)
        self._wasted.append(None)
        self._items.append(item)

    def batch(self, item: pa.DataType) -> pa.RecordBatch:
        """The rows."""
        told = [(None, None, None) if each is None else (each.reason, each.detail, each.raw) for each in self._told]
        reasons, details, raws = zip(*told, strict=True) if told else ((), (), ())
        columns = {
            "kind": pa.array(self._kinds, pa.string()),
            "reason": pa.array(reasons, pa.string()),
            "detail": pa.array(details, pa.string()),
            "raw": pa.array(raws, pa.string()),
            "ordinal": pa.array(self._ordinals, pa.int32()),
            "first": pa.array(self._firsts, pa.bool_()),
            "wasted_microusd": pa.array(self._wasted, pa.int64()),
            **self._about(),
            "item": pa.array(self._items, item),
        }
        return pa.RecordBatch.from_pydict(columns)

    def _about(self) -> dict[str, pa.Array]:
        """What each row says of its request: who asked; on an answer's first, what it took; its text where it waits."""
        places = pa.array(self._places, pa.int64())
        first = pa.array([p if f else None for p, f in zip(self._places, self._firsts, strict=True)], pa.int64())
        # Only a request that has to wait is needed again.
        waits = [p if kind == DEFERRED else None for p, kind in zip(self._places, self._kinds, strict=True)]
        at = dict.fromkeys(("request_key", "origin_id", "sample", "prompt_id"), places)
        at["body"] = pa.array(waits, pa.int64())
        return {name: self._answers.column(name).take(at.get(name, first)).cast(type_) for name, type_ in _ABOUT_FIELDS}


def content_id(*parts: str | int) -> str:
    """The 64-hex id of *parts*: sha256 over them with a separator that none of them holds."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()
