"""A paying task: requests in, a journal out. The same plain function runs in Spark's tasks and in the driver."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from personalake.errors import SettingsError
from personalake.llm.client import Client, Endpoint
from personalake.llm.journal import Journal, record
from personalake.llm.limits import Limiter
from personalake.llm.models import Price, Question
from personalake.llm.outcome import Kind, Outcome, Usage
from personalake.settings import LlmSettings
from personalake.work import Folder

STOP_FILE = "stop"
"""A file of this name in a wave's folder asks its tasks to send nothing more, save what comes and end."""

_BACKOFF_S, _BACKOFF_MOST_S = 0.5, 60.0
_DOWN_AFTER = 12
"""Sends that fail to connect in a row, with no reply between them, after which an endpoint counts as down."""

TALLY = pa.schema(
    [
        pa.field("stage", pa.string()),
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
"""What a task returns: a row of counts for each stage that it asked for, and why it stopped early, if it did."""
TALLY_DDL = (
    "stage string, done long, deferred long, sent long, rate_limited long, failed_sends long, busy_ms long, "
    "most_in_flight long, outcome string, reason string, detail string"
)


class Asked(BaseModel):
    """Whom a stage asks: the user's name for the deployment, and its price."""

    model_config = ConfigDict(frozen=True)

    label: str
    price: Price | None


class Plan(BaseModel):
    """What every task of a wave needs to know. It holds no key and no row."""

    model_config = ConfigDict(frozen=True)

    wave: str
    part: str | None = None
    stages: dict[str, Asked]
    endpoint: Endpoint
    endpoint_name: str
    path: str = "/chat/completions"
    in_flight: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_attempts: int
    flush_s: float
    flush_rows: int

    @classmethod
    def of(
        cls, settings: LlmSettings, endpoint: Endpoint, wave: Folder, questions: Mapping[str, Question], tasks: int
    ) -> Plan:
        """The plan of each of *tasks* tasks that ask *questions* (by stage), each with its share of the limits."""
        share = 1.0 / tasks
        return cls(
            wave=wave.address,
            stages={name: Asked(label=q.label, price=q.abilities.price) for name, q in questions.items()},
            endpoint=endpoint,
            endpoint_name=settings.base_url,
            in_flight=max(1, settings.in_flight // tasks),
            requests_per_minute=settings.requests_per_minute and settings.requests_per_minute * share,
            tokens_per_minute=settings.tokens_per_minute and settings.tokens_per_minute * share,
            max_attempts=settings.max_attempts,
            flush_s=settings.flush_s,
            flush_rows=settings.flush_rows,
        )


class _Request(NamedTuple):
    request_key: str
    stage: str
    body: str
    est_tokens: int


@dataclass
class _Tally:
    stage: str
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


def run_part(batches: Iterable[pa.RecordBatch], plan: Plan, part: str, attempt: str) -> Iterator[pa.RecordBatch]:
    """Answer the requests in *batches* (request_key, stage, body, est_tokens), journal them, yield :data:`TALLY`.

    Keys that an earlier attempt at this part has journaled are passed over. Nothing is raised for what an endpoint
    does: a Spark task that fails would be run again by Spark, which knows nothing of money.
    """
    tallies = answer(batches, plan, Journal(Folder(plan.wave), part, attempt))
    yield pa.RecordBatch.from_pylist(tallies, schema=TALLY)


def answer(batches: Iterable[pa.RecordBatch], plan: Plan, journal: Journal) -> list[dict[str, Any]]:
    """Answer the requests in *batches* into *journal*; returns the rows of :data:`TALLY`."""
    return [asdict(tally) for tally in asyncio.run(_Part(plan, journal).run(_rows(batches)))]


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[_Request]:
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in _Request._fields)
        yield from map(_Request._make, zip(*columns, strict=True))


class _Part:
    """One attempt at one part: a sliding window of sends over an iterator of requests."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan, self._journal = plan, journal
        self._tallies: dict[str, _Tally] = {}
        self._failures_in_a_row = self._most_in_flight = 0
        self._wave = Folder(plan.wave)
        self._stopping = asyncio.Event()
        self._limiter = Limiter(
            in_flight=plan.in_flight,
            requests_per_minute=plan.requests_per_minute,
            tokens_per_minute=plan.tokens_per_minute,
            clock=time.monotonic,
        )

    def _tally(self, stage: str) -> _Tally:
        return self._tallies.setdefault(stage, _Tally(stage))

    async def run(self, requests: Iterator[_Request]) -> list[_Tally]:
        """Send everything that isn't journaled yet; returns the counts once every reply is on disk."""
        started = time.monotonic()
        answered = self._journal.answered()
        todo = (request for request in requests if request.request_key not in answered)
        try:
            opened = Client(self._plan.endpoint)
        except SettingsError as error:
            # The key is looked for here, on the machine that calls; the driver may have it and this one not.
            return self._ended(todo, started, Outcome(Kind.STOP, "no_key", str(error)))
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
        return self._ended(todo, started)

    def _ended(self, rest: Iterator[_Request], started: float, why: Outcome | None = None) -> list[_Tally]:
        """The counts, with *rest*, which was not sent, put off."""
        for request in rest:
            self._tally(request.stage).deferred += 1
        for tally in self._tallies.values():
            if why is not None:
                tally.outcome, tally.reason, tally.detail = why.kind.value, why.reason, why.detail
            tally.most_in_flight = self._most_in_flight
            tally.busy_ms = round((time.monotonic() - started) * 1000)
        return list(self._tallies.values())

    async def _work(self, client: Client, todo: Iterator[_Request]) -> None:
        while not self._stopping.is_set():
            request = next(todo, None)
            if request is None:
                return
            await self._answer(client, request)
            if self._journal.unflushed >= self._plan.flush_rows:
                await asyncio.to_thread(self._journal.flush)

    async def _answer(self, client: Client, request: _Request) -> None:
        """One request to its end: answered, refused, put off; or the end of the run."""
        paid, seconds, tally, plan = Usage(), 0.0, self._tally(request.stage), self._plan
        for attempt in range(1, plan.max_attempts + 1):
            outcome, seconds = await self._send(client, request, tally)
            paid = paid.plus(outcome.usage)
            if outcome.kind in (Kind.ANSWERED, Kind.REJECT):
                whole, label = _with_usage(outcome, paid), plan.stages[request.stage].label
                row = record(request.request_key, request.stage, label, plan.endpoint_name, whole, attempt, seconds)
                self._journal.add(row)
                tally.done += 1
                return
            if outcome.kind in (Kind.STOP, Kind.DEFER):
                self._end(outcome, tally)
                break
            if self._down(outcome, tally) or self._stopping.is_set():
                break
            if attempt < plan.max_attempts:
                await self._pause(outcome, attempt)
        else:
            if tally.outcome is None:
                tally.reason, tally.detail = outcome.reason, outcome.detail
        tally.deferred += 1

    async def _send(self, client: Client, request: _Request, tally: _Tally) -> tuple[Outcome, float]:
        await self._limiter.acquire(request.est_tokens)
        self._most_in_flight = max(self._most_in_flight, self._limiter.in_flight)
        tally.sent += 1
        used = request.est_tokens
        try:
            price = self._plan.stages[request.stage].price
            outcome, seconds = await client.send(self._plan.path, request.body, request.request_key, price)
            used = outcome.usage.prompt + outcome.usage.completion
        finally:
            self._limiter.release(reserved=request.est_tokens, used=used)
        if outcome.kind is Kind.ANSWERED:
            self._limiter.succeeded()
        if outcome.kind in (Kind.ANSWERED, Kind.REJECT):
            self._failures_in_a_row = 0
        else:
            tally.failed_sends += 1
        if outcome.rate_limited:
            tally.rate_limited += 1
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

    def _down(self, outcome: Outcome, tally: _Tally) -> bool:
        """Whether the endpoint counts as down: nothing but failures to reach it, many in a row."""
        if outcome.reason != "connection":
            return False
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= _DOWN_AFTER:
            self._end(Outcome(Kind.DEFER, "endpoint_down", outcome.detail), tally)
            return True
        return False

    def _end(self, outcome: Outcome, *tallies: _Tally) -> None:
        """Send nothing more, and say why to the stages of *tallies*."""
        for tally in tallies:
            if tally.outcome is None or outcome.kind is Kind.STOP:
                tally.outcome, tally.reason, tally.detail = outcome.kind.value, outcome.reason, outcome.detail
        self._stopping.set()

    async def _tick(self) -> None:
        """Every `flush_s`: save what came, and see whether the driver wants the wave to end."""
        while True:
            await asyncio.sleep(self._plan.flush_s)
            await asyncio.to_thread(self._journal.flush)
            if await asyncio.to_thread((self._wave / STOP_FILE).exists):
                self._end(Outcome(Kind.DEFER, "interrupted", "stopped by the user"), *self._tallies.values())


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
