"""A sample of texts, and what it says of their diversity, at a size at which samples can be compared.

Nearly every figure of diversity depends on how much is looked at: the more tokens, the fewer of them are new. So a
figure is taken of the first so many tokens, or rows, of a sample, the same number for all that are compared. (Liu et
al. 2022, arXiv 2202.13587, scale by an expected number instead, which asks for the size of a vocabulary; an equal
number of tokens asks for nothing.)
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from personalake.dedup.like import jaccards
from personalake.dedup.ragged import Ints, Ragged
from personalake.dedup.tokens import token_runs
from personalake.dedup.vectors import Matrix

DISTINCT = (1, 2, 3)
"""Lengths of the n-grams that are counted (Li et al. 2016, arXiv 1510.03055)."""
REPEATED = 4
"""Length of the n-grams by which texts repeat each other (Salkar et al. 2022; Shaib et al. 2024, arXiv 2403.00553)."""
ENTROPY, FILLED, COMBINATIONS = "entropy.", "filled.", "combinations"
_LEVEL = 6  # gzip's default; 9 takes up to five times as long for 1 % more

Figures = dict[str, float | None]
"""Figures by their names, in one order; null where the texts don't have it."""
Values = Mapping[str, frozenset[str]]
"""The values that each attribute has anywhere: what its entropy is a share of."""


@dataclass(frozen=True)
class NGrams:
    """The n-grams of a sample: a number for each different one, its row, and how many tokens that has up to its end."""

    numbers: Ints
    rows: Ints
    ends: Ints

    @functools.cached_property
    def different(self) -> int:
        """How many different ones there are."""
        return int(self.numbers.max()) + 1 if len(self.numbers) else 0


def whole_runs(runs: Ragged, tokens: Ints, length: int) -> tuple[Ints, Ints, Ints]:
    """Of runs of *length* tokens: their hashes, their rows, and how many tokens these have up to their ends.

    A text that has fewer *tokens* has none here; in *runs* it has one, of all its tokens.
    """
    rows = np.repeat(np.arange(len(tokens)), runs.counts)
    whole = tokens[rows] >= length
    ends = np.arange(len(rows)) - np.repeat(runs.starts, runs.counts) + length
    return runs.values[whole], rows[whole], ends[whole]


def ngrams(runs: Ragged, tokens: Ints, length: int) -> NGrams:
    """Number the runs of *length* tokens in texts of so many *tokens*."""
    hashes, rows, ends = whole_runs(runs, tokens, length)
    _, numbers = np.unique(hashes, return_inverse=True)
    return NGrams(numbers.astype(np.int64), rows, ends)


