"""Crowds: very many sets under one key, of which only so many pairs are found as it takes to settle who stays.

In a crowd of 50,000 that all repeat each other one row stays, and 49,999 pairs with it are enough; in one where nobody
repeats anybody none is. So a crowd's rows are taken best first, and each is compared with those that stayed alone.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

from personalake.dedup.verify import rational

T = TypeVar("T")

_SAMPLE = 2_000


def witnesses(members: Iterable[tuple[T, frozenset[int], bool]], threshold: float) -> Iterator[tuple[T, T, int]]:
    """Yield each member of a crowd that doesn't stay, the first that stayed and that it repeats, and what both share.

    *members* are rows with distinct sets, best first; those that are known stay without being compared. Only those that
    stay are held in memory, beside the first few thousand.

    Sets are told by what sets them apart from the crowd's core, the tokens that more than half of them have (of those
    first few thousand; any core would do): two sets differ in at most as many tokens as both differ from the core, and
    where that alone isn't few enough, they must share one of these differences (of them, the first few by rarity: the
    prefix filter of Chaudhuri, Ganti, Kaushik, ICDE 2006). In a crowd, that leaves next to nothing to compare.
    """
    members = iter(members)
    sample = list(itertools.islice(members, _SAMPLE))
    counts = Counter(token for _, one, _ in sample for token in one)
    core = frozenset(token for token, count in counts.items() if 2 * count > len(sample))
    crowd = _Stayed(rational(threshold), len(core), Counter(token for _, one, _ in sample for token in one ^ core))
    stayed: list[T] = []
    for row, one, known in itertools.chain(sample, members):
        difference = one ^ core
        found = None if known else crowd.first_repeated(len(one), difference)
        if found is None:
            crowd.add(len(one), difference)
            stayed.append(row)
        else:
            place, apart = found
            yield row, stayed[place], (len(one) + crowd.size(place) - apart) // 2


class _Stayed:
    """The rows of a crowd that stayed so far, by their differences from its core."""

    def __init__(self, threshold: Fraction, core: int, rarity: Counter[int]) -> None:
        self._above, self._below, self._core, self._rarity = threshold.numerator, threshold.denominator, core, rarity
        self._rows: list[tuple[int, frozenset[int]]] = []
        self._by_token: dict[int, list[int]] = defaultdict(list)
        self._nearest: dict[tuple[int, int], int] = {}
        """By size and number of differences, the first that stayed, where it is near enough to the core to matter."""
        self._bounds = functools.lru_cache(maxsize=None)(self._computed_bounds)

    def size(self, place: int) -> int:
        """How many tokens the row has that stayed as the one at *place*."""
        return self._rows[place][0]

    def add(self, size: int, difference: frozenset[int]) -> None:
        """Let a row stay."""
        place = len(self._rows)
        self._rows.append((size, difference))
        if len(difference) <= self._bounds(size, len(difference))[0]:
            self._nearest.setdefault((size, len(difference)), place)
        for token in self._prefix(size, difference):
            self._by_token[token].append(place)

    def first_repeated(self, size: int, difference: frozenset[int]) -> tuple[int, int] | None:
        """The place of the first row that stayed and that a set repeats, and in how many tokens the two differ."""
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
            other, its_difference = self._rows[place]
            apart = len(difference ^ its_difference)
            if apart <= self._allowed(size, other):
                return place, apart
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
