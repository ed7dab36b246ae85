from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalake.dedup.exact import exact_keys
from personalake.dedup.ragged import Ragged, int64_list
from personalake.dedup.verify import rational

THRESHOLDS = st.sampled_from([0.5, 0.55, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])


def keys(sets: Sequence[set[int]], threshold: float) -> list[list[int]]:
    values = [value for one in sets for value in sorted(one)]
    rows = Ragged(np.array(values, dtype=np.int64), np.array([len(one) for one in sets], dtype=np.int64))
    found: list[list[int]] = int64_list(exact_keys(rows, threshold)).to_pylist()
    return found


@st.composite
def pairs_at(draw: st.DrawFn, threshold: float) -> tuple[set[int], set[int]]:
    """Two sets that reach the threshold, some of them barely."""
    size = draw(st.integers(0, 60))
    one = {int(value) for value in np.random.default_rng(draw(st.integers(0, 2**32))).integers(-(2**63), 2**63, size)}
    gone = draw(st.integers(0, len(one)))
    other = set(sorted(one)[gone:]) | set(range(draw(st.integers(0, len(one) + 1))))
    while one | other and Fraction(len(one & other), len(one | other)) < rational(threshold):
        # One difference less at a time, so that it ends just above the threshold.
        if other - one:
            other.discard(max(other - one))
        else:
            other.add(max(one - other))
    return one, other


@settings(max_examples=400)
@given(THRESHOLDS, st.data())
def test_two_sets_that_reach_the_threshold_share_a_key(threshold: float, data: st.DataObject) -> None:
    one, other = data.draw(pairs_at(threshold))
    first, second = keys([one, other], threshold)
    assert set(first) & set(second)


@pytest.mark.parametrize("threshold", [0.8, 0.9, 0.95])
def test_the_least_similar_pairs_of_every_size_share_a_key(threshold: float) -> None:
    drawn, limit = np.random.default_rng(5), rational(threshold)
    for size in range(1, 120):
        base = {int(value) for value in drawn.integers(0, 2**62, size)}
        for more in range(int(size / limit) - size + 1):
            # One side has `more` tokens that the other lacks, and as many are swapped as the threshold allows.
            swapped = 0
            while Fraction(size - swapped - 1, size + more + swapped + 1) >= limit:
                swapped += 1
            new = {int(value) for value in drawn.integers(0, 2**62, more + swapped)}
            first, second = keys([base, set(sorted(base)[swapped:]) | new], threshold)
            assert set(first) & set(second), (size, more, swapped)


def test_equal_sets_have_the_same_keys_in_the_same_order_whatever_stands_beside_them() -> None:
    one = set(range(100, 123))
    assert keys([one], 0.9)[0] == keys([set(), {1}, one, one, set(range(40))], 0.9)[3]


def test_unrelated_sets_of_common_words_seldom_share_a_key() -> None:
    drawn = np.random.default_rng(1)
    sets = [{int(v) for v in drawn.zipf(1.3, 30) if v < 5_000} for _ in range(2_000)]
    found = [set(each) for each in keys(sets, 0.9)]
    shared = [
        (a, b) for a in range(0, 2_000, 20) for b in range(a) if found[a] & found[b] and len(sets[a] & sets[b]) < 12
    ]
    assert len(shared) < 100


def test_a_set_that_no_other_size_can_match_has_one_key() -> None:
    assert [len(each) for each in keys([set(), {1}, set(range(8))], 0.9)] == [1, 1, 1]


def test_at_a_low_threshold_sets_share_the_one_key_that_leaves_them_to_the_crowd() -> None:
    first, second = keys([set(range(20)), set(range(50, 70))], 0.5)
    assert set(first) & set(second)
