"""CSV and TSV: a page per row, under the names of the first row."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from personalake.corpus.bytesource import ByteSource
from personalake.corpus.extract import decode
from personalake.corpus.jsonl import take_line
from personalake.corpus.records import BadRecord, RefusedError, shortened

T = TypeVar("T")
_DELIMITERS = ",;\t|"


class _Lines:
    """The lines of a file, for the reader of `csv`, and where each begins; a row that won't do can be put back."""

    def __init__(self, source: ByteSource, max_bytes: int) -> None:
        self._source, self._max_bytes = source, max_bytes
        self._waiting: deque[tuple[int, str, int]] = deque()
        self._row: list[tuple[int, str, int]] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if not self._waiting and not self._take():
            raise StopIteration
        self._row.append(self._waiting.popleft())
        if sum(length for _, _, length in self._row) > self._max_bytes:
            raise csv.Error(f"allowed are {self._max_bytes} bytes")
        return self._row[-1][1]

    @property
    def first(self) -> tuple[int, str]:
        """Offset and text of the row's first line."""
        return self._row[0][:2]

    def next_row(self) -> None:
        """Begin with a row."""
        self._row = []

    def put_back(self) -> None:
        """Give all lines of the row but its first once more."""
        self._waiting.extendleft(reversed(self._row[1:]))

    def peek(self) -> str:
        """The first line that nobody has taken."""
        return self._waiting[0][1] if self._waiting or self._take() else ""

    def _take(self) -> bool:
        if not self._source.ensure(1):
            return False
        offset = self._source.position
        line, length, _ = take_line(self._source, self._max_bytes)
        # Python 3.10 refuses a row with a NUL; no text needs one.
        self._waiting.append((offset, decode(line.replace(b"\0", b"")), length))
        return True


def read_delimited(
    path: str, file: BinaryIO, max_bytes: int, make: Callable[[str, int, dict[str, Any]], T]
) -> Iterator[T | BadRecord]:
    """Yield what *make* makes of (path, offset, row by its columns' names) for each row, or why that is nothing.

    The delimiter is the one of comma, semicolon, tab and bar that the first row has most of. Offsets are those of the
    row's first line in the unpacked file. A row that is too large, such as one whose quote is never closed, costs its
    first line.
    """
    csv.field_size_limit(min(sys.maxsize, max(max_bytes, csv.field_size_limit())))
    source = ByteSource(file)
    lines = _Lines(source, max_bytes)
    delimiter = max(_DELIMITERS, key=lines.peek().count)
    names: list[str] | None = None
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.next_row()
        try:
            values = next(reader, None)
        except csv.Error as error:
            offset, text = lines.first
            yield BadRecord(path, offset, "too_large", f"a row: {error}", shortened(text))
            lines.put_back()
            reader = csv.reader(lines, delimiter=delimiter)
            continue
        if values is None:
            break
        if names is None:
            names = [name.strip().removeprefix("\ufeff") for name in values]
            continue
        if not any(value.strip() for value in values):
            continue
        offset, text = lines.first
        if len(values) > len(names):
            detail = f"{len(values)} values, the first row names {len(names)} columns"
            yield BadRecord(path, offset, "bad_row", detail, shortened(text))
            continue
        try:
            yield make(path, offset, {name: value or None for name, value in zip(names, values, strict=False)})
        except RefusedError as refused:
            yield BadRecord(path, offset, refused.reason, refused.detail, shortened(text))
    if source.damage:
        yield BadRecord(path, source.position, source.damage.reason, source.damage.detail)
