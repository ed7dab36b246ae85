from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalake.dedup.crowds import witnesses


def settled(sets: list[frozenset[int]], known: int, threshold: float) -> list[tuple[int, int]]:
    """Who repeats whom, by number; that what they share is counted right is checked on the way."""
    found = []
    for row, other, shared in witnesses(((n, one, n < known) for n, one in enumerate(sets)), threshold):
        assert shared == len(sets[row] & sets[other])
        found.append((row, other))
    return found


SETS = st.lists(st.frozensets(st.integers(0, 24), max_size=24), max_size=40, unique=True)


def one_by_one(sets: list[frozenset[int]], known: int, threshold: float) -> list[tuple[int, int]]:
    """The oracle: each row against all that stayed before it."""
    stayed: list[int] = []
    found = []
    for row, one in enumerate(sets):
        repeated = [
            other
            for other in stayed
            if row >= known
            and Fraction(len(one & sets[other]), len(one | sets[other]) or 1) >= Fraction(str(threshold))
        ]
        if repeated:
            found.append((row, repeated[0]))
        else:
            stayed.append(row)
    return found


@settings(max_examples=300)
@given(SETS, st.integers(0, 5), st.sampled_from([0.5, 0.6, 0.75, 0.8, 0.9, 1.0]))
def test_who_stays_in_a_crowd_is_what_comparing_all_says(
    sets: list[frozenset[int]], known: int, threshold: float
) -> None:
    assert settled(sets, known, threshold) == one_by_one(sets, known, threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_crowds_around_a_core_are_settled_as_by_comparing_all(threshold: float) -> None:
    drawn = random.Random(threshold)
    for size in (3, 12, 20, 40):
        core = range(1000, 1000 + size)
        sets = [
            frozenset({*drawn.sample(core, size - drawn.randint(0, 2)), *drawn.sample(range(60), drawn.randint(0, 3))})
            for _ in range(300)
        ]
        sets = list(dict.fromkeys(sets))
        assert settled(sets, 20, threshold) == one_by_one(sets, 20, threshold)


@pytest.mark.parametrize(("size", "staying"), [(12, 20_000), (25, 1)])
def test_twenty_thousand_sets_that_share_all_but_one_token_take_no_pair_of_two_that_are_not_needed(
    size: int, staying: int
) -> None:
    core = frozenset(range(size - 1))
    found = settled([core | {1_000 + row} for row in range(20_000)], 0, 0.9)
    assert len(found) == 20_000 - staying
