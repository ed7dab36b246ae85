"""New rows against themselves and the hub: which ones repeat a kept row, and the keys of those that stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from personalake.dedup import passes
from personalake.dedup.blocks import BLOCK, slots
from personalake.dedup.family import Family
from personalake.dedup.survivors import DROPPED, SMALL, Stage, rank, settle, settle_with_crowds
from personalake.session import parallelism

IDENTICAL = "identical"

CROWD = 500
"""More distinct sets under one key are a crowd: their pairs would be more than 100,000, most of them of no use."""

_PART, _LEAST_PART = 1_500_000, 100_000
"""Keys that one task pairs at once: 24 bytes each, and twice that while they are sorted; and what is worth a task."""

_FILTERED = 4_000_000
"""With fewer new keys than this, the hub's are looked at where they lie, and only those in question move."""

_BROADCAST = 20_000_000
"""With fewer new rows than this, the list of the rows to fetch goes to every task (some 5 bytes a row)."""


@dataclass(frozen=True)
class Deduplicated:
    """What became of a batch: each new row is in exactly one of the two.

    ``duplicates`` (id, kept_id, method, similarity) has the rows that repeat a kept one, which it names; ``keys`` (the
    columns of ``BLOCK``) has those that stay, for the next batch to be compared with. ``rows`` is the size of the
    batch, ``counts`` that of the duplicates, by method.
    """

    duplicates: DataFrame
    keys: DataFrame
    rows: int
    counts: dict[str, int]


