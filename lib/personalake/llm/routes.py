"""Which endpoint gets the next send: by weight among those that can take one; a failing one's share goes to others."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from personalake.llm.client import Client, Endpoint, Sent
from personalake.llm.latency import Latencies
from personalake.llm.limits import Lane
from personalake.llm.outcome import Kind, Outcome

_DOUBTS = 20
"""So many refusals "of every row" in a row close an endpoint that has answered before."""


@dataclass
class Route:
    """One endpoint of a task: its client, its lane, and what was seen of it."""

    endpoint: Endpoint
    client: Client
    lane: Lane
    sent: int = 0
    rate_limited: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    closed: Outcome | None = None
    """What ends its use for this task: a wrong key, no such model, a quota that is spent."""
    proved: float = -math.inf
    """When the latest send began that was answered."""
    _doubts: int = 0
    _doubted: float = -math.inf

    @classmethod
    def of(cls, endpoint: Endpoint, tasks: int) -> Route:
        """The route to *endpoint* for one of *tasks* tasks; raises :class:`SettingsError` where its key isn't here."""
        lane = Lane(
            in_flight=max(1, endpoint.in_flight // tasks),
            requests_per_minute=endpoint.requests_per_minute,
            tokens_per_minute=endpoint.tokens_per_minute,
            tasks=tasks,
            clock=time.monotonic,
        )
        return cls(endpoint, Client(endpoint), lane)

    def take(self, tokens: float) -> None:
        """A send goes out."""
        self.sent += 1
        self.lane.take(tokens)

    def came(self, sent: Sent, reserved: float, again: bool) -> None:
        """A send of *reserved* tokens has ended; *again*: of a request that was refused before."""
        outcome = sent.outcome
        self.lane.came(outcome, sent.headers, reserved, sent.seconds)
        if outcome.kind in (Kind.ANSWERED, Kind.REJECT):
            self.latencies.add(sent.seconds)
            began = time.monotonic() - sent.seconds
            self.proved = max(self.proved, began)
            self._doubts = 0 if began > self._doubted else self._doubts
        else:
            self.failed += 1
            self.rate_limited += outcome.rate_limited
        if outcome.kind is Kind.DEFER or (outcome.kind is Kind.STOP and not self._doubts_it(again)):
            self.closed = self.closed or outcome

    def _doubts_it(self, again: bool) -> bool:
        """Whether a refusal that would be said of every row may be of one row only, as a firewall's is."""
        self._doubts, self._doubted = self._doubts + (not again), time.monotonic()
        return self._doubts < _DOUBTS and (self.proved > -math.inf or self.lane.in_flight > 0)

    @property
    def waits(self) -> bool:
        """Whether nothing is known of it but a refusal: what it says to those in flight tells more."""
        return self._doubts > 0 and self.proved == -math.inf and self.lane.in_flight > 0

    def seen(self) -> dict[str, Any]:
        """What the endpoint was like, for `runs.engine`."""
        return {
            "endpoint": self.endpoint.name,
            "sent": self.sent,
            "rate_limited": self.rate_limited,
            "failed": self.failed,
            "most_in_flight": self.lane.most_in_flight,
            "window": self.lane.window.size,
            "scale": self.lane.scale,
            "latencies": self.latencies.to_json(),
            "closed": self.closed and self.closed.reason,
        }


class Routes:
    """The endpoints of one task."""

    def __init__(self, routes: list[Route], patience_s: float) -> None:
        self.all, self._patience_s = routes, patience_s
        self._last_failure: Outcome | None = None

    def choose(self, tokens: float) -> tuple[Route | None, float]:
        """The route for a send of *tokens*; or none, and the seconds after which to ask again (infinity: a reply)."""
        shortest = math.inf
        for route in sorted(self._open, key=lambda route: route.sent / route.endpoint.weight):
            pause = math.inf if route.waits else route.lane.wait(tokens)
            if pause <= 0:
                return route, 0.0
            shortest = min(shortest, pause)
        return None, shortest

    @property
    def _open(self) -> list[Route]:
        return [route for route in self.all if route.closed is None]

    def came(self, route: Route, sent: Sent, reserved: float, again: bool) -> None:
        """A send to *route* has ended: see :meth:`Route.came`."""
        route.came(sent, reserved, again)
        if sent.outcome.kind not in (Kind.ANSWERED, Kind.REJECT):
            self._last_failure = sent.outcome

    def ended(self) -> Outcome | None:
        """Why nothing more can be sent anywhere; null while something can.

        Refused by every endpoint, or nothing but failures from all that are left, for longer than the patience.
        """
        left = self._open
        if not left:
            closed = [route.closed for route in self.all if route.closed is not None]
            return min(closed, key=lambda outcome: outcome.kind is not Kind.STOP)
        if any(route.lane.silent_s() < self._patience_s for route in left):
            return None
        last = self._last_failure or Outcome(Kind.DEFER)
        reason = "rate_limited" if last.rate_limited else "endpoint_down"
        return Outcome(Kind.DEFER, reason, f"nothing but failures; the last: {last.reason}: {last.detail}")
