from __future__ import annotations

import numpy as np
import pytest

from personalake.dedup import cells
from personalake.dedup.cells import Cells, choose_cells, sampled
from personalake.dedup.vectors import Matrix

COUNT, WIDTH = 20_000, 48


def _unit(rows: np.ndarray) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _directions(seed: int, *, clustered: bool) -> Matrix:
    drawn = np.random.default_rng(seed)
    rows = drawn.standard_normal((COUNT, WIDTH))
    return _unit(rows + 3 * drawn.standard_normal((200, WIDTH))[drawn.integers(0, 200, COUNT)] if clustered else rows)


def _beside(rows: Matrix, threshold: float, seed: int) -> Matrix:
    """A neighbour of each row at just *threshold*, aside in the direction of another one."""
    toward = rows[np.random.default_rng(seed).permutation(len(rows))]
    aside = _unit(toward - (toward * rows).sum(axis=1, keepdims=True) * rows + 1e-9)
    return _unit(threshold * rows + np.sqrt(1 - threshold**2) * aside)


def _share(found: Cells, rows: Matrix, others: Matrix) -> float:
    one, other = found.of(rows), found.of(others)
    return float((one[:, :, None] == other[:, None, :]).any(axis=(1, 2)).mean())


@pytest.mark.parametrize("clustered", [False, True], ids=["anywhere", "clustered"])
def test_neighbours_at_the_threshold_share_a_cell_as_often_as_was_measured(clustered: bool) -> None:
    rows = _directions(3, clustered=clustered)
    found = choose_cells(rows[: sampled(COUNT, 0)], COUNT, 0, 0.9, 0.98)
    assert found is not None
    assert found.recall >= 0.98
    # Of rows that neither k-means nor the measurement has seen.
    unseen = rows[-4_000:]
    assert _share(found, unseen, _beside(unseen, 0.9, 5)) == pytest.approx(found.recall, abs=0.01)
    assert len(found.centroids) * 10 < COUNT


def test_at_wide_angles_no_number_of_cells_would_do() -> None:
    rows = _directions(3, clustered=False)
    assert choose_cells(rows[: sampled(COUNT, 0)], COUNT, 0, 0.5, 0.99) is None


def test_few_rows_make_one_cell_whatever_the_angle() -> None:
    found = choose_cells(_directions(3, clustered=False)[:100], 100, 0, 0.5, 0.99)
    assert found is not None
    assert (len(found.centroids), found.nearest, found.recall) == (1, 1, 1.0)


def test_cells_are_the_same_however_rows_are_divided() -> None:
    rows = _directions(4, clustered=True)
    found = choose_cells(rows[: sampled(COUNT, 0)], COUNT, 0, 0.9, 0.9)
    assert found is not None
    whole = found.of(rows[:3_000])
    apart = np.concatenate([found.of(part) for part in np.array_split(rows[:3_000], 41)])
    assert np.array_equal(whole, apart)


def test_scores_are_whole_numbers_that_single_precision_holds() -> None:
    rows = cells.on_grid(_directions(5, clustered=False)[:500])
    exact = rows.astype(np.int64) @ rows.astype(np.int64).T
    assert np.array_equal((rows @ rows.T).astype(np.int64), exact)
    assert np.abs(exact).max() < 2**24


def test_a_hub_beside_few_new_rows_is_cut_into_fewer_cells_than_as_many_new_ones() -> None:
    assert sampled(10_000, 990_000) < sampled(1_000_000, 0)
