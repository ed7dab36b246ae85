"""Vectors by a sentence-transformers model that lies on every worker: no endpoint, no download."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa

from personalake.dedup.passes import Batches, Pass
from personalake.dedup.vectors import kept

_BATCH = 64


def encoder(path: str) -> Pass:
    """From (id, text) to (id, vector), by the model in the folder *path*."""

    def encode(batches: Batches) -> Batches:
        for batch in batches:
            texts = batch.column("text").to_pylist()
            if texts:
                made = _model(path).encode(texts, batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True)
                vectors = pa.array(kept(np.asarray(made, dtype=np.float64)), pa.binary())
                yield pa.RecordBatch.from_arrays([batch.column("id"), vectors], ["id", "vector"])

    return encode


@functools.lru_cache(maxsize=1)
def _model(path: str) -> Any:  # noqa: ANN401 (of an extra that may not be there)
    """The model, loaded once in a worker's life."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (as above)

    return SentenceTransformer(path, local_files_only=True)
