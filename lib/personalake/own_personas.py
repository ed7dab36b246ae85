"""Personas of the user's own: JSONL and Parquet files to rows, beside or instead of a corpus.

A row needs its text; what else of a persona it has under the columns' names (`occupation`, `domain`, `language`, ...)
is taken as it is. Its id is the hash of its text, so that a file means the same personas wherever it lies, and a
repeated row is a sighting.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from personalake.accept import content_id
from personalake.corpus.files import PERSONAS as KINDS
from personalake.corpus.jsonl import read_lines
from personalake.corpus.language import declared_language, detect_language
from personalake.corpus.records import BadRecord, RefusedError, shortened
from personalake.corpus.rows import Row, items_of, row_columns, rows_of_files
from personalake.personas import quality, text_hash
from personalake.schemas import PERSONAS, arrow_fields
from personalake.settings import PersonasSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

STAGE = "import"
ROWS_DDL = ", ".join(f"{column.name} {column.type}" for column in row_columns(PERSONAS))
"""The output of :func:`read_personas`; what a row's `kind` has no value for is null."""
_ROWS_ARROW = pa.schema(arrow_fields(row_columns(PERSONAS)))
_TEXT_COLUMNS = ("persona", "text")
_STRINGS = ("relation", "occupation", "domain", "expertise", "age_band", "region", "url")
_MAX_BYTES = 1024 * 1024
_BATCH_ROWS = 1024


def read_personas(files: DataFrame, settings: PersonasSettings, tasks: int) -> DataFrame:
    """Read *files* (path, format, size, stamp) in *tasks* tasks; rows of :data:`ROWS_DDL`, as those of a corpus."""
    spread = files.select("path", "format", "size", "stamp").repartitionByRange(tasks, "path")
    return spread.mapInArrow(functools.partial(read_batches, settings=settings, base=os.getcwd()), ROWS_DDL)


def read_batches(
    batches: Iterable[pa.RecordBatch], *, settings: PersonasSettings, base: str = ""
) -> Iterator[pa.RecordBatch]:
    """Arrow kernel of :func:`read_personas`; relative paths are those of the folder *base*."""

    def read_file(file: Mapping[str, Any]) -> Iterator[Row | BadRecord]:
        return read(file["path"], file["format"], settings, base)

    return rows_of_files(batches, read_file, _ROWS_ARROW)


def read(path: str, format: str, settings: PersonasSettings, base: str = "") -> Iterator[Row | BadRecord]:
    """Yield a row of `personas` (and its `path` and `offset`) for each persona in a file, or why there is none.

    Raises :class:`InputError` where the file can't be opened.
    """
    for number, given in enumerate(read_given(path, format, base)):
        yield given if isinstance(given, BadRecord) else _row(path, number, *given, settings)


Given = tuple[int, dict[str, Any]]
"""A row as a file has it: the place where it stands, and its values."""


def read_given(path: str, format: str, base: str = "") -> Iterator[Given | BadRecord]:
    """Yield the rows of a file as they stand there; raises :class:`InputError` where it can't be opened."""
    return items_of(
        path,
        format,
        KINDS,
        base,
        lambda file: read_lines(path, file, _MAX_BYTES, _given) if format == "jsonl" else _parquet(path, file),
    )


def _given(_: str, offset: int, value: dict[str, Any]) -> Given:
    return offset, value


def _parquet(path: str, file: BinaryIO) -> Iterator[Given | BadRecord]:
    try:
        number = 0
        for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS):
            for value in batch.to_pylist():
                yield number, value
                number += 1
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        yield BadRecord(path, 0, "not_parquet", str(error).splitlines()[0])


def _row(path: str, number: int, offset: int, value: dict[str, Any], settings: PersonasSettings) -> Row | BadRecord:
    try:
        row = persona_row(value, settings)
    except RefusedError as refused:
        return BadRecord(path, offset, refused.reason, refused.detail, shortened(str(value)))
    return {"kind": "page", **row, "source": path, "ordinal": number, "path": path, "offset": offset}


def persona_row(value: Mapping[str, Any], settings: PersonasSettings) -> Row:
    """The row of `personas` that a file's row becomes, without where it stands; raises :class:`RefusedError`."""
    column = settings.column or next((name for name in _TEXT_COLUMNS if name in value), "")
    given = value.get(column)
    if not isinstance(given, str):
        wanted = f"`{settings.column}`" if settings.column else " or ".join(f"`{name}`" for name in _TEXT_COLUMNS)
        raise RefusedError("no_text", f"it has no text in {wanted}; it has: {', '.join(map(str, value))}")
    text = " ".join(given.split()).encode("utf-8", "replace").decode()
    if not text:
        raise RefusedError("empty_text", f"its `{column}` is empty")
    row: Row = {name: _string(value.get(name)) for name in _STRINGS}
    interests = value.get("interests")
    row["interests"] = [i for i in map(_string, interests) if i] if isinstance(interests, list) else None
    row.update(
        persona_id=content_id("own persona", text),
        text=text,
        text_hash=text_hash(text),
        language=declared_language(_string(value.get("language"))) or detect_language(text),
        hop=0,
        licence=_string(value.get("licence")) or _string(value.get("license")) or settings.licence,
    )
    row["quality"] = quality(row)
    return row


def _string(value: object) -> str | None:
    return value.strip().encode("utf-8", "replace").decode() or None if isinstance(value, str) else None
