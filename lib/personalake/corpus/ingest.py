"""The ingest stage: corpus files to documents, sightings, refusals and the record of the files that were read.

    files ──read_pages──▶ rows (page | reject | file) ──documents, sightings, rejects, files_seen──▶ tables

Per file `records = pages + refused + ignored`; per batch `pages = documents + sightings`.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from personalake.corpus import filters
from personalake.corpus.extract import extract
from personalake.corpus.files import CorpusFile
from personalake.corpus.language import declared_language, detect_language
from personalake.corpus.readers import read
from personalake.corpus.records import BadRecord, Ignored, Record, RefusedError, shortened
from personalake.corpus.rows import Row, reject_row, row_columns, rows_of_files
from personalake.schemas import DOCUMENTS, FILES_SEEN, REJECTS, Table, arrow_fields
from personalake.settings import CorpusSettings

STAGE = "ingest"
FILES_DDL = "path string, format string, size long, stamp string"
"""The input of :func:`read_pages`: one row for each file."""


ROWS_DDL = ", ".join(f"{column.name} {column.type}" for column in row_columns(DOCUMENTS))
"""The output of :func:`read_pages`; what a row's `kind` has no value for is null."""
ROWS_ARROW = pa.schema(arrow_fields(row_columns(DOCUMENTS)))


def files_frame(spark: SparkSession, files: Sequence[CorpusFile]) -> DataFrame:
    """Return *files* as the rows that :func:`read_pages` takes."""
    return spark.createDataFrame([(file.path, file.format, file.size, file.stamp) for file in files], FILES_DDL)


def read_pages(files: DataFrame, settings: CorpusSettings, tasks: int) -> DataFrame:
    """Read *files* (columns of :data:`FILES_DDL`) in *tasks* tasks: their number, for one file a task.

    Returns rows of :data:`ROWS_DDL`. They are computed again by each of the transforms below that uses them, so the
    caller stores or persists them once. The rows, but not their order, are the same for any *tasks*.
    """
    spread = files.select("path", "format", "size", "stamp").repartitionByRange(tasks, "path")
    return spread.mapInArrow(functools.partial(read_batches, settings=settings, base=os.getcwd()), ROWS_DDL)


def read_batches(
    batches: Iterable[pa.RecordBatch], *, settings: CorpusSettings, base: str = ""
) -> Iterator[pa.RecordBatch]:
    """Arrow kernel of :func:`read_pages`: files in, rows out, in batches of 256 rows or about 4 M characters.

    Relative paths are those of the folder *base*.
    """

    def read_file(file: Mapping[str, Any]) -> Iterator[Row | BadRecord | Ignored]:
        for item in read(file["path"], file["format"], settings.max_record_bytes, base):
            yield page_row(item, settings) if isinstance(item, Record) else item

    return rows_of_files(batches, read_file, ROWS_ARROW)


def page_row(record: Record, settings: CorpusSettings) -> dict[str, Any]:
    """Return the row of a page, or of its refusal."""
    text = record.text or ""
    try:
        title, language = record.title, record.language
        if record.html is not None:
            found = extract(record.html, record.charset)
            text, title, language = found.text, title or found.title, language or found.language
        text = filters.clean(text)
        filters.check(text, settings.min_chars)
    except RefusedError as refused:
        detail = f"{refused.detail}; {record.url}" if record.url else refused.detail
        return reject_row(BadRecord(record.path, record.offset, refused.reason, detail, shortened(text)))
    text = filters.cut(text, settings.max_chars)
    return {
        "kind": "page",
        "doc_id": content_hash(text),
        "text": text,
        "title": title,
        "url": record.url,
        "path": record.path,
        "offset": record.offset,
        "language": declared_language(language) or detect_language(text),
        "licence": record.licence,
        "attribution": record.attribution,
        "subject": record.subject,
        "n_chars": len(text),
        "fetched_at": record.fetched_at,
    }


def content_hash(text: str) -> str:
    """Return a page's `doc_id`: the sha256, as hex, of *text* in NFC with white space folded."""
    return hashlib.sha256(filters.fold(text).encode()).hexdigest()


def documents(rows: DataFrame, known: DataFrame) -> DataFrame:
    """Return the pages whose text is new: DOCUMENTS without `seq`.

    Of pages with the same text the one with the smallest (path, offset) is the document. *known* has the `doc_id` of
    every document of the store.
    """
    return kept(rows, known, DOCUMENTS)


def kept(rows: DataFrame, known: DataFrame, table: Table) -> DataFrame:
    """Return the first row of each id that *known* doesn't have: *table* without `seq`."""
    first = _ranked(rows, table.key[0]).where("place = 1")
    return first.join(known.select(*table.key), list(table.key), "left_anti").select(*_without_seq(table.names))


def sightings(rows: DataFrame, known: DataFrame, key: str = "doc_id", origin: str = "path") -> DataFrame:
    """Return the pages that :func:`kept` does not: their text is known, or comes earlier in *rows*.

    SIGHTINGS without `seq`; the id in the column *key* becomes its `doc_id`. *known* names in the column *origin* the
    file that each was read from: a file that has changed is read whole again, and what it was the origin of is no
    sighting.
    """
    in_file = Window.partitionBy(key, "path").orderBy("offset")
    pages = _ranked(rows, key).withColumn("place_in_file", F.row_number().over(in_file))
    again = pages.join(known.select(key, F.col(origin).alias("origin")), key, "left")
    itself = (F.col("origin") == F.col("path")) & (F.col("place_in_file") == 1)
    found = again.where("place > 1 or origin is not null").where(~F.coalesce(itself, F.lit(False)))
    return found.select(F.col(key).alias("doc_id"), "url", "path", "offset")


def rejects(rows: DataFrame, stage: str = STAGE) -> DataFrame:
    """Return what was refused: REJECTS without `seq`; the columns of paid requests are null."""
    refused = rows.where("kind = 'reject'").select("path", "offset", "reason", "detail", "raw")
    keyed = refused.withColumn("input_key", F.concat_ws("#", "path", F.col("offset").cast("string")))
    values = {
        "reject_id": F.sha2(F.concat_ws("|", F.lit(stage), "input_key", "reason"), 256),
        "stage": F.lit(stage),
        **{name: F.col(name) for name in ("reason", "detail", "input_key", "path", "offset", "raw")},
    }
    return keyed.select(
        *(
            values.get(column.name, F.lit(None)).cast(column.type).alias(column.name)
            for column in REJECTS.columns
            if column.name != "seq"
        )
    )


def files_seen(rows: DataFrame) -> DataFrame:
    """Return the files that were read to their end, with their counts: FILES_SEEN without `seq`."""
    return rows.where("kind = 'file'").select(*_without_seq(FILES_SEEN.names))


def _ranked(rows: DataFrame, key: str) -> DataFrame:
    """The pages, with `place` 1 for the one with the smallest (path, offset) of its text."""
    order = Window.partitionBy(key).orderBy("path", "offset")
    return rows.where("kind = 'page'").withColumn("place", F.row_number().over(order))


def _without_seq(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != "seq"]
