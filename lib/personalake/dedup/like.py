"""How like texts are: one to all others in a pass over them, or any two of a sample; exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from personalake.dedup.ragged import Ints, Ragged, ragged
from personalake.dedup.tokens import token_hashes
from personalake.dedup.verify import similarity


def similarities(rows: DataFrame, key: str, text: str) -> DataFrame:
    """Return the *key* of *rows* (*key*, `text`) and their `similarity` to *text*: Jaccard's, of token sets.

    One question needs no index: MinHash would have to hash them all to build one.
    """
    wanted = token_hashes(pa.array([text])).values.to_numpy()
    kind = rows.schema[key].dataType.simpleString()
    return rows.select(key, "text").mapInArrow(_measurer(wanted), f"{key} {kind}, similarity double")


def _measurer(wanted: Ints) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = jaccard(ragged(token_hashes(batch.column(1))), wanted)
            yield pa.RecordBatch.from_arrays([batch.column(0), pa.array(found)], [batch.schema.names[0], "similarity"])

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
