"""What the endpoint received, answered and would have billed: the other side's view of a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

MOST_INTERVALS = 600


class Ledger:
    """Counts of one endpoint; money is kept in pico-dollars so that sums are exact."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but what is in flight; attempts start at 1 again."""
        self._start = self._clock()
        self.paths: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.pico_usd = 0
        self.max_in_flight = self.in_flight
        self.batch_rows = 0
        self._width = 1.0
        self._peaks: list[int] = []
        self._arrivals: list[int] = []

    def arrived(self, path: str, request_id: str) -> int:
        """Count a paid request; return which attempt of *request_id* it is (1, 2, ...)."""
        self.paths[path] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        slot = int((self._clock() - self._start) / self._width)
        while slot >= len(self._peaks):
            if slot >= MOST_INTERVALS:
                slot = self._coarsen(slot)
                continue
            self._peaks.append(0)
            self._arrivals.append(0)
        self._peaks[slot] = max(self._peaks[slot], self.in_flight)
        self._arrivals[slot] += 1
        self.received[request_id] += 1
        return self.received[request_id]

    def left(self, status: int | str, request_id: str) -> None:
        """Count how a paid request ended: a status, or ``client_gone``, ``reset``, ``cut``."""
        self.in_flight -= 1
        self.statuses[str(status)] += 1
        if status == HTTPStatus.OK:
            self.answered[request_id] += 1

    def billed(self, kind: str, prompt: int, completion: int, pico_usd: int) -> None:
        """Add tokens and cost of one reply; *kind* is ``live`` or ``batch``."""
        self.tokens["prompt_tokens"] += prompt
        self.tokens["completion_tokens"] += completion
        self.tokens["total_tokens"] += prompt + completion
        self.pico_usd += pico_usd
        self.batch_rows += kind == "batch"

    def _coarsen(self, slot: int) -> int:
        """Halve the resolution of the time line, so that a long run stays readable."""
        self._width *= 2
        pad = [0] * (len(self._peaks) % 2)
        peaks, arrivals = self._peaks + pad, self._arrivals + pad
        self._peaks = [max(pair) for pair in zip(peaks[::2], peaks[1::2], strict=True)]
        self._arrivals = [sum(pair) for pair in zip(arrivals[::2], arrivals[1::2], strict=True)]
        return slot // 2

    def to_json(self, *, ids: bool = True) -> dict[str, Any]:
        """Return everything as one JSON object; *ids* adds the counts of each client request id.

        Requests without an ``X-Client-Request-Id`` are told apart by a hash of their body, named ``body:...``.
        """
        report: dict[str, Any] = {
            "requests": sum(self.paths.values()),
            "by_path": dict(self.paths),
            "statuses": dict(self.statuses),
            "faults": dict(self.faults),
            "distinct_requests": len(self.received),
            "max_per_request": max(self.received.values(), default=0),
            "max_answers_per_request": max(self.answered.values(), default=0),
            "answered_again": sum(count - 1 for count in self.answered.values()),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "batch_rows": self.batch_rows,
            "tokens": {name: self.tokens[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
            "cost_usd": self.pico_usd / 1e12,
            "seconds": round(self._clock() - self._start, 3),
            "over_time": {"interval_s": self._width, "max_in_flight": self._peaks, "requests": self._arrivals},
        }
        if ids:
            report["by_client_request_id"] = dict(self.received)
        return report
