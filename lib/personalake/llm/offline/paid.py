"""The routes that cost money: every request is on the ledger from arrival to end, and meets what the plan has for it.

In this order: faults that are met on arrival, checks, limits, a turn (where the capacity is limited), latency, the
other faults, the reply.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from .checks import parse
from .jobs import JOBS, ChatJob, Job, Order
from .misreplies import AS_ERRORS, AT_ONCE, error_of
from .refusals import RefusalError
from .service import Service
from .wire import (
    JSON_HEADERS,
    MEGABYTE,
    big_body,
    cut,
    dribble,
    garbage,
    hang,
    new_request_id,
    page,
    reset,
    stream,
)

SERVICE = web.AppKey("service", Service)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Nothing is worked out under these, and so nothing is billed.
_NO_WORK = (*AS_ERRORS, "reset", "html", "firewall", "hang")
# A request under these ends by its fault's name: its client got no whole, readable reply.
_NO_ANSWER = ("reset", "cut", "garbage", "error_in_200")
_UNSEEN = ("client_gone", "cut")


def paid(path: str) -> Handler:
    """Return the handler for one of JOBS' paths."""

    async def handle(request: web.Request) -> web.StreamResponse:
        service = request.app[SERVICE]
        visit = _Visit(request, service, await request.read())
        status: int | None = None
        try:
            response = await visit.answer(path)
            status = response.status
        except RefusalError as refusal:
            status = refusal.status
            raise
        finally:
            visit.end(status)
        return response

    return handle


class _Visit:
    """One request from arrival to end."""

    def __init__(self, request: web.Request, service: Service, raw: bytes) -> None:
        self._request, self._service, self._raw = request, service, raw
        self._client_id = request.headers.get("X-Client-Request-Id", "")
        self.key = self._client_id or "body:" + hashlib.blake2b(raw, digest_size=8).hexdigest()
        self._attempt = service.ledger.arrived(request.path, self.key)
        self.fault: str | None = None
        self._working: Job | None = None

    async def answer(self, path: str) -> web.StreamResponse:
        """Return the response, or raise what it is refused with."""
        service = self._service
        plan = service.plan_for(self._request.headers.get("X-Fault"))
        self.fault = service.fault(plan, self.key, self._attempt)
        if self.fault is not None:
            service.ledger.faults[self.fault] += 1
            if self.fault in AT_ONCE:
                raise error_of(self.fault, plan)
        order = Order(self.key, self._client_id, self._attempt, plan)
        body = parse(self._raw)
        job = JOBS[path](order, body, service.settings, service.ledger)
        service.limits.admit(job.reserved)
        service.ledger.admitted(job.reserved)
        await service.capacity.enter()
        try:
            self._working = None if self.fault in _NO_WORK else job
            wait = plan.wait_s(self.key, self._attempt)
            if wait:
                await asyncio.sleep(wait)
            return await self._reply(order, job, streamed=bool(body.get("stream")))
        finally:
            service.capacity.leave()

    async def _reply(self, order: Order, job: Job, *, streamed: bool) -> web.StreamResponse:
        fault, plan, request = self.fault, order.plan, self._request
        if fault in AS_ERRORS:
            raise error_of(fault, plan)
        if fault == "hang":
            await hang()
        if fault in ("reset", "html", "firewall"):
            return reset(request) if fault == "reset" else page(502 if fault == "html" else 403)
        headers = {**JSON_HEADERS, "openai-model": job.model, **self._service.limits.headers()}
        slow_s = plan.slow_ms / 1000 if fault == "slow_body" else 0.0
        if streamed and isinstance(job, ChatJob):
            headers["x-request-id"] = new_request_id()
            completion = job.completion(fault)
            self._refund(job)
            broken = fault == "cut"
            return await stream(request, completion, headers, usage=job.usage_streamed, broken=broken, slow_s=slow_s)
        payload = job.payload(fault)
        self._refund(job)
        if fault == "garbage":
            return garbage(payload)
        if fault in ("cut", "slow_body", "big_body"):
            headers["x-request-id"] = new_request_id()
            if fault == "big_body":
                return await big_body(request, payload, headers, int(plan.big_mb * MEGABYTE))
            return await (cut(request, payload) if fault == "cut" else dribble(request, payload, headers, slow_s))
        return web.Response(body=payload, headers=headers)

    def _refund(self, job: Job) -> None:
        if job.bill is not None:
            self._service.limits.refund(job.reserved - job.bill.prompt - job.bill.completion)

    def end(self, status: int | None) -> None:
        """Put the end on the ledger; *status* is that of the answer, None where the client has gone."""
        ended = "client_gone" if status is None else self.fault if self.fault in _NO_ANSWER else status
        self._service.ledger.left(ended, self.key)
        if ended in _UNSEEN:
            self._bill_unseen()

    def _bill_unseen(self) -> None:
        """Bill a reply that its client didn't wait for, as providers do, and note that it never arrived."""
        job = self._working
        if job is None:
            return
        if job.bill is None:
            job.payload(self.fault)
        if job.bill is not None:
            self._service.ledger.unseen(job.bill)
