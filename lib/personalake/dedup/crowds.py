"""Crowds: very many sets under one key, of which only so many pairs are found as it takes to settle who stays.

In a crowd of 50,000 that all repeat each other one row stays, and 49,999 pairs with it are enough; in one where nobody
repeats anybody none is. So a crowd's rows are taken best first, and each is compared with those that stayed alone.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction

from personalake.dedup.verify import rational


def witnesses(sets: Sequence[frozenset[int]], known: int, threshold: float) -> list[tuple[int, int]]:
    """Return (row, the first that stayed and that it repeats) for each row of a crowd that doesn't stay.

    *sets* are distinct and in their order, best first; the first *known* stay without being compared.

    Sets are told by what sets them apart from the crowd's core, the tokens that more than half of them have: two sets
    differ in at most as many tokens as both differ from the core, and where that alone isn't few enough, they must
    share one of these differences (of them, the first few by rarity: the prefix filter of Chaudhuri, Ganti, Kaushik,
    ICDE 2006). In a crowd, that leaves next to nothing to compare.
    """
    counts = Counter(token for one in sets for token in one)
    core = frozenset(token for token, count in counts.items() if 2 * count > len(sets))
    apart = [one ^ core for one in sets]
    rarity = Counter(token for one in apart for token in one)
    crowd = _Stayed(rational(threshold), len(core), rarity)
    found = []
    for row, (one, difference) in enumerate(zip(sets, apart, strict=True)):
        witness = None if row < known else crowd.first_repeated(len(one), difference)
        if witness is None:
            crowd.add(row, len(one), difference)
        else:
            found.append((row, witness))
    return found


class _Stayed:
    """The rows of a crowd that stayed so far, by their differences from its core."""

    def __init__(self, threshold: Fraction, core: int, rarity: Counter[int]) -> None:
        self._above, self._below, self._core, self._rarity = threshold.numerator, threshold.denominator, core, rarity
        self._rows: list[tuple[int, int, frozenset[int]]] = []
        self._by_token: dict[int, list[int]] = defaultdict(list)
        self._nearest: dict[tuple[int, int], int] = {}
        """By size and number of differences, the first that stayed, where it is near enough to the core to matter."""
        self._bounds = functools.lru_cache(maxsize=None)(self._computed_bounds)

    def add(self, row: int, size: int, difference: frozenset[int]) -> None:
        """Let *row* stay."""
        place = len(self._rows)
        self._rows.append((row, size, difference))
        if len(difference) <= self._bounds(size, len(difference))[0]:
            self._nearest.setdefault((size, len(difference)), place)
        for token in self._prefix(size, difference):
            self._by_token[token].append(place)

    def first_repeated(self, size: int, difference: frozenset[int]) -> int | None:
        """The first row that stayed and that a set repeats, by its size and its differences from the core."""
        places: set[int] = set()
        if len(difference) <= self._bounds(size, len(difference))[0]:
            places.update(
                place
                for (other, apart), place in self._nearest.items()
                if len(difference) + apart <= self._allowed(size, other)
            )
        for token in self._prefix(size, difference):
            places.update(self._by_token.get(token, ()))
        for place in sorted(places):
            row, other, apart_from_core = self._rows[place]
            if len(difference ^ apart_from_core) <= self._allowed(size, other):
                return row
        return None

    def _allowed(self, size: int, other: int) -> int:
        """How many tokens two sets of these sizes may differ in; below 0 where their sizes alone forbid it."""
        if min(size, other) * self._below < self._above * max(size, other):
            return -1
        return (size + other) * (self._below - self._above) // (self._below + self._above)

    def _prefix(self, size: int, difference: frozenset[int]) -> list[int]:
        """The rarest differences, so many that a set which shares enough of them shares one of these."""
        shared = self._bounds(size, len(difference))[1]
        ordered = sorted(difference, key=lambda token: (self._rarity[token], token))
        return ordered[: len(ordered) - shared + 1]

    def _computed_bounds(self, size: int, apart: int) -> tuple[int, int]:
        """Over all partners of a set with *size* tokens and *apart* differences.

        The most tokens that it may differ in, and the fewest differences that it shares with a partner unless both are
        near the core.
        """
        most, least = 0, apart
        for other in range(size * self._above // self._below, size * self._below // self._above + 1):
            allowed = self._allowed(size, other)
            if allowed >= 0:
                most = max(most, allowed)
                # The partner has at least as many differences as its size has from the core's.
                least = min(least, -((allowed - apart - abs(other - self._core)) // 2))
        return most, max(least, 1)
