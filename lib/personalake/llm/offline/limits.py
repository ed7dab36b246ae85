"""Hard limits per minute, enforced per second as real endpoints do, and the headers that tell of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .refusals import RefusalError
from .settings import CHAT_MODEL


class Bucket:
    """A token bucket that holds one second's worth of a per-minute limit (at least 1) and may go into debt."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self._capacity = max(1.0, self._rate)
        self._clock = clock
        self._level, self._at = self._capacity, clock()

    def wait_s(self, need: float) -> float:
        """Return how long until *need* may pass: 0 if now. A need above the capacity passes on a full bucket."""
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(need, self._capacity) - self._level) / self._rate)

    def take(self, need: float) -> None:
        """Take *need*; what exceeds the level is a debt that later requests wait for."""
        self._level -= need

    def headers(self, unit: str) -> dict[str, str]:
        """Return limit, remaining (scaled to a minute) and time to a full bucket."""
        full = max(0.0, self._level) / self._capacity
        return {
            f"x-ratelimit-limit-{unit}": str(self.per_minute),
            f"x-ratelimit-remaining-{unit}": str(int(full * self.per_minute)),
            f"x-ratelimit-reset-{unit}": duration((self._capacity - self._level) / self._rate),
        }


class Limits:
    """Requests and tokens per minute (0: no limit)."""

    def __init__(self, rpm: int, tpm: int, clock: Callable[[], float] = time.monotonic) -> None:
        named = (("requests", "RPM", rpm), ("tokens", "TPM", tpm))
        self._buckets = [(unit, short, Bucket(limit, clock)) for unit, short, limit in named if limit]

    def admit(self, tokens: int) -> None:
        """Take one request with *tokens* (prompt and reserved completion), or raise the 429 that it meets."""
        needs = {"requests": 1, "tokens": tokens}
        for unit, short, bucket in self._buckets:
            if needs[unit] > bucket.per_minute:  # this never passes: nothing says when to try again
                message = (
                    f"Request too large for {CHAT_MODEL} on {unit} per min ({short}): Limit {bucket.per_minute},"
                    f" Requested {needs[unit]}."
                )
                raise RefusalError(429, message, code="rate_limit_exceeded", kind=unit, headers=self.headers())
        for unit, short, bucket in self._buckets:
            wait = bucket.wait_s(needs[unit])
            if wait > 0:
                message = (
                    f"Rate limit reached for {CHAT_MODEL} on {unit} per min ({short}): Limit {bucket.per_minute},"
                    f" Requested {needs[unit]}. Please try again in {duration(wait)}."
                )
                headers = {**self.headers(), **retry_headers(wait)}
                raise RefusalError(429, message, code="rate_limit_exceeded", kind=unit, headers=headers)
        for unit, _, bucket in self._buckets:
            bucket.take(needs[unit])

    def headers(self) -> dict[str, str]:
        """Return the ``x-ratelimit-*`` headers of all limits that are set."""
        found: dict[str, str] = {}
        for unit, _, bucket in self._buckets:
            found.update(bucket.headers(unit))
        return found


def retry_headers(wait_s: float) -> dict[str, str]:
    """Return ``retry-after`` (whole seconds, rounded up) and ``retry-after-ms``."""
    return {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}


def duration(seconds: float) -> str:
    """Return seconds as the headers write them: ``6ms``, ``8.64s``, ``1m2s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:.2f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{text}" if minutes else text
