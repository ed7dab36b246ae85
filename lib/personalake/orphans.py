"""Rows that leave the store: out of what dedup keeps of them, and whoever was dropped for one of them is settled again.

A dropped row whose kept one goes is an orphan: nothing that stays is known to be repeated by it. A persona still lies
in `personas`, so it is compared as a new one is: with the other orphans and with what is left of the hub. A page's text
was not kept, so there is nothing to compare. What the store knows of it goes, and the files that it was seen in count
as unread: the next `ingest` that finds one of them takes it for a new page, and passes over what else is in there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import amend
from personalake.amend import Change
from personalake.compare import Known, check_family, compare_personas, known_by, persona_family
from personalake.dedup import passes
from personalake.dedup.deduplicate import remaining
from personalake.inputs import Inputs
from personalake.runs import Run
from personalake.stage_record import StageRecord
from personalake.store import Store

_BLOCK = ("block", "count", "keys", "rows")


@dataclass(frozen=True)
class Removal:
    """What :func:`amend.plan` takes: changes, and by stage what corrects its counts and how far it is then."""

    changes: tuple[Change, ...]
    records: Mapping[str, StageRecord]
    through: Mapping[str, int]


@dataclass(frozen=True)
class _Part:
    """What changes for one kind of rows; *appends* are by table, since a plan appends to each but once."""

    record: StageRecord
    deletes: tuple[Change, ...]
    appends: Mapping[str, DataFrame]


@dataclass(frozen=True)
class _Index:
    """The blocks of a kind without the gone rows: *left*, all of them; *made*, those that replace the *old* ones."""

    left: DataFrame
    made: DataFrame
    old: DataFrame


@dataclass(frozen=True)
class _Settled:
    """What became of rows that were compared: new rows by table, and how many were kept and dropped."""

    rows: Mapping[str, DataFrame] = field(default_factory=dict)
    kept: int = 0
    dropped: int = 0


def removal(run: Run, inputs: Inputs, gone: DataFrame) -> Removal:
    """Return what takes *gone* (kind, id) out of the hub, its index, `duplicates` and the sightings of pages.

    ``kind`` is `persona` or `page`, ``id`` of a kept row or of a dropped one. Once it is carried out, both promises of
    dedup hold again: no two kept rows are a found pair, and each dropped one names a kept one at or above the
    threshold. `personas` and `documents` are the caller's to empty, and to leave the tombstones: without them, `ingest`
    brings back a gone page that lies in a file with an orphan.

    Personas that `dedup` hasn't come to are compared as well, since the index is this run's then. Raises
    :class:`InputError` where a run was cut off, and :class:`StoreError` where something has to be compared and the
    hub was compared otherwise than the settings say.
    """
    amend.refuse_half_done(run)
    ids = run.store.stage(gone.select("kind", "id").distinct(), "gone")
    personas, pages = (ids.where(F.col("kind") == kind).select("id") for kind in ("persona", "page"))
    parts = [part for part in (_of_personas(run, inputs, personas), _of_pages(run, pages)) if part is not None]
    appends: dict[str, DataFrame] = {}
    for part in parts:
        for table, rows in part.appends.items():
            appends[table] = appends[table].unionByName(rows) if table in appends else rows
    changes = [change for part in parts for change in part.deletes]
    changes += [Change(table, "append", rows) for table, rows in appends.items()]
    records = {part.record.stage: part.record for part in parts}
    # A stage reads blocks up to where it is; those that are written now are this run's.
    return Removal(tuple(changes), records, dict.fromkeys(records, run.seq))


def _of_personas(run: Run, inputs: Inputs, gone: DataFrame) -> _Part | None:
    store = run.store
    hub = store.read("hub").select("persona_id")
    kept = store.stage(hub.join(gone.withColumnRenamed("id", "persona_id"), "persona_id", "left_semi"), "gone-kept")
    dropped, orphans = _dropped(store, "persona", gone)
    n_kept, n_dropped, n_orphans = kept.count(), dropped.count(), orphans.count()
    if not n_kept + n_dropped + n_orphans:
        return None
    index = _index(store, "persona", gone)
    settled = _settled(run, inputs, _unsettled(run, gone, orphans), index.left, gone)
    made = settled.rows
    keys = made["hub_keys"].unionByName(index.made) if made else index.made
    deletes = (
        Change("hub", "delete", kept),
        Change("hub_vectors", "delete", kept),
        Change("hub_keys", "delete", index.old),
        Change("duplicates", "delete", dropped.unionByName(orphans)),
    )
    record = StageRecord("dedup", message="rows that are gone, and those that had been dropped for them")
    record.add(accepted=settled.kept - n_kept, duplicates=settled.dropped - n_dropped - n_orphans)
    record.add(items=record.counts["accepted"] + record.counts["duplicates"])
    return _Part(record, deletes, {**made, "hub_keys": keys})


def _dropped(store: Store, kind: str, gone: DataFrame) -> tuple[DataFrame, DataFrame]:
    """The rows of `duplicates` of the gone ones themselves, and of the orphans; each by whole key.

    By what it names as well: an orphan that is dropped again comes back under its id.
    """
    rows = store.read("duplicates").where(F.col("kind") == kind).select("kind", "id", "kept_id")
    named = gone.withColumnRenamed("id", "kept_id")
    own = rows.join(gone, "id", "left_semi")
    orphans = rows.join(named, "kept_id", "left_semi").join(gone, "id", "left_anti")
    columns = ("kind", "id", "kept_id")
    return (
        store.stage(own.select(*columns), f"{kind}-gone-dropped"),
        store.stage(orphans.select(*columns), f"{kind}-orphans"),
    )


def _index(store: Store, kind: str, gone: DataFrame) -> _Index:
    """The index of *kind* without the *gone* rows, of which only the blocks that had one are written anew.

    A new block has its old one's number. The old one is deleted by its `seq` as well, so that a second deletion leaves
    the new one alone.
    """
    blocks = store.read("hub_keys").where(F.col("kind") == kind)
    placed = blocks.select("block", "rows").mapInArrow(passes.row_placer, "id string, address long")
    places = store.stage(placed.join(gone, "id", "left_semi").select("address"), f"{kind}-places")
    touched = F.broadcast(places.select(passes.block_column("address").alias("block")).distinct())
    old = blocks.join(touched, "block", "left_semi")
    made = store.stage(remaining(old.select(*_BLOCK), places), f"{kind}-remaining")
    left = blocks.join(touched, "block", "left_anti").select(*_BLOCK).unionByName(made)
    named = old.select("kind", "family", "block")
    return _Index(left, made.join(named, "block"), old.select("kind", "block", "seq"))


def _unsettled(run: Run, gone: DataFrame, orphans: DataFrame) -> DataFrame:
    """The orphans, and the personas that `dedup` hasn't come to: rows of `personas`."""
    named = orphans.selectExpr("id AS persona_id")
    fresh = run.fresh("personas", "dedup").join(gone.withColumnRenamed("id", "persona_id"), "persona_id", "left_anti")
    found = run.store.read("personas").join(named, "persona_id", "left_semi").unionByName(fresh)
    return run.store.stage(found.drop("seq"), "unsettled")


