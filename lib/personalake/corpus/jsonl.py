"""JSON lines: a page per line, with `text` (or `html`) and what else the source tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from personalake.corpus.bytesource import CHUNK, ByteSource
from personalake.corpus.records import BadRecord, Item, Record, RefusedError, parse_time, shortened

T = TypeVar("T")


def read_jsonl(path: str, file: BinaryIO, max_record_bytes: int) -> Iterator[Item]:
    """Yield one page-to-be or refusal for each line that isn't blank, as :func:`read_lines` does."""
    return read_lines(path, file, max_record_bytes, _record)


def read_lines(
    path: str, file: BinaryIO, max_bytes: int, make: Callable[[str, int, dict[str, Any]], T]
) -> Iterator[T | BadRecord]:
    """Yield what *make* makes of (path, offset, object) for each line that isn't blank, or why that is nothing.

    Offsets count unpacked bytes. *make* raises :class:`RefusedError` for an object that won't do. Behind a damaged
    place in a gzipped file nothing is read: the offsets there could not be known.
    """
    source = ByteSource(file)
    while source.ensure(1):
        offset = source.position
        line, length, whole = _line(source, max_bytes)
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


def _line(source: ByteSource, max_bytes: int) -> tuple[bytes, int, bool]:
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
        raise RefusedError("not_an_object", f"the line is a JSON {_json_type(value)}, not an object")
    return value


def _record(path: str, offset: int, value: dict[str, Any]) -> Record:
    text, html = value.get("text"), value.get("html")
    if not isinstance(text, str) and not isinstance(html, str):
        got = f"`text` is a {_json_type(text)}" if text is not None else "it has neither `text` nor `html`"
        raise RefusedError("no_text", got)
    has_text = isinstance(text, str) and bool(text.strip())
    if not has_text and not (isinstance(html, str) and html.strip()):
        raise RefusedError("empty_text", "its text is empty")
    return Record(
        path,
        offset,
        text=text if has_text else None,
        html=None if has_text else str(html).encode("utf-8", "replace"),
        charset=None if has_text else "utf-8",
        url=_string(value, "url"),
        title=_string(value, "title"),
        language=_string(value, "language"),
        licence=_string(value, "licence", "license"),
        attribution=_string(value, "attribution"),
        subject=_string(value, "subject"),
        fetched_at=parse_time(_string(value, "fetched_at", "date")),
    )


def _string(value: dict[str, Any], *names: str) -> str | None:
    """Return the first of these fields that is a string with something in it."""
    found = (value[name].strip() for name in names if isinstance(value.get(name), str))
    return next((text.encode("utf-8", "replace").decode("utf-8") for text in found if text), None)


def _json_type(value: object) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
