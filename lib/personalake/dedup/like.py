"""How like a text all others are: one pass over them, exact, for any number of rows."""

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


def jaccard(sets: Ragged, wanted: Ints) -> npt.NDArray[np.float64]:
    """The similarity of each set to the set *wanted*."""
    shared = np.concatenate([[0], np.cumsum(np.isin(sets.values, wanted))])
    common = shared[sets.starts + sets.counts] - shared[sets.starts]
    return similarity(common, sets.counts + len(wanted) - common)
