"""Dedup's passes over packed rows: plain functions from Arrow batches to Arrow batches, one for each step.

They need no Spark; `deduplicate` says what goes through which.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import Column
from pyspark.sql import functions as F

from personalake.dedup import blocks
from personalake.dedup.blocks import Addresses, chosen, lists_of, pack, unpack
from personalake.dedup.candidates import Entries, candidates, distinct_pairs, entries, scattered
from personalake.dedup.crowds import witnesses
from personalake.dedup.family import Family
from personalake.dedup.ragged import Ints, mixed, ragged
from personalake.dedup.survivors import IN_HUB, settled
from personalake.dedup.tokens import token_hashes
from personalake.dedup.verify import intersections, repeats, similarity

PARCEL = "kind string, target long, payload binary"
"""Packed entries, pairs, rows or addresses on their way to a part, or to a block (``wanted``, ``crowd``)."""

VERIFIED = (
    "id string, rank double, address long, other_id string, other_rank double, other_address long, "
    "similarity double, same boolean"
)
"""A pair at or above the threshold; where its sets are the same, the other one is the speaker."""

MEMBER = "crowd long, address long, id string, rank double, tokens binary"
CROWD_PAIR = "crowd long, id string, rank double, address long, better_id string, better_rank double, similarity double"

Batches = Iterator[pa.RecordBatch]
Pass = Callable[[Batches], Batches]

_ENTRIES = 1 << 20
"""Entries that a task gathers before it packs them by their parts."""

_PARCEL = 1 << 24
"""Bytes of a parcel, and about those of a batch of them: a larger one takes Java several times as many at once."""

_PAIRS = 1 << 16
"""Pairs that a task tells of at once."""


def block_maker(family: Family, own: int) -> Pass:
    """From (id, rank, text) to blocks."""

    def make(batches: Batches) -> Batches:
        numbers = blocks.block_numbers(own, _task())
        for batch in batches:
            sets = ragged(token_hashes(batch.column("text"), family.shingle))
            yield blocks.blocks(batch.column("id"), batch.column("rank"), sets, family.keys(sets), numbers)

    return make


def _task() -> int:
    context = TaskContext.get()
    return 0 if context is None else context.partitionId()


def key_collector(batches: Batches) -> Batches:
    """From blocks' keys to one record: all distinct keys, sorted."""
    found = [lists_of(unpack(one), "keys").values for batch in batches for one in batch.column("keys")]
    keys = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
    yield pa.RecordBatch.from_arrays([pa.array([keys.tobytes()], pa.binary())], ["sought"])


def key_sender(parts: int) -> Pass:
    """From blocks' keys to parcels of entries; where there is ``sought``, of those with such a key."""

    def send(batches: Batches) -> Batches:
        gathered: list[Entries] = []
        for batch in batches:
            sought = _Sought(batch.column("sought")[0]) if "sought" in batch.schema.names and len(batch) else None
            for number, one in zip(batch.column("block").to_pylist(), batch.column("keys"), strict=True):
                held = unpack(one)
                keys = lists_of(held, "keys")
                having = None if sought is None else sought.among(keys.values)
                if having is None or having.any():
                    found = entries(number, held.column("print").to_numpy(), keys)
                    gathered.append(found if having is None else found[:, having])
            if sum(each.shape[1] for each in gathered) >= _ENTRIES:
                yield from _entry_parcels(gathered, parts)
                gathered = []
        if gathered:
            yield from _entry_parcels(gathered, parts)

    return send


class _Sought:
    """Sorted keys that are looked for among many more."""

    def __init__(self, keys: pa.Scalar) -> None:
        self._keys = np.frombuffer(keys.as_buffer(), dtype=np.int64)
        # Nearly all keys end at this table, by their last bits: a search in the list takes each ten times as long.
        bits = min(len(self._keys).bit_length() + 4, 26)
        self._mask = (1 << bits) - 1
        self._table = np.zeros(1 << bits, dtype=bool)
        self._table[self._keys & self._mask] = True

    def among(self, keys: Ints) -> npt.NDArray[np.bool_]:
        """Which of *keys* are looked for."""
        having: npt.NDArray[np.bool_] = self._table[keys & self._mask]
        maybe = np.flatnonzero(having)
        places = np.searchsorted(self._keys, keys[maybe])
        having[maybe] = self._keys[np.minimum(places, len(self._keys) - 1)] == keys[maybe]
        return having


def _entry_parcels(gathered: list[Entries], parts: int) -> Batches:
    by_part = scattered(np.concatenate(gathered, axis=1), parts)
    return parcels(one for part, each in enumerate(by_part) for one in _cut("entries", part, each))


