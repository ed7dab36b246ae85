from __future__ import annotations

from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.dedup.ragged import Ragged
from personalake.dedup.verify import intersections, rational, repeats, similarity


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.9, Fraction(9, 10)), (0.85, Fraction(17, 20)), (1.0, Fraction(1)), (1e-05, Fraction(1, 100_000))],
)
def test_a_threshold_is_the_fraction_that_its_decimals_say(threshold: float, expected: Fraction) -> None:
    assert rational(threshold) == expected


def test_a_threshold_with_many_digits_stays_small_enough_for_64_bits() -> None:
    assert rational(0.12345678901234567).denominator <= 1_000_000


def test_every_pair_of_sizes_is_decided_as_exact_fractions_are() -> None:
    pairs = [(common, union) for union in range(41) for common in range(union + 1)]
    common, union = np.array(pairs).T
    for threshold, limit in ((0.9, Fraction(9, 10)), (0.7, Fraction(7, 10)), (1.0, Fraction(1))):
        expected = [not u or Fraction(c, u) >= limit for c, u in pairs]
        assert repeats(common, union, threshold).tolist() == expected


def test_the_similarity_is_the_nearest_double_and_that_of_empty_sets_is_one() -> None:
    assert similarity(np.array([2, 2, 0, 0, 1]), np.array([4, 2, 0, 1, 3])).tolist() == [0.5, 1.0, 1.0, 0.0, 1 / 3]


@given(st.lists(st.sets(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5)), min_size=1), st.data())
def test_what_sets_have_in_common_is_counted_for_every_pair(sets: list[set[int]], data: st.DataObject) -> None:
    """Whether a set has few partners or many."""
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, len(sets) - 1)] * 2)))
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    rows = Ragged(
        np.array([value for each in sets for value in sorted(each)], dtype=np.int64), np.array([*map(len, sets)])
    )
    expected = [len(sets[one] & sets[other]) for one, other in pairs]
    for partners in (1, 3, 1_000):
        with patch("personalake.dedup.verify._PARTNERS", partners):
            assert intersections(rows, left, right).tolist() == expected


@pytest.mark.parametrize("partners", [1, 3, 16])
def test_more_tokens_than_are_compared_at_once_are_compared_all(monkeypatch: pytest.MonkeyPatch, partners: int) -> None:
    monkeypatch.setattr("personalake.dedup.verify._AT_ONCE", 7)
    monkeypatch.setattr("personalake.dedup.verify._PARTNERS", partners)
    rows = Ragged(np.array([1, 2, 3, 4, 2, 3, 9, 3]), np.array([4, 3, 1, 0]))
    left, right = np.array([0, 0, 1, 3, 0]), np.array([1, 2, 2, 0, 0])
    assert intersections(rows, left, right).tolist() == [2, 1, 1, 0, 4]
