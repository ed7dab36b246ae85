"""From a row of a table, however its columns are called, to a page-to-be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

from personalake.corpus.records import Record, RefusedError, parse_time

NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "raw_content", "content"),
    "html": ("html",),
    "url": ("url", "metadata.url", "meta.url"),
    "title": ("title",),
    "language": ("language", "meta.language", "lang"),
    "licence": ("licence", "license", "metadata.license"),
    "attribution": ("attribution",),
    "subject": ("subject",),
    "fetched_at": ("fetched_at", "date", "date_download", "timestamp"),
}
"""Where a page's fields are looked for, in this order: so FineWeb, RedPajama, C4 and Dolma need no mapping."""

_STRINGS = ("url", "title", "language", "licence", "attribution", "subject")
T = TypeVar("T")


def names_of(columns: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names under which each field is looked for: those that *columns* give, and for the others the usual ones."""
    return {field: (columns[field],) if field in columns else usual for field, usual in NAMES.items()}


def wanted(names: Mapping[str, tuple[str, ...]], there: Iterable[str]) -> list[str]:
    """Those of the columns *there* are (a nested one with its path) that some field is looked for in."""
    looked_for = {name for each in names.values() for name in each}
    return [column for column in there if column in looked_for]


def record_of(path: str, offset: int, row: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> Record:
    """The page-to-be of a *row*; raises :class:`RefusedError`: `no_text`, `empty_text`."""
    text = _first(row, names["text"], str)
    html: str | bytes | None = _first(row, names["html"], str)
    html = _first(row, names["html"], bytes) if html is None else html
    if text is None and html is None:
        raise RefusedError("no_text", _what_is_there(row, names["text"]))
    has_text = text is not None and bool(text.strip())
    if not has_text and not (html is not None and html.strip()):
        raise RefusedError("empty_text", "its text is empty")
    page = None if has_text else html
    said = {field: _string(row, names[field]) for field in _STRINGS}
    return Record(
        path,
        offset,
        text=text if has_text else None,
        html=page.encode("utf-8", "replace") if isinstance(page, str) else page,
        charset="utf-8" if isinstance(page, str) else None,
        url=said["url"],
        title=said["title"],
        language=said["language"],
        licence=said["licence"],
        attribution=said["attribution"],
        subject=said["subject"],
        fetched_at=_time(row, names["fetched_at"]),
    )


def json_type(value: object) -> str:
    """What JSON calls the type of *value*."""
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


def at(row: Mapping[str, Any], name: str) -> object:
    """The value of column *name*, which may be the path of a nested one; null where there is none."""
    if name in row:
        return row[name]
    value: object = row
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _first(row: Mapping[str, Any], names: tuple[str, ...], type_: type[T]) -> T | None:
    return next((value for value in (at(row, name) for name in names) if isinstance(value, type_)), None)


def _string(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these columns that is a string with something in it."""
    found = (value.strip() for value in (at(row, name) for name in names) if isinstance(value, str))
    return next((text.encode("utf-8", "replace").decode("utf-8") for text in found if text), None)


def _time(row: Mapping[str, Any], names: tuple[str, ...]) -> datetime | None:
    value = next((value for value in (at(row, name) for name in names) if value is not None), None)
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or timezone.utc).astimezone(timezone.utc)
    return parse_time(value)


def _what_is_there(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if (value := at(row, name)) is not None:
            return f"`{name}` is a {json_type(value)}"
    wanted_names = " nor ".join(f"`{name}`" for name in (*names, "html"))
    return f"it has neither {wanted_names}; it has: {', '.join(map(str, list(row)[:12])) or 'nothing'}"
