"""Personas of the user's own: JSONL and Parquet files to rows, beside or instead of a corpus.

A row needs its text; what else of a persona it has under the columns' names (`occupation`, `domain`, `language`, ...)
is taken as it is. Its id is the hash of its text, so that a file means the same personas wherever it lies, and a
repeated row is a sighting.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from personalake.accept import content_id
from personalake.corpus.files import PERSONAS as KINDS
from personalake.corpus.jsonl import read_lines
from personalake.corpus.language import declared_language, detect_language
from personalake.corpus.parquet import read_rows
from personalake.corpus.records import BadRecord, RefusedError, shortened
from personalake.corpus.rows import Layout, Reading, ReadSplit, Row, items_of
from personalake.corpus.splits import Split
from personalake.personas.shape import quality, text_hash
from personalake.schemas import PERSONAS
from personalake.settings import PersonasSettings
from personalake.work import Folder

STAGE = "import"
LAYOUT = Layout(PERSONAS)
"""The columns of the rows that are read; what a row's `kind` has no value for is null."""
_TEXT_COLUMNS = ("persona", "text")
_STRINGS = ("relation", "occupation", "domain", "expertise", "age_band", "region", "url")
_MAX_BYTES = 1024 * 1024


def reading(folder: Folder, settings: PersonasSettings) -> Reading:
    """Files on their way to personas under *settings*; whole, since a persona tells its place among its file's."""
    reader = functools.partial(persona_reader, settings)
    return Reading(folder, LAYOUT, reader, settings.model_dump(mode="json"), parted=False)


def persona_reader(settings: PersonasSettings, base: str) -> ReadSplit:
    """How a task reads a file's rows of `personas` (each with `path` and `offset`), or why there are none."""

    def rows(split: Split) -> Iterator[Row | BadRecord]:
        for number, given in enumerate(read_given(split, base)):
            yield given if isinstance(given, BadRecord) else _row(split.path, number, *given, settings)

    return rows


Given = tuple[int, dict[str, Any]]
"""A row as a file has it: the place where it stands, and its values."""


def read_given(split: Split, base: str = "") -> Iterator[Given | BadRecord]:
    """Yield the rows of a split as they stand there; raises :class:`InputError` where the file can't be opened."""

    def items(file: BinaryIO) -> Iterator[Given | BadRecord]:
        if split.format == "jsonl":
            return read_lines(split.path, file, _MAX_BYTES, _given)
        return read_rows(split.path, file, None, _given)

    return items_of(split, KINDS, base, items)


def _given(_: str, offset: int, value: dict[str, Any]) -> Given:
    return offset, value


def _row(path: str, number: int, offset: int, value: dict[str, Any], settings: PersonasSettings) -> Row | BadRecord:
    try:
        row = persona_row(value, settings)
    except RefusedError as refused:
        return BadRecord(path, offset, refused.reason, refused.detail, shortened(str(value)))
    return {"kind": "page", **row, "source": path, "ordinal": number, "path": path, "offset": offset}


def persona_row(value: Mapping[str, Any], settings: PersonasSettings) -> Row:
    """The row of `personas` that a file's row becomes, without where it stands; raises :class:`RefusedError`."""
    column = settings.column or next((name for name in _TEXT_COLUMNS if name in value), "")
    given = value.get(column)
    if not isinstance(given, str):
        wanted = f"`{settings.column}`" if settings.column else " or ".join(f"`{name}`" for name in _TEXT_COLUMNS)
        raise RefusedError("no_text", f"it has no text in {wanted}; it has: {', '.join(map(str, value))}")
    text = " ".join(given.split()).encode("utf-8", "replace").decode()
    if not text:
        raise RefusedError("empty_text", f"its `{column}` is empty")
    row: Row = {name: _string(value.get(name)) for name in _STRINGS}
    interests = value.get("interests")
    row["interests"] = [i for i in map(_string, interests) if i] if isinstance(interests, list) else None
    row.update(
        persona_id=content_id("own persona", text),
        text=text,
        text_hash=text_hash(text),
        language=declared_language(_string(value.get("language"))) or detect_language(text),
        hop=0,
        licence=_string(value.get("licence")) or _string(value.get("license")) or settings.licence,
    )
    row["quality"] = quality(row)
    return row


def _string(value: object) -> str | None:
    return value.strip().encode("utf-8", "replace").decode() or None if isinstance(value, str) else None