def _settled(run: Run, inputs: Inputs, personas: DataFrame, blocks: DataFrame, gone: DataFrame) -> _Settled:
    """Compare *personas* with each other and what is left of the hub; those that repeat nobody enter it."""
    if personas.isEmpty():
        return _Settled()
    store = run.store
    check_family(store.read("hub_keys").where("kind = 'persona'"), persona_family(store, inputs.settings), "persona")
    known = Known(blocks)
    if inputs.settings.dedup.embedding is not None:
        named = gone.withColumnRenamed("id", "persona_id")
        left = (store.read(name).join(named, "persona_id", "left_anti") for name in ("hub", "hub_vectors"))
        known = known_by(inputs, blocks, *left)
    texts = personas.selectExpr("persona_id AS id", "text", "quality")
    found = compare_personas(run, inputs, texts, known, "orphans")
    run.close(*found.asked)
    repeats = found.rows["duplicates"].selectExpr("id AS persona_id")
    hub = personas.join(repeats, "persona_id", "left_anti")
    return _Settled({"hub": hub, **found.rows}, found.total - found.repeats, found.repeats)


def _of_pages(run: Run, gone: DataFrame) -> _Part | None:
    """A dropped page is counted, and lies in `sightings`, at each place that it was seen at."""
    store = run.store
    index = _index(store, "page", gone)
    dropped, orphans = _dropped(store, "page", gone)
    doc_ids = gone.unionByName(orphans.select("id")).withColumnRenamed("id", "doc_id")
    sightings = store.stage(store.read("sightings").join(doc_ids, "doc_id", "left_semi"), "gone-sightings")
    number = sightings.count()
    if not number and all(rows.isEmpty() for rows in (dropped, orphans, index.old)):
        return None
    seen = sightings.join(orphans.selectExpr("id AS doc_id"), "doc_id", "left_semi")
    deletes = (
        Change("hub_keys", "delete", index.old),
        Change("duplicates", "delete", dropped.unionByName(orphans)),
        Change("sightings", "delete", sightings.select("doc_id", "path", "offset")),
        Change("files_seen", "delete", seen.select("path").distinct()),
    )
    record = StageRecord("ingest", message="places of pages that are gone, and of those that had been dropped for them")
    record.add(items=-number, duplicates=-number)
    return _Part(record, deletes, {"hub_keys": index.made})
