"""How each stage is wired to the store: what it reads, what it lands, how it is counted.

A stage with nothing new to it does nothing and leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import __version__, growth, own_personas
from personalake.asking import first_answers, stage_name, with_answers
from personalake.compare import compare_pages
from personalake.corpus import ingest as corpus
from personalake.corpus.files import DELTA
from personalake.corpus.rows import Reading
from personalake.corpus.tables import page_tables, read_tables
from personalake.dedup.sketches import page_sketches
from personalake.export import About, write_chat
from personalake.inputs import Inputs
from personalake.persona_tables import persona_tables
from personalake.rounds import Rounds
from personalake.runs import Run
from personalake.schemas import DOCUMENTS, PERSONAS, Table
from personalake.stage_record import StageRecord
from personalake.synthesis.tasks import Task
from personalake.verify import verify, with_verdicts
from personalake.work import absolute


def ingest(run: Run, inputs: Inputs) -> None:
    """Read the files that were not read before: those of the corpus, and personas of the user's own."""
    settings = inputs.settings
    if inputs.files or settings.corpus.tables:
        reading = corpus.reading(run.store.work / "read" / corpus.STAGE, settings.corpus)
        _read(run, inputs, corpus.STAGE, DOCUMENTS, reading)
    if inputs.persona_files or settings.personas.tables:
        reading = own_personas.reading(run.store.work / "read" / own_personas.STAGE, settings.personas)
        _read(run, inputs, own_personas.STAGE, PERSONAS, reading)


def _read(run: Run, inputs: Inputs, stage: str, table: Table, reading: Reading) -> None:
    """Read the files that *stage* didn't read before into *table*, sightings and rejects."""
    record, store = StageRecord(stage), run.store
    through, key = run.through(stage), table.key[0]
    rows = _rows(run, inputs, stage, table, reading)
    if rows is None:
        return
    gone = None
    if table is DOCUMENTS and store.exists("tombstones"):
        gone = store.stage(corpus.forgotten(rows, store.read("tombstones")), f"{stage}-forgotten")
        rows = rows.join(gone.select("path", "offset"), ["path", "offset"], "left_anti")
    known = store.read(table.name, until_seq=through)
    origins = known.select(key, F.coalesce("path", F.lit("")).alias("origin"))
    if table is DOCUMENTS:
        dropped = store.read("duplicates", until_seq=through).where("kind = 'page'")
        origins = origins.unionByName(dropped.select(F.col("id").alias(key), F.lit("").alias("origin")))
    repeated = store.stage(corpus.repeats(rows, origins, key), f"{stage}-repeats")
    kept = corpus.kept(rows, repeated, table)
    again, refused = corpus.sightings(repeated, key), corpus.rejects(rows, stage)
    if gone is not None:
        refused = refused.unionByName(corpus.rejects(gone, stage))
    if through:
        # A file that has changed is read whole again; what it still holds was landed when it was first read.
        place = ["path", "offset"]
        again = again.join(store.read("sightings", until_seq=through).select(*place), place, "left_anti")
        refused = refused.join(store.read("rejects", until_seq=through).select("reject_id"), "reject_id", "left_anti")
    made = {table.name: kept, "sightings": again, "rejects": refused, "files_seen": corpus.files_seen(rows)}
    near = 0
    if table is DOCUMENTS:
        sketches = page_sketches(rows.where("kind = 'page'"), inputs.settings.corpus.paths)
        made["sketches"] = sketches.withColumn("stage", F.lit(stage))
        if inputs.settings.dedup.page_threshold is not None:
            texts = kept.select(F.col("doc_id").alias("id"), "text", F.lit(None).cast("double").alias("quality"))
            compared = compare_pages(run, inputs, texts)
            repeats = compared.rows["duplicates"].selectExpr(f"id AS {key}")
            # Where a near-copy was seen, under an id of its own; `duplicates` names the page that is kept for it.
            places = kept.join(repeats, key, "left_semi").select(key, "url", "path", "offset")
            made["sightings"] = again.unionByName(places)
            kept = kept.join(repeats, key, "left_anti")
            made |= compared.rows
            near = compared.repeats
        newer = store.stage(corpus.versions(kept, known), f"{stage}-versions")
        made[table.name] = corpus.with_versions(kept, newer)
    run.append(made, [stage])
    counts = {row["kind"]: int(row["count"]) for row in rows.groupBy("kind").count().collect()}
    pages, bad = counts.get("page", 0), counts.get("reject", 0)
    fresh = pages - repeated.count() - near
    bad += 0 if gone is None else gone.count()
    record.add(items=pages + bad, accepted=fresh, duplicates=pages - fresh, item_rejects=bad)
    run.close(record)
    reading.end()


