"""All pairs of vectors at a cosine of 0.9 or more, by other means: `python nearest.py numpy|faiss VECTORS.npy OUT.npy`.

Prints one JSON object. This file imports nothing of ours: it runs in environments without this project.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

THRESHOLD = 0.9
_ROWS = 4_096


def blocked(vectors: Any) -> tuple[Any, dict[str, float]]:
    """Every row against all before it, by matrix products in blocks: exact."""
    found = []
    for low in range(0, len(vectors), _ROWS):
        block = vectors[low : low + _ROWS]
        for left in range(0, low + len(block), 16_384):
            row, other = np.nonzero(block @ vectors[left : min(left + 16_384, low + len(block))].T >= THRESHOLD)
            earlier = other + left < row + low
            found.append(np.stack([row[earlier] + low, other[earlier] + left]))
    return np.concatenate(found, axis=1), {}


def faiss(vectors: Any) -> tuple[Any, dict[str, float]]:
    """FAISS, inverted lists: probed as widely as it takes to find 99 % of the neighbours of a sample."""
    import faiss as library  # noqa: PLC0415 (only there where it is installed)

    cells = round(4 * len(vectors) ** 0.5)
    index = library.IndexIVFFlat(library.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells)
    index.metric_type = library.METRIC_INNER_PRODUCT
    index.cp.min_points_per_centroid = 5
    index.train(vectors[np.random.default_rng(0).permutation(len(vectors))[: 40 * cells]])
    index.add(vectors)
    sample = vectors[np.random.default_rng(1).permutation(len(vectors))[:2_000]]
    exact = library.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    began = time.perf_counter()
    truth = exact.range_search(sample, THRESHOLD)[0][-1] - len(sample)
    tuned = time.perf_counter() - began
    for probes in (4, 6, 8, 12, 16, 24, 32, 48, 64):
        index.nprobe = probes
        if index.range_search(sample, THRESHOLD)[0][-1] - len(sample) >= 0.99 * truth:
            break
    limits, _, others = index.range_search(vectors, THRESHOLD)
    rows = np.repeat(np.arange(len(vectors)), np.diff(limits.astype(np.int64)))
    earlier = others < rows
    return np.stack([rows[earlier], others[earlier]]), {"probes": index.nprobe, "cells": cells, "exact_sample_s": tuned}


if __name__ == "__main__":
    tool, source, out = sys.argv[1:]
    loaded = np.load(source)
    if tool == "faiss":
        import faiss as _  # noqa: F401 (its import is not counted)
    start = time.perf_counter()
    pairs, about = {"numpy": blocked, "faiss": faiss}[tool](loaded)
    seconds = time.perf_counter() - start
    np.save(out, pairs)
    print(json.dumps({"seconds": round(seconds, 3), "pairs": pairs.shape[1], **about}))  # noqa: T201 (its output)
