"""From files to rows in the work folder: read at once by many tasks, kept file by file until they have landed."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from personalake import __version__
from personalake.corpus.files import UNSUPPORTED, CorpusFile, Kinds, exists, open_corpus_file
from personalake.corpus.records import BadRecord, Ignored
from personalake.corpus.splits import BIN_BYTES, Split, bins_of, splits_of
from personalake.errors import InputError
from personalake.schemas import FILES_SEEN, REJECTS, Column, Table, arrow_fields
from personalake.session import parallelism
from personalake.work import Folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BATCH_ROWS = 256
_BATCH_CHARS = 4 * 1024 * 1024
_PART_BYTES = 32 * 1024 * 1024
_LEAST_BYTES = 1024 * 1024
_BINS_DDL = (
    "bin int, splits array<struct<path: string, format: string, size: bigint, stamp: string, start: bigint, `end`: "
    "bigint>>"
)
VANISHED = "vanished"
"""Why a file that was listed gives nothing: it was gone when it was to be read."""

Row = dict[str, Any]
ReadSplit = Callable[[Split], Iterator[Row | BadRecord | Ignored]]
"""The pages or personas, refusals and ignored records of a split."""
Reader = Callable[[str], ReadSplit]
"""Makes a task's function; relative paths are below the folder that it is given."""
T = TypeVar("T")


def items_of(split: Split, kinds: Kinds, base: str, read: Callable[[BinaryIO], Iterator[T]]) -> Iterator[T | BadRecord]:
    """Yield what *read* finds in a file, or a refusal for one without anything, of no known format, or that has gone.

    A relative path is one of the folder *base*: a worker's current folder isn't the user's. Raises
    :class:`InputError` where the file can't be opened or read at all, so that the run stops and reads it next time.
    """
    if split.format == UNSUPPORTED:
        yield BadRecord(split.path, 0, "unsupported_file", f"its name is none of {kinds.names}")
        return
    found = False
    try:
        with open_corpus_file(split.path, base) as file:
            for item in read(file):
                found = True
                yield item
    except FileNotFoundError:
        yield BadRecord(split.path, split.start, VANISHED, "it was there when the files were listed")
        return
    except OSError as error:
        cure = "see that every worker can reach it, then run again"
        raise InputError(f"the file can't be read: {error}", where=split.path, cure=cure) from error
    if not found and split.whole:
        yield BadRecord(split.path, 0, "empty_file", "it has no record")


class Layout:
    """The columns of the rows that a table is made of: its own, then those that only rejects and files_seen have."""

    def __init__(self, made: Table) -> None:
        columns = {"kind": Column("kind", "string", "page, reject or file")}
        wanted = {"reason", "detail", "raw", "path", "offset"}
        for table in (made, REJECTS, FILES_SEEN):
            for column in table.columns:
                if column.name != "seq" and (table is not REJECTS or column.name in wanted):
                    columns.setdefault(column.name, column)
        self.ddl = ", ".join(f"`{column.name}` {column.type}" for column in columns.values())
        self.arrow = pa.schema(arrow_fields(tuple(columns.values())))


class Reading:
    """Files on their way into a table, in a *folder* that outlives a run that is cut off.

    A task writes the rows of its bin as Parquet, and then a marker that names the splits that they come from. What a
    marker names is not read again, by whatever run: *shaped_by*, what shapes the rows beside the files and this
    version, is part of the folder's name.
    """

    def __init__(self, folder: Folder, layout: Layout, reader: Reader, shaped_by: object) -> None:
        """Rows of *layout* by *reader*."""
        name = hashlib.sha256(json.dumps([__version__, shaped_by], sort_keys=True).encode()).hexdigest()[:16]
        self._top, self._folder, self._layout, self._reader = folder, folder / name, layout, reader

    def read(self, spark: SparkSession, files: Sequence[CorpusFile]) -> DataFrame:
        """The rows of *files*, of which tasks read what isn't there yet.

        Raises :class:`InputError` where a file that is there can't be read.
        """
        wanted = [split for file in files for split in splits_of(file)]
        done = self._done(set(wanted))
        each = sum(file.size for file in files) // (2 * parallelism(spark))
        target = min(BIN_BYTES, max(_LEAST_BYTES, each))
        left = [split for split in wanted if split not in done]
        bins = [(n, [tuple(vars(split).values()) for split in some]) for n, some in enumerate(bins_of(left, target))]
        if bins:
            spread = spark.createDataFrame(bins, _BINS_DDL).repartitionByRange(len(bins), "bin")
            kernel = functools.partial(
                _read_bins, folder=self._folder, schema=self._layout.arrow, reader=self._reader, base=os.getcwd()
            )
            told = spread.mapInArrow(kernel, "key string, path string").collect()
            self._check_vanished([(row["key"], row["path"]) for row in told if row["path"]])
        return spark.read.schema(self._layout.ddl).parquet((self._folder / "rows").for_spark)

    def end(self) -> None:
        """Forget the rows: they have landed."""
        self._top.delete()

    def _done(self, wanted: set[Split]) -> set[Split]:
        """Those of the splits *wanted* whose rows are there; what else lies in the folder goes."""
        for name in self._top.folders():
            if self._top / name != self._folder:
                (self._top / name).delete()
        bins = self._folder / "bins"
        done, keys = set[Split](), set[str]()
        for info in bins.files():
            splits = {Split(*values) for values in json.loads(bins.read(info.base_name) or b"[]")}
            if splits <= wanted and not splits & done:
                keys.add(info.base_name.removesuffix(".json"))
                done |= splits
        # Of files that have changed or gone, and of tasks that didn't come to their end. A part's name begins with its
        # bin's key, which has no dash.
        there = self._folder.files()
        self._folder.delete_files(info.path for info in there if re.split("[-.]", info.base_name)[0] not in keys)
        return done

    def _check_vanished(self, told: Sequence[tuple[str, str]]) -> None:
        """Raise :class:`InputError` where a worker doesn't find a file that is there."""
        there = [(key, path) for key, path in told if exists(path)]
        for key, _ in there:
            (self._folder / "bins").delete_file(f"{key}.json")
        if there:
            what = f"a worker finds no such file, though it is there ({len(there)} of them)"
            cure = "see that every worker can reach it under this path, then run again"
            raise InputError(what, where=there[0][1], cure=cure)


