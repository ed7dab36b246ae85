"""What a HyperLogLog and a MinHash keep, in numpy: datasketch's, bit for bit, for a batch of hashes at once."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from personalake.dedup.ragged import mixed

PRECISION = 16
"""A HyperLogLog's 2 ** 16 registers, the most that datasketch has: a standard error of 0.4 % in 64 KB."""
PERMUTATIONS = 256
"""A MinHash's: a standard error of at most 3 points of a Jaccard similarity, in 2 KB."""

SEED = 1
"""Of a MinHash's permutations: datasketch's default."""

Hashes = npt.NDArray[np.uint64]
Registers = npt.NDArray[np.int8]

_AFFINE64 = 2
_BLOCK = 512
_CHUNK = 1 << 20


def empty_registers(parts: int = 1) -> Registers:
    """Those of a HyperLogLog that has counted nothing; of several, one after the other, which share what they count."""
    return np.zeros(parts << PRECISION, dtype=np.int8)


def places_and_ranks(hashes: Hashes, registers: Registers) -> tuple[npt.NDArray[np.int64], Registers]:
    """The one of *registers* that each hash goes to, and the rank that it raises it to: datasketch's rule.

    Of several HyperLogLogs each counts the hashes of one value of the first bits, mixed, so that all bits tell again.
    """
    parts, first = len(registers) >> PRECISION, np.zeros(len(hashes), dtype=np.int64)
    if parts > 1:
        first = (hashes >> np.uint64(65 - parts.bit_length())).astype(np.int64) << PRECISION
        hashes = mixed(hashes)
    rest = (hashes >> np.uint64(PRECISION)).astype(np.float64)  # 48 bits: exact, and its exponent is their length
    ranks = (64 - PRECISION + 1 - np.frexp(rest)[1]).astype(np.int8)
    return first + (hashes & np.uint64((1 << PRECISION) - 1)).astype(np.int64), ranks


def raise_registers(registers: Registers, hashes: Hashes) -> None:
    """Let *registers* count *hashes*."""
    for at in range(0, len(hashes), _CHUNK):
        places, ranks = places_and_ranks(hashes[at : at + _CHUNK], registers)
        higher = ranks > registers[places]  # Few are, once there have been many.
        np.maximum.at(registers, places[higher], ranks[higher])


def minima(hashes: Hashes) -> Hashes:
    """The least of *hashes* under each of datasketch's permutations, scheme `affine64`."""
    a, b = _permutations()
    low = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, dtype=np.uint64)
    spread = hashes ^ (hashes >> np.uint64(33))  # MurmurHash3's finalizer
    spread = spread * np.uint64(0xFF51AFD7ED558CCD)
    spread = (spread ^ (spread >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    spread ^= spread >> np.uint64(33)
    for at in range(0, len(spread), _BLOCK):
        np.minimum(low, (spread[at : at + _BLOCK, None] * a + b).min(axis=0), out=low)
    return low


def _permutations() -> tuple[Hashes, Hashes]:
    drawn = np.random.RandomState(SEED)
    a = drawn.randint(0, 1 << 63, PERMUTATIONS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return a, drawn.randint(0, 1 << 64, PERMUTATIONS, dtype=np.uint64)


def packed_registers(registers: Registers) -> bytes:
    """As datasketch serialises a HyperLogLog; several, one after the other."""
    return b"".join(bytes([PRECISION]) + part.tobytes() for part in parted(registers))


def parted(registers: Registers) -> Registers:
    """The registers of each HyperLogLog: ``(parts, 2 ** PRECISION)``."""
    return registers.reshape(-1, 1 << PRECISION)


def registers_of(sketch: bytes) -> Registers:
    """The registers of one or several serialised HyperLogLogs."""
    return np.frombuffer(sketch, dtype=np.int8).reshape(-1, 1 + (1 << PRECISION))[:, 1:].ravel()


_HEAD = struct.Struct("<qiB")


def packed_minima(low: Hashes) -> bytes:
    """As datasketch serialises a lean MinHash, little-endian."""
    return _HEAD.pack(SEED, -len(low), _AFFINE64) + low.astype("<u8").tobytes()


def minima_of(sketch: bytes) -> Hashes:
    """The minima of a serialised MinHash."""
    return np.frombuffer(sketch, dtype="<u8", offset=_HEAD.size).astype(np.uint64)
