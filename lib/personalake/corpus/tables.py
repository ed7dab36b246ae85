"""Delta tables as a corpus or as personas: what Spark reads of them, one page or persona a row."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructType

from personalake.corpus import fields
from personalake.corpus.files import DELTA
from personalake.corpus.ingest import LAYOUT, page_row
from personalake.corpus.lists import Lists
from personalake.corpus.records import BadRecord, RefusedError, shortened
from personalake.corpus.rows import Layout, Row, reject_row
from personalake.errors import InputError, first_line
from personalake.settings import CorpusSettings
from personalake.work import absolute, is_local, spark_address

_CANONICAL = {field: (field,) for field in fields.NAMES}
_TYPES = {"fetched_at": ("timestamp", "timestamp_ntz", "date", "string"), "html": ("string", "binary")}
"""Of columns that needn't be strings."""

_BATCH_ROWS = 256

MakeRow = Callable[[Mapping[str, Any], int], Row]
"""The row of a page, persona or refusal, of a table's row (its address is `table`) and where it stands there."""


@dataclass(frozen=True)
class TableReader:
    """What becomes of tables' rows: rows of *layout*."""

    layout: Layout
    columns: Callable[[StructType, str], Sequence[Column]]
    """Those that are needed of a table with this schema; raises :class:`InputError` where it has no text."""
    rows: Callable[[str], MakeRow]
    """Makes a task's function; relative paths are below the folder that it is given."""


def page_tables(settings: CorpusSettings) -> TableReader:
    """How tables of pages are read under *settings*."""
    columns = functools.partial(_columns, settings=settings)
    return TableReader(LAYOUT, columns, functools.partial(_page_maker, settings))


def _page_maker(settings: CorpusSettings, base: str) -> MakeRow:
    return functools.partial(_row, settings=settings, lists=Lists.of(settings, base))


def read_tables(
    spark: SparkSession, paths: Sequence[str], names: Sequence[str], seen: DataFrame, reader: TableReader
) -> DataFrame:
    """The rows by *reader* of tables at *paths* and under *names*, but for data files that were *seen*.

    A row's `path` is its table, its `offset` a hash of where it stands there: so OPTIMIZE, which writes the same rows
    to other files, makes them sightings of nobody. `file` rows are those of the table's data files, which never change:
    with them only what is new is read. Raises :class:`InputError` for what is no table, or has no column of text.
    """
    frames = []
    for table, is_path in [*((path, True) for path in paths), *((name, False) for name in names)]:
        try:
            frame = spark.read.format("delta").load(spark_address(table)) if is_path else spark.table(table)
            schema = frame.schema
        except PySparkException as error:
            cure = "name a Delta table that this session can read"
            raise InputError(f"the table can't be read: {first_line(error)}", where=table, cure=cure) from error
        file = F.col("_metadata")
        frame = frame.select(
            F.lit(absolute(table) if is_path and is_local(table) else table).alias("table"),
            file["file_path"].alias("path"),
            file["file_size"].alias("size"),
            file["file_modification_time"].cast("double").cast("string").alias("stamp"),
            file["file_block_start"].alias("block"),
            *reader.columns(schema, table),
        )
        frames.append(frame.join(seen.select("path").distinct(), "path", "left_anti"))
    kernel = functools.partial(_made, rows=reader.rows, schema=reader.layout.arrow, base=os.getcwd())
    made = (frame.mapInArrow(kernel, reader.layout.ddl) for frame in frames)
    return functools.reduce(DataFrame.unionByName, made)


def _columns(schema: StructType, table: str, settings: CorpusSettings) -> list[Column]:
    names = fields.names_of(settings.columns)
    has_it = {
        field: [name for name in usual if type_of(schema, name) in _TYPES.get(field, ("string",))]
        for field, usual in names.items()
    }
    found: dict[str, Column] = {}
    for field, there in has_it.items():
        # Bytes of HTML are in a charset of their own, which reading them as a string would lose.
        kind = "binary" if any(type_of(schema, name) == "binary" for name in there) else "string"
        whole = F.coalesce(*(F.col(name).cast(kind) for name in there)) if there else F.lit(None).cast(kind)
        found[field] = whole.alias(field)
    if not has_it["text"] and not has_it["html"]:
        has = ", ".join(f"{column.name} ({column.dataType.simpleString()})" for column in schema.fields[:12])
        wanted = ", ".join(f"`{name}`" for field in ("text", "html") for name in names[field])
        what = f"the table has no column of text among {wanted}; it has: {has}"
        raise InputError(what[:600], where=table, cure="--set 'corpus.columns={text: COLUMN}'")
    return list(found.values())


def type_of(schema: StructType, name: str) -> str | None:
    """The type of the column *name*, which may be the path of a nested one; null where there is none."""
    at: DataType = schema
    for part in name.split("."):
        if not isinstance(at, StructType) or part not in at.names:
            return None
        at = at[part].dataType
    return at.simpleString()


def _made(
    batches: Iterable[pa.RecordBatch], *, rows: Callable[[str], MakeRow], schema: pa.Schema, base: str
) -> Iterator[pa.RecordBatch]:
    """Arrow kernel: rows of a table to pages or personas, and refusals; at the end, a row of counts a data file."""
    make, counts = rows(base), dict[tuple[str, int, str], Counter[str]]()
    numbers = Counter[tuple[str, int]]()  # Delta doesn't tell a row's number, so it is counted.
    for batch in batches:
        for low in range(0, batch.num_rows, _BATCH_ROWS):
            some = []
            for given in batch.slice(low, _BATCH_ROWS).to_pylist():
                block = (given["path"], given["block"])
                made = make(given, _place(*block, numbers[block]))
                numbers[block] += 1
                counts.setdefault((given["path"], given["size"], given["stamp"]), Counter())[made["kind"]] += 1
                some.append(made)
            yield pa.RecordBatch.from_pylist(some, schema=schema)
    files = [
        {
            **{"kind": "file", "path": path, "size": size, "stamp": stamp, "format": DELTA, "ignored": 0},
            **{"records": each.total(), "pages": each["page"], "refused": each["reject"]},
        }
        for (path, size, stamp), each in counts.items()
    ]
    if files:
        yield pa.RecordBatch.from_pylist(files, schema=schema)


def _row(row: Mapping[str, Any], offset: int, settings: CorpusSettings, lists: Lists) -> Row:
    table = row["table"]
    try:
        record = fields.record_of(table, offset, row, _CANONICAL)
    except RefusedError as refused:
        return reject_row(BadRecord(table, offset, refused.reason, refused.detail, shortened(str(row["text"]))))
    size = len(record.html or b"") or len((record.text or "").encode("utf-8", "replace"))
    if size > settings.max_record_bytes:
        detail = f"{size} bytes, allowed are {settings.max_record_bytes}"
        return reject_row(BadRecord(table, offset, "too_large", detail))
    return page_row(record, settings, lists)


def _place(path: str, block: int, number: int) -> int:
    """63 bits that stand for a row of a data file."""
    return int.from_bytes(hashlib.sha256(f"{path}#{block}#{number}".encode()).digest()[:8], "big") >> 1
