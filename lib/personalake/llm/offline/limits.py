"""Hard limits of requests and tokens, enforced by the second or by the minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from .limit_styles import State, limit_headers, limited
from .refusals import RefusalError
from .settings import CHAT_MODEL, OfflineSettings

MINUTE_S = 60.0


class Meter(Protocol):
    """One limit: how long a need has to wait, what is taken, what is left."""

    per_minute: int

    def wait_s(self, need: float) -> float:
        """Return how long until *need* may pass: 0 if now."""

    def take(self, need: float) -> None:
        """Take *need*, which may pass."""

    def give(self, unused: float) -> None:
        """Take back what a request had reserved and did not use."""

    def change(self, per_minute: int) -> None:
        """Set another limit; what is used stays used."""

    def left(self) -> tuple[int, float]:
        """Return what remains of a minute's allowance, and the seconds until it is whole again."""


class Bucket:
    """A token bucket that holds one second's worth of a per-minute limit (at least 1) and may go into debt."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._set(per_minute)
        self._level, self._at = self._capacity, clock()

    def _set(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / MINUTE_S
        self._capacity = max(1.0, self._rate)

    def wait_s(self, need: float) -> float:
        """Return how long until *need* may pass: 0 if now. A need above the capacity passes on a full bucket."""
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(need, self._capacity) - self._level) / self._rate)

    def take(self, need: float) -> None:
        """Take *need*; what exceeds the level is a debt that later requests wait for."""
        self._level -= need

    def give(self, unused: float) -> None:
        """Take back what a request had reserved and did not use."""
        self._level = min(self._capacity, self._level + unused)

    def change(self, per_minute: int) -> None:
        """Set another limit; a debt stays, and no more is held than the new limit's second."""
        self.wait_s(0)
        self._set(per_minute)
        self._level = min(self._level, self._capacity)

    def left(self) -> tuple[int, float]:
        """Return the level scaled to a minute, and the seconds to a full bucket."""
        self.wait_s(0)
        full = max(0.0, self._level) / self._capacity
        return int(full * self.per_minute), (self._capacity - self._level) / self._rate


class Window:
    """A fixed window of a minute, which opens with its first request: all of it may go in its first second."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.per_minute = per_minute
        self._used, self._ends = 0.0, clock()

    def wait_s(self, need: float) -> float:
        """Return how long until *need* may pass: 0 if now, else the rest of the minute."""
        now = self._clock()
        if now >= self._ends:
            self._used, self._ends = 0.0, now + MINUTE_S
        return 0.0 if self._used + need <= self.per_minute else self._ends - now

    def take(self, need: float) -> None:
        """Take *need* from this minute."""
        self._used += need

    def give(self, unused: float) -> None:
        """Take back what a request had reserved and did not use (of this minute at the most)."""
        self._used = max(0.0, self._used - unused)

    def change(self, per_minute: int) -> None:
        """Set another limit; what this minute has used stays used."""
        self.per_minute = per_minute

    def left(self) -> tuple[int, float]:
        """Return what remains of this minute, and how long it lasts."""
        return max(0, int(self.per_minute - self._used)), max(0.0, self._ends - self._clock())


METERS: dict[str, Callable[[int, Callable[[], float]], Meter]] = {"second": Bucket, "minute": Window}


class Limits:
    """Requests and tokens per minute (0: no limit), as the settings have them enforced and told."""

    def __init__(self, settings: OfflineSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meters: dict[str, Meter] = {}
        self._settings = settings
        self.change(settings)

    def change(self, settings: OfflineSettings) -> None:
        """Follow other settings from now on; with the same kind of window what is used stays used."""
        if settings.limit_window != self._settings.limit_window:
            self._meters = {}
        for unit, limit in (("requests", settings.rpm), ("tokens", settings.tpm)):
            if not limit:
                self._meters.pop(unit, None)
            elif unit in self._meters:
                self._meters[unit].change(limit)
            else:
                self._meters[unit] = METERS[settings.limit_window](limit, self._clock)
        self._meters = {unit: self._meters[unit] for unit in ("requests", "tokens") if unit in self._meters}
        self._settings = settings

    def admit(self, tokens: int) -> None:
        """Take one request with *tokens* (prompt and reserved completion), or raise the 429 that it meets."""
        if not self._meters:
            return
        needs, settings = {"requests": 1, "tokens": tokens}, self._settings
        for unit, meter in self._meters.items():
            if needs[unit] > meter.per_minute:  # this never passes: nothing says when to try again
                message = (
                    f"Request too large for {CHAT_MODEL} on {unit} per min ({'RPM' if unit == 'requests' else 'TPM'}):"
                    f" Limit {meter.per_minute}, Requested {needs[unit]}."
                )
                raise RefusalError(429, message, code="rate_limit_exceeded", kind=unit, headers=self.headers())
        for unit, meter in self._meters.items():
            wait = meter.wait_s(needs[unit])
            if wait > 0:
                style, retry = settings.limit_headers, settings.limit_retry_style
                raise limited(style, retry, self._states(), unit, wait, needs[unit])
        for unit, meter in self._meters.items():
            meter.take(needs[unit])

    def refund(self, tokens: int) -> None:
        """Give back reserved tokens that a reply did not use, where the settings say so."""
        if self._settings.refund and tokens > 0 and "tokens" in self._meters:
            self._meters["tokens"].give(tokens)

    def headers(self) -> dict[str, str]:
        """Return the headers that tell of the limits, in the style that is set."""
        return limit_headers(self._settings.limit_headers, self._states()) if self._meters else {}

    def _states(self) -> list[State]:
        return [State(unit, meter.per_minute, *meter.left()) for unit, meter in self._meters.items()]
