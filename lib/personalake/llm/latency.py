"""Latencies as counts in logarithmic classes: small enough for every task to return, exact to a tenth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_RATIO = 1.1


class Latencies:
    """A histogram that merges; class *n* holds the latencies from 1.1^n to 1.1^(n+1) milliseconds."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: Counter[int] = Counter(counts or {})

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self._counts[int(math.log(max(seconds * 1000, 1.0), _RATIO))] += 1

    def merge(self, others: Iterable[Latencies]) -> Latencies:
        """All of them together."""
        whole = Counter(self._counts)
        for other in others:
            whole.update(other._counts)
        return Latencies(whole)

    def percentile_ms(self, share: float) -> float:
        """The latency that *share* of the sends stayed below, in milliseconds; 0 where there were none."""
        left = share * sum(self._counts.values())
        for number in sorted(self._counts):
            left -= self._counts[number]
            if left <= 0:
                return float(round(_RATIO ** (number + 0.5), 1))
        return 0.0

    def to_json(self) -> dict[str, int]:
        """The counts by class, as :meth:`of_json` reads them."""
        return {str(number): count for number, count in sorted(self._counts.items())}

    @classmethod
    def of_json(cls, counts: Mapping[str, int]) -> Latencies:
        """Read what :meth:`to_json` wrote."""
        return cls({int(number): count for number, count in counts.items()})
