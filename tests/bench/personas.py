"""Made-up personas for the benchmarks of dedup: words drawn by Zipf's law, and near-copies among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

VOCABULARY = 50_000
SHORTEST, LONGEST = 12, 36
COPIES = 0.15


def words() -> list[str]:
    """The vocabulary, most frequent first: syllables, short for frequent words as in a language."""
    drawn = np.random.default_rng(7)
    consonants, vowels = list("bcdfghjklmnpqrstvwxz"), list("aeiou")
    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        syllables = 1 + int(np.log10(1 + len(found)) / 1.2)
        found[
            "".join(drawn.choice(consonants) + drawn.choice(vowels) for _ in range(syllables + drawn.integers(0, 2)))
        ] = None
    return list(found)


def personas(rows: int, seed: int = 1, block: int = 100_000) -> Iterator[pa.RecordBatch]:
    """Batches of (id: 64 hex digits, text): *rows* in all, 15 % of them copies of an earlier one of their batch.

    A copy has none, one or two of its words replaced, in equal parts; its words are in the original's order.
    """
    vocabulary = np.array(words(), dtype=object)
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    weights /= weights[-1]
    drawn = np.random.default_rng(seed)
    for first in range(0, rows, block):
        count = min(block, rows - first)
        lengths = drawn.integers(SHORTEST, LONGEST + 1, count)
        starts = np.cumsum(lengths) - lengths
        ranks = np.searchsorted(weights, drawn.random(lengths.sum()))
        texts = [ranks[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        for row in np.flatnonzero(drawn.random(count) < COPIES):
            if row:
                copy = texts[drawn.integers(0, row)].copy()
                for _ in range(drawn.integers(0, 3)):
                    copy[drawn.integers(0, len(copy))] = np.searchsorted(weights, drawn.random())
                texts[row] = copy
        ids = drawn.bytes(32 * count)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([ids[32 * n : 32 * n + 32].hex() for n in range(count)]),
                pa.array([" ".join(vocabulary[text]) for text in texts]),
            ],
            ["id", "text"],
        )
