"""Candidate keys that miss no pair: two sets at or above the threshold always share one."""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from personalake.dedup.ragged import Ints, Ragged, mixed
from personalake.dedup.verify import rational

_FEW = 3
"""Rows share a part of fewer tokens by chance too often to make a key of it alone."""

_FINE = 4
"""Up to this level a part of few tokens is cut further; beyond, it would be hundreds of keys."""

_GROWTH = Fraction(5, 4)
"""Beyond `_FINE` levels grow by this factor: long texts have hundreds, and a level too many costs few more keys."""

_DENSE = np.uint64(0x5EED)


def exact_keys(sets: Ragged, threshold: float) -> Ragged:
    """Return for each set of distinct token hashes its candidate keys: 64-bit hashes, for equal sets in the same order.

    Sets of *n* and *m* tokens with a Jaccard similarity of at least *t* differ in at most
    ``d = floor((n + m) * (1 - t) / (1 + t))`` tokens. So if tokens are dealt into ``d + 1`` parts by their hash, one
    part is the same in both (the pigeonhole principle; Arasu, Ganti, Kaushik: Efficient exact set-similarity joins,
    VLDB 2006), and its tokens are a key. A set has the keys of every *d* that a partner of some size could need: two to
    nine keys for a persona at 0.9. What a short set has instead:

    - no other size reaches the threshold: one key, all of its tokens;
    - a part of few tokens: the rest is dealt again, and the key has a part of the rest as well;
    - parts that would be few tokens throughout (a low threshold): one key that all such sets share, and leave to
      `crowds`.
    """
    tokens = sets.values.view(np.uint64)
    weights = mixed(tokens)
    found: list[tuple[Ints, npt.NDArray[np.uint64]]] = []
    for rows, places in sets.by_count():
        levels, dense = _levels(places.shape[1], rational(threshold))
        own, drawn = weights[places], tokens[places]
        keys = [key for level in levels for key in _part_keys(own, drawn, level)]
        if dense:
            keys.append((np.arange(len(rows)), np.full(len(rows), _DENSE)))
        if not keys:
            keys.append((np.arange(len(rows)), own.sum(axis=1)))
        found.extend((rows[which], key) for which, key in keys)
    if not found:
        return Ragged(np.zeros(0, dtype=np.int64), np.zeros(len(sets.counts), dtype=np.int64))
    rows = np.concatenate([which for which, _ in found])
    order = np.argsort(rows, kind="stable")
    every = mixed(np.concatenate([key for _, key in found])[order])
    return Ragged(every.view(np.int64), np.bincount(rows, minlength=len(sets.counts)))


@functools.lru_cache(maxsize=4096)
def _levels(size: int, threshold: Fraction) -> tuple[tuple[int, ...], bool]:
    """The numbers of differing tokens for which a set of *size* needs keys, and whether some leave parts too small."""
    if not size:
        return (), False
    least, most = -(-size * threshold.numerator // threshold.denominator), int(size / threshold)
    levels, dense = set(), False
    for both in range(size + least, size + most + 1):
        differing = int(both * (1 - threshold) / (1 + threshold))
        if differing and 2 * _FEW * (differing + 1) > both:
            dense = True
        elif differing:
            levels.add(_rounded(differing))
    return tuple(sorted(levels)), dense


def _rounded(differing: int) -> int:
    """The level that serves so many differing tokens: the same number, or a little more where they are many."""
    level = min(differing, _FINE)
    while level < differing:
        level = -(-level * _GROWTH.numerator // _GROWTH.denominator)
    return level


Keys = tuple[Ints, npt.NDArray[np.uint64]]


def _part_keys(weights: npt.NDArray[np.uint64], tokens: npt.NDArray[np.uint64], level: int) -> list[Keys]:
    """Keys of a matrix of sets at one level: for each part, which rows have one of it, and what it is."""
    dealt = _dealt(tokens, level, salt=1)
    found: list[Keys] = []
    for part in range(level + 1):
        inside = dealt == part
        key = mixed(np.where(inside, weights, np.uint64(0)).sum(axis=1) + _name(level, part))
        if level > _FINE:
            found.append((np.arange(len(key)), key))
            continue
        few = inside.sum(axis=1) < _FEW
        found.append((np.flatnonzero(~few), key[~few]))
        small = np.flatnonzero(few)
        if len(small):
            again, rest = _dealt(tokens[small], level, salt=2), ~inside[small]
            for other in range(level + 1):
                of_rest = np.where(rest & (again == other), weights[small], np.uint64(0)).sum(axis=1)
                found.append((small, mixed(key[small] ^ mixed(of_rest + _name(level, other)))))
    return found


def _dealt(tokens: npt.NDArray[np.uint64], level: int, salt: int) -> npt.NDArray[np.uint64]:
    """The part that each token falls into, of ``level + 1``."""
    drawn = mixed(tokens ^ np.uint64(salt << 32 | level)) >> np.uint64(32)
    part: npt.NDArray[np.uint64] = drawn * np.uint64(level + 1) >> np.uint64(32)
    return part


def _name(level: int, part: int) -> np.uint64:
    name: np.uint64 = np.uint64((level << 32 | part) * 2 + 1)
    return name
