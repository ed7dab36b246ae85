"""One attempt at one part of a wave: a sliding window of sends over an iterator of requests, on one event loop.

One coroutine decides what is sent next and waits for limits; each send is a task of its own. So a request that waits
to be tried again holds no place in flight, and a slow reply holds one only.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice

from personalake.errors import SettingsError
from personalake.llm.client import Sent
from personalake.llm.embeddings import PATH, one_each, packed, whole
from personalake.llm.journal import Journal, record
from personalake.llm.outcome import Kind, Outcome, Usage
from personalake.llm.routes import Route, Routes
from personalake.llm.structured import Checker
from personalake.llm.wave_plan import STOP_FILE, UNFLUSHED, Asked, Plan, Request, Tally
from personalake.work import Folder

_BACKOFF_MOST_S = 60.0
_MOST_LIMITED = 50
"""429s that one request may get while others are answered: an endpoint may mean this very request."""
_ALONE = 3
"""Refusals of a request after which it is given up where all that is left of its part is refused."""


@dataclass
class _Job:
    """A request on its way to an answer; or several that go out as one, as embeddings do."""

    requests: tuple[Request, ...]
    asked: Asked
    tally: Tally
    body: str
    tokens: float
    worst: int
    sends: int = 0
    failures: int = 0
    limited: int = 0
    refusals: int = 0
    refused_at: float = 0.0
    """When an endpoint first said of it what would be said of every row."""
    paid: Usage = Usage()  # noqa: RUF009 (frozen)
    first: tuple[Route, Outcome, float] | None = None
    """The reply that is being repaired: it was paid, and is kept if nothing better comes."""


class Part:
    """See the module's first lines."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan, self._journal = plan, journal
        self._wave = Folder(plan.wave)
        self._tallies: dict[str, Tally] = {}
        self._checkers = {
            stage: Checker(asked.response_schema) for stage, asked in plan.stages.items() if asked.response_schema
        }
        self._ratios = dict.fromkeys(plan.stages, 1.0)
        """By stage: tokens of a prompt as billed, to those that were estimated."""
        self._later: list[tuple[float, int, _Job]] = []
        self._soon: deque[_Job] = deque()
        self._sends: set[asyncio.Task[None]] = set()
        self._spent = self._reserved = self._number = self._most_in_flight = 0
        self._changed, self._full = asyncio.Event(), asyncio.Event()
        self._stopping, self._routes = False, Routes([], plan.patience_s)
        self._all_taken, self._under_way, self._refused = False, 0, 0
        self._unopened: list[str] = []
        """Endpoints whose key isn't here."""
        self._error: BaseException | None = None

    async def run(self, requests: Iterator[Request]) -> list[Tally]:
        """Send everything that isn't journaled yet; returns the counts once every reply is on disk."""
        started, cpu = time.monotonic(), time.process_time()
        answered = self._journal.answered()
        todo = (request for request in requests if request.request_key not in answered)
        async with AsyncExitStack() as stack:
            why = await self._open(stack)
            if why is None:
                await self._work(todo)
        tallies = self._ended(todo, started, why)
        if tallies:
            tallies[0].cpu_ms = round((time.process_time() - cpu) * 1000)
        return tallies

    async def _open(self, stack: AsyncExitStack) -> Outcome | None:
        """Open the endpoints; returns why none can be asked, if so."""
        routes: list[Route] = []
        why = None
        for endpoint in self._plan.endpoints:
            try:
                route = Route.of(endpoint, self._plan.tasks)
            except SettingsError as error:
                # The key is looked for here, on the machine that calls; the driver may have it and this one not.
                why = Outcome(Kind.STOP, "no_key", str(error))
                self._unopened.append(endpoint.name)
            else:
                await stack.enter_async_context(route.client)
                routes.append(route)
        self._routes = Routes(routes, self._plan.patience_s)
        return None if routes else why

    async def _work(self, todo: Iterator[Request]) -> None:
        flusher = asyncio.create_task(self._flush())
        sending = asyncio.create_task(self._dispatch(todo))
        try:
            # Whichever ends first: a journal that can't be written must end the sending at once.
            ended, _ = await asyncio.wait((sending, flusher), return_when=asyncio.FIRST_COMPLETED)
            for finished in ended:
                finished.result()
            if self._error is not None:
                raise self._error
        finally:
            flusher.cancel()
            sending.cancel()
            for send in self._sends:
                send.cancel()
            self._journal.flush()

    def _ended(self, rest: Iterator[Request], started: float, why: Outcome | None) -> list[Tally]:
        """The counts, with *rest*, which was not sent, put off."""
        for request in rest:
            self._tally(request.stage).deferred += 1
        for tally in self._tallies.values():
            if why is not None:
                tally.outcome, tally.reason, tally.detail = why.kind.value, why.reason, why.detail
            tally.most_in_flight = self._most_in_flight
            tally.busy_ms = round((time.monotonic() - started) * 1000)
        found = list(self._tallies.values())
        if found:
            unopened = [{"endpoint": name, "closed": "no_key"} for name in self._unopened]
            found[0].endpoints = json.dumps([*(route.seen() for route in self._routes.all), *unopened])
        return found

    def _tally(self, stage: str) -> Tally:
        return self._tallies.setdefault(stage, Tally(stage))

    async def _dispatch(self, todo: Iterator[Request]) -> None:
        """Send one request after the other, those first that are to be tried again; ends when nothing is under way."""
        while not self._stopping:
            job = self._next(todo)
            if job is None:
                if not self._sends and not self._later:
                    break
                await self._change(self._later[0][0] - time.monotonic() if self._later else None)
                continue
            route = await self._admit(job)
            if route is None:
                self._put_off(job)
                break
            self._start(job, route)
        while self._sends:
            await asyncio.wait(self._sends)
        for job in (*self._soon, *(job for _, _, job in self._later)):
            self._put_off(job)

    def _next(self, todo: Iterator[Request]) -> _Job | None:
        if self._soon:
            return self._soon.popleft()
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[2]
        # An endpoint that refuses everything must not pull all requests into memory.
        if len(self._later) > sum(endpoint.in_flight for endpoint in self._plan.endpoints):
            return None
        first = next(todo, None)
        self._all_taken = first is None
        if first is None:
            return None
        # The inputs of one send are of one stage: a wave of embeddings has no other.
        return self._job((first, *islice(todo, self._plan.stages[first.stage].inputs - 1)))

    def _job(self, requests: tuple[Request, ...]) -> _Job:
        stage, bodies = requests[0].stage, [request.body for request in requests]
        asked = self._plan.stages[stage]
        prompt = sum(request.est_tokens - asked.max_tokens for request in requests) * self._ratios[stage]
        worst = sum(map(asked.worst_microusd, bodies))
        self._under_way += 1
        body = packed(bodies) if len(bodies) > 1 else bodies[0]
        return _Job(requests, asked, self._tally(stage), body, prompt + asked.max_tokens, worst)

    async def _admit(self, job: _Job) -> Route | None:
        """Wait until *job* may be sent; none where the part ends first."""
        while not self._stopping:
            why = self._routes.ended()
            if why is not None:
                self._end(why, *self._tallies.values())
                break
            if self._journal.unflushed >= UNFLUSHED * self._plan.flush_rows:
                await self._change(None)
            elif not self._affords(job):
                if not self._sends:
                    self._end(Outcome(Kind.DEFER, "budget", "what is left of it is reserved"), job.tally)
                    break
                await self._change(None)
            else:
                route, pause = self._routes.choose(job.tokens)
                if route is not None:
                    return route
                await self._change(pause)
        return None

    def _affords(self, job: _Job) -> bool:
        most = self._plan.allowance_microusd
        return most is None or self._spent + self._reserved + job.worst <= most

    async def _change(self, seconds: float | None) -> None:
        """Wait until something has changed: a send ended, the journal was written, the part is to stop."""
        self._changed.clear()
        wait = None if seconds is None or seconds > _BACKOFF_MOST_S else max(seconds, 0.0)
        alarm = None if wait is None else asyncio.get_running_loop().call_later(wait, self._changed.set)
        await self._changed.wait()
        if alarm is not None:
            alarm.cancel()

    def _start(self, job: _Job, route: Route) -> None:
        route.take(job.tokens)
        job.sends += 1
        job.tally.sent += 1
        self._reserved += job.worst
        send = asyncio.create_task(self._send(job, route))
        self._sends.add(send)
        self._most_in_flight = max(self._most_in_flight, len(self._sends))
        send.add_done_callback(self._sent)

    def _sent(self, send: asyncio.Task[None]) -> None:
        self._sends.discard(send)
        if not send.cancelled() and send.exception() is not None:
            self._error, self._stopping = self._error or send.exception(), True
        self._changed.set()

    async def _send(self, job: _Job, route: Route) -> None:
        sent = await route.client.send(job.asked.path, job.body, job.requests[0].request_key, job.asked.price)
        self._routes.came(route, sent, job.tokens, again=job.refusals > 0)
        self._reserved -= job.worst
        self._spent += sent.outcome.usage.microusd
        job.paid = job.paid.plus(sent.outcome.usage)
        if sent.outcome.unknown:
            job.tally.unknown_microusd += job.worst
            self._spent += job.worst
        self._settle(job, route, sent)

    def _settle(self, job: _Job, route: Route, sent: Sent) -> None:
        """What becomes of a request after a send: it is answered, refused, tried again, put off, or the end."""
        outcome = sent.outcome if job.asked.path != PATH else whole(sent.outcome, len(job.requests))
        if outcome.kind is Kind.ANSWERED:
            self._learn(job, outcome)
            checker = self._checkers.get(job.tally.stage)
            wrong = checker.wrong(str(outcome.reply)) if checker else None
            if wrong and checker and job.first is None:
                return self._repair(job, checker, (route, _refused(outcome, wrong), sent.seconds))
            if wrong:
                outcome = _refused(outcome, wrong)
        no = outcome.kind is Kind.REJECT or (outcome.kind is Kind.STOP and route.closed is None)
        if no and len(job.requests) > 1:
            return self._divide(job)
        if outcome.kind in (Kind.ANSWERED, Kind.REJECT):
            return self._finish(job, route, replace(outcome, usage=job.paid), sent.seconds)
        job.tally.failed_sends += 1
        job.tally.rate_limited += outcome.rate_limited
        job.limited += outcome.rate_limited
        if outcome.kind is Kind.STOP and route.closed is None and self._is_of_this_row(job, route, outcome):
            refused = replace(outcome, kind=Kind.REJECT, usage=job.paid)
            return self._finish(job, route, refused, sent.seconds)
        if outcome.kind is Kind.RETRY:
            job.failures += not outcome.rate_limited
        if max(job.failures, job.refusals) >= self._plan.max_attempts or job.limited >= _MOST_LIMITED:
            if job.tally.outcome is None:
                job.tally.reason, job.tally.detail = outcome.reason, outcome.detail
            return self._put_off(job)
        return self._again(job, outcome)

    def _divide(self, job: _Job) -> None:
        """Ask for each half of what was refused: one input may be bad, which a few sends show at no cost to others."""
        job.tally.unknown_microusd += job.paid.microusd
        self._leave(job)
        middle = len(job.requests) // 2
        self._soon.extend(map(self._job, (job.requests[:middle], job.requests[middle:])))

    def _is_of_this_row(self, job: _Job, route: Route, outcome: Outcome) -> bool:
        """Whether a refusal that would be said of every row is of this one only, as a firewall's is.

        It is where the endpoint answers what it was sent after it refused this row, and refuses this row again; and
        where nothing is left that could be sent to see, and the status is a firewall's.
        """
        job.refusals += 1
        if job.refusals == 1:
            self._refused += 1
            job.refused_at = time.monotonic()
            return False
        only = self._all_taken and self._refused == self._under_way
        return route.proved > job.refused_at or (only and outcome.reason == "forbidden" and job.refusals >= _ALONE)

    def _put_off(self, job: _Job) -> None:
        """Leave a request to the next run; one whose repair must wait is refused by its first reply."""
        if job.first is not None:
            route, outcome, seconds = job.first
            return self._finish(job, route, replace(outcome, usage=job.paid), seconds)
        self._leave(job)
        job.tally.deferred += len(job.requests)
        job.tally.unknown_microusd += job.paid.microusd
        return None

    def _learn(self, job: _Job, outcome: Outcome) -> None:
        """Correct the estimate of prompts' tokens by what was billed: no vocabulary can be fetched."""
        estimated = sum(request.est_tokens - job.asked.max_tokens for request in job.requests)
        if job.first is None and estimated > 0 and outcome.usage.prompt:
            ratio = self._ratios[job.tally.stage]
            self._ratios[job.tally.stage] = ratio + 0.05 * (outcome.usage.prompt / estimated - ratio)

    def _repair(self, job: _Job, checker: Checker, first: tuple[Route, Outcome, float]) -> None:
        job.first, reply = first, str(first[1].reply)
        job.tally.repairs += 1
        job.body = checker.repaired(job.body, reply, first[1].detail)
        job.worst = job.asked.worst_microusd(job.body)
        job.tokens += len(reply) / 4
        self._soon.append(job)

    def _finish(self, job: _Job, route: Route, outcome: Outcome, seconds: float) -> None:
        name, label, own = route.endpoint.name, job.asked.label, [outcome]
        if len(job.requests) > 1:
            own = one_each(outcome, [request.est_tokens for request in job.requests])
        for request, each in zip(job.requests, own, strict=True):
            self._journal.add(record(request.request_key, request.stage, label, name, each, job.sends, seconds))
        self._leave(job)
        job.tally.done += len(job.requests)
        if outcome.kind is Kind.REJECT:
            job.tally.rejected += 1
            job.tally.refused = outcome.reason if job.tally.refused in (None, outcome.reason) else "*"
        if self._journal.unflushed >= self._plan.flush_rows:
            self._full.set()

    def _leave(self, job: _Job) -> None:
        self._under_way -= 1
        self._refused -= job.refusals > 0

    def _again(self, job: _Job, outcome: Outcome) -> None:
        """Exponential backoff with full jitter; what the endpoint asked for, its lane keeps.

        The jitter is the one real randomness here: it decides when something is sent, never what a row holds.
        """
        tries = job.failures + job.limited + job.refusals
        pause = (
            random.uniform(0, min(_BACKOFF_MOST_S, self._plan.backoff_s * 2**tries))
            if outcome.kind is Kind.RETRY or job.refusals
            else 0.0
        )
        self._number += 1
        heapq.heappush(self._later, (time.monotonic() + pause, self._number, job))

    def _end(self, outcome: Outcome, *tallies: Tally) -> None:
        """Send nothing more, and say why to the stages of *tallies*."""
        for tally in tallies:
            if tally.outcome is None or outcome.kind is Kind.STOP:
                tally.outcome, tally.reason, tally.detail = outcome.kind.value, outcome.reason, outcome.detail
        self._stopping = True
        self._changed.set()

    async def _flush(self) -> None:
        """Every `flush_s` or `flush_rows`: save what came, and see whether the driver wants the wave to end."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            alarm = loop.call_later(self._plan.flush_s, self._full.set)
            await self._full.wait()
            alarm.cancel()
            self._full.clear()
            await asyncio.to_thread(self._journal.flush)
            self._changed.set()
            if loop.time() >= look_at:
                look_at = loop.time() + self._plan.flush_s
                for route in self._routes.all:
                    route.client.renew_key()
                if await asyncio.to_thread((self._wave / STOP_FILE).exists):
                    self._end(Outcome(Kind.DEFER, "interrupted", "stopped by the user"), *self._tallies.values())


def _refused(outcome: Outcome, wrong: tuple[str, str]) -> Outcome:
    return replace(outcome, kind=Kind.REJECT, reason=wrong[0], detail=wrong[1])
