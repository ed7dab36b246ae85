"""Reading a corpus file, whatever its format, as a stream of pages-to-be, refusals and ignored records."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import BinaryIO

from personalake.corpus import fields
from personalake.corpus.delimited import read_delimited
from personalake.corpus.files import PAGES
from personalake.corpus.jsonl import read_lines
from personalake.corpus.packing import packing_of
from personalake.corpus.parquet import read_rows, row_count
from personalake.corpus.records import BadRecord, Ignored, Item, Record
from personalake.corpus.rows import items_of
from personalake.corpus.splits import Split
from personalake.corpus.texts import read_whole
from personalake.corpus.warc import read_warc
from personalake.settings import CorpusSettings

__all__ = ["BadRecord", "Ignored", "Item", "Record", "read", "read_placed"]


def read(split: Split, settings: CorpusSettings, base: str = "") -> Iterator[Item]:
    """Yield everything that *split* holds, in its order and in memory bounded by `max_record_bytes`.

    Each item is a :class:`Record`, a :class:`BadRecord` or an :class:`Ignored`; a file without any is a `BadRecord`
    (`empty_file`), one of an unknown format too (`unsupported_file`). Damage never raises; for *base* and what does
    raise see :func:`items_of`.
    """
    return items_of(split, PAGES, base, lambda file: _items(split, file, settings))


def read_placed(split: Split, settings: CorpusSettings, base: str = "") -> Iterator[tuple[Item, int]]:
    """Yield what :func:`read` does, each with the byte of the file, as it lies there, where it begins.

    Of packed JSONL and CSV it is the byte that the reader has come to, which is up to a buffer behind; of Parquet the
    same share of the file as of its rows.
    """

    def placed(file: BinaryIO) -> Iterator[tuple[Item, int]]:
        each = max(1, split.size // max(1, row_count(file))) if split.format == "parquet" else 1
        packed = split.format in ("jsonl", "csv") and packing_of(file.read(4))
        file.seek(0)
        for item in _items(split, file, settings):
            yield item, file.tell() if packed else item.offset * each

    for found in items_of(split, PAGES, base, placed):
        yield (found, found.offset) if isinstance(found, BadRecord) else found


def _items(split: Split, file: BinaryIO, settings: CorpusSettings) -> Iterator[Item]:
    path, most = split.path, settings.max_record_bytes
    names = fields.names_of(settings.columns)
    make = functools.partial(fields.record_of, names=names)
    if split.format in ("warc", "wet"):
        return read_warc(path, file, most)
    if split.format == "jsonl":
        return read_lines(path, file, most, make, split.start, split.end)
    if split.format == "parquet":
        return read_rows(path, file, functools.partial(fields.wanted, names), make, split.start, split.end)
    if split.format == "csv":
        return read_delimited(path, file, most, make)
    return read_whole(path, file, most, split.format)
