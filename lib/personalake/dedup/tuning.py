"""What other settings of dedup would do to given texts: counted on a sample, in one process.

The pairs are counted without keys of any kind, so they are what both methods are held against. A sample has its
square's share of the pairs (a tenth of the texts, a hundredth): the share of texts that repeat another is higher in the
whole, while recall is what it is there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.dedup.blocks import MOST_ROWS, set_prints
from personalake.dedup.candidates import candidates, distinct_pairs, entries
from personalake.dedup.crowds import witnesses
from personalake.dedup.deduplicate import CROWD
from personalake.dedup.family import Family
from personalake.dedup.minhash import HASH_PRIME, Bands, Coefficients, band_keys
from personalake.dedup.ragged import Ints, Ragged, ragged
from personalake.dedup.survivors import rank, walk
from personalake.dedup.tokens import token_hashes
from personalake.dedup.verify import intersections, rational, repeats, similarity
from personalake.errors import InputError

Mask = npt.NDArray[np.bool_]

_TRIES = 3


@dataclass(frozen=True)
class Sample:
    """Texts whose token sets differ, in the order in which dedup prefers them, and these ``sets``.

    ``rows`` of ``total`` were looked at; those that aren't here have the very tokens of one that is.
    """

    texts: list[str]
    sets: Ragged
    rows: int
    total: int

    @property
    def copies(self) -> int:
        """How many rows have the tokens of another one; they are dropped at any threshold."""
        return self.rows - len(self.texts)


@dataclass(frozen=True)
class Pairs:
    """Pairs of sets by their numbers, the preferred one on the ``left``, and how many tokens they share and have."""

    left: Ints
    right: Ints
    shared: Ints
    union: Ints

    @property
    def similarity(self) -> npt.NDArray[np.float64]:
        """Jaccard's, of each pair."""
        return similarity(self.shared, self.union)

    def reach(self, threshold: float) -> Mask:
        """Which pairs are at or above the threshold."""
        return repeats(self.shared, self.union, threshold)

    def where(self, which: Mask | Ints) -> Pairs:
        """Some of them, by mask or by number."""
        return Pairs(self.left[which], self.right[which], self.shared[which], self.union[which])

    def nearest(self, threshold: float, count: int) -> Pairs:
        """The *count* least similar pairs at or above the threshold and as many below it, most similar first."""
        order = np.argsort(-self.similarity, kind="stable")
        above = int(self.reach(threshold).sum())
        return self.where(order[max(above - count, 0) : above + count])


def sample(rows: DataFrame, most: int, seed: int) -> Sample:
    """Bring at most *most* of *rows* (id, text, quality) here, the same ones each time: those of the least hashes.

    Raises :class:`InputError` where there are none.
    """
    ranked = rows.select("id", rank(F.col("quality")).alias("rank"), F.coalesce("text", F.lit("")).alias("text"))
    drawn = ranked.orderBy(F.xxhash64(F.lit(seed), "id"), "id").limit(most).collect()
    texts = [row["text"] for row in sorted(drawn, key=lambda row: (row["rank"], row["id"]))]
    if not texts:
        raise InputError("there are no texts to look at", cure="`personalake run` brings some, or name a file")
    total = len(texts) if len(texts) < most else rows.count()
    sets = ragged(token_hashes(pa.array(texts, pa.string())))
    _, first = np.unique(set_prints(sets), return_index=True)
    first.sort()
    return Sample([texts[row] for row in first], sets.take(first), len(texts), total)


def all_pairs(sets: Ragged, threshold: float) -> Pairs:
    """Every pair of *sets*, which differ, at or above the threshold: each set is counted against all before it.

    It takes the square of their number: 20,000 personas some ten seconds.
    """
    token = np.unique(sets.values, return_inverse=True)[1]
    holders = np.repeat(np.arange(len(sets.counts)), sets.counts)[np.argsort(token, kind="stable")]
    begin = np.cumsum(np.bincount(token)) - np.bincount(token)
    end, limit = begin.copy(), float(rational(threshold))
    found = [np.zeros((3, 0), dtype=np.int64)]
    for row, (start, count) in enumerate(zip(sets.starts.tolist(), sets.counts.tolist(), strict=True)):
        own = token[start : start + count]
        before = [holders[low:high] for low, high in zip(begin[own].tolist(), end[own].tolist(), strict=True)]
        end[own] += 1
        if not before:
            continue
        shared = np.bincount(np.concatenate(before))
        # Who shares less than this with a set of so many tokens can't reach the threshold.
        near = np.flatnonzero(shared >= max(1, int(limit * count)))
        found.append(np.stack([near, np.full(len(near), row), shared[near]]))
    left, right, shared = np.concatenate(found, axis=1)
    pairs = Pairs(left, right, shared, sets.counts[left] + sets.counts[right] - shared)
    return pairs.where(pairs.reach(threshold))


def dropped(pairs: Pairs) -> Ints:
    """The numbers of the sets that go if *pairs* repeat each other: whoever repeats one that stays, best first."""
    return np.array(sorted(walk(pairs.right, pairs.left)), dtype=np.int64)


