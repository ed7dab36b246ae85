"""Dedup for anybody's table: a file or folder in, the rows that stay and the evidence for the others out as Delta.

It needs no store: what the settings say of `dedup`, `seed` and `spark` is all that counts.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from personalake.dedup.deduplicate import deduplicate
from personalake.dedup.saved import saved_family
from personalake.errors import InputError, SettingsError
from personalake.session import (
    at_once,
    explained,
    last_words,
    own_log,
    send_package,
    session_for,
    spark_errors,
)
from personalake.settings import Settings
from personalake.shown import Shown
from personalake.work import Folder, absolute, is_local, spark_address

_NUMBER = "__personalake_row"
"""The id of a row that has none: its number in the order of the input, so that of equal rows the first one stays."""

_JSON = (".jsonl", ".ndjson", ".json")
_PACKED = (".gz", ".bz2", ".zst")
_AGAIN = "run it again once the cause is gone; what is half written is written anew"
_FEW = 1_000_000
"""With fewer duplicates than this, their ids go to every task that writes the kept rows (70 bytes each)."""


def dedup_files(
    settings: Settings,
    path: str,
    column: str,
    id_column: str | None,
    out: str,
    *,
    say: Callable[[str], None],
    verbose: bool = False,
    spark: SparkSession | None = None,
) -> Shown:
    """Write `out/kept` (the input's columns) and `out/duplicates` (id, kept_id, method, similarity) for a table.

    *path* is a Parquet, JSONL or Delta file or folder; *column* has the texts, *id_column* unique ids, where they have
    none rows are numbered in their order. Of rows that repeat each other the one with the smaller id stays. A session
    that is given stays open. Raises :class:`InputError` for an input or output that can't be used; what was half
    written by a try that was cut off is written again.
    """
    if settings.dedup.embedding is not None:
        what = "a table of your own is compared by its words alone"
        raise SettingsError(what, where="dedup.embedding", cure="--set dedup.embedding=null")
    format_, folder = format_of(path), Folder(absolute(out))
    work = folder / "_work"
    if not work.exists() and any((folder / name).exists() for name in ("kept", "duplicates")):
        raise InputError("holds tables already", where=out, cure="delete them, or give another --out")
    if spark is None:
        log = own_log(settings.spark, Path(folder.make().path if is_local(folder.address) else tempfile.gettempdir()))
        with session_for(settings.spark, verbose=verbose, log=log) as session, explained(log, _AGAIN):
            return _dedup(session, settings, path, format_, column, id_column, folder, say)
    send_package(spark)
    with explained(None, _AGAIN):
        return _dedup(spark, settings, path, format_, column, id_column, folder, say)


def _dedup(
    spark: SparkSession,
    settings: Settings,
    path: str,
    format_: str,
    column: str,
    id_column: str | None,
    folder: Folder,
    say: Callable[[str], None],
) -> Shown:
    began, work = time.monotonic(), folder / "_work"
    rows = _checked(read(spark, path, format_), path, column, id_column)
    (work / "unfinished").write("marker", b"")

    def stage(frame: DataFrame, name: str) -> DataFrame:
        address = (work / name).for_spark
        frame.write.mode("overwrite").option("compression", "none").parquet(address)
        return spark.read.schema(frame.schema).parquet(address)

    if id_column is None:
        rows, id_column = stage(rows.withColumn(_NUMBER, _numbered()), "numbered"), _NUMBER
    family = saved_family(spark, work / "dedup", settings.dedup, settings.seed)
    if family.bands is not None:
        say(f"{family.bands.b} bands of {family.bands.r} hashes find {family.bands.recall:.2%} at {family.threshold}")
    texts = rows.select(F.col(id_column).cast("string").alias("id"), F.col(column).alias("text"))
    found = deduplicate(texts.withColumn("quality", F.lit(None).cast("double")), None, family, 1, stage)
    repeats = sum(found.counts.values())
    gone = found.duplicates.select(F.col("id").cast(rows.schema[id_column].dataType).alias(id_column))
    kept = rows.join(F.broadcast(gone) if repeats < _FEW else gone, id_column, "left_anti")
    kept, stayed = kept.select(*(name for name in rows.columns if name != _NUMBER)), Observation()
    counted = kept.observe(stayed, F.count(F.lit(1)).alias("rows"))
    at_once(
        functools.partial(_write, counted, folder / "kept"),
        functools.partial(_write, found.duplicates, folder / "duplicates"),
    )
    removed = found.rows - stayed.get["rows"]
    if removed != repeats:
        # An observed count can be too high where tasks ran twice.
        removed = found.rows - spark.read.format("delta").load((folder / "kept").for_spark).count()
    if removed != repeats:
        for name in ("kept", "duplicates"):
            (folder / name).delete()
        what = f"its ids are not unique, or null: {repeats:,} rows repeat another, but {removed:,} have their ids"
        raise InputError(what, where=f"--id {id_column}", cure="name a column that is, or leave --id out")
    work.delete()
    data = {
        "rows": found.rows, "kept": found.rows - repeats, "duplicates": found.counts, "out": folder.address,
        "seconds": round(time.monotonic() - began, 3),
    }  # fmt: skip
    how = ", ".join(f"{count:,} {method}" for method, count in sorted(found.counts.items())) or "none"
    told = f"{found.rows:,} rows: {found.rows - repeats:,} kept, {repeats:,} repeat a kept one ({how})"
    text = f"{told}\ntables: {folder.address}"
    return Shown(data, text)


def read(spark: SparkSession, path: str, format_: str) -> DataFrame:
    """The rows of a file or folder; raises :class:`InputError` where they can't be read."""
    address = spark_address(absolute(path))
    try:
        rows = spark.read.format(format_).load(address)
    except spark_errors() as error:
        raise InputError(f"cannot be read as {format_}: {last_words(error)}", where=path) from error
    if format_ == "json" and "_corrupt_record" in rows.columns:
        # Spark refuses to look at this column alone.
        bad = spark.read.text(address).where("try_parse_json(value) IS NULL AND trim(value) != ''").limit(1).collect()
        said = f": {bad[0][0][:60]!r}" if bad else ""
        raise InputError(f"not every line is a JSON object{said}", where=path, cure="mend or remove such lines")
    return rows


def format_of(path: str) -> str:
    """Spark's name of the format of a file or folder; raises :class:`InputError` for none that is known."""
    place = Folder(absolute(path))
    kind = place.filesystem.get_file_info(place.path).type
    if kind == fs.FileType.NotFound:
        raise InputError("there is no such file or folder", where=path, cure="give another --input")
    names = [str(file.path).lower() for file in place.files()] if kind == fs.FileType.Directory else [path.lower()]
    if any("/_delta_log/" in name for name in names):
        return "delta"
    shown = [name for name in names if not name.rsplit("/", 1)[-1].startswith(("_", "."))]
    plain = [name.removesuffix(next(filter(name.endswith, _PACKED), "")) for name in shown]
    for format_, endings in (("parquet", (".parquet",)), ("json", _JSON)):
        if plain and all(name.endswith(endings) for name in plain):
            return format_
    what = "is neither Parquet nor JSONL nor a Delta table"
    raise InputError(what, where=path, cure="its files end in .parquet or .jsonl, and all in the same")


def _checked(rows: DataFrame, path: str, column: str, id_column: str | None) -> DataFrame:
    for option, name in (("--column", column), ("--id", id_column)):
        if name is not None and name not in rows.columns:
            raise InputError(f"has no column {name!r} ({option})", where=path, cure=f"it has {', '.join(rows.columns)}")
    kind = rows.schema[column].dataType.simpleString()
    if kind != "string":
        raise InputError(f"column {column!r} is {kind}, not text", where=path, cure="name another --column")
    return rows


def _numbered() -> Column:
    """Numbers in the order of the input, as text that sorts like them; written down before they are used twice."""
    return F.lpad(F.monotonically_increasing_id().cast("string"), 19, "0")


def _write(rows: DataFrame, place: Folder) -> None:
    rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(place.for_spark)
