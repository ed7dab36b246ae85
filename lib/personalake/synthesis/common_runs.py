"""What texts have in common with the items of a benchmark: runs of words, found by hash and verified by the words.

Plain functions on Arrow arrays; `decontaminate` says what goes through them, and why it is measured so.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from personalake.dedup.candidates import distinct_pairs
from personalake.dedup.ragged import Ints, Ragged
from personalake.dedup.tokens import token_list, token_runs

Words = Sequence[str]
Run = tuple[str, ...]
Batches = Iterator[pa.RecordBatch]

FOUND = "id string, item_id string, shared long, ratio double, evidence string"
"""A text and an item that it repeats; see `decontaminate.contaminated`."""

_EVIDENCE_CHARS = 300
_GAP = " … "

_AT_ONCE = 1 << 19
"""Bytes of text whose runs are hashed at once: the arrays of more don't stay in the processor's cache."""

_TABLE_BITS = 24

_HELD = 256
"""Items whose runs a task holds: some 20 KB each."""


@dataclass(frozen=True)
class Keys:
    """The runs of one length that tell items apart: their hashes, sorted, and the item that each stands in."""

    length: int
    hashes: Ints
    items: Ints


@dataclass(frozen=True)
class Items:
    """The items of a benchmark, as they are looked for; no two have the same words, and none is without.

    *telling* says of each where its words begin the runs that are looked for; *keys* has their hashes, by length.
    """

    n: int
    ratio: Fraction
    ids: Sequence[str]
    words: Sequence[Run]
    telling: Sequence[tuple[int, ...]]
    keys: Sequence[Keys]

    @property
    def least(self) -> int:
        """Words of a run that counts as matched, once there is a common n-gram."""
        return max(1, self.n // 2)

    def item(self, number: int) -> Item:
        """An item, as it is compared with a text."""
        words = self.words[number]
        length, least = min(self.n, len(words)), min(self.least, len(words))
        places: dict[Run, list[int]] = {}
        for place, run in enumerate(_all_runs(words, least)):
            places.setdefault(run, []).append(place)
        telling = frozenset(words[at : at + length] for at in self.telling[number])
        return Item(self.ids[number], words, length, telling, least, frozenset(places), places)


@dataclass(frozen=True)
class Item:
    """An item: its *telling* runs of *length* words, and its *runs* of *least*, with the places of each."""

    id: str
    words: Run
    length: int
    telling: frozenset[Run]
    least: int
    runs: frozenset[Run]
    places: Mapping[Run, Sequence[int]]


def items_of(ids: pa.Array, texts: pa.Array, n: int, ratio: Fraction, common: int) -> Items:
    """The items of a benchmark with *ids* and *texts*, to be found by their runs of *n* words.

    Items of the same words are one, under the least id. A run that more than *common* items have is left out, unless an
    item has no other: then those of its runs are kept that the fewest items have.
    """
    by_words: dict[Run, tuple[str, str]] = {}
    for id_, text in sorted(zip(ids.to_pylist(), texts.to_pylist(), strict=True), key=lambda item: str(item[0])):
        words = tuple(map(sys.intern, token_list(text or "")))
        if words:
            by_words.setdefault(words, (id_, text))
    every = list(by_words)
    lengths = np.array([len(words) for words in every], dtype=np.int64)
    runs = _hashed([text for _, text in by_words.values()], lengths, n)
    owner = np.repeat(np.arange(len(every)), runs.counts)
    kept = _telling(runs, owner, common)
    places = (kept - runs.starts[owner[kept]]).tolist()
    bounds = np.searchsorted(owner[kept], np.arange(len(every) + 1)).tolist()
    telling = [tuple(places[low:high]) for low, high in itertools.pairwise(bounds)]
    length_of = np.minimum(lengths, n)[owner[kept]]
    keys = [
        _keys(length, runs.values[of], owner[of])
        for length in np.unique(length_of).tolist()
        for of in [kept[length_of == length]]
    ]
    return Items(n, ratio, [id_ for id_, _ in by_words.values()], every, telling, keys)


def _hashed(texts: Sequence[str], lengths: Ints, n: int) -> Ragged:
    """The hashes of each item's runs of *n* words, of an item of fewer that of all its words, as a text's runs have."""
    runs, words = token_runs(pa.array(texts, pa.string()), n, 1)
    values, alone = runs.values.copy(), lengths == 1
    # A word by itself isn't hashed again.
    values[runs.starts[alone]] = words.values[words.starts[alone]]
    return Ragged(values, runs.counts)


def _telling(runs: Ragged, owner: Ints, common: int) -> Ints:
    """Which of the runs are looked for: each item's distinct ones that no more than *common* items have."""
    order = np.lexsort((np.arange(len(owner)), runs.values, owner))
    again = np.zeros(len(owner), dtype=bool)
    again[1:] = (np.diff(owner[order]) == 0) & (np.diff(runs.values[order]) == 0)
    once = np.sort(order[~again])
    _, which, often = np.unique(runs.values[once], return_inverse=True, return_counts=True)
    fewest = np.full(len(runs.counts), len(owner) + 1)
    np.minimum.at(fewest, owner[once], often[which])
    kept: Ints = once[often[which] <= np.maximum(common, fewest[owner[once]])]
    return kept


def _keys(length: int, hashes: Ints, items: Ints) -> Keys:
    order = np.lexsort((items, hashes))
    return Keys(length, hashes[order], items[order])