def _rows(run: Run, inputs: Inputs, stage: str, table: Table, reading: Reading) -> DataFrame | None:
    """The rows of what *stage* didn't read before, null where there is nothing."""
    store, settings, pages = run.store, inputs.settings, table is DOCUMENTS
    files = inputs.files if pages else inputs.persona_files
    through = run.through(stage)
    seen = store.read("files_seen", until_seq=through)
    tables = [file.path for file in files if file.format == DELTA]
    unread, rows = [file for file in files if file.format != DELTA], None
    if through:
        places = ["path", "size", "stamp"]
        new = corpus.files_frame(store.spark, unread).join(seen, places, "left_anti").select("path").collect()
        paths = {row["path"] for row in new}
        unread = [file for file in unread if file.path in paths]
    if unread:
        rows = reading.read(store.spark, unread)
    named = settings.corpus.tables if pages else settings.personas.tables
    if tables or named:
        reader = page_tables(settings.corpus) if pages else persona_tables(settings.personas)
        found = store.stage(read_tables(store.spark, tables, named, seen, reader), f"{stage}-tables")
        if rows is not None:
            rows = rows.unionByName(found)
        elif not found.isEmpty():
            rows = found
    return rows


def synthesize(run: Run, inputs: Inputs) -> None:
    """Let the personas write each task's examples until its target is met, or nobody is left to ask."""
    run.remember_prompts(
        (task.prompt_id(step), task.prompt_name(step), task.template(step), task.schema_text(step))
        for task, _ in inputs.tasks
        for step in task.steps
    )
    if inputs.tasks:
        Rounds(run, inputs).work()
        verify(run, inputs)


def export(run: Run, inputs: Inputs) -> None:
    """Write each task's examples as chat files, where any were added since; a refused licence is told, not fatal here.

    Raises :class:`InputError` only where `export` is the stage that was asked for (see :func:`execute`).
    """
    settings = inputs.settings
    root = Path(settings.export.path or absolute(f"{settings.store.path or settings.store.work_path}/export"))
    exported: list[StageRecord] = []
    for task, target in inputs.tasks:
        folder, stage = root / task.task, f"export.{task.task}"
        news = any(run.has_news(stage, stage_name(task, step)) for step in task.steps)
        if not news and (folder.exists() or not run.store.exists("solutions")):
            continue
        rows = _chosen(run, task, target)
        record = StageRecord(stage)
        about = About(
            task=task.task,
            description=task.description,
            prompts={task.prompt_name(step): task.prompt_id(step) for step in task.steps},
            cost_microusd=_paid_for(run, task),
            version=__version__,
        )
        iterator = (row.asDict(recursive=True) for row in rows.toLocalIterator())
        facts = write_chat(
            iterator, folder, about, turns=task.export.sft, accept_licence=settings.export.accept_licence
        )
        record.add(items=facts.rows + facts.skipped, accepted=facts.rows, item_rejects=facts.skipped)
        record.message = str(folder)
        exported.append(record)
    run.close(*exported)


def _chosen(run: Run, task: Task, target: int) -> DataFrame:
    """The examples that count towards the target, lowest ranks first, with the fields that are exported."""
    store, ids = run.store, [task.bringing(field).id for field in task.export.sft]
    examples, hub = store.read("examples"), store.read("hub")
    steps = [step for step in task.later if step.id in ids]
    told = with_answers(store, steps, examples.where(examples["task"] == task.task))
    last = first_answers(store, [step for step in steps if step.id == ids[-1]])
    answers = last.selectExpr("example_id", "answer", "model AS answer_model", "solver", "sample")
    chosen = with_verdicts(store, task, told.join(answers, "example_id").orderBy("rank").limit(target))
    persona = hub.selectExpr("persona_id", "text AS persona")
    columns = (
        "task", "example_id", "sample", "persona", "fields", "answer", "verified", "model", "answer_model",
        "language",
        "licence", "source", "url",
    )  # fmt: skip
    return chosen.join(persona, "persona_id", "left").select(*columns)


def _paid_for(run: Run, task: Task) -> int:
    runs = run.store.read("runs")
    paid = runs.where(runs["stage"].startswith(f"synthesize.{task.task}."))
    return int(paid.selectExpr("coalesce(sum(cost_microusd), 0) AS paid").collect()[0]["paid"])


WIRED: dict[str, Callable[[Run, Inputs], None]] = {
    "ingest": ingest, "infer": growth.infer, "dedup": growth.dedup, "expand": growth.expand, "synthesize": synthesize,
    "export": export,
}  # fmt: skip
"""Each stage that works on the store, by its name."""
