"""Exact similarity of two rows, decided on integers and never on an estimate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from personalake.dedup.ragged import Ints, Ragged

_FINEST = 1_000_000

_AT_ONCE = 1 << 21
"""So many tokens are compared at once: work arrays of 16 MB."""


def rational(threshold: float) -> Fraction:
    """Return the threshold as the fraction that its decimals say: 0.9 is 9/10, which the double 0.9 is not.

    Its denominator is at most a million, so that products with set sizes stay far inside 64 bits.
    """
    return Fraction(str(threshold)).limit_denominator(_FINEST)


def intersections(sets: Ragged, left: Ints, right: Ints) -> Ints:
    """Return how many values the sets *left* and *right* (row numbers, pair by pair) have in common.

    A value of both stands twice in the two sets put together and sorted.
    """
    found = np.zeros(len(left), dtype=np.int64)
    sizes = np.cumsum(sets.counts[left] + sets.counts[right])
    low = 0
    while low < len(left):
        done = sizes[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(sizes, done + _AT_ONCE, side="right")))
        found[low:high] = _in_common(sets.take(left[low:high]), sets.take(right[low:high]))
        low = high
    return found


def _in_common(left: Ragged, right: Ragged) -> Ints:
    counts = left.counts + right.counts
    both = Ragged(np.empty(counts.sum(), dtype=np.int64), counts)
    starts = both.starts
    for side, shift in ((left, 0), (right, left.counts)):
        within = np.arange(len(side.values)) - np.repeat(side.starts, side.counts)
        both.values[np.repeat(starts + shift, side.counts) + within] = side.values
    found = np.zeros(len(counts), dtype=np.int64)
    for rows, places in both.by_count():
        ordered = np.sort(both.values[places], axis=1)
        found[rows] = (ordered[:, 1:] == ordered[:, :-1]).sum(axis=1)
    return found


def repeats(intersection: Ints, union: Ints, threshold: float) -> npt.NDArray[np.bool_]:
    """Return whether ``intersection / union >= threshold``, exactly; two empty sets repeat each other."""
    limit = rational(threshold)
    found: npt.NDArray[np.bool_] = intersection * limit.denominator >= union * limit.numerator
    return found


def similarity(intersection: Ints, union: Ints) -> npt.NDArray[np.float64]:
    """Return the Jaccard similarity, the double nearest to the true fraction; two empty sets have 1."""
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))
