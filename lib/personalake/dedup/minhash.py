"""MinHash signatures of Spark's ``MinHashLSH`` and the bands that turn them into candidate keys.

The hash family is MLlib's (``model.py``). Its formula runs here in numpy, since MLlib's way through vectors takes
several times as long, and the bands are ours, since MLlib only joins on any single table (OR-amplification).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: ``b`` bands of ``r`` rows, and the share of pairs at the threshold that this finds."""

    b: int
    r: int
    recall: float


def signatures(tokens: pa.ListArray, coefficients: Coefficients) -> npt.NDArray[np.int32]:
    """Return the MinHash signatures of rows of 64-bit token hashes: ``(rows, tables)``.

    A token's index is ``pmod(hash, HASH_PRIME)``; each distinct token of the array goes through the tables once. Equal
    to ``MinHashLSHModel.transform`` bit for bit. For a row without tokens, at which MLlib raises, every table gives
    ``HASH_PRIME``: more than any hash, and the same for all such rows, which are equal as sets.
    """
    counts = pc.list_value_length(tokens).fill_null(0).to_numpy(zero_copy_only=False)
    distinct, places = np.unique(tokens.flatten().to_numpy(zero_copy_only=False), return_inverse=True)
    hashed = _hashes(distinct, coefficients)
    starts = np.cumsum(counts) - counts
    result = np.full((len(counts), coefficients.tables), HASH_PRIME, dtype=np.int32)
    longest_first = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    for low in range(0, len(longest_first), _BLOCK):
        rows = longest_first[low : low + _BLOCK]
        least = hashed[places[starts[rows]]]
        for position in range(1, counts[rows[0]]):
            # The rows that have a token here; one pass over a position beats one over a row, which has few tokens.
            alive = rows[: np.searchsorted(-counts[rows], -position)]
            part = least[: len(alive)]
            np.minimum(part, hashed[places[starts[alive] + position]], out=part)
        result[rows] = least
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


def choose_bands(threshold: float, recall: float, tables: int) -> Bands:
    """Return the bands that find at least the share ``recall`` of pairs at ``threshold`` with the fewest candidates.

    A pair of similarity *s* shares a band of *r* rows with probability ``s ** r``, and one of *b* bands with
    ``1 - (1 - s ** r) ** b``. The longest bands that suffice let the fewest unrelated pairs through; all bands that
    ``tables`` has room for are used. Raises `SettingsError` where even bands of one row find less.
    """
    for r in range(tables, 0, -1):
        b = tables // r
        found = 1.0 - (1.0 - threshold**r) ** b
        if found >= recall:
            return Bands(b, r, found)
    raise SettingsError(
        f"{tables} hash tables find {found:.4f} of pairs at {threshold}, not {recall}",
        where="dedup",
        cure="raise dedup.tables, or lower dedup.recall",
    )


def band_keys(signatures: npt.NDArray[np.int32], bands: Bands) -> pa.ListArray:
    """Return each row's candidate keys: ``list<int64>`` with one key a band, hashed from its number and its rows.

    Two different bands may share a key, once in 2**64; that costs a verification and nothing else.
    """
    cut = signatures[:, : bands.b * bands.r].reshape(len(signatures), bands.b, bands.r)
    keys = np.broadcast_to(_mixed(np.arange(1, bands.b + 1, dtype=np.uint64)), cut.shape[:2])
    for row in range(bands.r):
        keys = _mixed(keys ^ cut[:, :, row].astype(np.uint64))
    offsets = np.arange(0, keys.size + 1, bands.b, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ravel(keys).view(np.int64)))


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The next state of SplitMix64 for each value (Steele, Lea, Flood: Fast splittable PRNGs, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
