"""Reading a corpus file, whatever its format, as a stream of pages-to-be, refusals and ignored records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from personalake.corpus.files import PAGES
from personalake.corpus.jsonl import read_jsonl
from personalake.corpus.records import BadRecord, Ignored, Item, Record
from personalake.corpus.rows import items_of
from personalake.corpus.warc import read_warc

__all__ = ["BadRecord", "Ignored", "Item", "Record", "read", "read_placed"]

_READERS: dict[str, Callable[[str, BinaryIO, int], Iterator[Item]]] = {
    "warc": read_warc,
    "wet": read_warc,
    "jsonl": read_jsonl,
}


def read(path: str, format: str, max_record_bytes: int, base: str = "") -> Iterator[Item]:
    """Yield everything that *path* holds, in its order and in memory bounded by *max_record_bytes*.

    Each item is a :class:`Record`, a :class:`BadRecord` or an :class:`Ignored`; a file without any is a `BadRecord`
    (`empty_file`), one of an unknown format too (`unsupported_file`). Damage never raises; for *base* and what does
    raise see :func:`items_of`.
    """
    return items_of(path, format, PAGES, base, lambda file: _READERS[format](path, file, max_record_bytes))


def read_placed(path: str, format: str, max_record_bytes: int, base: str = "") -> Iterator[tuple[Item, int]]:
    """Yield what :func:`read` does, each with the byte of the file, as it lies there, where it begins.

    Of gzipped JSONL it is the byte that the reader has come to, which is up to a buffer behind.
    """

    def placed(file: BinaryIO) -> Iterator[tuple[Item, int]]:
        unpacked = format == "jsonl" and path.lower().endswith(".gz")
        for item in _READERS[format](path, file, max_record_bytes):
            yield item, file.tell() if unpacked else item.offset

    for found in items_of(path, format, PAGES, base, placed):
        yield (found, found.offset) if isinstance(found, BadRecord) else found
