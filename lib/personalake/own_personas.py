"""Personas of the user's own, or of a set that somebody published: files to rows, beside or instead of a corpus.

A row needs its text; what else of a persona it has is taken by `personas/fields.py`. Its id is the hash of its text, so
that a file means the same personas wherever it lies, and a repeated row is a sighting.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from personalake.corpus.delimited import read_delimited
from personalake.corpus.files import PERSONAS as KINDS
from personalake.corpus.files import CorpusFile, open_corpus_file
from personalake.corpus.jsonl import read_lines
from personalake.corpus.parquet import column_names, read_rows
from personalake.corpus.records import BadRecord, RefusedError, shortened
from personalake.corpus.rows import Layout, Reading, ReadSplit, Row, items_of
from personalake.corpus.splits import Split
from personalake.errors import InputError
from personalake.personas.fields import PersonaFields, no_text
from personalake.schemas import PERSONAS
from personalake.settings import PersonasSettings
from personalake.work import Folder

STAGE = "import"
LAYOUT = Layout(PERSONAS)
"""The columns of the rows that are read; what a row's `kind` has no value for is null."""
CURE = "--set 'personas.columns={text: COLUMN}'"
_MAX_BYTES = 1024 * 1024
_LOOKED_INTO = 8
"""Folders, files of each, and rows of a CSV file whose columns are looked at before a run; those of a set are alike."""


def reading(folder: Folder, settings: PersonasSettings) -> Reading:
    """Files on their way to personas under *settings*."""
    return Reading(folder, LAYOUT, functools.partial(persona_reader, settings), settings.model_dump(mode="json"))


def persona_reader(settings: PersonasSettings, base: str) -> ReadSplit:
    """How a task reads a split's rows of `personas` (each with `path` and `offset`), or why there are none."""
    fields = PersonaFields(settings, base)

    def rows(split: Split) -> Iterator[Row | BadRecord]:
        for given in read_given(split, base, fields.leaves):
            yield given if isinstance(given, BadRecord) else persona_row(split.path, *given, fields)

    return rows


Given = tuple[int, dict[str, Any]]
"""A row as a file has it: the place where it stands, and its values."""


def read_given(
    split: Split, base: str = "", leaves: Callable[[Mapping[str, str]], list[str]] | None = None
) -> Iterator[Given | BadRecord]:
    """Yield the rows of a split as they stand there, of Parquet the *leaves* that are chosen.

    Raises :class:`InputError` where the file can't be opened.
    """

    def items(file: BinaryIO) -> Iterator[Given | BadRecord]:
        if split.format == "jsonl":
            return read_lines(split.path, file, _MAX_BYTES, _given, split.start, split.end)
        if split.format == "csv":
            return read_delimited(split.path, file, _MAX_BYTES, _given)
        return read_rows(split.path, file, leaves, _given, split.start, split.end)

    return items_of(split, KINDS, base, items)


def _given(_: str, offset: int, value: dict[str, Any]) -> Given:
    return offset, value


def persona_row(path: str, offset: int, value: Mapping[str, Any], fields: PersonaFields) -> Row | BadRecord:
    """The row of a persona that stands at *offset* of the file or table at *path*, or why there is none."""
    try:
        row = fields.row(value, path)
    except RefusedError as refused:
        return BadRecord(path, offset, refused.reason, refused.detail, shortened(str(value)))
    return {"kind": "page", **row, "ordinal": 0, "path": path, "offset": offset}


def check_columns(files: Sequence[CorpusFile], settings: PersonasSettings) -> None:
    """Raise :class:`InputError` for a folder of tables none of which has a column that could be the text.

    Asked are the first files of a folder that say their columns at their head. What is wrong with one among good ones,
    or with a line of JSON, becomes a row of `rejects`.
    """
    fields = PersonaFields(settings)
    folders: dict[str, list[CorpusFile]] = {}
    for file in files:
        if file.format in ("parquet", "csv"):
            folders.setdefault(file.path.rpartition("/")[0], []).append(file)
    for some in itertools.islice(folders.values(), _LOOKED_INTO):
        asked = ((file, _columns_of(file)) for file in some[:_LOOKED_INTO])
        told = [(file, fields.plan(names), names) for file, names in asked if names]
        if told and not any(plan.found["text"] for _, plan, _ in told):
            file, plan, names = told[0]
            raise InputError(no_text(plan.wanted, names), where=file.path, cure=CURE)


def _columns_of(file: CorpusFile) -> list[str]:
    """The names of a table's columns; none where it can't be read, or has no row."""
    try:
        with open_corpus_file(file.path) as opened:
            if file.format == "parquet":
                return column_names(opened)
            # Several, since a row may be shorter than the first one, which names the columns.
            some = itertools.islice(read_delimited(file.path, opened, _MAX_BYTES, _given), _LOOKED_INTO)
            return list(dict.fromkeys(name for row in some if isinstance(row, tuple) for name in row[1]))
    except OSError:
        return []
