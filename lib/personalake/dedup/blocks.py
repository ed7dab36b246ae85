"""Rows packed by the thousand into single records: how dedup's rows travel through Spark and lie in `hub_keys`.

Spark handles a row at a time: to shuffle and group the twelve keys of a million personas takes it 12 s on two cores. As
a few hundred packed records they take under a second, and numpy does the rest on whole arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from personalake.dedup.ragged import Ints, Ragged, int64_list, mixed, ragged

BLOCK = "block long, count int, keys binary, rows binary"
"""A block of rows: its number, how many, their candidate keys and the rest, each an Arrow stream of one batch.

``keys`` has ``print`` (long, a hash of the row's tokens) and ``keys`` (list<long>); ``rows`` has ``id``, ``rank``
(double, smaller is better) and ``tokens`` (list<long>, sorted). Apart, because a look-up reads the keys of all and the
rows of few.
"""

ROW_BITS, _BLOCK_BITS, _TASK_BITS, _ROUND_BITS = 11, 15, 15, 4
MOST_ROWS = 1 << ROW_BITS
"""Rows of a block at most: Spark's Parquet writer looks at its memory once in a hundred records."""

MOST_VALUES = 1 << 17
"""Tokens of a block at most, unless a single row has more: 1 MB."""

Addresses = npt.NDArray[np.int64]
"""Where rows are: their block's number, then their place in it."""


MOST_ROUNDS = 1 << _ROUND_BITS


def batch_number(seq: int, round_: int = 0) -> int:
    """The number of a batch that run *seq* compares, in its first round or a later one.

    Raises `OverflowError` beyond 262,144 runs, or 16 rounds in one.
    """
    if seq >> (63 - ROW_BITS - _BLOCK_BITS - _TASK_BITS - _ROUND_BITS) or round_ >> _ROUND_BITS:
        raise OverflowError(f"no block numbers left for round {round_} of run {seq}")
    return seq << _ROUND_BITS | round_


def block_numbers(batch: int, task: int) -> Iterator[int]:
    """The numbers of the blocks that a task makes for *batch*, which no other task or batch has.

    Raises `OverflowError` beyond 32,768 tasks, or as many blocks (of 2,048 rows) a task.
    """
    if task >> _TASK_BITS:
        raise OverflowError(f"no block numbers left for task {task} of batch {batch}")
    first = (batch << _TASK_BITS | task) << _BLOCK_BITS
    yield from range(first, first + (1 << _BLOCK_BITS))
    raise OverflowError(f"no block numbers left in task {task} of batch {batch}")


def addresses(block: int, count: int) -> Addresses:
    """The addresses of a block's rows."""
    return (block << ROW_BITS) + np.arange(count, dtype=np.int64)


def block_of(address: Addresses) -> Ints:
    """The number of the block that holds each row."""
    return address >> ROW_BITS


def place_of(address: Addresses) -> Ints:
    """The place of each row in its block."""
    return address & (MOST_ROWS - 1)


def batch_of(address: Addresses) -> Ints:
    """The batch that each row's block was made for."""
    return address >> (ROW_BITS + _BLOCK_BITS + _TASK_BITS)


def blocks(ids: pa.Array, ranks: pa.Array, sets: Ragged, keys: Ragged, numbers: Iterator[int]) -> pa.RecordBatch:
    """Rows as records of `BLOCK`, cut so that none has too many rows or tokens."""
    prints = set_prints(sets)
    tokens, lists = int64_list(sets), int64_list(keys)
    found = []
    for low, high in _cuts(sets.counts):
        held = pa.RecordBatch.from_arrays([pa.array(prints[low:high]), lists[low:high]], ["print", "keys"])
        rows = [ids[low:high], ranks[low:high], tokens[low:high]]
        number = next(numbers)
        found.append((number, high - low, pack(held), pack(pa.RecordBatch.from_arrays(rows, ["id", "rank", "tokens"]))))
    return records(found)


def records(found: Iterable[tuple[int, int, memoryview, memoryview]]) -> pa.RecordBatch:
    """Records of `BLOCK` (number, rows, keys, the rest) as a batch."""
    columns = list(zip(*found, strict=True)) or [()] * 4
    types = (pa.int64(), pa.int32(), pa.binary(), pa.binary())
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)],
        ["block", "count", "keys", "rows"],
    )


def set_prints(sets: Ragged) -> Ints:
    """A 64-bit hash of each set, whatever the order of its values."""
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed(sets.values.view(np.uint64)))])
    starts = sets.starts
    return mixed(sums[starts + sets.counts] - sums[starts]).view(np.int64)


def _cuts(counts: Ints) -> Iterator[tuple[int, int]]:
    ends, low = np.cumsum(counts), 0
    while low < len(counts):
        done = ends[low - 1] if low else 0
        high = int(np.searchsorted(ends, done + MOST_VALUES, side="right"))
        high = min(max(high, low + 1), low + MOST_ROWS, len(counts))
        yield low, high
        low = high


def pack(batch: pa.RecordBatch) -> memoryview:
    """A batch as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def unpack(stream: pa.Scalar) -> pa.RecordBatch:
    """The batch of an Arrow stream, without a copy."""
    return pa.ipc.open_stream(stream.as_buffer()).read_next_batch()


def lists_of(batch: pa.RecordBatch, column: str) -> Ragged:
    """A batch's column of lists."""
    return ragged(batch.column(column))


def chosen(batch: pa.RecordBatch, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Some rows of a batch, by number or by mask."""
    return batch.filter(pa.array(which)) if which.dtype == np.bool_ else pc.take(batch, pa.array(which))


def slots(count: int) -> list[int]:
    """For each of *count* partitions a number that Spark's ``repartition(count, number)`` puts into it.

    Spark hashes the number by Murmur3 (seed 42); ``repartitionById`` (4.1) would do without.
    """
    found: dict[int, int] = {}
    low = 0
    while len(found) < count:
        numbers = np.arange(low, low + 4 * count, dtype=np.uint32)
        homes = np.mod(_murmur3(numbers), count)
        for number, home in zip(numbers.tolist(), homes.tolist(), strict=True):
            found.setdefault(home, number)
        low += 4 * count
    return [found[home] for home in range(count)]


def _murmur3(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    """MurmurHash3 (Appleby, 32 bits, x86) of each value as four bytes, as Spark's ``hash(int)`` computes it."""

    def turned(words: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint32]:
        found: npt.NDArray[np.uint32] = (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))
        return found

    state = np.uint32(42) ^ (turned(values * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593))
    state = (turned(state, 13) * np.uint32(5) + np.uint32(0xE6546B64)) ^ np.uint32(4)
    state = (state ^ (state >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    found: npt.NDArray[np.int32] = (state ^ (state >> np.uint32(16))).view(np.int32)
    return found
