"""A task's share of the cluster's limits: requests and tokens a minute, and how many sends are in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_DUST = 1e-9
"""What sums of floating-point refills may be short of."""


class Bucket:
    """A token bucket that holds one second's worth: endpoints enforce minutes by the second.

    A draw larger than the bucket is let through once the bucket is full and leaves a debt, so that one large prompt
    neither starves nor breaks the rate.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._rate = per_minute / 60.0
        self._size = max(self._rate, 1.0)
        self._level, self._clock = self._size, clock
        self._at = clock()

    def wait_for(self, amount: float) -> float:
        """Seconds until *amount* may be drawn; 0 means that it was drawn."""
        now = self._clock()
        self._level = min(self._size, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        needed = min(amount, self._size)
        if self._level >= needed - _DUST:
            self._level -= amount
            return 0.0
        return (needed - self._level) / self._rate

    def give_back(self, amount: float) -> None:
        """Return what was reserved and not used."""
        self._level = min(self._size, self._level + amount)


class Limiter:
    """Lets a send go when the task's share allows it, and narrows its window when the endpoint pushes back.

    The window follows AIMD (RFC 5681's rule): one more in flight per window of successes, halved at most once per
    burst of 429s. Times are seconds of *clock*, which must be monotonic.
    """

    def __init__(
        self,
        *,
        in_flight: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.most = max(1, in_flight)
        self.window = float(self.most)
        self.in_flight = 0
        self._clock = clock
        self._requests = Bucket(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, clock) if tokens_per_minute else None
        self._not_before = 0.0
        self._cut_at = float("-inf")
        self._freed = asyncio.Event()
        self._turn = asyncio.Lock()

    async def acquire(self, tokens: int) -> None:
        """Wait until one more send of *tokens* (prompt and the most that may come back) is allowed."""
        async with self._turn:  # First come, first served: a large request isn't overtaken for ever by small ones.
            while self.in_flight >= int(self.window):
                self._freed.clear()
                await self._freed.wait()
            while (pause := self._not_before - self._clock()) > 0:
                await asyncio.sleep(pause)
            for bucket, amount in ((self._requests, 1), (self._tokens, tokens)):
                while bucket is not None and (pause := bucket.wait_for(amount)) > 0:
                    await asyncio.sleep(pause)
            self.in_flight += 1

    def release(self, *, reserved: int, used: int) -> None:
        """A send ended: free its place and give back the tokens that it did not use."""
        self.in_flight -= 1
        if self._tokens is not None and used < reserved:
            self._tokens.give_back(reserved - used)
        self._freed.set()

    def succeeded(self) -> None:
        """A reply came: widen the window a little."""
        self.window = min(float(self.most), self.window + 1.0 / max(self.window, 1.0))

    def pushed_back(self, retry_after_s: float | None) -> None:
        """A 429 came: halve the window, once per burst, and hold all sends for as long as the endpoint asked."""
        now = self._clock()
        if now - self._cut_at > 1.0:
            self.window, self._cut_at = max(1.0, self.window / 2), now
        if retry_after_s:
            self._not_before = max(self._not_before, now + retry_after_s)
