"""How many sends may be in flight at an endpoint: a window that grows with replies and narrows when it is too much."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SLOWER, _EASED = 3.0, 0.9
"""Mean latency, as a multiple of the best so far, that asks for a narrower window; and the share of it that must have
gone once the window is narrower, or it wasn't the window."""


@dataclass
class Window:
    """How many sends may be in flight: AIMD (RFC 5681's rule), halved at most once per burst of push-backs.

    Where an endpoint queues instead of refusing, only latency tells: a window whose replies come several times slower
    than the best so far is narrowed for a round, and stays so only if that helped.
    """

    most: float
    size: float
    threshold: float
    best_s: float = math.inf
    _sum_s: float = 0.0
    _seen: int = 0
    _skip: int = 0
    _before: tuple[float, float] | None = None
    _cut_at: float = -math.inf

    @classmethod
    def of(cls, most: int) -> Window:
        """A window that starts at its *most*."""
        return cls(float(most), float(most), float(most))

    def halve(self, now: float, calm_s: float) -> None:
        """Narrow it, unless that was done within the last *calm_s* seconds."""
        if now - self._cut_at > calm_s:
            self.size = self.threshold = max(1.0, self.size / 2)
            self._cut_at = now

    def close(self) -> None:
        """Let one send through: a probe."""
        self.threshold, self.size = max(1.0, self.size), 1.0

    def replied(self, seconds: float) -> None:
        """A reply came after *seconds*: widen it a little, or doubling a round while it comes back from a probe."""
        step = 1.0 if self.size < self.threshold else 1.0 / self.size
        self.size = min(self.most, self.size + step)
        if self._skip:
            self._skip -= 1
            return
        self._sum_s, self._seen = self._sum_s + seconds, self._seen + 1
        if self._seen >= max(self.size, 16.0):
            self._look(self._sum_s / self._seen)
            self._sum_s, self._seen = 0.0, 0

    def _look(self, mean_s: float) -> None:
        if self._before is not None:
            was_s, size = self._before
            self._before = None
            if mean_s > _EASED * was_s:
                # Slower replies, not a longer queue: this is what they take now.
                self.size, self.threshold, self.best_s = size, size, mean_s
                return
        elif mean_s > _SLOWER * self.best_s and self.size > 4:  # noqa: PLR2004 (too few to judge by)
            self._before, self._skip = (mean_s, self.size), round(self.size)
            self.size = self.threshold = self.size * 0.7
            return
        self.best_s = min(mean_s, self.best_s * 1.02)
