"""From files to rows, without Spark: batches of pages, refusals, and a row of counts for each file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa

from personalake.corpus.files import UNSUPPORTED, Kinds, open_corpus_file
from personalake.corpus.records import BadRecord, Ignored
from personalake.errors import InputError
from personalake.schemas import FILES_SEEN, REJECTS, Column, Table

_BATCH_ROWS = 256
_BATCH_CHARS = 4 * 1024 * 1024

Row = dict[str, Any]
T = TypeVar("T")


def items_of(
    path: str, format: str, kinds: Kinds, base: str, read: Callable[[BinaryIO], Iterator[T]]
) -> Iterator[T | BadRecord]:
    """Yield what *read* finds in a file, or a refusal for one without anything or of no known format.

    A relative *path* is one of the folder *base*: a worker's current folder isn't the user's. Raises
    :class:`InputError` where the file can't be opened or read at all, so that the run stops and reads it next time.
    """
    if format == UNSUPPORTED:
        yield BadRecord(path, 0, "unsupported_file", f"its name is none of {kinds.names}")
        return
    found = False
    try:
        with open_corpus_file(path, base) as file:
            for item in read(file):
                found = True
                yield item
    except OSError as error:
        cure = "see that every worker can reach it, then run again"
        raise InputError(f"the file can't be read: {error}", where=path, cure=cure) from error
    if not found:
        yield BadRecord(path, 0, "empty_file", "it has no record")


def row_columns(made: Table) -> tuple[Column, ...]:
    """The columns of the table that is made, then those that only rejects and files_seen have."""
    columns = {"kind": Column("kind", "string", "page, reject or file")}
    wanted = {"reason", "detail", "raw", "path", "offset"}
    for table in (made, REJECTS, FILES_SEEN):
        for column in table.columns:
            if column.name != "seq" and (table is not REJECTS or column.name in wanted):
                columns.setdefault(column.name, column)
    return tuple(columns.values())


def rows_of_files(
    files: Iterable[pa.RecordBatch],
    read_file: Callable[[Mapping[str, Any]], Iterator[Row | BadRecord | Ignored]],
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    """Read each of *files* with *read_file*; batches of what it makes, of refusals, and of a row a file with counts."""
    rows: list[Row] = []
    chars = 0
    for row in _file_rows(files, read_file):
        rows.append(row)
        chars += len(row.get("text") or "")
        if len(rows) >= _BATCH_ROWS or chars >= _BATCH_CHARS:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows, chars = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _file_rows(
    batches: Iterable[pa.RecordBatch], read_file: Callable[[Mapping[str, Any]], Iterator[Row | BadRecord | Ignored]]
) -> Iterator[Row]:
    for batch in batches:
        for file in batch.to_pylist():
            counts = {"pages": 0, "refused": 0, "ignored": 0}
            for item in read_file(file):
                if isinstance(item, Ignored):
                    counts["ignored"] += 1
                    continue
                row = reject_row(item) if isinstance(item, BadRecord) else item
                counts["pages" if row["kind"] == "page" else "refused"] += 1
                yield row
            yield {"kind": "file", **file, "records": sum(counts.values()), **counts}


def reject_row(bad: BadRecord) -> Row:
    """The row of a refusal."""
    return {
        "kind": "reject",
        "path": bad.path,
        "offset": bad.offset,
        "reason": bad.reason,
        "detail": bad.detail,
        "raw": bad.raw,
    }
