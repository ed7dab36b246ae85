"""The passes over vectors: plain functions from Arrow batches to Arrow batches, as `embedding` puts them together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from personalake.dedup.blocks import chosen, pack, unpack
from personalake.dedup.cells import Cells
from personalake.dedup.cosine import first_near, near_pairs, nearest_kept
from personalake.dedup.passes import Batches, Pass, parcels, payloads
from personalake.dedup.ragged import Ints
from personalake.dedup.survivors import IN_HUB
from personalake.dedup.vectors import Floats, matrix

CELL_PAIR = "crowd long, id string, rank double, address long, better_id string, better_rank double, similarity double"
"""A pair in a cell, the columns of ``survivors.PAIRS``; a cell with too many of them is a crowd, and has no ``id``."""

MEMBER = "crowd long, id string, rank double, vector binary"

COMPARED = "id string, rank double, vector binary, kept_id string, similarity double"
"""A row that repeats none of those that it was compared with; or one that does, without its vector."""

_PAIRS_A_ROW = 50
"""A cell with more pairs than this is a crowd: nearly all of them are of rows that don't stay."""


def cell_sender(cells: Cells, parts: int) -> Pass:
    """From (id, rank, vector) to parcels of the rows of each part's cells."""

    def send(batches: Batches) -> Batches:
        for batch in batches:
            row, cell = _by_cell(cells, batch)
            part = cell % parts
            order = np.argsort(part, kind="stable")
            bounds = np.searchsorted(part[order], np.arange(parts + 1))
            placed = ((number, order[bounds[number] : bounds[number + 1]]) for number in range(parts))
            yield from parcels(("rows", number, _packed(batch, row[at], cell[at])) for number, at in placed if len(at))

    return send


def _by_cell(cells: Cells, batch: pa.RecordBatch) -> tuple[Ints, Ints]:
    """The rows of a batch, each as often as it has cells, and the cell."""
    found = cells.of(matrix(batch.column("vector")))
    return np.repeat(np.arange(len(found)), cells.nearest), found.ravel()


def _packed(batch: pa.RecordBatch, rows: Ints, cell: Ints) -> memoryview:
    held = chosen(batch, rows)
    return pack(pa.RecordBatch.from_arrays([pa.array(cell), *held.columns], ["crowd", *held.schema.names]))


def cell_pairs(threshold: float) -> Pass:
    """From a part's rows to the pairs in each of its cells, or to the cell alone where these are too many."""

    def pair(batches: Batches) -> Batches:
        tables = [unpack(payload) for _, payload in payloads(batches)]
        if not tables:
            return
        table = pa.Table.from_batches(tables)
        order = pc.sort_indices(table, [("crowd", "ascending"), ("rank", "ascending"), ("id", "ascending")])
        for crowd, rows in _groups(table.take(order).combine_chunks().to_batches()[0]):
            known = _known(rows)
            if known == rows.num_rows:
                continue
            found = near_pairs(matrix(rows.column("vector")), known, threshold, _PAIRS_A_ROW * rows.num_rows)
            yield _pairs(crowd, rows, *found) if found is not None else _crowd(crowd)

    return pair


def _groups(rows: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of each crowd; they are sorted by it."""
    crowd = rows.column("crowd").to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(crowd)) + 1).tolist(), len(crowd)]
    for low, high in itertools.pairwise(bounds):
        yield int(crowd[low]), rows.slice(low, high - low)


def _known(rows: pa.RecordBatch) -> int:
    """How many of a group's rows, which come first, are of the hub."""
    return int((rows.column("rank").to_numpy() == IN_HUB).sum())


def _pairs(crowd: int, rows: pa.RecordBatch, one: Ints, other: Ints, alike: Floats) -> pa.RecordBatch:
    worse, better = chosen(rows, one), chosen(rows, other)
    nowhere = pa.array(np.zeros(len(one), dtype=np.int64))
    columns = [
        pa.array(np.full(len(one), crowd)), worse.column("id"), worse.column("rank"), nowhere,
        better.column("id"), better.column("rank"), pa.array(alike),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, _NAMES)


_NAMES = [field.split()[0] for field in CELL_PAIR.split(", ")]


def _crowd(crowd: int) -> pa.RecordBatch:
    types = (pa.int64(), pa.string(), pa.float64(), pa.int64(), pa.string(), pa.float64(), pa.float64())
    return pa.RecordBatch.from_arrays(
        [pa.array([crowd if name == "crowd" else None], kind) for name, kind in zip(_NAMES, types, strict=True)], _NAMES
    )


def cell_members(cells: Cells, crowds: Sequence[int]) -> Pass:
    """From (id, rank, vector) to the rows of the cells *crowds*."""

    def members(batches: Batches) -> Batches:
        for batch in batches:
            row, cell = _by_cell(cells, batch)
            wanted = np.isin(cell, crowds)
            held = chosen(batch, row[wanted])
            yield pa.RecordBatch.from_arrays([pa.array(cell[wanted]), *held.columns], ["crowd", "id", "rank", "vector"])

    return members


def walk(threshold: float) -> Pass:
    """From members, sorted by crowd and from the best on, to pairs of one that doesn't stay and the one it repeats."""

    def walked(batches: Batches) -> Batches:
        held = [batch for batch in batches if batch.num_rows]
        if not held:
            return
        for crowd, rows in _groups(pa.Table.from_batches(held).combine_chunks().to_batches()[0]):
            witness, alike = first_near(matrix(rows.column("vector")), _known(rows), threshold)
            gone = np.flatnonzero(witness >= 0)
            yield _pairs(crowd, rows, gone, witness[gone], alike[gone])

    return walked


def comparer(ids: Sequence[str], vectors: bytes, threshold: float) -> Pass:
    """From rows that every kept one is better than to `COMPARED`, by the kept ones' *ids* and *vectors*, in order."""

    def compare(batches: Batches) -> Batches:
        width = len(vectors) // len(ids)
        kept = matrix(pa.array([vectors[low : low + width] for low in range(0, len(vectors), width)], pa.binary()))
        names = pa.array(ids, pa.string())
        for batch in batches:
            witness, alike = nearest_kept(matrix(batch.column("vector")), kept, threshold)
            gone, stays = pa.array(witness >= 0), pa.array(witness < 0)
            found = names.take(pa.array(np.maximum(witness, 0)))
            columns = [
                batch.column("id"), batch.column("rank"), _only(stays, batch.column("vector")), _only(gone, found),
                _only(gone, pa.array(alike)),
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(columns, [field.split()[0] for field in COMPARED.split(", ")])

    return compare


def _only(mask: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(mask, values, pa.scalar(None, values.type))
