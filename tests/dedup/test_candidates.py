from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from personalake.dedup.blocks import addresses
from personalake.dedup.candidates import Candidates, Entries, candidates, distinct_pairs, entries, scattered
from personalake.dedup.ragged import Ragged

# A row: the number of its set, and the keys that this set has.
SETS = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True), min_size=1, max_size=8)
ROWS = st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=14)


def as_entries(sets: list[list[int]], rows: list[int], block: int = 5) -> Entries:
    keys = [sets[one] for one in rows]
    ragged = Ragged(np.array([key << 50 for each in keys for key in each], np.int64), np.array([*map(len, keys)], int))
    return entries(block, np.array(rows, dtype=np.int64), ragged)


def pairs(found: np.ndarray) -> set[frozenset[int]]:
    listed = [frozenset(map(int, pair)) for pair in found.T]
    assert len(listed) == len(set(listed))
    return set(listed)


@given(SETS, ROWS, st.integers(1, 5))
def test_rows_that_share_a_key_are_paired_once_copies_with_their_speaker_alone(
    sets: list[list[int]], drawn: list[tuple[int, bool]], parts: int
) -> None:
    rows = [one % len(sets) for one, _ in drawn]
    # The hub has each set once at most, and its rows come before all others.
    fresh = [new or one in rows[:place] for place, (one, (_, new)) in enumerate(zip(rows, drawn, strict=True))]
    order = sorted(range(len(rows)), key=lambda row: (fresh[row], row))
    rows, fresh = [rows[row] for row in order], [fresh[row] for row in order]
    address = addresses(5, len(rows)).tolist()
    found: list[Candidates] = []
    for part in scattered(as_entries(sets, rows), parts):
        row = (part[2] & np.uint64(2**63 - 1)).view(np.int64)
        is_fresh = np.array([fresh[address.index(one)] for one in row], dtype=bool)
        with patch("personalake.dedup.candidates._PAIRS", 2):
            found.append(candidates(part, is_fresh, crowd=10**6))
    speaker = {one: address[rows.index(one)] for one in set(rows)}
    copies = {frozenset((a, speaker[one])) for a, one in zip(address, rows, strict=True) if a != speaker[one]}
    assert set().union(*(pairs(each.same) for each in found)) == copies
    is_new = {one: any(new for other, new in zip(rows, fresh, strict=True) if one == other) for one in speaker}
    expected = {
        frozenset((speaker[one], speaker[other]))
        for one, other in itertools.combinations(speaker, 2)
        if set(sets[one]) & set(sets[other]) and (is_new[one] or is_new[other])
    }
    assert set().union(*(pairs(each.alike) for each in found)) == expected
    assert all(each.crowds.shape == (2, 0) for each in found)


def test_more_pairs_under_a_key_than_a_crowd_has_are_not_made_but_its_members_named() -> None:
    sets = [[1]] * 5 + [[2]] * 3
    outcome = candidates(as_entries(sets, list(range(8))), np.ones(8, dtype=bool), crowd=4)
    members = addresses(5, 8).tolist()
    assert outcome.crowds[1].tolist() == members[:5]
    assert len(set(outcome.crowds[0].tolist())) == 1
    assert pairs(outcome.alike) == {frozenset(pair) for pair in itertools.combinations(members[5:], 2)}


def test_two_hundred_thousand_equal_rows_are_as_many_pairs() -> None:
    found = as_entries([[1, 2, 3]], [0] * 2_000)
    every = np.concatenate(
        [found + np.array([[0], [0], [block << 11]], dtype=np.uint64) for block in range(100)], axis=1
    )
    outcome = candidates(every, np.ones(every.shape[1], dtype=bool), crowd=500)
    assert outcome.same.shape == (2, 199_999)
    assert len(set(outcome.same[1].tolist())) == 1
    assert outcome.alike.shape == outcome.crowds.shape == (2, 0)


def test_pairs_are_sorted_and_each_is_there_once() -> None:
    assert distinct_pairs(np.array([[3, 1, 3, 1], [1, 2, 1, 1]])).tolist() == [[1, 1, 3], [1, 2, 1]]