def _read_bins(
    batches: Iterable[pa.RecordBatch], *, folder: Folder, schema: pa.Schema, reader: Reader, base: str
) -> Iterator[pa.RecordBatch]:
    """Arrow kernel: read each bin, write its rows and then its marker; tells which files have vanished."""
    read = reader(base)
    for batch in batches:
        for row in batch.to_pylist():
            splits = [Split(**split) for split in row["splits"]]
            names = [list(vars(split).values()) for split in splits]
            key = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]
            gone = _write_rows(splits, key, folder / "rows", schema, read)
            (folder / "bins").write(f"{key}.json", json.dumps(names).encode())
            told = [{"key": key, "path": path} for path in gone or (None,)]
            yield pa.RecordBatch.from_pylist(told, schema=_TOLD)


_TOLD = pa.schema([("key", pa.string()), ("path", pa.string())])


def _write_rows(splits: Sequence[Split], key: str, folder: Folder, schema: pa.Schema, read: ReadSplit) -> list[str]:
    """Write the rows of *splits* to Parquet files of some 32 MB; returns the files that have vanished."""
    gone: list[str] = []
    part, stream, writer = 0, io.BytesIO(), None

    def flush() -> None:
        nonlocal part, stream, writer
        if writer is not None:
            writer.close()
            folder.write(f"{key}-{part}.parquet", stream.getvalue())
            part, stream, writer = part + 1, io.BytesIO(), None

    for batch in rows_of(splits, read, schema, gone):
        if writer is None:
            # A quarter less than Snappy in the work folder, for 0.005 ms of the 2 ms that a page takes.
            writer = pq.ParquetWriter(
                stream, schema, compression="zstd", compression_level=1, use_dictionary=["kind", "path"]
            )
        writer.write_batch(batch)
        if stream.tell() >= _PART_BYTES:
            flush()
    flush()
    return gone


def rows_of(
    splits: Iterable[Split],
    read: ReadSplit,
    schema: pa.Schema,
    gone: list[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read *splits*; batches of pages, of refusals, and of a row a split with counts.

    A file that has vanished is a refusal, has no row of counts, since it was not read, and is added to *gone*.
    """
    rows: list[Row] = []
    chars = 0
    for row in _rows(splits, read, [] if gone is None else gone):
        rows.append(row)
        chars += len(row.get("text") or "")
        if len(rows) >= _BATCH_ROWS or chars >= _BATCH_CHARS:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows, chars = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _rows(splits: Iterable[Split], read: ReadSplit, gone: list[str]) -> Iterator[Row]:
    for split in splits:
        counts, vanished = {"pages": 0, "refused": 0, "ignored": 0}, False
        for item in read(split):
            if isinstance(item, Ignored):
                counts["ignored"] += 1
                continue
            row = reject_row(item) if isinstance(item, BadRecord) else item
            counts["pages" if row["kind"] == "page" else "refused"] += 1
            vanished = vanished or row.get("reason") == VANISHED
            yield row
        if vanished:
            gone.append(split.path)
            continue
        about = {name: getattr(split, name) for name in ("path", "format", "size", "stamp")}
        yield {"kind": "file", **about, "records": sum(counts.values()), **counts}


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
