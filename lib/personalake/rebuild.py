"""`personalake dedup --rebuild`: all personas compared anew under today's settings, and the hub corrected by it.

What synthesis has written for a persona that leaves the hub stays: rows are written once. It pays for nothing but the
vectors of personas that have none yet, where the settings want them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake import amend
from personalake.amend import Change, Prepared
from personalake.compare import REBUILDS, Known, compare_personas, persona_family
from personalake.errors import InputError
from personalake.growth import hub_sketches
from personalake.inputs import Inputs
from personalake.judging import LOW, without_low
from personalake.llm.progress import Progress
from personalake.pipeline import execute
from personalake.runs import Run
from personalake.shown import Shown
from personalake.stage_record import StageRecord

_PERSONA = "kind = 'persona'"


def rebuild(
    inputs: Inputs,
    *,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] = lambda _: None,
    spark: SparkSession | None = None,
    verbose: bool = False,
) -> Shown:
    """Compare all personas of the store with each other, also those that `dedup` hasn't come to, by today's settings.

    What a run that was cut off has landed is compared as well. Raises :class:`InputError` where there are none, and
    what :func:`pipeline.execute` raises.
    """
    first = functools.partial(prepare, inputs=inputs)
    command = "dedup --rebuild"
    return execute(inputs, (), say=say, progress=progress, spark=spark, verbose=verbose, prepare=first, command=command)


def prepare(run: Run, *, inputs: Inputs) -> Prepared:
    """Compare, write down what changes, change it; no stage has to run."""
    store, family, through = run.store, persona_family(run.store, inputs.settings), run.through("dedup")
    personas, low = without_low(store, inputs, store.read("personas"))
    texts = personas.selectExpr("persona_id AS id", "text", "quality")
    found = compare_personas(run, inputs, texts, Known(), "rebuild", REBUILDS)
    if not found.total:
        raise InputError("no persona to compare", where=store.address, cure="`personalake run` brings some")
    run.close(*found.asked)
    made = found.rows
    changes = [*_of_hub(run, personas, made["duplicates"]), *_of_duplicates(run, made["duplicates"])]
    changes += [*_of_keys(run, made["hub_keys"]), *_of_vectors(run, made.get("hub_vectors"))]
    changes += _of_sketches(run, personas, made["duplicates"])
    refused, of_judge = _of_judge(run, low)
    changes += of_judge
    # What a run that was cut off has landed is in no count yet.
    before, new = store.read("hub", until_seq=through).count() if through else 0, run.fresh("personas", "dedup").count()
    kept = found.total - found.repeats
    record = StageRecord("dedup")
    record.add(items=new, accepted=kept - before, item_rejects=refused, duplicates=new - refused - (kept - before))
    amend.plan(run, "dedup --rebuild", changes, {"dedup": record}, {"dedup": run.seq})
    amend.carry_out(run, own=True)
    told = {"personas": found.total, "hub_before": before, "hub": kept, "family": family.name}
    told |= {"semantic": found.told} if found.told else {}
    how = f"{family.name}, then by their vectors ({found.told})" if found.told else family.name
    text = f"{found.total:,} personas compared by {how}: {kept:,} in the hub, {before:,} before"
    return Prepared((), {"rebuilt": told}, text)


def _of_hub(run: Run, personas: DataFrame, duplicates: DataFrame) -> list[Change]:
    dropped = duplicates.selectExpr("id AS persona_id")
    hub = run.store.read("hub").select("persona_id")
    stays = personas.drop("seq").join(dropped, "persona_id", "left_anti")
    return [
        Change("hub", "delete", hub.join(dropped, "persona_id", "left_semi")),
        Change("hub", "append", stays.join(hub, "persona_id", "left_anti")),
    ]


def _of_judge(run: Run, low: DataFrame | None) -> tuple[int, list[Change]]:
    """How many more personas than before are refused for their score, and which refusals come and go."""
    before = run.store.read("rejects").where(F.col("reason") == LOW).drop("seq")
    now = before.limit(0) if low is None else low
    changes = [
        Change("rejects", "delete", before.join(now, "reject_id", "left_anti").select("reject_id")),
        Change("rejects", "append", now.join(before, "reject_id", "left_anti")),
    ]
    return now.count() - before.count(), changes


def _of_duplicates(run: Run, duplicates: DataFrame) -> list[Change]:
    """By whole rows: a row that names another one now goes, and comes again with what it names."""
    old = run.store.read("duplicates").where(_PERSONA).drop("seq")
    new = duplicates.select(*old.columns)
    return [
        Change("duplicates", "delete", old.join(new, old.columns, "left_anti")),
        Change("duplicates", "append", new.join(old, old.columns, "left_anti")),
    ]


def _of_keys(run: Run, keys: DataFrame) -> list[Change]:
    """All of the old blocks go; those of this run have other numbers."""
    old = run.store.read("hub_keys").where(_PERSONA).select("kind", "block")
    return [Change("hub_keys", "delete", old), Change("hub_keys", "append", keys)]


def _of_vectors(run: Run, vectors: DataFrame | None) -> list[Change]:
    """By whole rows: of another model or dimension all go; and all, where none are compared by now."""
    old = run.store.read("hub_vectors").drop("seq")
    if vectors is None:
        return [Change("hub_vectors", "delete", old)]
    return [
        Change("hub_vectors", "delete", old.join(vectors, old.columns, "left_anti")),
        Change("hub_vectors", "append", vectors.join(old, old.columns, "left_anti")),
    ]


def _of_sketches(run: Run, personas: DataFrame, duplicates: DataFrame) -> list[Change]:
    """A sketch forgets nothing, so the whole hub is sketched anew, and counted as of this run."""
    old = run.store.read("sketches").where("stage = 'dedup'").select("seq", "kind", "subject")
    kept = personas.join(duplicates.selectExpr("id AS persona_id"), "persona_id", "left_anti")
    return [Change("sketches", "delete", old), Change("sketches", "append", hub_sketches(kept))]
