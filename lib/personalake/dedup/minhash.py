"""MinHash signatures of Spark's ``MinHashLSH`` and the bands that turn them into candidate keys.

The hash family is MLlib's (``model.py``). Its formula runs here in numpy, since MLlib's way through vectors takes
several times as long, and the bands are ours, since MLlib only joins on any single table (OR-amplification).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from personalake.dedup.ragged import Ragged, mixed
from personalake.errors import SettingsError

HASH_PRIME = 2038074743
"""``MinHashLSH.HASH_PRIME``: the modulus of the hash family, and the size of its index space."""

# Rows that are worked on at once, so that work arrays (one value a row and table) stay in the processor's cache.
_BLOCK = 512


@dataclass(frozen=True)
class Coefficients:
    """What a fitted model hashes with: table *t* maps index *i* to ``((1 + i) * a[t] + b[t]) mod HASH_PRIME``."""

    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]

    @property
    def tables(self) -> int:
        """The number of hash tables."""
        return len(self.a)

    def first(self, tables: int) -> Coefficients:
        """Those of the first *tables*."""
        return Coefficients(self.a[:tables], self.b[:tables])


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: ``b`` bands of ``r`` rows, and the share of pairs at the threshold that this finds."""

    b: int
    r: int
    recall: float

    def finds(self, similarity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The probability that pairs of each similarity share a band, and so are found."""
        probability: npt.NDArray[np.float64] = 1.0 - (1.0 - similarity**self.r) ** self.b
        return probability


def signatures(sets: Ragged, coefficients: Coefficients) -> npt.NDArray[np.int32]:
    """Return the MinHash signatures of sets of 64-bit token hashes: ``(sets, tables)``.

    A token's index is ``pmod(hash, HASH_PRIME)``; each distinct token goes through the tables once. Equal to
    ``MinHashLSHModel.transform`` bit for bit. For an empty set, at which MLlib raises, every table gives
    ``HASH_PRIME``: more than any hash, and the same for all such sets, which are equal.
    """
    encoded = pa.array(sets.values).dictionary_encode()
    hashed = _hashes(encoded.dictionary.to_numpy(zero_copy_only=False), coefficients)
    places, starts = encoded.indices.to_numpy(zero_copy_only=False), sets.starts
    result = np.full((len(sets.counts), coefficients.tables), HASH_PRIME, dtype=np.int32)
    for rows, _ in sets.by_count():
        for low in range(0, len(rows) if sets.counts[rows[0]] else 0, _BLOCK):
            some = rows[low : low + _BLOCK]
            least = hashed[places[starts[some]]]
            for position in range(1, sets.counts[some[0]]):
                np.minimum(least, hashed[places[starts[some] + position]], out=least)
            result[some] = least
    return result


def _hashes(distinct: npt.NDArray[np.int64], coefficients: Coefficients) -> npt.NDArray[np.int32]:
    """The hash of each distinct token in each table: ``(tokens, tables)``."""
    index = np.mod(distinct, HASH_PRIME).astype(np.uint64)  # numpy's mod takes the divisor's sign, as pmod does
    a, b = coefficients.a.astype(np.uint64), coefficients.b.astype(np.uint64)
    result = np.empty((len(distinct), coefficients.tables), dtype=np.int32)
    prime = np.uint64(HASH_PRIME)
    for low in range(0, len(distinct), _BLOCK):
        values = (index[low : low + _BLOCK, None] + np.uint64(1)) * a + b  # < 2**62: a, b and 1 + i are < 2**31
        # Written out because numpy divides by a scalar several times as fast as it takes the remainder.
        result[low : low + _BLOCK] = values - values // prime * prime
    return result


def bands_of(r: int, threshold: float, tables: int) -> Bands:
    """Return as many bands of ``r`` rows as ``tables`` has room for."""
    b = tables // r
    return Bands(b, r, 1.0 - (1.0 - threshold**r) ** b)


def choose_bands(threshold: float, recall: float, tables: int) -> Bands:
    """Return the bands that find at least the share ``recall`` of pairs at ``threshold`` with the fewest candidates.

    A pair of similarity *s* shares a band of *r* rows with probability ``s ** r``, and one of *b* bands with
    ``1 - (1 - s ** r) ** b``. The longest bands that suffice let the fewest unrelated pairs through; all bands that
    ``tables`` has room for are used. Raises `SettingsError` where even bands of one row find less.
    """
    for r in range(tables, 0, -1):
        bands = bands_of(r, threshold, tables)
        if bands.recall >= recall:
            return bands
    raise SettingsError(
        f"{tables} hash tables find {bands.recall:.4f} of pairs at {threshold}, not {recall}",
        where="dedup",
        cure="raise dedup.tables, or lower dedup.recall",
    )


def band_keys(signatures: npt.NDArray[np.int32], bands: Bands) -> Ragged:
    """Return each row's candidate keys, one a band: 64-bit hashes of the band's number and its rows.

    Two different bands may share a key, once in 2**64; that costs a verification and nothing else.
    """
    cut = signatures[:, : bands.b * bands.r].reshape(len(signatures), bands.b, bands.r)
    keys = np.broadcast_to(mixed(np.arange(1, bands.b + 1, dtype=np.uint64)), cut.shape[:2])
    for row in range(bands.r):
        keys = mixed(keys ^ cut[:, :, row].astype(np.uint64))
    return Ragged(np.ravel(keys).view(np.int64), np.full(len(signatures), bands.b))
