"""How like texts and vectors are: one to all others in a pass over them, or any two texts of a sample; exact.

A task that looks for the best rows holds these alone. One question needs no index: MinHash, or cells, would have to
look at all rows to build one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from personalake.dedup.blocks import lists_of, unpack
from personalake.dedup.passes import Batches, Pass
from personalake.dedup.ragged import Ints, Ragged, ragged
from personalake.dedup.tokens import token_hashes
from personalake.dedup.vectors import Floats, Matrix, cosines, halves
from personalake.dedup.verify import similarity

_FOUND = ["similarity", "persona_id"]
_ORDER = [("similarity", "descending"), ("persona_id", "ascending")]
_ROUNDING = 1e-3
"""What a cosine may change by in half precision, and more."""


def alike_texts(wanted: Ints, most: int) -> Pass:
    """From rows with `persona_id` and `text` to the *most* that resemble the set *wanted*, `similarity` put first."""

    def find(batches: Batches) -> Batches:
        best = _Best(most)
        for batch in batches:
            best.add(batch, jaccard(ragged(token_hashes(batch.column("text"))), wanted))
        yield from best.batches()

    return find


def alike_blocks(wanted: Ints, most: int) -> Pass:
    """From blocks' rows (see `blocks`) to the *most* that resemble the set *wanted*: `similarity`, `persona_id`."""

    def find(batches: Batches) -> Batches:
        best = _Best(most)
        for block in (unpack(one) for batch in batches for one in batch.column("rows")):
            ids = pa.RecordBatch.from_arrays([block.column("id")], ["persona_id"])
            best.add(ids, jaccard(lists_of(block, "tokens"), wanted))
        yield from best.batches()

    return find


def near_vectors(wanted: Matrix, most: int) -> Pass:
    """From (`persona_id`, `vector`) to the *most* nearest to the one row of *wanted*: `similarity`, `persona_id`.

    Half precision turns to single, and is multiplied, at a third of the time that exact cosines take; so these are
    taken only of those that may be among the best.
    """

    def find(batches: Batches) -> Batches:
        best = _Best(most)
        for batch in filter(len, batches):
            vectors = halves(batch.column("vector")).astype(np.float32)
            near = np.flatnonzero(vectors @ wanted[0] >= best.floor - _ROUNDING)
            best.add(batch.select(["persona_id"]).take(pa.array(near)), cosines(vectors[near], wanted))
        yield from best.batches()

    return find


def cosines_to(wanted: Matrix) -> Pass:
    """From (`persona_id`, `vector`) to `similarity`, `persona_id` of all: their cosine to the one row of *wanted*."""

    def measure(batches: Batches) -> Batches:
        for batch in filter(len, batches):
            found = cosines(halves(batch.column("vector")).astype(np.float32), wanted)
            yield pa.RecordBatch.from_arrays([pa.array(found), batch.column("persona_id")], _FOUND)

    return measure


_OFTEN = 32
"""A token of more sets than these is a column of a matrix; of fewer, its pairs of sets are counted one by one."""


def jaccards(sets: Ragged) -> npt.NDArray[np.float32]:
    """The similarity of any two of *sets*, of distinct values: a matrix, so for some thousands of them."""
    number = len(sets.counts)
    rows = np.repeat(np.arange(number), sets.counts)
    _, tokens, of = np.unique(sets.values, return_inverse=True, return_counts=True)
    often = of > _OFTEN
    columns = np.cumsum(often) - 1
    inside = often[tokens]
    table = np.zeros((number, int(often.sum())), dtype=np.float32)
    table[rows[inside], columns[tokens[inside]]] = 1
    common = (table @ table.T).astype(np.int64)
    holders, pairs = Ragged(rows[np.argsort(tokens, kind="stable")], of), [np.zeros(0, dtype=np.int64)]
    for _, places in holders.by_count():
        if 1 < places.shape[1] <= _OFTEN:
            own = holders.values[places]
            pairs.append((own[:, :, None] * number + own[:, None, :]).ravel())
    common += np.bincount(np.concatenate(pairs), minlength=number * number).reshape(number, number)
    # The tokens of a single set were not counted for it and itself.
    np.fill_diagonal(common, sets.counts)
    return similarity(common, sets.counts[:, None] + sets.counts[None, :] - common).astype(np.float32)


def jaccard(sets: Ragged, wanted: Ints) -> npt.NDArray[np.float64]:
    """The similarity of each set to the set *wanted*."""
    shared = np.concatenate([[0], np.cumsum(np.isin(sets.values, wanted))])
    common = shared[sets.starts + sets.counts] - shared[sets.starts]
    return similarity(common, sets.counts + len(wanted) - common)


class _Best:
    """The *most* rows of highest similarity so far; of equally similar ones those of the lowest ids."""

    def __init__(self, most: int) -> None:
        self._most, self._rows = most, pa.table({})
        self.floor = -np.inf
        """A row below this is out."""

    def add(self, rows: pa.RecordBatch, values: Floats) -> None:
        """Take *rows* with their similarity into account."""
        may = values >= self.floor
        columns = [pa.array(values[may]), *rows.filter(pa.array(may)).columns]
        new = pa.Table.from_arrays(columns, ["similarity", *rows.schema.names])
        both = pa.concat_tables([self._rows, new]) if self._rows.num_columns else new
        # Taken, not sliced: a slice would hold all that it is of.
        self._rows = both.take(pc.sort_indices(both, _ORDER)[: self._most])
        if len(self._rows) == self._most:
            self.floor = self._rows.column(0)[-1].as_py()

    def batches(self) -> Batches:
        """The rows that are left."""
        yield from self._rows.combine_chunks().to_batches() if self._rows.num_columns else ()
