"""A paying task: requests in, a journal out. The same plain function runs in Spark's tasks and in the driver."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from personalake.errors import SettingsError
from personalake.llm.client import Client, Endpoint
from personalake.llm.journal import Journal, record
from personalake.llm.limits import Limiter
from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, Usage
from personalake.work import Folder

STOP_FILE = "stop"
"""A file of this name in a wave's folder asks its tasks to send nothing more, save what comes and end."""

_BACKOFF_S, _BACKOFF_MOST_S = 0.5, 60.0
_DOWN_AFTER = 12
"""Sends that fail to connect in a row, with no reply between them, after which an endpoint counts as down."""

TALLY = pa.schema(
    [
        pa.field("done", pa.int64()),
        pa.field("deferred", pa.int64()),
        pa.field("sent", pa.int64()),
        pa.field("rate_limited", pa.int64()),
        pa.field("failed_sends", pa.int64()),
        pa.field("busy_ms", pa.int64()),
        pa.field("most_in_flight", pa.int64()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""What a task returns: one row of counts, and why it stopped early, if it did."""
TALLY_DDL = (
    "done long, deferred long, sent long, rate_limited long, failed_sends long, busy_ms long, most_in_flight long, "
    "outcome string, reason string, detail string"
)


class Plan(BaseModel):
    """What every task of a wave needs to know. It holds no key and no row."""

    model_config = ConfigDict(frozen=True)

    wave: str
    part: str | None = None
    stage: str
    label: str
    endpoint: Endpoint
    endpoint_name: str
    path: str = "/chat/completions"
    price: Price | None
    in_flight: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_attempts: int
    flush_s: float
    flush_rows: int


@dataclass
class _Tally:
    done: int = 0
    deferred: int = 0
    sent: int = 0
    rate_limited: int = 0
    failed_sends: int = 0
    busy_ms: int = 0
    most_in_flight: int = 0
    outcome: str | None = None
    reason: str | None = None
    detail: str | None = None
    failures_in_a_row: int = field(default=0, repr=False)

    def row(self) -> pa.RecordBatch:
        values = {name: [getattr(self, name)] for name in TALLY.names}
        return pa.RecordBatch.from_pydict(values, schema=TALLY)


def run_part(batches: Iterable[pa.RecordBatch], plan: Plan, part: str, attempt: str) -> Iterator[pa.RecordBatch]:
    """Answer the requests in *batches* (request_key, body, est_tokens), journal them, yield one row of :data:`TALLY`.

    Keys that an earlier attempt at this part has journaled are passed over. Nothing is raised for what an endpoint
    does: a Spark task that fails would be run again by Spark, which knows nothing of money.
    """
    yield asyncio.run(_Part(plan, Journal(Folder(plan.wave), part, attempt)).run(_rows(batches))).row()


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str, int]]:
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("request_key", "body", "est_tokens"))
        yield from zip(*columns, strict=True)


class _Part:
    """One attempt at one part: a sliding window of sends over an iterator of requests."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan, self._journal, self._tally = plan, journal, _Tally()
        self._wave = Folder(plan.wave)
        self._stopping = asyncio.Event()
        self._limiter = Limiter(
            in_flight=plan.in_flight,
            requests_per_minute=plan.requests_per_minute,
            tokens_per_minute=plan.tokens_per_minute,
            clock=time.monotonic,
        )

    async def run(self, requests: Iterator[tuple[str, str, int]]) -> _Tally:
        """Send everything that isn't journaled yet; returns the counts once every reply is on disk."""
        started = time.monotonic()
        answered = self._journal.answered()
        todo = (request for request in requests if request[0] not in answered)
        try:
            opened = Client(self._plan.endpoint, self._plan.price)
        except SettingsError as error:
            # The key is looked for here, on the machine that calls; the driver may have it and this one not.
            self._end(Outcome(Kind.STOP, "no_key", str(error)))
            self._tally.deferred += sum(1 for _ in todo)
            return self._tally
        async with opened as client:
            ticker = asyncio.create_task(self._tick())
            workers = asyncio.gather(*(self._work(client, todo) for _ in range(self._plan.in_flight)))
            try:
                # Whichever ends first: a journal that can't be written must end the sending at once.
                ended, _ = await asyncio.wait((workers, ticker), return_when=asyncio.FIRST_COMPLETED)
                for finished in ended:
                    finished.result()
            finally:
                ticker.cancel()
                workers.cancel()
                self._journal.flush()
        self._tally.deferred += sum(1 for _ in todo)
        self._tally.busy_ms = round((time.monotonic() - started) * 1000)
        return self._tally

    async def _work(self, client: Client, todo: Iterator[tuple[str, str, int]]) -> None:
        while not self._stopping.is_set():
            request = next(todo, None)
            if request is None:
                return
            await self._answer(client, *request)
            if self._journal.unflushed >= self._plan.flush_rows:
                await asyncio.to_thread(self._journal.flush)

    async def _answer(self, client: Client, key: str, body: str, est_tokens: int) -> None:
        """One request to its end: answered, refused, put off; or the end of the run."""
        paid, seconds = Usage(), 0.0
        for attempt in range(1, self._plan.max_attempts + 1):
            outcome, seconds = await self._send(client, key, body, est_tokens)
            paid = paid.plus(outcome.usage)
            if outcome.kind in (Kind.ANSWERED, Kind.REJECT):
                whole = _with_usage(outcome, paid)
                plan = self._plan
                self._journal.add(record(key, plan.stage, plan.label, plan.endpoint_name, whole, attempt, seconds))
                self._tally.done += 1
                return
            if outcome.kind in (Kind.STOP, Kind.DEFER):
                self._end(outcome)
                break
            if self._down(outcome) or self._stopping.is_set():
                break
            if attempt < self._plan.max_attempts:
                await self._pause(outcome, attempt)
        else:
            self._note(outcome)
        self._tally.deferred += 1

    async def _send(self, client: Client, key: str, body: str, est_tokens: int) -> tuple[Outcome, float]:
        await self._limiter.acquire(est_tokens)
        self._tally.most_in_flight = max(self._tally.most_in_flight, self._limiter.in_flight)
        self._tally.sent += 1
        used = est_tokens
        try:
            outcome, seconds = await client.send(self._plan.path, body, key)
            used = outcome.usage.prompt + outcome.usage.completion
        finally:
            self._limiter.release(reserved=est_tokens, used=used)
        if outcome.kind is Kind.ANSWERED:
            self._limiter.succeeded()
        if outcome.kind in (Kind.ANSWERED, Kind.REJECT):
            self._tally.failures_in_a_row = 0
        else:
            self._tally.failed_sends += 1
        if outcome.rate_limited:
            self._tally.rate_limited += 1
            self._limiter.pushed_back(outcome.retry_after_s)
        return outcome, seconds

    async def _pause(self, outcome: Outcome, attempt: int) -> None:
        """Exponential backoff with full jitter, and never less than the endpoint asked for.

        The jitter is the one real randomness here: it decides when something is sent, never what a row holds.
        """
        jitter = random.uniform(0, min(_BACKOFF_MOST_S, _BACKOFF_S * 2**attempt))
        pause = max(jitter, outcome.retry_after_s or 0.0)
        try:
            await asyncio.wait_for(self._stopping.wait(), timeout=pause)
        except asyncio.TimeoutError:
            return

    def _down(self, outcome: Outcome) -> bool:
        """Whether the endpoint counts as down: nothing but failures to reach it, many in a row."""
        if outcome.reason != "connection":
            return False
        self._tally.failures_in_a_row += 1
        if self._tally.failures_in_a_row >= _DOWN_AFTER:
            self._end(Outcome(Kind.DEFER, "endpoint_down", outcome.detail))
            return True
        return False

    def _note(self, outcome: Outcome) -> None:
        if self._tally.outcome is None:
            self._tally.reason, self._tally.detail = outcome.reason, outcome.detail

    def _end(self, outcome: Outcome) -> None:
        if self._tally.outcome is None or outcome.kind is Kind.STOP:
            self._tally.outcome = outcome.kind.value
            self._tally.reason, self._tally.detail = outcome.reason, outcome.detail
        self._stopping.set()

    async def _tick(self) -> None:
        """Every `flush_s`: save what came, and see whether the driver wants the wave to end."""
        while True:
            await asyncio.sleep(self._plan.flush_s)
            await asyncio.to_thread(self._journal.flush)
            if await asyncio.to_thread((self._wave / STOP_FILE).exists):
                self._end(Outcome(Kind.DEFER, "interrupted", "stopped by the user"))


def _with_usage(outcome: Outcome, usage: Usage) -> Outcome:
    return Outcome(**{**outcome.__dict__, "usage": usage})


def task(plan: Plan) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that Spark's `mapInArrow` runs over each partition of a wave."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 (only there where Spark runs us)

        context: Any = TaskContext.get()
        part = plan.part or f"{context.partitionId():05d}"
        yield from run_part(batches, plan, part, str(context.taskAttemptId()))

    return body