def _cut(kind: str, target: int, columns: np.ndarray) -> Iterator[tuple[str, int, bytes]]:
    """Parcels of *columns* ``(rows, n)`` of 64 bits, none too large for a record of Spark's."""
    most = max(_PARCEL // (8 * len(columns)), 1)
    return ((kind, target, columns[:, low : low + most].tobytes()) for low in range(0, columns.shape[1], most))


def parcels(found: Iterable[tuple[str, int, bytes | memoryview]]) -> Batches:
    """Parcels (kind, target, payload) as batches of `PARCEL`."""
    held: list[tuple[str, int, bytes | memoryview]] = []
    size = 0
    for one in found:
        held.append(one)
        size += memoryview(one[2]).nbytes
        if size >= _PARCEL:
            yield _as_batch(held)
            held, size = [], 0
    if held:
        yield _as_batch(held)


def _as_batch(held: list[tuple[str, int, bytes | memoryview]]) -> pa.RecordBatch:
    types = (pa.string(), pa.int64(), pa.binary())
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*held, strict=True), types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, ["kind", "target", "payload"])


def payloads(batches: Batches) -> Iterator[tuple[str, pa.Scalar]]:
    """The kind and payload of each parcel."""
    for batch in batches:
        yield from zip(batch.column("kind").to_pylist(), batch.column("payload"), strict=True)


def _matrix(payload: pa.Scalar, rows: int, dtype: type) -> np.ndarray:
    return np.frombuffer(payload.as_buffer(), dtype=dtype).reshape(rows, -1)


def pairer(parts: int, own: int, crowd: int) -> Pass:
    """From a part's entries to parcels of its pairs, of its crowds, and of the rows that are wanted for them.

    A pair goes to the part of its first row, so that a row which very many repeat goes to as many parts as there are,
    and no part gets all of its pairs.
    """

    def pair(batches: Batches) -> Batches:
        found = [_matrix(payload, 3, np.uint64) for _, payload in payloads(batches)]
        if not found:
            return
        whole = np.concatenate(found, axis=1)
        found.clear()
        rows = (whole[2] << np.uint64(1) >> np.uint64(1)).view(np.int64)
        outcome = candidates(whole, blocks.batch_of(rows) == own, crowd)
        pairs = np.concatenate([outcome.same, outcome.alike], axis=1)
        part = _part(pairs[0], parts)
        yield from parcels(
            itertools.chain(
                (each for one in np.unique(part).tolist() for each in _cut("pairs", one, pairs[:, part == one])),
                _wanted(np.concatenate([pairs[0], pairs[1]]), np.concatenate([part, part])),
                _cut("crowd", 0, outcome.crowds),
            )
        )

    return pair


def _part(rows: Addresses, parts: int) -> Ints:
    part: Ints = (mixed(rows.view(np.uint64)) % np.uint64(parts)).astype(np.int64)
    return part


def _wanted(rows: Addresses, labels: Ints) -> Iterator[tuple[str, int, bytes]]:
    """Which rows of each block are wanted, and for what: parcels of ``(2, n)``, each row and label once."""
    rows, labels = distinct_pairs(np.stack([rows, labels]))
    block = blocks.block_of(rows)
    bounds = np.flatnonzero(np.diff(block)) + 1
    for low, high in zip([0, *bounds.tolist()], [*bounds.tolist(), len(rows)], strict=True):
        if high > low:
            yield "wanted", int(block[low]), np.stack([rows[low:high], labels[low:high]]).tobytes()


def _requests(batches: Batches, own: int) -> Iterator[tuple[pa.RecordBatch, Addresses, Ints]]:
    """For each block of which rows are wanted: the rows, their addresses and their labels, each once.

    Rows that are not of the batch *own* are the hub's, and rank before all others.
    """
    for batch in batches:
        for lists, one in zip(batch.column("wanted"), batch.column("rows"), strict=True):
            whole = np.concatenate([_matrix(each, 2, np.int64) for each in lists.values], axis=1)
            address, label = distinct_pairs(whole)
            rows = chosen(unpack(one), blocks.place_of(address))
            ranks = np.where(blocks.batch_of(address) == own, rows.column("rank").to_numpy(), IN_HUB)
            columns = [rows.column("id"), pa.array(ranks), rows.column("tokens"), pa.array(address)]
            yield pa.RecordBatch.from_arrays(columns, ["id", "rank", "tokens", "address"]), address, label


def row_fetcher(own: int) -> Pass:
    """From blocks with the lists of what is wanted to parcels of these rows, for each part."""

    def fetch(batches: Batches) -> Batches:
        for rows, _, part in _requests(batches, own):
            yield from parcels(("rows", one, pack(chosen(rows, part == one))) for one in np.unique(part).tolist())

    return fetch