def planted(sets: Ragged, count: int, seed: int) -> tuple[Ragged, Pairs]:
    """*count* of *sets* and a near-copy of each: up to a third of its tokens left out, and up to as many new ones.

    For recall one needs pairs of every similarity, of which a store that was deduplicated has none to offer.
    """
    drawn = np.random.default_rng(seed)
    usable = np.flatnonzero(sets.counts > 0)
    if not len(usable):
        raise InputError("none of the texts has a word", cure="look at another sample, or another column")
    originals = sets.take(drawn.choice(usable, count))
    most = np.maximum(originals.counts // 3, 1)
    out, new = drawn.integers(0, most + 1), drawn.integers(0, most + 1)
    out = np.where(out >= originals.counts, 0, out)
    new = np.where(out + new == 0, 1, new)
    copies = [
        np.sort(np.concatenate([drawn.permutation(own)[less:], drawn.integers(-(2**63), 2**63 - 1, more)]))
        for own, less, more in zip(np.split(originals.values, originals.starts[1:]), out, new, strict=True)
    ]
    shared = originals.counts - out
    both = Ragged(np.concatenate([originals.values, *copies]), np.concatenate([originals.counts, shared + new]))
    numbers = np.arange(count)
    return both, Pairs(numbers, numbers + count, shared, originals.counts + new)


def drawn_hashes(tables: int, seed: int) -> Coefficients:
    """Hash functions of MLlib's family, drawn here: a store has others, with the same odds."""
    drawn = np.random.default_rng(seed)
    return Coefficients(drawn.integers(1, HASH_PRIME, tables), drawn.integers(0, HASH_PRIME - 1, tables))


def found_by(signatures: npt.NDArray[np.int32], pairs: Pairs, bands: Bands) -> Mask:
    """Which *pairs* of the sets with these *signatures* share a band, and so become candidates."""
    keys = band_keys(signatures, bands).values.reshape(len(signatures), bands.b)
    shares: Mask = np.zeros(len(pairs.left), dtype=bool)
    for band in range(bands.b):
        shares |= keys[pairs.left, band] == keys[pairs.right, band]
    return shares


def by_similarity(pairs: Pairs, which: Mask, width: float = 0.025, least: int = 30) -> npt.NDArray[np.float64]:
    """The share of *pairs* that *which* has, by similarity: ``(2, n)``, the mean similarity of each step and the share.

    A step of fewer than *least* pairs is left out.
    """
    step = (pairs.similarity / width).astype(np.int64)
    counts = np.bincount(step)
    steps = np.flatnonzero(counts >= least)
    sums = [np.bincount(step, weights=values)[steps] for values in (pairs.similarity, which)]
    means: npt.NDArray[np.float64] = np.stack(sums) / counts[steps]
    return means


@dataclass(frozen=True)
class Cost:
    """What it took to compare some sets: ``keys`` made, ``candidates`` verified, ``repeats`` among them, ``seconds``.

    ``crowded`` sets shared a key with so many others that their pairs were not made (see ``crowds``): of these only the
    pairs that settle who stays are among the repeats.
    """

    keys: int
    candidates: int
    repeats: int
    crowded: int
    seconds: float


def cost(sets: Ragged, family: Family) -> Cost:
    """Compare *sets* as dedup's tasks do, without what Spark adds; of three tries in under a second the fastest."""
    first = _compared(sets, family)
    more = [] if first.seconds > 1 / _TRIES else [_compared(sets, family) for _ in range(_TRIES - 1)]
    return min([first, *more], key=lambda one: one.seconds)


def _compared(sets: Ragged, family: Family) -> Cost:
    began, numbers = time.perf_counter(), np.arange(len(sets.counts))
    prints, keys = set_prints(sets), family.keys(sets)
    cut = [numbers[low : low + MOST_ROWS] for low in range(0, len(numbers), MOST_ROWS)]
    held = np.concatenate([entries(block, prints[some], keys.take(some)) for block, some in enumerate(cut)], axis=1)
    outcome = candidates(held, np.ones(held.shape[1], dtype=bool), CROWD)
    left, right = outcome.alike
    shared = intersections(sets, left, right)
    good = outcome.alike[:, repeats(shared, sets.counts[left] + sets.counts[right] - shared, family.threshold)]
    settled = [good]
    for crowd in np.unique(outcome.crowds[0]):
        members = np.sort(outcome.crowds[1][outcome.crowds[0] == crowd])
        some = sets.take(members)
        crowded = (frozenset(one.tolist()) for one in np.split(some.values, some.starts[1:]))
        gone = witnesses(((member, one, False) for member, one in zip(members, crowded, strict=True)), family.threshold)
        named = [(better, member) for member, better, _ in gone]
        settled.append(np.array(named, dtype=np.int64).reshape(-1, 2).T)
    found = distinct_pairs(np.concatenate(settled, axis=1)).shape[1]
    seconds = time.perf_counter() - began
    return Cost(len(keys.values), len(left), found, len(np.unique(outcome.crowds[1])), seconds)
