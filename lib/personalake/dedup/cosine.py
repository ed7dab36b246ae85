"""Which vectors of a neighbourhood are near each other: all pairs, or for each row the first that stays."""

from __future__ import annotations

import numpy as np

from personalake.dedup.ragged import Ints
from personalake.dedup.vectors import Floats, Matrix, cosines

_ROWS, _COLUMNS = 1_024, 8_192
_ROUNDING = 1e-5
"""What single precision may be wrong by in a cosine, and more."""


def near_pairs(vectors: Matrix, known: int, threshold: float, most: int) -> tuple[Ints, Ints, Floats] | None:
    """All pairs at or above the threshold, as (row, an earlier row, cosine); null where there are more than *most*.

    The first *known* rows aren't compared with each other.
    """
    rows, others, found = [], [], 0
    for low in range(known, len(vectors), _ROWS):
        block = vectors[low : low + _ROWS]
        for left in range(0, low + len(block), _COLUMNS):
            right = min(left + _COLUMNS, low + len(block))
            row, other = np.nonzero(block @ vectors[left:right].T >= threshold - _ROUNDING)
            earlier = other + left < row + low
            rows.append(row[earlier] + low)
            others.append(other[earlier] + left)
            found += len(rows[-1])
            if found > most:
                return None
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    one, other = np.concatenate(rows), np.concatenate(others)
    exact = cosines(vectors[one], vectors[other])
    near = exact >= threshold
    return one[near], other[near], exact[near]


def first_near(vectors: Matrix, known: int, threshold: float) -> tuple[Ints, Floats]:
    """For each row the first earlier one that stays and is near (-1 where it stays itself), and their cosine.

    Rows are taken in their order; one stays that is near none which stayed before. The first *known* all stay.
    """
    witness, alike = np.full(len(vectors), -1, dtype=np.int64), np.ones(len(vectors))
    stayed = np.arange(known)
    for low in range(known, len(vectors), _ROWS):
        block = vectors[low : low + _ROWS]
        witness[low : low + len(block)], alike[low : low + len(block)] = nearest_kept(block, vectors[stayed], threshold)
        # Where a block's rows found nobody before the block, those within it are next.
        left = np.flatnonzero(witness[low : low + len(block)] < 0)
        inside = block[left] @ block[left].T >= threshold - _ROUNDING
        found = witness[low : low + len(block)] >= 0
        witness[low : low + len(block)][found] = stayed[witness[low : low + len(block)][found]]
        keeps = np.zeros(len(left), dtype=bool)
        for place, row in enumerate(left.tolist()):
            for other in np.flatnonzero(inside[place, :place] & keeps[:place]).tolist():
                cosine = float(cosines(block[row : row + 1], block[left[other] : left[other] + 1])[0])
                if cosine >= threshold:
                    witness[low + row], alike[low + row] = low + left[other], cosine
                    break
            else:
                keeps[place] = True
        stayed = np.concatenate([stayed, low + left[keeps]])
    return witness, alike


def nearest_kept(vectors: Matrix, kept: Matrix, threshold: float) -> tuple[Ints, Floats]:
    """For each of *vectors* the first of *kept* that is near (-1 for none), and their cosine."""
    witness, alike = np.full(len(vectors), -1, dtype=np.int64), np.ones(len(vectors))
    for low in range(0, len(vectors), _ROWS):
        for left in range(0, len(kept), _COLUMNS):
            _look(vectors, kept, threshold, (low, left), witness, alike)
    return witness, alike


def _look(
    vectors: Matrix, kept: Matrix, threshold: float, start: tuple[int, int], witness: Ints, alike: Floats
) -> None:
    """One tile of :func:`nearest_kept`, for the rows that have found nobody in the tiles before it."""
    low, left = start
    open_ = np.flatnonzero(witness[low : low + _ROWS] < 0) + low
    if not len(open_):
        return
    near = vectors[open_] @ kept[left : left + _COLUMNS].T >= threshold - _ROUNDING
    # The first candidate may miss the threshold by a rounding: then the next one is looked at.
    while near.any():
        rows = np.flatnonzero(near.any(axis=1))
        first = near[rows].argmax(axis=1)
        exact = cosines(vectors[open_[rows]], kept[left + first])
        good = exact >= threshold
        witness[open_[rows[good]]], alike[open_[rows[good]]] = left + first[good], exact[good]
        near[rows[good]] = False
        near[rows[~good], first[~good]] = False
