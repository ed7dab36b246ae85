"""Cells: the regions around centroids that let a vector be compared with its neighbourhood alone.

Two vectors are compared where they have one of their nearest cells in common. How many cells a vector must lie in for
that is measured, on vectors of the data with a neighbour put just at the threshold, and not taken for granted: random
directions take four, dense clusters eight, and at wide angles no number does.

All scores are whole numbers that single precision holds exactly (vectors on a grid of 1/2048), so that cells come out
the same in any partitioning and on any machine, at the speed of a matrix product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from personalake.dedup.ragged import Ints
from personalake.dedup.vectors import Floats, Matrix

_GRID = 2_048
"""Products of two unit vectors on this grid stay below 2**24, up to where single precision counts exactly."""

ALL_PAIRS = 8_192
"""So few vectors make one cell: all pairs take a second or two."""

MOST_CELLS = 4_096
MOST_NEAREST = 12
"""More cells a vector are more to move than they save."""

_SAVED = 4
"""Cells compare each row with a fourth of all at most, or all may as well be compared."""

_TRAINED_ON = 20
"""Vectors a cell that k-means is trained on."""
_ROUNDS = 6
_PROBES = 4_000


@dataclass(frozen=True)
class Cells:
    """Centroids on the grid (a row each), how many cells a vector lies in, and the share of neighbours that share one.

    *recall* is of neighbours just at the threshold, the hardest; nearer ones are found more often.
    """

    centroids: npt.NDArray[np.int16]
    nearest: int
    recall: float

    def of(self, vectors: Matrix) -> Ints:
        """The nearest cells of each vector, the nearest first: ``(rows, nearest)``."""
        return _nearest(on_grid(vectors), self.centroids.astype(np.float32), self.nearest)


def sampled(rows: int, hub: int) -> int:
    """How many vectors, of *rows* new ones beside *hub* old ones, `choose_cells` wants to see."""
    return _TRAINED_ON * _number(rows, hub) + _PROBES


def choose_cells(sample: Matrix, rows: int, hub: int, threshold: float, recall: float) -> Cells | None:
    """The cells for *rows* new vectors beside *hub* old ones, of which *sample* (in a fixed order) are some.

    Few, wide cells are tried where many narrow ones would part too many neighbours; null where all do. What k-means is
    trained on isn't what recall is measured on, since it lies nearer to the centroids.
    """
    number = _number(rows, hub)
    if number == 1:
        return Cells(np.zeros((1, sample.shape[1]), dtype=np.int16), 1, 1.0)
    points = on_grid(sample[:-_PROBES])
    while number >= _FEWEST:
        centroids = _trained(points[: _TRAINED_ON * number], number)
        shares = _shares(sample[-_PROBES:], centroids, threshold)
        enough = np.flatnonzero(shares >= recall)
        if len(enough) and _SAVED * (enough[0] + 1) ** 2 <= number:
            return Cells(centroids.astype(np.int16), int(enough[0]) + 1, float(shares[enough[0]]))
        number //= 4
    return None


_FEWEST = 16


def _number(rows: int, hub: int) -> int:
    """So many cells that finding a vector's cells costs about as much as comparing it in them."""
    whole = rows + hub
    if whole <= ALL_PAIRS:
        return 1
    return max(_FEWEST, min(MOST_CELLS, round(4 * math.sqrt(rows * (rows / 2 + hub) / whole))))


def on_grid(vectors: Matrix) -> Matrix:
    """Unit vectors as whole numbers on the grid."""
    found: Matrix = np.rint(vectors * np.float32(_GRID))
    return found


def _trained(points: Matrix, number: int) -> Matrix:
    """Spherical k-means (Dhillon and Modha, 2001) from the first points on; a cell that loses all keeps its place."""
    centroids: Matrix = points[:number].copy()
    for _ in range(_ROUNDS):
        cell = _nearest(points, centroids, 1)[:, 0]
        order = np.argsort(cell, kind="stable")
        filled, starts = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(points[order].astype(np.float64), starts, axis=0)
        lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
        centroids[filled] = np.rint(sums * (_GRID / np.maximum(lengths, 1.0)))
    return centroids


def _nearest(points: Matrix, centroids: Matrix, count: int) -> Ints:
    found = np.empty((len(points), count), dtype=np.int64)
    for low in range(0, len(points), 2_048):
        scores = points[low : low + 2_048] @ centroids.T
        every = np.arange(len(scores))
        for place in range(count):
            # Of equal scores the first, which a partial sort would leave to the machine.
            best = scores.argmax(axis=1)
            found[low : low + len(scores), place] = best
            scores[every, best] = -np.inf
    return found


def _shares(sample: Matrix, centroids: Matrix, threshold: float) -> Floats:
    """For 1, 2, … nearest cells, the share of vectors that share one with a neighbour just at *threshold*.

    A neighbour lies in the direction of another vector of the sample, since that is where the data's lie.
    """
    one, toward = sample.astype(np.float64), np.roll(sample, 1, axis=0).astype(np.float64)
    aside = toward - (toward * one).sum(axis=1, keepdims=True) * one
    length = np.linalg.norm(aside, axis=1)
    apart = length > 1e-3  # noqa: PLR2004 (a copy of the vector has no direction from it)
    one, aside = one[apart], aside[apart] / length[apart, None]
    if not len(one):
        return np.ones(1)
    other = threshold * one + math.sqrt(1 - threshold * threshold) * aside
    most = min(MOST_NEAREST, len(centroids))
    cells = [_nearest(on_grid(each.astype(np.float32)), centroids, most) for each in (one, other)]
    # A pair shares one of its n nearest cells from the least n on at which a cell is among the first n of both.
    same = cells[0][:, :, None] == cells[1][:, None, :]
    place = np.maximum(np.arange(most)[:, None], np.arange(most)[None, :])
    first = np.where(same, place, most).min(axis=(1, 2))
    return np.cumsum(np.bincount(first, minlength=most + 1)[:most]) / len(one)
