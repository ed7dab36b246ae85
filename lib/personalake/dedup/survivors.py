"""Who stays among rows that repeat each other: the best first, and nobody goes but for a row that stays.

Not connected components: in a chain a~b~c, where a and c don't repeat each other, dropping b for a leaves no reason to
drop c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Stage = Callable[[DataFrame, str], DataFrame]
"""Writes a DataFrame to the work folder under a name and returns what reads it back: work done once, lineage cut."""

PAIRS = "id string, rank double, better_id string, better_rank double, similarity double"
"""A verified pair: a row, the better one of the two, and their similarity; better is the smaller ``(rank, id)``."""

IN_HUB = float("-inf")
"""Rank of a row of the hub: it wins over every new one."""

SMALL = 200_000
"""So many pairs are settled in one task (some 100 MB, a second); with more, rounds over all tasks come first."""


def rank(quality: Column) -> Column:
    """Return a new row's rank, smaller for better quality; a row without one ranks last."""
    return F.coalesce(-F.nanvl(quality, F.lit(None).cast("double")), F.lit(float("inf")))


def settle(pairs: DataFrame, stage: Stage, small: int = SMALL) -> DataFrame:
    """Return the rows to drop, each with the kept row that it repeats: ``id, kept_id, similarity``.

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
        dropped.append(stage(_dropped_at_once(undecided), f"dropped_{number}"))
        undecided = stage(_without(undecided, dropped[-1]), f"undecided_{number}")
    gone = undecided.select("rank", "id", "better_id").coalesce(1).mapInArrow(_dropped_in_order, "id string")
    for part in dropped:
        gone = gone.unionByName(part)
    kept = pairs.join(gone.select(F.col("id").alias("better_id")), "better_id", "left_anti")
    best = F.min_by(F.struct("better_id", "similarity"), F.struct("better_rank", "better_id"))
    found = kept.groupBy("id").agg(best.alias("best"))
    return found.select("id", F.col("best.better_id").alias("kept_id"), "best.similarity")


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
    pairs: list[tuple[float, str, str]] = []
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("rank", "id", "better_id"))
        pairs.extend(zip(*columns, strict=True))
    dropped: dict[str, None] = {}
    for _, row, better in sorted(pairs):
        # The better one's own pairs came before this one, so it is decided.
        if better not in dropped:
            dropped[row] = None
    yield pa.RecordBatch.from_arrays([pa.array(list(dropped), pa.string())], ["id"])
