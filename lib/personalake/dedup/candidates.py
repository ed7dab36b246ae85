"""Candidate pairs: rows that share a key, each pair once, without ever pairing all rows of a crowded key.

Entries are arrays ``(3, n)`` of unsigned 64-bit integers: key, print of the row's set, and the row's address with a
bit that marks a row's first key.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from personalake.dedup.blocks import Addresses, addresses
from personalake.dedup.ragged import Ints, Ragged

_FIRST = np.uint64(1 << 63)

_PAIRS = 1 << 22
"""Pairs that are gathered before repeats are looked for: 64 MB."""

Entries = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Candidates:
    """What the entries of some keys come to: pairs of rows to verify, and crowds to be settled by themselves.

    ``same`` are pairs of a row and another with the very same set, which speaks for it; ``alike`` pairs of two such
    speakers; each an array ``(2, n)`` of addresses. ``crowds`` is ``(2, n)`` as well: a crowd's key, and one of its
    rows.
    """

    same: Addresses
    alike: Addresses
    crowds: Ints


def entries(block: int, prints: Ints, keys: Ragged) -> Entries:
    """A block's rows as entries, one a key."""
    own = np.repeat(addresses(block, len(prints)).view(np.uint64), keys.counts)
    own[keys.starts[keys.counts > 0]] |= _FIRST
    return np.stack([keys.values.view(np.uint64), np.repeat(prints.view(np.uint64), keys.counts), own])


def scattered(found: Entries, parts: int) -> list[Entries]:
    """The entries by the part that their key belongs to: all entries of a key are in one."""
    part = (found[0] >> np.uint64(40)) * np.uint64(parts) >> np.uint64(24)
    order = np.argsort(part.astype(np.uint16 if parts <= 1 << 16 else np.uint32), kind="stable")
    ends = np.searchsorted(part[order], np.arange(1, parts + 1, dtype=np.uint64), side="left")
    ordered = found[:, order]
    return [ordered[:, low:high] for low, high in zip([0, *ends[:-1]], ends, strict=True)]


def candidates(found: Entries, is_new: npt.NDArray[np.bool_], crowd: int) -> Candidates:
    """Pair the entries of each key; *is_new* says which are of the batch, and two that aren't make no pair.

    More than *crowd* distinct sets under one key, or as many pairs, are a crowd.

    1. Keys that occur once go at once: they are most.
    2. Under each key, rows with the same print are one set; the least address speaks for it.
    3. The speakers of a key are paired, or named as a crowd where their pairs would be too many.
    """
    order = np.argsort(found[0])
    key = found[0][order]
    same_as_next = key[1:] == key[:-1]
    shared = np.zeros(len(key), dtype=bool)
    shared[1:] = same_as_next
    shared[:-1] |= same_as_next
    order = order[shared]
    row = found[2] & ~_FIRST
    order = order[np.lexsort((row[order], found[1][order], found[0][order]))]
    key, print_, row, first, is_new = (
        found[0][order], found[1][order], row[order].view(np.int64), (found[2][order] & _FIRST) > 0, is_new[order],
    )  # fmt: skip
    head = np.ones(len(key), dtype=bool)
    head[1:] = (key[1:] != key[:-1]) | (print_[1:] != print_[:-1])
    speaker = np.flatnonzero(head)[np.cumsum(head) - 1]
    copies = np.flatnonzero(~head & first)
    # A set of which any row is new counts as new; the hub has each set once.
    any_new = np.logical_or.reduceat(is_new, np.flatnonzero(head)) if len(key) else is_new
    alike, crowds = _paired(key[head], row[head], any_new, crowd)
    return Candidates(np.stack([row[copies], row[speaker[copies]]]), alike, crowds)


def _paired(
    key: npt.NDArray[np.uint64], row: Addresses, is_new: npt.NDArray[np.bool_], crowd: int
) -> tuple[Addresses, Ints]:
    """The pairs of rows under each key, each pair once, and the crowds; *key* is sorted."""
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, dtype=np.int64)
    counts = np.diff(np.append(starts, len(key)))
    new = np.add.reduceat(is_new.astype(np.int64), starts) if len(key) else counts
    crowded = new * (2 * counts - new) > crowd * counts
    pairs = _Pairs()
    runs = Ragged(np.arange(len(key)), counts)
    usual = np.flatnonzero(~crowded & (counts > 1) & (new > 0))
    some = runs.take(usual)
    for _, places in some.by_count():
        members = some.values[places]
        for offset in range(1, members.shape[1]):
            left, right = members[:, :-offset].ravel(), members[:, offset:].ravel()
            useful = is_new[left] | is_new[right]
            pairs.add(np.stack([row[left[useful]], row[right[useful]]]))
    members = runs.take(np.flatnonzero(crowded)).values
    return pairs.distinct(), np.stack([key[members].view(np.int64), row[members]])


class _Pairs:
    """Pairs as they come, of which each is held once: near-copies meet under nearly all of their keys."""

    def __init__(self) -> None:
        self._held = [np.zeros((2, 0), dtype=np.int64)]
        self._number, self._most = 0, _PAIRS

    def add(self, pairs: Addresses) -> None:
        self._held.append(pairs)
        self._number += pairs.shape[1]
        if self._number > self._most:
            self._most = 2 * self.distinct().shape[1] + _PAIRS

    def distinct(self) -> Addresses:
        found = distinct_pairs(np.concatenate(self._held, axis=1))
        self._held, self._number = [found], found.shape[1]
        return found


def distinct_pairs(pairs: Addresses) -> Addresses:
    """The pairs ``(2, n)``, each once, sorted by the first row."""
    order = np.lexsort((pairs[1], pairs[0]))
    pairs = pairs[:, order]
    new = np.ones(pairs.shape[1], dtype=bool)
    new[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    return pairs[:, new]
