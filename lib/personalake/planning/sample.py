"""A pilot's sample: pages, and personas of the user's own, drawn by hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import own_personas
from personalake.accept import content_id
from personalake.corpus import ingest as corpus
from personalake.corpus.files import DELTA, CorpusFile
from personalake.corpus.rows import Reading
from personalake.errors import InputError
from personalake.inputs import Inputs
from personalake.runs import Run
from personalake.schemas import DOCUMENTS, PERSONAS, Table
from personalake.stage_record import StageRecord
from personalake.store import Store


def sample(run: Run, inputs: Inputs, main: Store, most: int) -> None:
    """Land *most* pages (and as many of the user's own personas), as `ingest` would, in the store of *run*.

    They are the lowest by hash rank of the documents of *main* where it has enough; else files are read in the order of
    their hashes until there are enough. Raises :class:`InputError` where nothing is found.
    """
    folder, settings = run.store.work / "read", inputs.settings
    known = main.read("documents").drop("seq") if main.exists("documents") else None
    enough = known is not None and (not inputs.files or known.count() >= most)
    files = () if enough else tuple(file for file in inputs.files if file.format != DELTA)
    pages = _read(run, files, lambda name: corpus.reading(folder / name, settings.corpus), "doc_id", most)
    found = _land(run, corpus.STAGE, DOCUMENTS, pages, known, most)
    files = tuple(file for file in inputs.persona_files if file.format != DELTA)
    own = _read(run, files, lambda name: own_personas.reading(folder / name, settings.personas), "persona_id", most)
    found += _land(run, own_personas.STAGE, PERSONAS, own, None, most)
    folder.delete()
    if not found:
        what = f"no page in {len(inputs.files):,} file(s)" if inputs.files else "no persona in the files"
        raise InputError(what, where="corpus.paths", cure="see what `personalake ingest` refuses, and why")


def _read(
    run: Run, files: Sequence[CorpusFile], reading: Callable[[str], Reading], key: str, most: int
) -> DataFrame | None:
    """The rows of as many *files*, by the order of their hashes, as hold *most* different ones; null for none."""
    seed, rows = run.settings.seed, None
    left, step = sorted(files, key=lambda file: content_id("pilot", seed, file.path)), 1
    while left:
        now, left = left[:step], left[step:]
        some = reading(f"{key}-{len(left)}").read(run.store.spark, now)
        rows = some if rows is None else rows.unionByName(some)
        if rows.where("kind = 'page'").select(key).distinct().count() >= most:
            break
        step *= 2
    return rows


def _land(run: Run, stage: str, table: Table, rows: DataFrame | None, known: DataFrame | None, most: int) -> int:
    """Land the *most* rows of lowest hash rank of *known* and of what was read; returns how many there are.

    Counted is what was read, as `ingest` counts it: a plan takes from it how many pages are new.
    """
    store, key, record = run.store, table.key[0], StageRecord(stage)
    made = {}
    if rows is not None:
        repeated = corpus.repeats(rows, store.read(table.name).select(key, F.lit("").alias("origin")), key)
        kept, files = corpus.kept(rows, repeated, table), corpus.files_seen(rows)
        counts = files.selectExpr("sum(pages) AS pages", "sum(refused) AS refused").collect()[0]
        pages, bad, fresh = int(counts["pages"] or 0), int(counts["refused"] or 0), kept.count()
        record.add(items=pages + bad, accepted=fresh, duplicates=pages - fresh, item_rejects=bad)
        known = kept if known is None else known.unionByName(kept.join(known.select(key), key, "left_anti"))
        made["files_seen"] = files
    if known is None:
        return 0
    rank = F.sha2(F.concat_ws("\x1f", F.lit("pilot"), F.lit(str(run.settings.seed)), key), 256)
    drawn = store.stage(known.orderBy(rank).limit(most), f"{stage}-drawn")
    count = drawn.count()
    if count:
        run.append({table.name: drawn, **made}, [stage])
        if rows is None:
            record.add(items=count, accepted=count)
        run.close(record)
    return count
