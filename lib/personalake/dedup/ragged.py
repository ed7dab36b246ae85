"""Rows of unequal length as two flat arrays, and what numpy can do with all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows of integers: ``values`` has them on end, ``counts`` says how many belong to each row."""

    values: Ints
    counts: Ints

    @property
    def starts(self) -> Ints:
        """Where each row begins."""
        starts: Ints = np.cumsum(self.counts) - self.counts
        return starts

    def by_count(self) -> Iterator[tuple[Ints, npt.NDArray[np.int64]]]:
        """The rows by their length: which rows, and where their values lie as a matrix ``(rows, length)``.

        Rows of one length are a matrix, on which numpy needs no loop; texts have a few dozen lengths.
        """
        starts = self.starts
        order = np.argsort(self.counts, kind="stable")
        ends = np.cumsum(np.bincount(self.counts)) if len(self.counts) else np.zeros(0, dtype=np.int64)
        for count in np.flatnonzero(np.diff(ends, prepend=0)):
            rows = order[ends[count - 1] if count else 0 : ends[count]]
            yield rows, starts[rows][:, None] + np.arange(count)

    def distinct(self) -> Ragged:
        """Each row sorted, and each of its values once."""
        values = self.values.copy()
        for _, places in self.by_count():
            if places.shape[1] > 1:
                values[places] = np.sort(values[places], axis=1)
        new = np.ones(len(values), dtype=bool)
        new[1:] = values[1:] != values[:-1]
        new[self.starts[self.counts > 0]] = True
        kept = np.concatenate([[0], np.cumsum(new)])
        starts = self.starts
        return Ragged(values[new], kept[starts + self.counts] - kept[starts])

    def take(self, rows: Ints) -> Ragged:
        """These rows, in this order; a row may be taken several times."""
        counts = self.counts[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Ragged(self.values[np.repeat(self.starts[rows], counts) + within], counts)


def int64_list(rows: Ragged) -> pa.ListArray:
    """The rows as Arrow's ``list<int64>``."""
    offsets = np.concatenate([[0], np.cumsum(rows.counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.values))


def ragged(lists: pa.ListArray) -> Ragged:
    """Arrow's ``list<int64>`` as rows; a null is an empty row."""
    counts = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return Ragged(lists.flatten().to_numpy(zero_copy_only=False), counts)


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The next state of SplitMix64 for each value (Steele, Lea, Flood: Fast splittable PRNGs, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return found