class _Sought:
    """Keys that are looked for among the runs of many texts."""

    def __init__(self, keys: Keys) -> None:
        self.length, self._hashes, self._items = keys.length, keys.hashes, keys.items
        # Nearly all runs end at this table, by their last bits.
        self._mask = (1 << min(len(keys.hashes).bit_length() + 4, _TABLE_BITS)) - 1
        self._table = np.zeros(self._mask + 1, dtype=bool)
        self._table[self._hashes & self._mask] = True

    def pairs(self, runs: Ragged) -> Ints:
        """Rows and items ``(2, n)`` that have a run in common, by its hash."""
        at = np.flatnonzero(self._table[runs.values & self._mask])
        at = at[self._hashes[np.searchsorted(self._hashes[:-1], runs.values[at])] == runs.values[at]]
        rows = np.searchsorted(np.cumsum(runs.counts), at, side="right")
        # A text may repeat itself thousands of times.
        some = distinct_pairs(np.stack([rows, runs.values[at]]))
        low, high = (np.searchsorted(self._hashes, some[1], side=side) for side in ("left", "right"))
        counts = high - low
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return distinct_pairs(np.stack([np.repeat(some[0], counts), self._items[np.repeat(low, counts) + within]]))


def finder(items: Items) -> Callable[[Batches], Batches]:
    """From (id, text) to `FOUND`: a pass for ``mapInArrow``."""

    def find(batches: Batches) -> Batches:
        sought = [_Sought(keys) for keys in items.keys]
        # A few items may have what every text has.
        item_of = functools.lru_cache(_HELD)(items.item)
        for batch in batches:
            for some in _slices(batch):
                found = _found(some, items, item_of, sought)
                if found.num_rows:
                    yield found

    return find


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in slices of about `_AT_ONCE` bytes of text, a longer text by itself."""
    sizes = np.cumsum(pc.binary_length(batch.column("text")).fill_null(0).to_numpy().astype(np.int64))
    low = 0
    while low < batch.num_rows:
        done = int(sizes[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(sizes, done + _AT_ONCE, side="right")))
        yield batch.slice(low, high - low)
        low = high


def _found(
    batch: pa.RecordBatch, items: Items, item_of: Callable[[int], Item], sought: Sequence[_Sought]
) -> pa.RecordBatch:
    texts = batch.column("text")
    runs = token_runs(texts, *(one.length for one in sought)) if sought else []
    pairs = [one.pairs(of) for one, of in zip(sought, runs, strict=True)]
    every = distinct_pairs(np.concatenate([np.zeros((2, 0), dtype=np.int64), *pairs], axis=1))
    found: list[tuple[str, str, int, float, str]] = []
    for row, of in itertools.groupby(every.T.tolist(), key=lambda pair: pair[0]):
        text = Text(token_list(texts[row].cast(pa.binary()).as_py().decode(errors="replace")))
        id_ = batch.column("id")[row].as_py()
        for _, number in of:
            item = item_of(number)
            common = common_runs(text, item, items.least, items.ratio)
            if common is not None:
                found.append((id_, item.id, *common))
    columns = zip(*found, strict=True) if found else [()] * len(_TYPES)
    return pa.RecordBatch.from_arrays([pa.array(c, t) for c, t in zip(columns, _TYPES, strict=True)], _NAMES)


_NAMES = [field.split()[0] for field in FOUND.split(", ")]
_TYPES = (pa.string(), pa.string(), pa.int64(), pa.float64(), pa.string())


class Text:
    """The words of a text, and its runs of any length, each gathered once for all items."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._runs: dict[int, frozenset[Run]] = {}

    def runs(self, length: int) -> frozenset[Run]:
        """Its distinct runs of so many words."""
        if length not in self._runs:
            self._runs[length] = frozenset(_all_runs(self.words, length))
        return self._runs[length]


def _all_runs(words: Words, length: int) -> Iterator[Run]:
    """Every run of *length* words; none of fewer words."""
    return zip(*(words[at:] for at in range(length)), strict=False)


def common_runs(text: Text, item: Item, least: int, ratio: Fraction) -> tuple[int, float, str] | None:
    """Compare a text with an item, word by word: common n-grams, matched ratio and evidence, or null if it's clean.

    See `decontaminate.contaminated` for what these are.
    """
    # Sets hold the hashes of what is in them, so this is several times as fast as looking up each run.
    shared = len(item.telling & text.runs(item.length))
    if not shared:
        return None
    places = sorted(place for run in item.runs & text.runs(item.least) for place in item.places[run])
    covered = sum(min(item.least, then - at) for at, then in itertools.pairwise([*places, len(item.words)]))
    of = min(len(item.words), len(text.words)) if len(item.words) >= least else len(text.words)
    matched = min(covered, of)
    if matched * ratio.denominator <= of * ratio.numerator:
        return None
    return shared, matched / of, evidence(item.words, places, item.least)


def evidence(words: Words, places: Sequence[int], length: int) -> str:
    """The words in the runs of *length* at *places*, as they can be read, with gaps marked, cut to 300 characters."""
    parts = []
    for _, adjoining in itertools.groupby(enumerate(_inside(places, length)), key=lambda pair: pair[1] - pair[0]):
        parts.append(_readable([words[place] for _, place in adjoining]))
    text = _GAP.join(parts)
    return text if len(text) <= _EVIDENCE_CHARS else text[: _EVIDENCE_CHARS - 1] + "…"


def _inside(places: Sequence[int], length: int) -> list[int]:
    return sorted({place + step for place in places for step in range(length)})


def _readable(words: Words) -> str:
    """Words with blanks between them; of a script without any, the characters whose pairs they are."""
    found = words[0]
    for last, word in itertools.pairwise(words):
        # Each character of such a run is in two pairs.
        joined = last + word[1:]
        pairs = last[-1] == word[0] and not joined.isascii() and token_list(joined) == [last, word]
        found += word[1:] if pairs else f" {word}"
    return found
