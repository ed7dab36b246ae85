"""Texts as sets of hashed tokens: what similarity is measured on."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import xxhash

SPARK_SEED = 42
"""Seed of Spark's ``xxhash64``, so that a token's hash can be checked in SQL."""

_ASCII_WORD = re.compile("[0-9a-z]+")

# Scripts that are written without spaces between words, as ranges of code points; their digits are left to words.
_UNSPACED = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E),  # Thai
    (0x0E81, 0x0ECE), (0x0EDC, 0x0EDF),  # Lao
    (0x1000, 0x103F), (0x1050, 0x108F), (0x109A, 0x109D), (0xA9E0, 0xA9EF), (0xAA60, 0xAA7F),  # Myanmar
    (0x1780, 0x17D3), (0x17DC, 0x17DD),  # Khmer
    (0x3041, 0x3096), (0x3099, 0x309A), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),  # kana
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),  # Han
    (0x1B000, 0x1B16F), (0x20000, 0x3FFFD),  # historic kana; Han beyond the first plane
)  # fmt: skip

_UNSPACED_RUN = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in _UNSPACED) + "]+")

# Nobody sees these (soft hyphen, joiners, directions, selectors), so two texts that differ in them alone are the same.
_INVISIBLE = re.compile("[\u00ad\u200c-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]+")


def tokens(text: str) -> set[str]:
    """Return the distinct tokens of *text*: words, and character pairs where a script has no spaces.

    The text is folded first (NFKC and case), so that width, ligatures and capitals don't count. A word is a run of
    letters, their marks and digits; anything else parts words. A run of Han, kana, Thai, Lao, Khmer or Myanmar
    characters gives its character bigrams, a lone character itself. A text without any (empty, or symbols only) has
    no tokens.
    """
    if text.isascii():
        return set(_ASCII_WORD.findall(text.lower()))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _INVISIBLE.sub("", folded).replace("_", " ")
    runs = _UNSPACED_RUN.findall(folded)
    found = set(_word().findall(_UNSPACED_RUN.sub(" ", folded) if runs else folded))
    for run in runs:
        found.update(map("".join, itertools.pairwise(run)) if len(run) > 1 else run)
    return found


def token_hashes(texts: pa.Array) -> pa.ListArray:
    """Return for each text the sorted distinct 64-bit hashes of its tokens (``list<int64>``); a null has none.

    A hash equals Spark's ``xxhash64(token)``. Each distinct token of the array is hashed once.
    """
    vocabulary: dict[str, int] = {}
    places: list[int] = []
    counts: list[int] = []
    for text in texts.to_pylist():
        distinct = tokens(text or "")
        places.extend([vocabulary.setdefault(token, len(vocabulary)) for token in distinct])
        counts.append(len(distinct))
    digests = (xxhash.xxh64_intdigest(token.encode(), SPARK_SEED) for token in vocabulary)
    hashes = np.fromiter(digests, dtype=np.uint64, count=len(vocabulary)).view(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    values = hashes[np.asarray(places, dtype=np.int64)]
    order = np.lexsort((values, rows))
    rows, values = rows[order], values[order]
    # Two tokens of one row may share a hash; a set of hashes has it once.
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[first], minlength=len(counts)))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[first]))


@functools.cache
def _word() -> re.Pattern[str]:
    """The pattern of a word: letters and digits with their marks, at which a plain word class would part Indic words.

    Marks of the first plane only: a single range beyond it makes the class ten times as slow.
    """
    marks = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
    return re.compile(f"[\\w{marks}]+")
