"""Embeddings by feature hashing: texts that share words, or parts of words, are near."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from .settings import EMBEDDING_DIMENSIONS
from .words import STOP_WORDS

Vector = npt.NDArray[np.float32]
GRAM = 3
GRAM_WEIGHT = 0.5
STOP_WEIGHT = 0.2
TABLE_ROWS, TABLE_SEED = 4_093, 20_240
_TOKEN = re.compile(r"[^\W_]+")


def vectors(texts: Sequence[str], dimensions: int) -> Vector:
    """Return one unit vector a row for *texts*, cut to *dimensions* and normalised again.

    A text is the sum of its distinct lower-case words, each a fixed random direction plus those of its trigrams;
    function words count a fifth. A text without words is the direction of its own hash.
    """
    rows = np.empty((len(texts), EMBEDDING_DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        words = sorted(set(_TOKEN.findall(text.lower())))
        rows[row] = np.sum([_word(word[:40]) for word in words], axis=0) if words else _directions([text])[0]
    rows = rows[:, :dimensions]
    norms: Vector = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)


def encoded(rows: Vector, encoding: str) -> list[Any]:
    """Return rows as lists of floats, or as base64 of little-endian float32."""
    if encoding == "float":
        return list(rows.tolist())
    return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in rows]


@lru_cache(maxsize=20_000)
def _word(word: str) -> Vector:
    framed = f"<{word}>"
    grams = [framed[start : start + GRAM] for start in range(len(framed) - GRAM + 1)]
    parts = _directions(grams).sum(axis=0) / max(1.0, len(grams) ** 0.5)
    weight = STOP_WEIGHT if len(word) <= GRAM or word in STOP_WORDS else 1.0
    return np.asarray(weight * (_directions([f"word {word}"])[0] + GRAM_WEIGHT * parts), dtype=np.float32)


def _directions(features: Sequence[str]) -> Vector:
    """Return a row of signs for each feature: the product of two rows of a fixed table, picked by its hash."""
    table = _table()
    hashes = np.array([crc32(feature.encode("utf-8", "surrogatepass")) for feature in features], dtype=np.int64)
    return np.asarray(table[hashes % TABLE_ROWS] * table[hashes // TABLE_ROWS % TABLE_ROWS], dtype=np.float32)


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.int8]:
    generator = np.random.Generator(np.random.PCG64(TABLE_SEED))
    signs = generator.integers(0, 2, (TABLE_ROWS, EMBEDDING_DIMENSIONS), dtype=np.int8)
    return np.asarray(signs * 2 - 1, dtype=np.int8)
