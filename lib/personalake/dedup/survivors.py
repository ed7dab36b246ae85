"""Who stays among rows that repeat each other: the best first, and nobody goes but for a row that stays.

Not connected components: in a chain a~b~c, where a and c don't repeat each other, dropping b for a leaves no reason to
drop c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from personalake.dedup.ragged import Ints

Stage = Callable[[DataFrame, str], DataFrame]
"""Writes a DataFrame to the work folder under a name and returns what reads it back: work done once, lineage cut."""

PAIRS = "id string, rank double, address long, better_id string, better_rank double, similarity double"
"""A verified pair: a row and where it lies, the better one of the two, and their similarity; better is the smaller
``(rank, id)``."""

DROPPED = "id string, address long, kept_id string, similarity double"
"""A row that is not kept, where it lies, and the kept row that it repeats."""

IN_HUB = float("-inf")
"""Rank of a row of the hub: it wins over every new one."""

SMALL = 500_000
"""So many pairs are settled in one task (some 200 MB, two seconds); with more, rounds over all tasks come first."""


def rank(quality: Column) -> Column:
    """Return a new row's rank, smaller for better quality; a row without one ranks last."""
    return F.coalesce(-F.nanvl(quality, F.lit(None).cast("double")), F.lit(float("inf")))


def settled(verified: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows to drop (`DROPPED`) by verified pairs (``passes.VERIFIED``), copies included, in one go.

    1. Rows are numbered from the best on, by ``(rank, id)``; so the leader of equal sets is their least number.
    2. From the best row on, a leader is dropped if a better one that it repeats was not.
    3. Whoever isn't the leader of its set goes with it: for what the leader names, or for the leader itself.
    """
    sides = ("", "other_")
    every = pa.table({name: pa.chunked_array([verified.column(side + name) for side in sides]) for name in _ROW})
    _, once = np.unique(every.column("address").to_numpy(), return_index=True)
    rows = every.take(pa.array(once)).sort_by([("rank", "ascending"), ("id", "ascending")]).combine_chunks()
    address = rows.column("address").to_numpy()
    by_address = np.argsort(address)
    one, other = (
        by_address[np.searchsorted(address, verified.column(f"{s}address").to_numpy(), sorter=by_address)]
        for s in sides
    )
    same, alike = (verified.column(name).to_numpy(zero_copy_only=False) for name in ("same", "similarity"))

    leader = np.arange(len(address))
    np.minimum.at(leader, other[same], one[same])
    speaker = np.arange(len(address))
    speaker[one[same]] = other[same]
    leader = leader[speaker]

    first, second = leader[one[~same]], leader[other[~same]]
    worse, better, alike = np.maximum(first, second), np.minimum(first, second), alike[~same]
    dropped = walk(worse, better)
    rows_dropped, by = np.array(list(dropped), dtype=np.int64), np.array(list(dropped.values()), dtype=np.int64)
    kept, similarity = np.full(len(address), -1), np.ones(len(address))
    kept[rows_dropped], similarity[rows_dropped] = better[by], alike[by]

    copy = leader != np.arange(len(address))
    kept[copy] = np.where(kept[leader[copy]] >= 0, kept[leader[copy]], leader[copy])
    similarity[copy] = similarity[leader[copy]]
    gone = np.flatnonzero(kept >= 0)
    ids = rows.column("id").combine_chunks()
    columns = [
        ids.take(pa.array(gone)),
        pa.array(address[gone]),
        ids.take(pa.array(kept[gone])),
        pa.array(similarity[gone]),
    ]
    return pa.RecordBatch.from_arrays(columns, ["id", "address", "kept_id", "similarity"])


def walk(worse: Ints, better: Ints) -> dict[int, int]:
    """Return for each row to drop the number of the pair that says so; rows are numbered from the best on.

    From the best row on, one is dropped if it repeats one that isn't; the best of those counts.
    """
    order = np.lexsort((better, worse))
    dropped: dict[int, int] = {}
    for row, other, place in zip(worse[order].tolist(), better[order].tolist(), order.tolist(), strict=True):
        # The better one's own pairs came before this one, so it is decided.
        if row not in dropped and other not in dropped:
            dropped[row] = place
    return dropped


_ROW = ("address", "rank", "id")


def settle(pairs: DataFrame, stage: Stage, small: int = SMALL, name: str = "settled") -> DataFrame:
    """Return the rows to drop, each with the kept row that it repeats: ``id, address, kept_id, similarity``.

    ``pairs`` has the columns of `PAIRS`, was itself staged, and has no pair within the hub. Rows are decided in order
    of ``(rank, id)``: one is dropped if it repeats a kept one directly, and the best of those is named. So no two kept
    rows are a pair, and the result depends on neither order nor partitions.

    1. A round keeps the rows without an undecided better neighbour and drops their neighbours; it takes one pass
       over the undecided pairs, whatever their number.
    2. Rounds go on until ``small`` pairs are left, which usually is at once; those are settled in one task.
    3. Who is dropped is known now, so each dropped row gets the best of its neighbours that isn't.
    """
    dropped, undecided, number = [], pairs, 0
    while undecided.count() > small:
        number += 1
        dropped.append(stage(_dropped_at_once(undecided), f"{name}_dropped_{number}"))
        undecided = stage(_without(undecided, dropped[-1]), f"{name}_undecided_{number}")
    gone = undecided.select("rank", "id", "better_id").coalesce(1).mapInArrow(_dropped_in_order, "id string")
    for part in dropped:
        gone = gone.unionByName(part)
    kept = pairs.join(gone.select(F.col("id").alias("better_id")), "better_id", "left_anti")
    best = F.min_by(F.struct("better_id", "similarity"), F.struct("better_rank", "better_id"))
    found = kept.groupBy("id").agg(F.min("address").alias("address"), best.alias("best"))
    return found.select("id", "address", F.col("best.better_id").alias("kept_id"), "best.similarity")


def settle_with_crowds(
    pairs: DataFrame, members: DataFrame, compared: Callable[[DataFrame], DataFrame], stage: Stage
) -> DataFrame:
    """Return what `settle` says of all pairs, of which those within crowds are found as they are needed.

    ``members`` (crowd, rank, id, …) are the rows in crowds, of which *compared* makes as few pairs as will do: the
    columns of `PAIRS` and their ``crowd``. They suffice unless the row for which another one was dropped there is
    itself dropped, for a row outside of the crowd. Then those of the crowd that are kept now are compared again, until
    no new pair turns up: no two kept rows are a pair, so what is kept is what all pairs would have kept.
    """
    number, found = 1, stage(compared(members), "crowd_pairs_1")
    while True:
        every = stage(pairs.unionByName(found.drop("crowd")).distinct(), f"pairs_{number}")
        dropped = stage(settle(every, stage, name=f"settled_{number}"), f"dropped_{number}")
        doubtful = found.join(dropped, "id", "left_anti").select("crowd").distinct()
        if doubtful.isEmpty():
            return dropped
        number += 1
        rest = members.join(dropped, "id", "left_anti").join(doubtful, "crowd", "left_semi")
        more = stage(compared(rest), f"crowd_pairs_{number}")
        if more.isEmpty():
            return dropped
        found = found.unionByName(more)


def _dropped_at_once(pairs: DataFrame) -> DataFrame:
    """The rows that repeat one which no undecided row is better than."""
    contested = pairs.select(F.col("id").alias("better_id"))
    return pairs.join(contested, "better_id", "left_anti").select("id").distinct()


def _without(pairs: DataFrame, dropped: DataFrame) -> DataFrame:
    """The pairs that still matter once the rows ``dropped`` are out, on either side."""
    rest = pairs.join(dropped, "id", "left_anti")
    return rest.join(dropped.select(F.col("id").alias("better_id")), "better_id", "left_anti")


def _dropped_in_order(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Walk ``rank, id, better_id`` from the best row on: the row is dropped if a better neighbour was not."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    pairs = pa.Table.from_batches(found).combine_chunks()
    rows = pairs.select(["rank", "id"]).group_by(["rank", "id"]).aggregate([])
    ids = rows.sort_by([("rank", "ascending"), ("id", "ascending")]).column("id").combine_chunks()
    # A better one that is no row of any pair itself repeats nobody better: it stays, and comes before all.
    worse, better = (pc.index_in(pairs.column(name).combine_chunks(), ids) for name in ("id", "better_id"))
    dropped = walk(worse.to_numpy().astype(np.int64), pc.fill_null(better, -1).to_numpy().astype(np.int64))
    yield pa.RecordBatch.from_arrays([ids.take(pa.array(sorted(dropped)))], ["id"])
