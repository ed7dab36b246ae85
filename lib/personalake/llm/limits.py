"""What one paying task may do at one endpoint: its share of the limits, and what it learns from the replies.

Nothing is shared between tasks. Each starts with `1 / tasks` of what the settings allow; the endpoint's own headers
move that share (the limit has changed; others leave some of it), 429s and growing latency narrow it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from personalake.llm.outcome import Kind, Outcome
from personalake.llm.window import Window

_DUST = 1e-9
"""What sums of floating-point refills may be short of."""
_MARGIN = 0.98
"""The part of a limit that is used: an endpoint's clock and ours, and the way between them, are never quite even."""
_MINUTE_S = 60.0
_COOL_S, _COOL_MOST_S = 1.0, 30.0
"""How long an endpoint that fails is left alone, at first and at most."""
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_DURATION = re.compile(rf"(?:{_PIECE.pattern})+")
_OPENS_AFTER = 8
"""Sends that fail in a row, with no reply between them, after which the circuit opens."""


class Bucket:
    """A token bucket that holds one second's worth: endpoints enforce minutes by the second.

    A draw larger than the bucket is let through once the bucket is full and leaves a debt, so that one large prompt
    neither starves nor breaks the rate.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._clock, self._at, self._rate, self._size = clock, clock(), 0.0, 0.0
        self.set_rate(per_minute)
        self._level = self._size

    def set_rate(self, per_minute: float) -> None:
        """Fill at another rate from now on."""
        if self._rate:
            self._fill()
        self._rate = per_minute / _MINUTE_S
        self._size = max(self._rate, 1.0)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._size, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now

    def wait_for(self, amount: float) -> float:
        """Seconds until *amount* may be drawn; 0: now."""
        self._fill()
        needed = min(amount, self._size)
        return 0.0 if self._level >= needed - _DUST else (needed - self._level) / self._rate

    def draw(self, amount: float) -> None:
        """Take *amount*; what exceeds the level is a debt."""
        self._level -= amount

    def give_back(self, amount: float) -> None:
        """Return what was reserved and not used; a negative amount is drawn."""
        self._level = min(self._size, self._level + amount)


class _Limit:
    """One limit (requests or tokens a minute) as this task may use it."""

    def __init__(self, unit: str, per_minute: float | None, tasks: int, clock: Callable[[], float]) -> None:
        self.unit, self._own, self._told, self._tasks, self._clock = unit, per_minute, per_minute, tasks, clock
        self.scale, self._moved_at, self._waited = 1.0, float("-inf"), False
        self.bucket = Bucket(self._rate(per_minute), clock) if per_minute else None

    def _rate(self, per_minute: float) -> float:
        return per_minute * _MARGIN / self._tasks * self.scale

    def _set(self, scale: float) -> None:
        self.scale = scale
        if self._told and self.bucket is not None:
            self.bucket.set_rate(self._rate(self._told))

    def wait_for(self, amount: float) -> float:
        pause = 0.0 if self.bucket is None else self.bucket.wait_for(amount)
        self._waited = self._waited or pause > 0
        return pause

    def draw(self, amount: float) -> None:
        if self.bucket is not None:
            self.bucket.draw(amount)

    def cut(self) -> None:
        """A 429 came: a tenth less, once a second."""
        if self.bucket is not None and self._clock() - self._moved_at > 1.0:
            self._moved_at = self._clock()
            self._set(max(0.02, self.scale * 0.9))

    def hear(self, headers: Mapping[str, str]) -> None:
        """Follow the endpoint's own `x-ratelimit-*` headers, at most twice a second.

        A limit that resets in more than a minute is one of another kind (Groq counts requests a day in the same
        header), and isn't followed.
        """
        limit = _number(headers.get(f"x-ratelimit-limit-{self.unit}"))
        left = _number(headers.get(f"x-ratelimit-remaining-{self.unit}"))
        reset_s = seconds_of(headers.get(f"x-ratelimit-reset-{self.unit}", ""))
        if not limit or left is None or reset_s is None or reset_s > _MINUTE_S:
            return
        if limit != self._told and (self._own is None or limit < self._own or self._told != self._own):
            self._told = limit if self._own is None else min(limit, self._own)
            self.bucket = self.bucket or Bucket(self._rate(self._told), self._clock)
            self._set(1.0)
        now = self._clock()
        if now - self._moved_at < 0.5:  # noqa: PLR2004 (seconds: see above)
            return
        self._moved_at = now
        # Others leave some of it: more than half is there, and it comes back faster than the limit is used.
        spare = left > 0.6 * limit and left / max(reset_s, 1e-3) > 1.2 * limit / _MINUTE_S
        if self.scale < 1.0 or (spare and self._waited):
            self._set(min(float(self._tasks), self.scale * 1.05))
        elif self.scale > 1.0 and left < 0.25 * limit:
            self._set(max(1.0, self.scale * 0.9))
        self._waited = False

    def heal(self) -> None:
        """A reply came without such headers: a cut share grows back, a hundredth a second."""
        now = self._clock()
        if self.scale < 1.0 and now - self._moved_at > 1.0:
            self._moved_at = now
            self._set(min(1.0, self.scale + 0.01))


class Lane:
    """One endpoint as one task sees it: when the next send may go there, and what its replies change.

    Times are seconds of *clock*, which must be monotonic: a wall clock that jumps changes nothing here.
    """

    def __init__(
        self,
        *,
        in_flight: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        tasks: int,
        clock: Callable[[], float],
    ) -> None:
        self.window = Window.of(max(1, in_flight))
        self.in_flight = self.most_in_flight = 0
        self._clock = clock
        self._requests = _Limit("requests", requests_per_minute, tasks, clock)
        self._tokens = _Limit("tokens", tokens_per_minute, tasks, clock)
        self._refunds = True
        self._not_before = -math.inf
        self._failed_in_a_row, self._cool_s = 0, _COOL_S
        self._silent_since: float | None = None

    def wait(self, tokens: float) -> float:
        """Seconds until a send of *tokens* (prompt and the most that may come back) may go.

        0 is now; infinity: when a reply has come.
        """
        if self.in_flight >= int(self.window.size):
            return math.inf
        hold = self._not_before - self._clock()
        if hold > 0:
            return hold
        return max(self._requests.wait_for(1.0), self._tokens.wait_for(tokens))

    def take(self, tokens: float) -> None:
        """A send goes out."""
        self._requests.draw(1.0)
        self._tokens.draw(tokens)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def came(self, outcome: Outcome, headers: Mapping[str, str], reserved: float, seconds: float) -> None:
        """A send has ended: free its place, and learn from how it ended."""
        self.in_flight -= 1
        alive = outcome.kind in (Kind.ANSWERED, Kind.REJECT, Kind.STOP)
        if alive:
            self._failed_in_a_row, self._cool_s, self._silent_since = 0, _COOL_S, None
            used = outcome.usage.prompt + outcome.usage.completion
            if used and self._tokens.bucket is not None and (self._refunds or used > reserved):
                self._tokens.bucket.give_back(reserved - used)
            self.window.replied(seconds)
        elif self._silent_since is None:
            self._silent_since = self._clock()
        if outcome.rate_limited:
            self._limited(outcome)
        elif not alive:
            self._failed(outcome)
        for limit in (self._requests, self._tokens):
            if "x-ratelimit-limit-requests" in headers or "x-ratelimit-limit-tokens" in headers:
                limit.hear(headers)
            elif alive:
                limit.heal()

    def _limited(self, outcome: Outcome) -> None:
        now = self._clock()
        by_rate = self._requests.bucket is not None or self._tokens.bucket is not None
        if "token" in outcome.detail.lower():
            self._refunds = False  # It counts what was asked for, not what was used.
        self._requests.cut()
        self._tokens.cut()
        if not by_rate:
            self.window.halve(now, 1.0)
        if outcome.retry_after_s:
            self._not_before = max(self._not_before, now + outcome.retry_after_s)

    def _failed(self, outcome: Outcome) -> None:
        now = self._clock()
        if outcome.overloaded or outcome.reason == "timeout":
            self.window.halve(now, 1.0)
        if outcome.retry_after_s:
            self._not_before = max(self._not_before, now + outcome.retry_after_s)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _OPENS_AFTER and now >= self._not_before:
            self.window.close()
            self._not_before = now + self._cool_s
            self._cool_s = min(_COOL_MOST_S, self._cool_s * 2)

    def silent_s(self) -> float:
        """For how long nothing but failures will have come by the time that the next send may go; 0: it is well."""
        if self._silent_since is None:
            return 0.0
        return max(self._clock(), self._not_before) - self._silent_since

    @property
    def scale(self) -> float:
        """The part of its share that the task uses now, as its limits' average."""
        limits = [limit for limit in (self._requests, self._tokens) if limit.bucket is not None]
        return sum(limit.scale for limit in limits) / len(limits) if limits else 1.0


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def seconds_of(text: str) -> float | None:
    """Seconds of a header such as `6ms`, `8.64s`, `1m2.5s` or a plain number; null where it is none of these."""
    plain = _number(text)
    if plain is not None:
        return plain if math.isfinite(plain) and plain >= 0 else None
    if not _DURATION.fullmatch(text.strip()):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PIECE.findall(text))
