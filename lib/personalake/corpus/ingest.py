"""The ingest stage: corpus files to documents, sightings, refusals and the record of the files that were read.

    files ──read_pages──▶ rows (page | reject | file) ──documents, sightings, rejects, files_seen──▶ tables

Per file `records = pages + refused + ignored`; per batch `pages = documents + sightings`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
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
from personalake.schemas import DOCUMENTS, FILES_SEEN, REJECTS, SIGHTINGS, Column
from personalake.settings import CorpusSettings

STAGE = "ingest"
FILES_DDL = "path string, format string, size long, stamp string"
"""The input of :func:`read_pages`: one row for each file."""

_BATCH_ROWS = 256
_BATCH_CHARS = 4 * 1024 * 1024
_ARROW = {"string": pa.string(), "long": pa.int64(), "timestamp": pa.timestamp("us", tz="UTC")}


def _row_columns() -> tuple[Column, ...]:
    """The columns of documents, then those that only rejects and files_seen have."""
    columns = {"kind": Column("kind", "string", "page, reject or file")}
    wanted = {"reason", "detail", "raw"}
    for table in (DOCUMENTS, REJECTS, FILES_SEEN):
        for column in table.columns:
            if column.name != "seq" and (table is not REJECTS or column.name in wanted):
                columns.setdefault(column.name, column)
    return tuple(columns.values())


ROW_COLUMNS = _row_columns()
ROWS_DDL = ", ".join(f"{column.name} {column.type}" for column in ROW_COLUMNS)
"""The output of :func:`read_pages`; what a row's `kind` has no value for is null."""
ROWS_ARROW = pa.schema([(column.name, _ARROW[column.type]) for column in ROW_COLUMNS])


def files_frame(spark: SparkSession, files: Sequence[CorpusFile]) -> DataFrame:
    """Return *files* as the rows that :func:`read_pages` takes."""
    return spark.createDataFrame([(file.path, file.format, file.size, file.stamp) for file in files], FILES_DDL)


def read_pages(files: DataFrame, settings: CorpusSettings, tasks: int) -> DataFrame:
    """Read *files* (columns of :data:`FILES_DDL`) in *tasks* tasks: their number, for one file a task.

    Returns rows of :data:`ROWS_DDL`. They are computed again by each of the transforms below that uses them, so the
    caller stores or persists them once. The rows, but not their order, are the same for any *tasks*.
    """
    spread = files.select("path", "format", "size", "stamp").repartitionByRange(tasks, "path")
    return spread.mapInArrow(functools.partial(read_batches, settings=settings), ROWS_DDL)


def read_batches(batches: Iterable[pa.RecordBatch], *, settings: CorpusSettings) -> Iterator[pa.RecordBatch]:
    """Arrow kernel of :func:`read_pages`: files in, rows out, in batches of 256 rows or about 4 M characters."""
    rows: list[dict[str, Any]] = []
    chars = 0
    for row in _file_rows(batches, settings):
        rows.append(row)
        chars += len(row.get("text") or "")
        if len(rows) >= _BATCH_ROWS or chars >= _BATCH_CHARS:
            yield pa.RecordBatch.from_pylist(rows, schema=ROWS_ARROW)
            rows, chars = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=ROWS_ARROW)


def _file_rows(batches: Iterable[pa.RecordBatch], settings: CorpusSettings) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for file in batch.to_pylist():
            counts = {"pages": 0, "refused": 0, "ignored": 0}
            for item in read(file["path"], file["format"], settings.max_record_bytes):
                if isinstance(item, Ignored):
                    counts["ignored"] += 1
                    continue
                row = _reject_row(item) if isinstance(item, BadRecord) else _page_row(item, settings)
                counts["pages" if row["kind"] == "page" else "refused"] += 1
                yield row
            yield {"kind": "file", **file, "records": sum(counts.values()), **counts}


def _page_row(record: Record, settings: CorpusSettings) -> dict[str, Any]:
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
        return _reject_row(BadRecord(record.path, record.offset, refused.reason, detail, shortened(text)))
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


def _reject_row(bad: BadRecord) -> dict[str, Any]:
    return {
        "kind": "reject",
        "path": bad.path,
        "offset": bad.offset,
        "reason": bad.reason,
        "detail": bad.detail,
        "raw": bad.raw,
    }


def content_hash(text: str) -> str:
    """Return a page's `doc_id`: the sha256, as hex, of *text* in NFC with white space folded."""
    return hashlib.sha256(filters.fold(text).encode()).hexdigest()


def documents(rows: DataFrame, known: DataFrame) -> DataFrame:
    """Return the pages whose text is new: DOCUMENTS without `seq`.

    Of pages with the same text the one with the smallest (path, offset) is the document. *known* has the `doc_id` of
    every document of the store.
    """
    first = _ranked(rows, DOCUMENTS.names).where("place = 1")
    return first.join(known.select("doc_id"), "doc_id", "left_anti").select(*_without_seq(DOCUMENTS.names))


def sightings(rows: DataFrame, known: DataFrame) -> DataFrame:
    """Return the pages that :func:`documents` does not: their text is known, or comes earlier in *rows*."""
    seen = known.select("doc_id").distinct().withColumn("seen", F.lit(True))
    again = _ranked(rows, SIGHTINGS.names).join(seen, "doc_id", "left").where("place > 1 or seen")
    return again.select(*_without_seq(SIGHTINGS.names))


def rejects(rows: DataFrame) -> DataFrame:
    """Return what was refused: REJECTS without `seq`; the columns of paid requests are null."""
    refused = rows.where("kind = 'reject'").select("path", "offset", "reason", "detail", "raw")
    keyed = refused.withColumn("input_key", F.concat_ws("#", "path", F.col("offset").cast("string")))
    values = {
        "reject_id": F.sha2(F.concat_ws("|", F.lit(STAGE), "input_key", "reason"), 256),
        "stage": F.lit(STAGE),
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


def _ranked(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """The pages, with `place` 1 for the one with the smallest (path, offset) of its text."""
    order = Window.partitionBy("doc_id").orderBy("path", "offset")
    pages = rows.where("kind = 'page'").select(*_without_seq(names))
    return pages.withColumn("place", F.row_number().over(order))


def _without_seq(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != "seq"]
