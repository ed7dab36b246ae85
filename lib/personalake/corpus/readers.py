"""Reading a corpus file, whatever its format, as a stream of pages-to-be, refusals and ignored records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from personalake.corpus.files import PAGES, UNSUPPORTED, open_corpus_file
from personalake.corpus.jsonl import read_jsonl
from personalake.corpus.records import BadRecord, Ignored, Item, Record
from personalake.corpus.warc import read_warc
from personalake.errors import InputError

__all__ = ["BadRecord", "Ignored", "Item", "Record", "read"]

_READERS: dict[str, Callable[[str, BinaryIO, int], Iterator[Item]]] = {
    "warc": read_warc,
    "wet": read_warc,
    "jsonl": read_jsonl,
}


def read(path: str, format: str, max_record_bytes: int, base: str = "") -> Iterator[Item]:
    """Yield everything that *path* holds, in its order and in memory bounded by *max_record_bytes*.

    A relative path is one of the folder *base*: a worker's current folder isn't the user's.

    Each item is a :class:`Record`, a :class:`BadRecord` or an :class:`Ignored`; a file without any is a `BadRecord`
    (`empty_file`), one of an unknown format too (`unsupported_file`). Damage never raises. Raises
    :class:`InputError` where the file can't be opened or read at all, so that the run stops and reads it next time.
    """
    if format == UNSUPPORTED:
        yield BadRecord(path, 0, "unsupported_file", f"its name is none of {PAGES.names}")
        return
    found = False
    try:
        with open_corpus_file(path, base) as file:
            for item in _READERS[format](path, file, max_record_bytes):
                found = True
                yield item
    except OSError as error:
        raise InputError(
            f"the file can't be read: {error}", where=path, cure="see that every worker can reach it, then run again"
        ) from error
    if not found:
        yield BadRecord(path, 0, "empty_file", "it has no record")
