"""New rows against those that the store keeps: pages and personas by their tokens, then personas by their vectors.

Who repeats a kept one in its words goes first, since that costs nothing; the vectors of the others are asked for. A row
that went for one which then goes for its vector has lost its reason, so it is compared again, with all that is kept by
then. Such rounds end, as each settles some rows for good.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import embed
from personalake.dedup import passes
from personalake.dedup.blocks import MOST_ROUNDS, batch_number
from personalake.dedup.deduplicate import deduplicate, remaining
from personalake.dedup.embedding import METHOD, semantic_repeats
from personalake.dedup.family import Family
from personalake.dedup.saved import saved_family, saved_page_family
from personalake.dedup.survivors import IN_HUB, rank
from personalake.errors import StoreError
from personalake.inputs import Inputs
from personalake.runs import Run
from personalake.settings import Settings
from personalake.stage_record import StageRecord
from personalake.store import Store

_BLOCK = ("block", "count", "keys", "rows")
_ROUNDS = MOST_ROUNDS // 2
"""After so many, who has lost its reason once more is compared by words alone."""

REBUILDS = _ROUNDS
"""The first round of a rebuild."""


@dataclass(frozen=True)
class Compared:
    """The rows that a comparison makes, by table, of how many rows; so many of these repeat a kept one.

    *told* says how they were found by their vectors, where they were; *asked* counts what was asked for these, and is
    to be closed with the stage.
    """

    rows: Mapping[str, DataFrame]
    total: int
    repeats: int
    told: str | None = None
    asked: tuple[StageRecord, ...] = ()


@dataclass(frozen=True)
class Known:
    """What new personas are compared with: rows of `hub_keys`, of `hub_vectors`, and kept personas without a vector."""

    blocks: DataFrame | None = None
    vectors: DataFrame | None = None
    bare: DataFrame | None = None
    dimensions: int | None = None


def compare_pages(run: Run, inputs: Inputs, texts: DataFrame) -> Compared:
    """Compare new pages (id, text, quality) with each other and with those that are kept.

    Raises :class:`StoreError` where what was kept so far was kept by another family.
    """
    store, settings, through = run.store, inputs.settings, run.through("ingest")
    family = saved_page_family(store.spark, store.work / "dedup", settings.dedup, settings.seed)
    known = _blocks(store, "page", family, through) if through else None
    found = deduplicate(texts, known, family, batch_number(run.seq), store.stager("ingest"))
    rows = {"duplicates": _of("page", found.duplicates), "hub_keys": _keys("page", family, found.keys)}
    return Compared(rows, found.rows, sum(found.counts.values()))


def known_personas(run: Run, inputs: Inputs) -> Known:
    """What personas are compared with by a run that goes on where the last `dedup` ended."""
    through = run.through("dedup")
    if not through:
        return Known()
    family = persona_family(run.store, inputs.settings)
    blocks = _blocks(run.store, "persona", family, through)
    if inputs.settings.dedup.embedding is None:
        return Known(blocks)
    hub = run.store.read("hub", until_seq=through)
    return known_by(inputs, blocks, hub, run.store.read("hub_vectors", until_seq=through))


def known_by(inputs: Inputs, blocks: DataFrame, hub: DataFrame, vectors: DataFrame) -> Known:
    """What to compare with, by the blocks and the vectors of the personas in *hub*, of which some may have no vector.

    Raises :class:`StoreError` where vectors are of another model than the settings name.
    """
    dimensions = embed.known_dimensions(vectors, inputs.settings)
    # Who has none was refused by the endpoint, or came before vectors were asked for.
    all_have = hub.count() == vectors.count()
    bare = None if all_have else hub.join(vectors.select("persona_id"), "persona_id", "left_anti")
    return Known(blocks, vectors, bare, dimensions)


def compare_personas(
    run: Run, inputs: Inputs, texts: DataFrame, known: Known, name: str, first_round: int = 0
) -> Compared:
    """Compare personas (id, text, quality) with each other and with the *known*, which stay as they are.

    Both promises of dedup hold for the result: no two kept ones are a found pair, and each that is dropped names a kept
    one at or above its method's threshold. What is materialised bears *name*. A caller who may meet blocks that a stage
    has made under this run's number, before it was cut off, begins at a *first_round* of its own.
    """
    record = StageRecord(embed.STAGE)
    rounds = list(_rounds(run, inputs, texts, known, name, first_round, record))
    every = {
        table: functools.reduce(DataFrame.unionByName, [each.rows[table] for each in rounds if table in each.rows])
        for table in rounds[0].rows
    }
    asked = (record,) if record.counts["requests"] else ()
    return Compared(every, rounds[0].total, sum(each.repeats for each in rounds), rounds[0].told, asked)


def _rounds(
    run: Run, inputs: Inputs, texts: DataFrame, known: Known, name: str, first: int, record: StageRecord
) -> Iterator[Compared]:
    embedding, family = inputs.settings.dedup.embedding, persona_family(run.store, inputs.settings)
    for number in count(first):
        stage = run.store.stager(f"{name}-{number}")
        found = deduplicate(texts, known.blocks, family, batch_number(run.seq, number), stage)
        gone, repeats = _of("persona", found.duplicates), sum(found.counts.values())
        if embedding is None or number == first + _ROUNDS - 1:
            yield Compared({"duplicates": gone, "hub_keys": _keys("persona", family, found.keys)}, found.rows, repeats)
            return
        left = texts.join(gone.select("id"), "id", "left_anti")
        vectors = embed.vectors(run, inputs, _to_embed(left, known), known.dimensions, record, stage)
        new, old = vectors.where(F.col("rank") != IN_HUB), _old(known, vectors.where(F.col("rank") == IN_HUB))
        said = semantic_repeats(new, old, embedding.threshold, embedding.recall, stage)
        same = stage(said.dropped, "semantic")
        dropped, lost, keys, kept = same.count(), 0, found.keys, vectors
        if dropped:
            keys = stage(_without(stage(found.keys, "keys"), same), "kept-keys")
            kept = vectors.join(same.select("id"), "id", "left_anti")
            orphans = stage(gone.join(same.select(F.col("id").alias("kept_id")), "kept_id", "left_semi"), "orphans")
            lost = orphans.count()
            gone = gone.join(orphans.select("id"), "id", "left_anti")
            gone = gone.unionByName(_of("persona", same.withColumn("method", F.lit(METHOD))))
        rows = {
            "duplicates": gone,
            "hub_keys": _keys("persona", family, keys),
            "hub_vectors": embed.rows(kept, embedding.name),
        }
        yield Compared(rows, found.rows, repeats - lost + dropped, said.told)
        if not lost:
            return
        texts = texts.join(orphans.select("id"), "id", "left_semi")
        known = _grown(known, keys, rows["hub_vectors"])


def _to_embed(left: DataFrame, known: Known) -> DataFrame:
    """Those that are compared now, and those of the hub that have no vector yet."""
    texts = left.select("id", rank(F.col("quality")).alias("rank"), "text")
    if known.bare is None:
        return texts
    return texts.unionByName(known.bare.select(F.col("persona_id").alias("id"), F.lit(IN_HUB).alias("rank"), "text"))


def _old(known: Known, made: DataFrame) -> DataFrame:
    """The vectors of the known ones, those that were *made* just now among them."""
    made = made.select("id", "vector")
    return made if known.vectors is None else known.vectors.selectExpr("persona_id AS id", "vector").unionByName(made)


def _grown(known: Known, keys: DataFrame, vectors: DataFrame) -> Known:
    """The known ones with those that a round has kept."""
    blocks = keys if known.blocks is None else known.blocks.select(*_BLOCK).unionByName(keys)
    grown = vectors if known.vectors is None else known.vectors.select(*vectors.columns).unionByName(vectors)
    return replace(known, blocks=blocks, vectors=grown, bare=None)


def _without(keys: DataFrame, dropped: DataFrame) -> DataFrame:
    """Blocks without the rows *dropped*."""
    placed = keys.select("block", "rows").mapInArrow(passes.row_placer, "id string, address long")
    return remaining(keys, placed.join(dropped.select("id"), "id", "left_semi").select("address"))


def _of(kind: str, duplicates: DataFrame) -> DataFrame:
    return duplicates.select(F.lit(kind).alias("kind"), "id", "kept_id", "method", "similarity")


def _keys(kind: str, family: Family, blocks: DataFrame) -> DataFrame:
    return blocks.select(F.lit(kind).alias("kind"), F.lit(family.name).alias("family"), *_BLOCK)


def _blocks(store: Store, kind: str, family: Family, through: int) -> DataFrame:
    known = store.read("hub_keys", until_seq=through).where(F.col("kind") == kind)
    check_family(known, family, kind)
    return known


def check_family(known: DataFrame, family: Family, kind: str) -> None:
    """Raise :class:`StoreError` where blocks of *known* were made by another family than *family*."""
    others = known.where(F.col("family") != family.name).select("family").limit(1).collect()
    if others:
        raise StoreError(
            f"{kind}s were compared by {others[0]['family']!r} so far, the settings say {family.name!r}",
            where="dedup",
            cure=_FAMILY_CURES[kind],
        )


_FAMILY_CURES = {
    "persona": "`personalake dedup --rebuild` compares all of them anew; or set it back",
    # The texts of pages that went are not kept, so there is nothing to compare anew.
    "page": "set it back, or drop equal pages only with `dedup.page_threshold=null`",
}


def persona_family(store: Store, settings: Settings) -> Family:
    """How personas are compared in this store."""
    return saved_family(store.spark, store.work / "dedup", settings.dedup, settings.seed)