def deduplicate(new: DataFrame, hub: DataFrame | None, family: Family, batch: int, stage: Stage) -> Deduplicated:
    """Compare ``new`` (id, text, quality) with itself and with the hub's blocks; the hub's rows never change.

    ``id`` is unique in ``new``. ``hub`` (columns of ``BLOCK``) was made by the same family in batches of other numbers
    than *batch* (``blocks.batch_number``). Both promises hold for the result: no two kept rows are a found pair, and
    each dropped row names a kept one at or above the threshold, with their exact similarity.

    1. Every row gets its tokens and candidate keys; some 2,000 rows are a block.
    2. Rows that share a key are paired: copies with the one that speaks for them, speakers with each other.
    3. Pairs are verified exactly, on the tokens of the rows in question, fetched from their blocks.
    4. Crowds, keys that too many rows share, give as few pairs as will do (see ``crowds``).
    5. `settle` says which rows are dropped; those that they speak for go with them.
    """
    rows = new.select("id", rank(F.col("quality")).alias("rank"), "text")
    fresh = stage(rows.mapInArrow(passes.block_maker(family, batch), BLOCK), "blocks")
    count = int(fresh.agg(F.coalesce(F.sum("count"), F.lit(0))).collect()[0][0])
    keys = count * family.keys_a_row
    parts = 1 + keys // _PART
    if keys > _LEAST_PART:
        parts = max(parts, min(parallelism(new.sparkSession), keys // _LEAST_PART))
    hub = None if hub is None else hub.select(*fresh.columns)
    known = fresh if hub is None else fresh.unionByName(hub)
    sorted_out = stage(_candidates(fresh, hub, keys, parts, batch), "candidates")
    fetched = _fetched(known, sorted_out.where("kind = 'wanted'"), count).mapInArrow(
        passes.row_fetcher(batch), passes.PARCEL
    )
    parcels = fetched.unionByName(sorted_out.where("kind = 'pairs'"))
    verifier = passes.verifier(family.threshold)
    verified = stage(to_parts(parcels, parts).mapInArrow(verifier, passes.VERIFIED), "verified")
    crowds = sorted_out.where("kind = 'crowd'")
    if not crowds.isEmpty():
        classes, pairs = _classes_and_pairs(verified, stage)
        members = stage(_members(known, crowds, classes, count, batch), "crowds")
        compared = _crowd_pairs(family.threshold, parts)
        found = _with_copies(classes, settle_with_crowds(pairs, members, compared, stage))
    elif verified.count() > SMALL:
        classes, pairs = _classes_and_pairs(verified, stage)
        found = _with_copies(classes, stage(settle(pairs, stage), "dropped"))
    else:
        # What the joins and rounds of the other ways come to, in one task.
        found = verified.coalesce(1).mapInArrow(passes.settler, DROPPED)
    how = F.when(F.col("similarity") == 1.0, F.lit(IDENTICAL)).otherwise(F.lit(family.method))
    duplicates = stage(found.withColumn("method", how), "duplicates")
    counts = {row["method"]: int(row["count"]) for row in duplicates.groupBy("method").count().collect()}
    told = duplicates.select("id", "kept_id", "method", "similarity")
    return Deduplicated(told, remaining(fresh, duplicates), count, counts)


def _candidates(fresh: DataFrame, hub: DataFrame | None, keys: int, parts: int, batch: int) -> DataFrame:
    """Parcels of pairs, of crowds, and of the rows that are wanted for either, by the block that has them."""
    entries = fresh.select("block", "keys").mapInArrow(passes.key_sender(parts), passes.PARCEL)
    if hub is not None:
        known = hub.select("block", "keys")
        if keys <= _FILTERED:
            sought = fresh.select("keys").coalesce(1).mapInArrow(passes.key_collector, "sought binary")
            known = known.crossJoin(F.broadcast(sought))
        entries = entries.unionByName(known.mapInArrow(passes.key_sender(parts), passes.PARCEL))
    return to_parts(entries, parts).mapInArrow(passes.pairer(parts, batch, CROWD), passes.PARCEL)


def to_parts(parcels: DataFrame, parts: int) -> DataFrame:
    """The parcels in *parts* partitions, each in the one that its target names."""
    homes = F.array(*map(F.lit, slots(parts)))
    return parcels.repartition(parts, F.element_at(homes, (F.col("target") + 1).cast("int")))


def _fetched(blocks: DataFrame, wanted: DataFrame, count: int) -> DataFrame:
    """The blocks of which rows are wanted, beside the lists of these."""
    lists = wanted.groupBy(F.col("target").alias("block")).agg(F.collect_list("payload").alias("wanted"))
    return blocks.select("block", "rows").join(F.broadcast(lists) if count < _BROADCAST else lists, "block")


def _classes_and_pairs(verified: DataFrame, stage: Stage) -> tuple[DataFrame, DataFrame]:
    classes = stage(_classes(verified), "classes")
    return classes, stage(_pairs(verified, classes), "pairs")


def _classes(verified: DataFrame) -> DataFrame:
    """Rows of equal sets by the speaker of each (address): the row itself, and the best of them, the leader."""
    same = verified.where("same")
    copies = same.select(F.col("other_address").alias("speaker"), _row("").alias("row"))
    speakers = same.select(F.col("other_address").alias("speaker"), _row("other_").alias("row"))
    members = copies.unionByName(speakers).groupBy("speaker").agg(F.collect_set("row").alias("rows"))
    return members.select("speaker", F.array_min("rows").alias("leader"), "rows")


def _row(prefix: str) -> Column:
    """A row of a pair; less is better."""
    return F.struct(*(F.col(f"{prefix}{name}").alias(name) for name in ("rank", "id", "address")))


def _pairs(verified: DataFrame, classes: DataFrame) -> DataFrame:
    """The pairs of unequal sets, between their leaders, the worse one first: the columns of ``survivors.PAIRS``."""
    near = verified.where("not same").select(_row("").alias("one"), _row("other_").alias("other"), "similarity")
    for side in ("one", "other"):
        led = classes.select(F.col("speaker").alias(f"{side}_speaker"), F.col("leader").alias(f"{side}_leader"))
        near = near.join(led, F.col(f"{side}.address") == F.col(f"{side}_speaker"), "left")
        near = near.withColumn(side, F.coalesce(f"{side}_leader", side)).drop(f"{side}_speaker", f"{side}_leader")
    worse, better = F.greatest("one", "other"), F.least("one", "other")
    return near.select(
        worse["id"].alias("id"),
        worse["rank"].alias("rank"),
        worse["address"].alias("address"),
        better["id"].alias("better_id"),
        better["rank"].alias("better_rank"),
        "similarity",
    )


def _members(blocks: DataFrame, crowds: DataFrame, classes: DataFrame, count: int, batch: int) -> DataFrame:
    """The speakers in each crowd as their leaders, with their tokens."""
    wanted = crowds.mapInArrow(passes.crowd_addresses, passes.PARCEL)
    found = _fetched(blocks, wanted, count).mapInArrow(passes.crowd_fetcher(batch), passes.MEMBER)
    led = classes.select(F.col("speaker").alias("address"), "leader")
    own = F.struct("rank", "id", "address")
    leader = F.coalesce("leader", own)
    return found.join(led, "address", "left").select(
        "crowd", leader["rank"].alias("rank"), leader["id"].alias("id"), leader["address"].alias("address"), "tokens"
    )


def _crowd_pairs(threshold: float, parts: int) -> Callable[[DataFrame], DataFrame]:
    def compared(members: DataFrame) -> DataFrame:
        ordered = members.repartition(parts, "crowd").sortWithinPartitions("crowd", "rank", "id")
        return ordered.mapInArrow(passes.crowd_settler(threshold), passes.CROWD_PAIR)

    return compared


def _with_copies(classes: DataFrame, dropped: DataFrame) -> DataFrame:
    """The dropped leaders with the rows that they name, and the copies of leaders, dropped or not."""
    copies = classes.select("leader", F.explode("rows").alias("row")).where("row != leader")
    found = dropped.select(
        F.col("id").alias("leader_id"), F.col("kept_id").alias("leader_kept"), F.col("similarity").alias("alike")
    )
    spoken = copies.join(found, F.col("leader.id") == F.col("leader_id"), "left").select(
        F.col("row.id").alias("id"),
        F.col("row.address").alias("address"),
        F.coalesce("leader_kept", "leader.id").alias("kept_id"),
        F.coalesce("alike", F.lit(1.0)).alias("similarity"),
    )
    return dropped.select("id", "address", "kept_id", "similarity").unionByName(spoken)


def remaining(known: DataFrame, gone: DataFrame) -> DataFrame:
    """Return blocks without the rows at each ``address`` of *gone*; a block that has no other isn't among them."""
    lists = gone.groupBy(passes.block_column("address").alias("block")).agg(F.collect_list("address").alias("gone"))
    return known.join(lists, "block", "left").mapInArrow(passes.row_remover, BLOCK)
