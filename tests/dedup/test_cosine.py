from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalake.dedup import cosine
from personalake.dedup.cosine import first_near, near_pairs, nearest_kept
from personalake.dedup.vectors import Matrix, cosines


def _cloud(seed: int, count: int, spread: float) -> Matrix:
    """Unit vectors around a few directions."""
    drawn = np.random.default_rng(seed)
    about = drawn.standard_normal((5, 12))
    rows = about[drawn.integers(0, 5, count)] + spread * drawn.standard_normal((count, 12))
    rows[drawn.random(count) < 0.1] = about[0]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _every_pair(rows: Matrix, known: int, threshold: float) -> dict[tuple[int, int], float]:
    one, other = (each.ravel() for each in np.mgrid[: len(rows), : len(rows)])
    alike = cosines(rows[one], rows[other])
    near = (other < one) & (one >= known) & (alike >= threshold)
    return {(i, j): c for i, j, c in zip(one[near].tolist(), other[near].tolist(), alike[near].tolist(), strict=True)}


def _walked(rows: Matrix, known: int, threshold: float) -> dict[int, tuple[int, float]]:
    """The oracle: each row against all that stayed before it."""
    pairs, gone = _every_pair(rows, known, threshold), dict[int, tuple[int, float]]()
    for row in range(known, len(rows)):
        first = next((other for other in range(row) if other not in gone and (row, other) in pairs), None)
        if first is not None:
            gone[row] = (first, pairs[row, first])
    return gone


CLOUDS = st.builds(_cloud, st.integers(0, 99), st.integers(1, 70), st.sampled_from([0.1, 0.5, 2.0]))
THRESHOLDS = st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.99, 1.0])


@pytest.fixture(autouse=True, scope="module")
def small_tiles() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "_ROWS", 7)
        patch.setattr(cosine, "_COLUMNS", 11)
        yield


@settings(deadline=None)
@given(CLOUDS, THRESHOLDS, st.integers(0, 20))
def test_the_pairs_found_are_all_that_there_are(rows: Matrix, threshold: float, known: int) -> None:
    found = near_pairs(rows, known, threshold, most=10**6)
    assert found is not None
    one, other, alike = found
    listed = dict(zip(zip(one.tolist(), other.tolist(), strict=True), alike.tolist(), strict=True))
    assert listed == _every_pair(rows, known, threshold)


def test_more_pairs_than_wanted_are_not_listed() -> None:
    rows = np.repeat(_cloud(1, 1, 0.1), 30, axis=0)
    assert near_pairs(rows, 0, 0.9, most=30 * 29 // 2 - 1) is None
    assert near_pairs(rows, 0, 0.9, most=30 * 29 // 2) is not None


@settings(deadline=None)
@given(CLOUDS, THRESHOLDS, st.integers(0, 20))
def test_rows_walked_in_order_stay_or_go_as_one_by_one(rows: Matrix, threshold: float, known: int) -> None:
    known = min(known, len(rows))
    witness, alike = first_near(rows, known, threshold)
    gone = {row: (int(witness[row]), float(alike[row])) for row in np.flatnonzero(witness >= 0).tolist()}
    assert gone == _walked(rows, known, threshold)


@settings(deadline=None)
@given(CLOUDS, CLOUDS, THRESHOLDS)
def test_each_row_finds_the_first_kept_one_that_is_near(rows: Matrix, kept: Matrix, threshold: float) -> None:
    witness, alike = nearest_kept(rows, kept, threshold)
    for row, found, cosine_ in zip(rows, witness.tolist(), alike.tolist(), strict=True):
        every = cosines(np.repeat(row[None, :], len(kept), axis=0), kept)
        near = np.flatnonzero(every >= threshold).tolist()
        assert found == (near[0] if near else -1)
        assert cosine_ == (every[found] if near else 1.0)
