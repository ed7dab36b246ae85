"""A paying task: requests in, a journal out. The same plain function runs in Spark's tasks and in the driver."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from personalake.llm.journal import Journal
from personalake.llm.wave_plan import TALLY, Plan, requests_of
from personalake.work import Folder


def run_part(batches: Iterable[pa.RecordBatch], plan: Plan, part: str, attempt: str) -> Iterator[pa.RecordBatch]:
    """Answer the requests in *batches* (request_key, stage, body, est_tokens), journal them, yield :data:`TALLY`.

    Keys that an earlier attempt at this part has journaled are passed over. Nothing is raised for what an endpoint
    does: a Spark task that fails would be run again by Spark, which knows nothing of money.
    """
    tallies = answer(batches, plan, Journal(Folder(plan.wave), part, attempt))
    yield pa.RecordBatch.from_pylist(tallies, schema=TALLY)


def answer(batches: Iterable[pa.RecordBatch], plan: Plan, journal: Journal) -> list[dict[str, Any]]:
    """Answer the requests in *batches* into *journal*; returns the rows of :data:`TALLY`."""
    from personalake.llm.part import Part  # noqa: PLC0415 (asyncio's half; needed where something is sent)

    with _rarely_collecting():
        return [asdict(tally) for tally in asyncio.run(Part(plan, journal).run(requests_of(batches)))]


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Let Python look for garbage in cycles once for many requests instead of once for each few.

    Hundreds in flight are tens of thousands of live objects, which each look passes over again: a fifth of the CPU.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def task(plan: Plan) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that Spark's `mapInArrow` runs over each partition of a wave."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 (only there where Spark runs us)

        context: Any = TaskContext.get()
        part = plan.part or f"{context.partitionId():05d}"
        yield from run_part(batches, plan, part, str(context.taskAttemptId()))

    return body
