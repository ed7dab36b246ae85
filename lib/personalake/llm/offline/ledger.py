"""What the endpoint received, answered and would have billed: the other side's view of a run."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from .timeline import Timeline

SUMS = ("requests", "answered", "status_429", "admitted_requests", "admitted_tokens")
PEAKS = ("max_in_flight",)
KEYS_A_PIECE = 20_000


class Bill(NamedTuple):  # made for every request: a frozen dataclass costs three times as much
    """What one reply costs; *kind* is ``live`` or ``batch``, *key* whose reply it is."""

    key: str
    kind: str
    prompt: int
    completion: int
    pico_usd: int


class Ledger:
    """Counts of one endpoint; money is kept in pico-dollars so that sums are exact.

    A request's key is its ``X-Client-Request-Id``, its ``custom_id`` in a batch, or else a hash of its body, named
    ``body:...``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.in_flight = 0
        self.limits = (0, 0)
        self.reset()

    def reset(self) -> None:
        """Forget everything but what is in flight and the limits; attempts start at 1 again."""
        self._start = self._clock()
        self.paths: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.unseen_tokens: Counter[str] = Counter()
        self.batch: Counter[str] = Counter()
        self.pico_usd = self.unseen_pico_usd = 0
        self.max_in_flight = self.in_flight
        self.repairs = 0
        self._most_received = self._most_answered = self._answers = self._replies = 0
        self._span: tuple[float, ...] = ()
        self._limits = [(0.0, *self.limits)]
        self._admitted = [0, 0]
        self._line = Timeline(SUMS, PEAKS)

    def arrived(self, path: str, key: str) -> int:
        """Count a paid request; return which attempt of its key it is (1, 2, ...)."""
        self.paths[path] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        at = self._clock() - self._start
        self._span = (self._span[0] if self._span else at, at)
        self._line.add(at, "requests")
        self._line.peak(at, "max_in_flight", self.in_flight)
        return self._receive(key)

    def left(self, status: int | str, key: str) -> None:
        """Count how a paid request ended: a status, or ``client_gone``, ``reset``, ``cut``, ``garbage``, ..."""
        self.in_flight -= 1
        self.statuses[str(status)] += 1
        if status == HTTPStatus.OK:
            self._line.add(self._clock() - self._start, "answered")
            self._answer(key)
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            self._line.add(self._clock() - self._start, "status_429")

    def batch_received(self, key: str) -> int:
        """Count a row of a batch that is worked on; return which attempt of its key it is."""
        self.batch["received"] += 1
        return self._receive(key)

    def batch_answered(self, keys: Iterable[str]) -> None:
        """Count rows that an output file answers."""
        for key in keys:
            self.batch["answered"] += 1
            self._answer(key)

    def admitted(self, tokens: int) -> None:
        """Count a request that the limits let through, and the tokens that it reserved."""
        at = self._clock() - self._start
        self._admitted[0] += 1
        self._admitted[1] += tokens
        self._line.add(at, "admitted_requests")
        self._line.add(at, "admitted_tokens", tokens)

    def set_limits(self, rpm: int, tpm: int) -> None:
        """Note the limits per minute from now on (0: none)."""
        self.limits = (rpm, tpm)
        self._limits.append((self._clock() - self._start, rpm, tpm))

    def billed(self, bill: Bill) -> None:
        """Add tokens and cost of one reply."""
        _add(self.tokens, bill)
        self.pico_usd += bill.pico_usd
        self.paid[bill.key] = self.paid.get(bill.key, 0) + 1
        self._replies += 1
        if bill.kind == "batch":
            self.batch["billed"] += 1

    def unseen(self, bill: Bill) -> None:
        """Note that a reply, billed already, never reached its client whole."""
        _add(self.unseen_tokens, bill)
        self.unseen_tokens["replies"] += 1
        self.unseen_pico_usd += bill.pico_usd

    def _receive(self, key: str) -> int:
        self.received[key] = count = self.received.get(key, 0) + 1
        self._most_received = max(self._most_received, count)
        return count

    def _answer(self, key: str) -> None:
        self.answered[key] = count = self.answered.get(key, 0) + 1
        self._most_answered = max(self._most_answered, count)
        self._answers += 1

    def to_json(self, *, ids: bool = True) -> dict[str, Any]:
        """Return everything as one JSON object; *ids* adds the counts of each key."""
        report: dict[str, Any] = {
            "requests": sum(self.paths.values()),
            "by_path": dict(self.paths),
            "statuses": dict(self.statuses),
            "faults": dict(self.faults),
            "repairs": self.repairs,
            "distinct_requests": len(self.received),
            "max_per_request": self._most_received,
            "max_answers_per_request": self._most_answered,
            "answered_again": self._answers - len(self.answered),
            "billed_again": self._replies - len(self.paid),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "batch_rows": self.batch["billed"],
            "batch_rows_received": self.batch["received"],
            "batch_rows_answered": self.batch["answered"],
            "tokens": _tokens(self.tokens),
            "cost_usd": self.pico_usd / 1e12,
            "billed_unseen": {
                "replies": self.unseen_tokens["replies"],
                **_tokens(self.unseen_tokens),
                "cost_usd": self.unseen_pico_usd / 1e12,
            },
            "seconds": round(self._clock() - self._start, 3),
            "limits": [{"at_s": round(at, 3), "rpm": rpm, "tpm": tpm} for at, rpm, tpm in self._limits],
            "allowance": {
                name: {"allowed": self._allowed(index), "admitted": self._admitted[index]}
                for index, name in enumerate(("requests", "tokens"))
            },
            "over_time": self._line.to_json(),
        }
        return {**report, **self._by_key()} if ids else report

    def pieces(self) -> Iterator[bytes]:
        """Yield the report with ids as JSON in pieces: a million keys at once would stop the server for seconds."""
        yield json.dumps(self.to_json(ids=False)).encode()[:-1]
        for name, counts in self._by_key().items():
            yield f', "{name}": '.encode()
            items, lead = iter(counts.items()), b"{"
            while part := dict(islice(items, KEYS_A_PIECE)):
                yield lead + json.dumps(part).encode()[1:-1]
                lead = b", "
            yield b"}" if counts else b"{}"
        yield b"}"

    def _by_key(self) -> dict[str, dict[str, int]]:
        return {
            "by_client_request_id": dict(self.received),
            "answered_by_client_request_id": dict(self.answered),
            "billed_again_by_client_request_id": {key: count for key, count in self.paid.items() if count > 1},
        }

    def _allowed(self, index: int) -> float | None:
        """What a limit allowed from the first arrival to the last; None where there was none at some time."""
        first, last = self._span or (0.0, 0.0)
        ends = [*(change[0] for change in self._limits[1:]), last]
        total = 0.0
        for (at, *limits), end in zip(self._limits, ends, strict=True):
            seconds = max(0.0, min(end, last) - max(at, first))
            if seconds and not limits[index]:
                return None
            total += limits[index] * seconds / 60
        return total if self.limits[index] else None


def _add(tokens: Counter[str], bill: Bill) -> None:
    tokens["prompt_tokens"] += bill.prompt
    tokens["completion_tokens"] += bill.completion
    tokens["total_tokens"] += bill.prompt + bill.completion


def _tokens(tokens: Mapping[str, int]) -> dict[str, int]:
    return {name: tokens[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
