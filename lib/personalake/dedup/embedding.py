"""Which new rows say what a kept row says in other words: by the cosine of their vectors.

At narrow angles neighbours share a cell, so rows are compared within cells; how many each must lie in is measured (see
``cells``). At wide angles, as the strict hub's cosine of 0.5 (60 degrees), no number of cells would do, and few rows
are kept; so all are compared with those that are kept, which is exact.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from personalake.dedup.cells import Cells, choose_cells, sampled
from personalake.dedup.cosine import first_near
from personalake.dedup.deduplicate import to_parts
from personalake.dedup.passes import PARCEL
from personalake.dedup.survivors import IN_HUB, Stage, settle, settle_with_crowds
from personalake.dedup.vector_passes import (
    CELL_PAIR,
    COMPARED,
    MEMBER,
    cell_members,
    cell_pairs,
    cell_sender,
    comparer,
    walk,
)
from personalake.dedup.vectors import Matrix, matrix

METHOD = "embedding"

_PART_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 12_000_000
"""So much of vectors is walked through at once, and goes to every task to be compared with all others."""

_DROPPED = "id string, kept_id string, similarity double"
_DRAWS = 1 << 20


@dataclass(frozen=True)
class Repeats:
    """``dropped`` has the new rows that repeat a kept one (id, kept_id, similarity); *told* says how they are found."""

    dropped: DataFrame
    told: str


def semantic_repeats(new: DataFrame, hub: DataFrame | None, threshold: float, recall: float, stage: Stage) -> Repeats:
    """Compare ``new`` (id, rank, vector) with itself and with the ``hub`` (id, vector), whose rows never change.

    Vectors are of one dimension, as ``vectors`` keeps them; a smaller rank is better. Both promises of `survivors` hold
    for the result; of two rows at or above the threshold the share *recall* is found, all of them at wide angles.
    """
    known = new.limit(0) if hub is None else hub.select("id", F.lit(IN_HUB).alias("rank"), "vector")
    rows = new.select("id", "rank", "vector").unionByName(known)
    found = rows.agg(F.count("*").alias("rows"), F.count_if(F.col("rank") == IN_HUB).alias("hub")).collect()[0]
    fresh, old = int(found["rows"] - found["hub"]), int(found["hub"])
    sample = _sample(rows, fresh + old, sampled(fresh, old))
    cells = choose_cells(sample, fresh, old, threshold, recall)
    if cells is None:
        dropped = _against_kept(new.select("id", "rank", "vector"), known, 2 * sample.shape[1], threshold, stage)
        return Repeats(dropped, "all compared with those kept")
    count = len(cells.centroids)
    told = "all compared with each other"
    if count > 1:
        told = f"{count:,} cells, {cells.nearest} a vector, find {cells.recall:.2%} at {threshold:g}"
    return Repeats(_within_cells(rows, fresh + old, cells, threshold, stage), told)


def _sample(rows: DataFrame, count: int, wanted: int) -> Matrix:
    """About so many vectors, picked by the hash of their row's id, in its order."""
    draw = F.pmod(F.xxhash64("id"), F.lit(_DRAWS))
    picked = rows.where(draw < int(_DRAWS * wanted / max(count, 1)) + 1) if count > wanted else rows
    found = sorted(picked.select(draw.alias("draw"), "id", "vector").collect())
    return matrix(pa.array([row["vector"] for row in found], pa.binary()))


def _within_cells(rows: DataFrame, count: int, cells: Cells, threshold: float, stage: Stage) -> DataFrame:
    """Rows that share a cell are paired there; a cell with too many pairs gives as few as will do."""
    width = 2 * cells.centroids.shape[1] + 100
    parts = min(len(cells.centroids), 1 + count * cells.nearest * width // _PART_BYTES)
    parcels = to_parts(rows.mapInArrow(cell_sender(cells, parts), PARCEL), parts)
    found = stage(parcels.mapInArrow(cell_pairs(threshold), CELL_PAIR), "cell-pairs")
    pairs = stage(found.where("id IS NOT NULL").drop("crowd").distinct(), "pairs")
    crowded = [row["crowd"] for row in found.where("id IS NULL").select("crowd").collect()]
    if not crowded:
        return settle(pairs, stage).select("id", "kept_id", "similarity")
    members = stage(rows.mapInArrow(cell_members(cells, crowded), MEMBER), "crowds")

    def compared(members: DataFrame) -> DataFrame:
        ordered = members.repartition(len(crowded), "crowd").sortWithinPartitions("crowd", "rank", "id")
        return ordered.mapInArrow(walk(threshold), CELL_PAIR)

    return settle_with_crowds(pairs, members, compared, stage).select("id", "kept_id", "similarity")


def _against_kept(new: DataFrame, hub: DataFrame, width: int, threshold: float, stage: Stage) -> DataFrame:
    """From the best row on, each is compared with every row that is kept before it; exact.

    1. The best rows without a verdict are walked through in their order; those that repeat none before them are kept.
    2. All others are compared with these kept ones; who repeats one is dropped for the first of them.
    3. So on, until every row has its verdict. The hub's rows come before all, as kept as they are.
    """
    head, dropped, undecided = max(1_024, _HEAD_BYTES // width), [], new

    def without_repeats(rows: DataFrame, kept: list[Row], number: int) -> DataFrame:
        compare = comparer([row["id"] for row in kept], b"".join(row["vector"] for row in kept), threshold)
        compared = stage(rows.mapInArrow(compare, COMPARED), f"compared-{number}")
        dropped.append(compared.where("kept_id IS NOT NULL").select("id", "kept_id", "similarity"))
        return compared.where("kept_id IS NULL").select("id", "rank", "vector")

    number = 0
    while old := hub.orderBy("id").limit(head).collect():
        number, undecided = number + 1, without_repeats(undecided, old, number)
        hub = hub.where(F.col("id") > old[-1]["id"])
    while best := undecided.orderBy("rank", "id").limit(head).collect():
        witness, alike = first_near(matrix(pa.array([row["vector"] for row in best], pa.binary())), 0, threshold)
        told = [(best[n]["id"], best[w]["id"], float(alike[n])) for n, w in enumerate(witness.tolist()) if w >= 0]
        dropped.append(new.sparkSession.createDataFrame(told, _DROPPED))
        last, kept = best[-1], [row for row, repeated in zip(best, witness >= 0, strict=True) if not repeated]
        later = (F.col("rank") > last["rank"]) | ((F.col("rank") == last["rank"]) & (F.col("id") > last["id"]))
        number, undecided = number + 1, without_repeats(undecided.where(later), kept, number)
    return functools.reduce(DataFrame.unionByName, dropped, new.sparkSession.createDataFrame([], _DROPPED))
