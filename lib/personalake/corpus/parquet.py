"""Parquet: a page per row, in bounded memory, row group by row group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from personalake.corpus.records import BadRecord, RefusedError, shortened

T = TypeVar("T")

_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_ROWS = 4_096


def read_rows(
    path: str,
    file: BinaryIO,
    columns: Callable[[Mapping[str, str]], list[str]] | None,
    make: Callable[[str, int, dict[str, Any]], T],
    start: int = 0,
    end: int | None = None,
) -> Iterator[T | BadRecord]:
    """Yield what *make* makes of (path, number of the row, row), or why that is nothing.

    Of a file, those row groups that begin in the bytes from *start* up to *end*. *columns* chooses among the names of
    all columns, nested ones with their paths, each with its physical type; a file of which it chooses none is one
    `no_text`. A row group that can't be read is one `corrupt`, a file whose footer can't be read one `not_parquet`.
    """
    try:
        table = pq.ParquetFile(file)
        leaves = _leaves(table)
    except (pa.ArrowException, OSError) as error:
        if not start:
            yield BadRecord(path, 0, "not_parquet", _said(error))
        return
    chosen = None if columns is None else columns(leaves)
    if chosen == [] and table.metadata.num_rows:
        if not start:
            shown = ", ".join(list(leaves)[:12])
            yield BadRecord(path, 0, "no_text", f"none of its {table.metadata.num_rows} rows: its columns are {shown}")
        return
    first = 0
    for number in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(number)
        if start <= _begins(group) < (math.inf if end is None else end):
            yield from _group(path, table, number, chosen, first, make)
        first += group.num_rows


def _leaves(table: pq.ParquetFile) -> dict[str, str]:
    columns = (table.schema.column(n) for n in range(len(table.schema)))
    return {column.path: column.physical_type for column in columns}


def column_names(file: BinaryIO) -> list[str]:
    """The names of a file's outermost columns; none where it can't be read."""
    try:
        return list(pq.ParquetFile(file).schema_arrow.names)
    except (pa.ArrowException, OSError):
        return []


def row_count(file: BinaryIO) -> int:
    """How many rows a file has; 0 where it can't be read."""
    try:
        return int(pq.ParquetFile(file).metadata.num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _group(
    path: str,
    table: pq.ParquetFile,
    number: int,
    columns: list[str] | None,
    first: int,
    make: Callable[[str, int, dict[str, Any]], T],
) -> Iterator[T | BadRecord]:
    group = table.metadata.row_group(number)
    rows = max(1, min(_BATCH_ROWS, group.num_rows * _BATCH_BYTES // max(group.total_byte_size, 1)))
    at = first
    try:
        for batch in table.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
            for row in batch.to_pylist():
                try:
                    yield make(path, at, row)
                except RefusedError as refused:
                    yield BadRecord(path, at, refused.reason, refused.detail, shortened(str(row)))
                at += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        left = first + group.num_rows - at
        yield BadRecord(path, at, "corrupt", f"{left} rows of row group {number}: {_said(error)}")


def _begins(group: pq.RowGroupMetaData) -> int:
    """Where a row group begins in its file."""
    column = group.column(0)
    dictionary = column.dictionary_page_offset
    return int(min(column.data_page_offset, dictionary) if dictionary else column.data_page_offset)


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
