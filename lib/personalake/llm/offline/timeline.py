"""Counts and peaks over time: one-second intervals that widen as a run grows long."""

from __future__ import annotations

MOST_INTERVALS = 600


class Timeline:
    """Named series over the same intervals: *sums* add up within an interval, *peaks* keep the highest value."""

    def __init__(self, sums: tuple[str, ...], peaks: tuple[str, ...]) -> None:
        self.interval_s = 1.0
        self._sums: dict[str, list[int]] = {name: [] for name in sums}
        self._peaks: dict[str, list[int]] = {name: [] for name in peaks}
        self._size = 0

    def add(self, at_s: float, name: str, amount: int = 1) -> None:
        """Add *amount* to the interval of *at_s* (seconds since the start)."""
        slot = int(at_s / self.interval_s)
        if slot >= self._size:
            slot = self._grow(slot)
        self._sums[name][slot] += amount

    def peak(self, at_s: float, name: str, value: int) -> None:
        """Raise the interval's peak to *value* if it is lower."""
        slot = int(at_s / self.interval_s)
        if slot >= self._size:
            slot = self._grow(slot)
        series = self._peaks[name]
        series[slot] = max(series[slot], value)

    def to_json(self) -> dict[str, object]:
        """Return ``interval_s`` and every series as a list of equal length."""
        return {"interval_s": self.interval_s, **self._peaks, **self._sums}

    def _grow(self, slot: int) -> int:
        """Make room for *slot*, at half the resolution where the list would grow too long; return where it is now."""
        while slot >= MOST_INTERVALS:
            self.interval_s *= 2
            slot //= 2
            self._size = (self._size + 1) // 2
            for series in self._sums.values():
                series[:] = [sum(series[index : index + 2]) for index in range(0, len(series), 2)]
            for series in self._peaks.values():
                series[:] = [max(series[index : index + 2]) for index in range(0, len(series), 2)]
        missing = slot + 1 - self._size
        if missing > 0:
            self._size = slot + 1
            for series in (*self._sums.values(), *self._peaks.values()):
                series.extend([0] * missing)
        return slot