@dataclass(frozen=True)
class Sample:
    """Rows of one group, in the order in which they were drawn.

    A *family* are rows that may resemble each other for where they come from: of one page, as a rule. *attributes* has
    a value or null a row, *vectors* a unit vector for each of the rows *with_vector*.
    """

    texts: Sequence[str]
    families: Sequence[str] = ()
    attributes: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    combined: tuple[str, ...] = ()
    vectors: Matrix | None = None
    with_vector: Ints | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @functools.cached_property
    def _runs(self) -> list[Ragged]:
        return token_runs(pa.array(self.texts, pa.string()), *DISTINCT, REPEATED)

    @property
    def tokens(self) -> Ints:
        """How many tokens each text has."""
        return self._runs[0].counts

    @functools.cached_property
    def ngrams(self) -> dict[int, NGrams]:
        """The n-grams by their length; of :data:`REPEATED` each once a text."""
        made = {n: ngrams(runs, self.tokens, n) for n, runs in zip((*DISTINCT, REPEATED), self._runs, strict=True)}
        long = made[REPEATED]
        pairs = np.unique(long.rows * max(1, long.different) + long.numbers)
        made[REPEATED] = NGrams(pairs % max(1, long.different), pairs // max(1, long.different), np.zeros_like(pairs))
        return made

    @functools.cached_property
    def encoded(self) -> list[bytes]:
        """The texts as UTF-8."""
        return [text.encode("utf-8", "replace") for text in self.texts]

    @functools.cached_property
    def similarities(self) -> npt.NDArray[np.float32]:
        """Jaccard's similarity of the token sets of any two texts; -1 of a text and itself."""
        found = jaccards(self._runs[0].distinct())
        np.fill_diagonal(found, -1)
        return found

    @functools.cached_property
    def cosines(self) -> npt.NDArray[np.float32]:
        """The cosine of any two vectors; -2 of one and itself, and where one of the two has none."""
        found = np.full((len(self), len(self)), -2, dtype=np.float32)
        if self.vectors is not None and self.with_vector is not None:
            found[np.ix_(self.with_vector, self.with_vector)] = self.vectors @ self.vectors.T
        np.fill_diagonal(found, -2)
        return found

    @functools.cached_property
    def codes(self) -> dict[str, Ints]:
        """Each attribute's values as numbers, -1 for null."""
        made = {}
        for name, values in self.attributes.items():
            known = {value: number for number, value in enumerate(sorted({v for v in values if v is not None}))}
            made[name] = np.array([-1 if value is None else known[value] for value in values], dtype=np.int64)
        return made

    @functools.cached_property
    def family_hashes(self) -> npt.NDArray[np.uint64]:
        """A hash of each row's family."""
        hashed = (xxhash.xxh64_intdigest(name.encode("utf-8", "replace")) for name in self.families)
        return np.fromiter(hashed, np.uint64, len(self.families))

    def within(self, tokens: int) -> Sample:
        """The sample of its rows that begin within the first *tokens* tokens."""
        rows = int((np.cumsum(self.tokens) - self.tokens < tokens).sum())
        attributes = {name: each[:rows] for name, each in self.attributes.items()}
        vectors, having = self.vectors, self.with_vector
        if vectors is not None and having is not None:
            vectors, having = vectors[having < rows], having[having < rows]
        return Sample(self.texts[:rows], self.families[:rows], attributes, self.combined, vectors, having)


def figures(sample: Sample, tokens: int, rows: int, values: Values, order: Ints | None = None) -> Figures:
    """The figures of the first *tokens* tokens of a sample, and of its first *rows* rows, taken in an *order*.

    Of tokens: the share of distinct n-grams among all; bytes over compressed bytes; and the mean over texts of
    ln(1 + n), n the places in other texts that share a run of four tokens with it, as Shaib et al. have it. Of rows:
    the mean similarity to the nearest other one; of each attribute the share that has it, and the entropy of its
    values as a share of the most that so many rows, and the *values* that there are anywhere, allow; and the share of
    possible combinations that are there.
    """
    order = np.arange(len(sample)) if order is None else order
    lengths = sample.tokens[order]
    before = np.cumsum(lengths) - lengths
    taken = np.clip(tokens - before, 0, lengths)
    began = order[before < tokens]
    limits = np.zeros(len(sample), dtype=np.int64)
    limits[order] = taken
    first = order[:rows]
    return {
        **{f"distinct_{n}": distinct(sample.ngrams[n], limits) for n in DISTINCT},
        "compression": compression([sample.encoded[row] for row in began]),
        "self_repetition": self_repetition(sample.ngrams[REPEATED], began, len(sample)),
        "nearest": nearest(sample.similarities, first),
        "nearest_cosine": None if sample.vectors is None else nearest(sample.cosines, first),
        **of_attributes(sample, first, values),
    }


def distinct(found: NGrams, limits: Ints) -> float | None:
    """The share of different n-grams among those within the first *limits* tokens of each text."""
    inside = found.numbers[found.ends <= limits[found.rows]]
    return float(np.count_nonzero(np.bincount(inside)) / len(inside)) if len(inside) else None


def compression(texts: Sequence[bytes]) -> float | None:
    """Bytes of *texts*, one after the other, over their bytes once compressed: the higher, the more they repeat."""
    whole = b" ".join(texts)
    return len(whole) / len(zlib.compress(whole, _LEVEL)) if whole else None


def self_repetition(found: NGrams, rows: Ints, number: int) -> float | None:
    """The mean over *rows*, of *number*, of ln(1 + how often their n-grams stand in others of them, once in each)."""
    if not len(rows):
        return None
    asked = np.zeros(number, dtype=bool)
    asked[rows] = True
    inside = asked[found.rows]
    numbers = found.numbers[inside]
    others = np.bincount(numbers)[numbers] - 1
    shared = np.bincount(found.rows[inside], weights=others, minlength=number)[rows]
    return float(np.log1p(shared).mean())


def nearest(similarities: npt.NDArray[np.float32], rows: Ints) -> float | None:
    """The mean over *rows* of the similarity to the nearest other one; those that can't be compared don't count."""
    if len(rows) < 2:  # noqa: PLR2004 (one has no other)
        return None
    best = similarities[np.ix_(rows, rows)].max(axis=1).astype(np.float64)
    best = best[best > -2]  # noqa: PLR2004 (below every cosine)
    return float(best.mean()) if len(best) else None


def of_attributes(sample: Sample, rows: Ints, values: Values) -> Figures:
    """Of each attribute among *rows* the share filled and the entropy; and the combinations of those combined."""
    made: Figures = {}
    for name, codes in sample.codes.items():
        known = codes[rows][codes[rows] >= 0]
        made[f"{FILLED}{name}"] = len(known) / len(rows) if len(rows) else None
        most = min(len(values[name]), len(rows))
        made[f"{ENTROPY}{name}"] = entropy(np.bincount(known), most) if len(known) else None
    if sample.combined:
        codes = np.stack([sample.codes[name][rows] for name in sample.combined], axis=1)
        seen = len(np.unique(codes[(codes >= 0).all(axis=1)], axis=0))
        made[COMBINATIONS] = share(seen, math.prod(len(values[name]) for name in sample.combined))
    return made


def entropy(counts: Ints, values: int) -> float:
    """Shannon's entropy of *counts* over that of so many *values* in equal parts: 0 for a single one, 1 at most."""
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, -float((shares * np.log(shares)).sum()) / math.log(values)) if values > 1 else 0.0


def share(part: int, whole: int) -> float | None:
    """*part* of *whole*; null where there is no whole."""
    return part / whole if whole else None


def values_of(samples: Iterable[Sample]) -> dict[str, frozenset[str]]:
    """The values that each attribute has in any of *samples*."""
    found: dict[str, frozenset[str]] = {}
    for sample in samples:
        for name, each in sample.attributes.items():
            found[name] = found.get(name, frozenset()).union(value for value in each if value is not None)
    return found
