"""JSON lines: a page per line, with `text` (or `html`) and what else the source tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from personalake.corpus.bytesource import CHUNK, ByteSource
from personalake.corpus.fields import json_type
from personalake.corpus.packing import packing_of
from personalake.corpus.records import BadRecord, RefusedError, shortened

T = TypeVar("T")


def read_lines(
    path: str,
    file: BinaryIO,
    max_bytes: int,
    make: Callable[[str, int, dict[str, Any]], T],
    start: int = 0,
    end: int | None = None,
) -> Iterator[T | BadRecord]:
    """Yield what *make* makes of (path, offset, object) for each line that isn't blank, or why that is nothing.

    Of a file that isn't packed, those lines that begin in the bytes from *start* up to *end*. Offsets count unpacked
    bytes. *make* raises :class:`RefusedError` for an object that won't do. Behind a damaged place in a packed file
    nothing is read: the offsets there could not be known.
    """
    if start and packing_of(file.read(4)):
        return  # Packed against what its name says: all of it belongs to the first part.
    source = ByteSource(file, max(start - 1, 0))
    end = None if source.packing else end
    if start:
        # The line that begins before belongs to the part before; it is over here if the byte before is its end.
        take_line(source, max_bytes)
    while source.ensure(1) and (end is None or source.position < end):
        offset = source.position
        line, length, whole = take_line(source, max_bytes)
        if not whole and source.damage:
            yield BadRecord(path, offset, source.damage.reason, source.damage.detail, shortened(line))
            return
        if length > max_bytes:
            detail = f"{length} bytes, allowed are {max_bytes}"
            yield BadRecord(path, offset, "too_large", detail, shortened(line))
        elif line.strip():
            try:
                yield make(path, offset, _parsed(line))
            except RefusedError as refused:
                yield BadRecord(path, offset, refused.reason, refused.detail, shortened(line))
    if source.damage:
        yield BadRecord(path, source.position, source.damage.reason, source.damage.detail)


def take_line(source: ByteSource, max_bytes: int) -> tuple[bytes, int, bool]:
    """Take a line: its bytes (only the beginning of one that is too long), its length, whether it has an end."""
    kept, length = bytearray(), 0
    while source.ensure(1):
        end = source.buffer.find(b"\n")
        n = end + 1 if end >= 0 else len(source.buffer)
        if length + n <= max_bytes + 1 or not kept:
            kept += source.buffer[: min(n, max(CHUNK, max_bytes + 1))]
        source.drop(n)
        length += n
        if end >= 0:
            return bytes(kept), length - 1, True
    return bytes(kept), length, False


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        # A line with a byte order mark is common at the start of files written on Windows.
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RefusedError("not_json", f"not UTF-8 at byte {error.start} of the line") from error
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise RefusedError("not_json", f"{what} at character {error.pos} of the line") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise RefusedError("not_json", "numbers or nesting beyond what can be read") from error
    if not isinstance(value, dict):
        raise RefusedError("not_an_object", f"the line is a JSON {json_type(value)}, not an object")
    return value