def verifier(threshold: float) -> Pass:
    """From a part's pairs and their rows to those at or above the threshold."""

    def verify(batches: Batches) -> Batches:
        tables, found = [], []
        for kind, payload in payloads(batches):
            if kind == "rows":
                tables.append(unpack(payload))
            else:
                found.append(_matrix(payload, 2, np.int64))
        if not found:
            return
        pairs = distinct_pairs(np.concatenate(found, axis=1))
        found.clear()
        rows = pa.Table.from_batches(tables).combine_chunks()
        rows = rows.take(pc.sort_indices(rows.column("address"))).combine_chunks().to_batches()[0]
        tables.clear()
        address, sets = rows.column("address").to_numpy(), lists_of(rows, "tokens")
        about = rows.select(["id", "rank", "address"])
        # Some at a time: what a pair says is its two ids, and rows that all resemble each other have very many pairs.
        for low in range(0, pairs.shape[1], _PAIRS):
            left, right = (np.searchsorted(address, side[low : low + _PAIRS]) for side in pairs)
            shared = intersections(sets, left, right)
            union = sets.counts[left] + sets.counts[right] - shared
            good = repeats(shared, union, threshold)
            one, other = chosen(about, left[good]), chosen(about, right[good])
            measured = [similarity(shared[good], union[good]), shared[good] == union[good]]
            names = [*about.schema.names, *(f"other_{name}" for name in about.schema.names), "similarity", "same"]
            yield pa.RecordBatch.from_arrays([*one.columns, *other.columns, *map(pa.array, measured)], names)

    return verify


def settler(batches: Batches) -> Batches:
    """From all verified pairs to the rows that are dropped; see ``survivors.settled``."""
    found = [batch for batch in batches if batch.num_rows]
    if found:
        yield settled(pa.Table.from_batches(found).combine_chunks().to_batches()[0])


def crowd_addresses(batches: Batches) -> Batches:
    """From parcels of crowds to those of the rows that are wanted for them, labelled by their crowd."""
    for _, payload in payloads(batches):
        crowd, rows = _matrix(payload, 2, np.int64)
        yield from parcels(_wanted(rows, crowd))


def crowd_fetcher(own: int) -> Pass:
    """From blocks with the lists of what is wanted to members of crowds."""

    def fetch(batches: Batches) -> Batches:
        for rows, _, crowd in _requests(batches, own):
            sets = lists_of(rows, "tokens")
            tokens = pa.array([each.tobytes() for each in np.split(sets.values, sets.starts[1:])], pa.binary())
            columns = [pa.array(crowd), *(rows.column(name) for name in ("address", "id", "rank")), tokens]
            yield pa.RecordBatch.from_arrays(columns, ["crowd", "address", "id", "rank", "tokens"])

    return fetch


def crowd_settler(threshold: float) -> Pass:
    """From members, sorted by crowd and from the best on, to pairs of one that doesn't stay and the one it repeats."""

    def settle(batches: Batches) -> Batches:
        members = (row for batch in batches for row in batch.to_pylist())
        for crowd, group in itertools.groupby(members, key=lambda row: row["crowd"]):
            found = witnesses(map(_member, group), threshold)
            while some := list(itertools.islice(found, _PAIRS)):
                columns = [pa.array([crowd] * len(some)), *_named((row for row, _, _ in some), "id", "rank", "address")]
                columns += _named((better for _, better, _ in some), "id", "rank")
                shared = np.array([common for _, _, common in some])
                union = np.array([row["size"] + better["size"] for row, better, _ in some]) - shared
                names = ["crowd", "id", "rank", "address", "better_id", "better_rank", "similarity"]
                yield pa.RecordBatch.from_arrays([*columns, pa.array(similarity(shared, union))], names)

    return settle


def _member(row: dict[str, Any]) -> tuple[dict[str, Any], frozenset[int], bool]:
    tokens = frozenset(np.frombuffer(row.pop("tokens"), dtype=np.int64).tolist())
    return row | {"size": len(tokens)}, tokens, row["rank"] == IN_HUB


def _named(rows: Iterable[dict[str, Any]], *names: str) -> list[pa.Array]:
    listed = list(rows)
    return [pa.array([row[name] for row in listed]) for name in names]


def row_placer(batches: Batches) -> Batches:
    """From blocks to the id and the address of each of their rows."""
    for batch in batches:
        for number, rows in zip(batch.column("block").to_pylist(), batch.column("rows"), strict=True):
            ids = unpack(rows).column("id")
            yield pa.RecordBatch.from_arrays([ids, pa.array(blocks.addresses(number, len(ids)))], ["id", "address"])


def row_remover(batches: Batches) -> Batches:
    """From blocks with the addresses of rows that are gone to blocks of the others; a block without any goes, too."""
    for batch in batches:
        kept = []
        for number, count, keys, rows, gone in zip(
            *(batch.column(name) for name in ("block", "count", "keys", "rows", "gone")), strict=True
        ):
            if not gone.is_valid:
                kept.append((number.as_py(), count.as_py(), memoryview(keys.as_buffer()), memoryview(rows.as_buffer())))
                continue
            stays = np.ones(count.as_py(), dtype=bool)
            stays[blocks.place_of(gone.values.to_numpy())] = False
            if stays.any():
                left = (pack(chosen(unpack(each), stays)) for each in (keys, rows))
                kept.append((number.as_py(), int(stays.sum()), *left))
        yield blocks.records(kept)


def block_column(address: str) -> Column:
    """The number of the block that an address is in, in SQL."""
    return F.shiftright(address, blocks.ROW_BITS)
