"""Benchmark files: their items, as they are looked for in what was written."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.corpus.files import open_corpus_file
from personalake.corpus.jsonl import read_lines
from personalake.corpus.parquet import read_rows
from personalake.corpus.records import BadRecord
from personalake.errors import InputError
from personalake.work import reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ITEMS = pa.schema([("item_id", pa.string()), ("text", pa.string())])

_TEXTS = (("question", "choices"), ("question",), ("problem",), ("prompt",), ("text",))
"""Columns that are an item's text, in this order: multiple choice (MMLU, ARC), GSM8K, MATH, IFEval and HumanEval."""

_IDS = ("id", "item_id", "key", "task_id", "question_id", "unique_id")
_CURE = "name them: {text: COLUMN+COLUMN, id: COLUMN}"
_MAX_BYTES = 1 << 24
_SHOWN = 12


@dataclass(frozen=True)
class Benchmark:
    """A benchmark file: its *name*, *sha* (of name, content, and how it was read) and *items* (`ITEMS`)."""

    name: str
    sha: str
    items: pa.Table

    def frame(self, spark: SparkSession) -> DataFrame:
        """The items as ``decontaminate.contaminated`` takes them: (item_id, text)."""
        return spark.createDataFrame(self.items)


def read_benchmark(path: str, columns: Mapping[str, str] | None = None) -> Benchmark:
    """Read a benchmark's file: JSONL, packed or not, or Parquet; of a few thousand items, since it is held whole.

    An item's text is its `question` (with its `choices`, where it has any), `problem`, `prompt` or `text`, or what
    *columns* names under `text`, several of them joined by `+`; the answer isn't looked for. Its id is the file's name
    and what it has as `id`, `key` or the like (`id` in *columns*), or else its number, from 1 on: `gsm8k_test:17`.

    Raises :class:`InputError` for a file that can't be read, an item without a text, and an id that comes twice.
    """
    try:
        with open_corpus_file(path) as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"it can't be read: {reason(error)}", where=path, cure="name a benchmark's file") from error
    columns = dict(columns or {})
    if unknown := set(columns) - {"text", "id"}:
        raise InputError(f"{min(unknown)!r} is nothing that an item has", where=path, cure=_CURE)
    name = PurePosixPath(path).name
    numbers: dict[str, int] = {}
    texts = []
    for number, row in enumerate(_rows(path, content), 1):
        where = f"{path}, item {number}"
        id_ = f"{name.split('.')[0]}:{_id(row, columns.get('id'), number, where)}"
        if id_ in numbers:
            cure = "each item needs its own; another column may have it: {id: COLUMN}"
            raise InputError(f"the id {id_!r} is that of item {numbers[id_]}, too", where=where, cure=cure)
        numbers[id_] = number
        texts.append(_text(row, columns.get("text"), where))
    if not texts:
        raise InputError("the benchmark has no items", where=path, cure="JSONL or Parquet, an item a line or row")
    told = json.dumps([name, hashlib.sha256(content).hexdigest(), columns], sort_keys=True)
    items = pa.table([list(numbers), texts], schema=ITEMS)
    return Benchmark(name, hashlib.sha256(told.encode()).hexdigest(), items)


def _rows(path: str, content: bytes) -> Iterator[Mapping[str, Any]]:
    file = io.BytesIO(content)
    if content.startswith(b"PAR1"):
        found = read_rows(path, file, None, lambda _, __, row: row)
    else:
        found = read_lines(path, file, _MAX_BYTES, lambda _, __, row: row)
    for number, row in enumerate(found, 1):
        if isinstance(row, BadRecord):
            what = f"{row.reason.replace('_', ' ')}: {row.detail}"
            raise InputError(what, where=f"{path}, item {number}", cure="JSONL or Parquet, an item a line or row")
        yield row


def _id(row: Mapping[str, Any], column: str | None, number: int, where: str) -> str:
    if column is not None:
        if row.get(column) is None:
            raise InputError(f"it has no {column!r}", where=where, cure=f"it has {_names(row)}")
        return str(row[column])
    return str(next((row[name] for name in _IDS if row.get(name) is not None), number))


def _text(row: Mapping[str, Any], named: str | None, where: str) -> str:
    shapes = _TEXTS if named is None else (tuple(named.split("+")),)
    shape = next((names for names in shapes if all(row.get(name) is not None for name in names)), None)
    if shape is None:
        what = "none of its columns is known to be its text" if named is None else f"it has no {named!r}"
        raise InputError(f"{what}: it has {_names(row)}", where=where, cure=_CURE)
    text = "\n".join(part for name in shape for part in _parts(row[name]))
    if not text.strip():
        raise InputError("its text is empty", where=where, cure=f"give it one, or {_CURE}")
    return text


def _parts(value: object) -> Iterator[str]:
    """The texts in a value: itself, those of a list, or of ARC's choices, which have them beside their labels."""
    if isinstance(value, Mapping):
        yield from _parts(value["text"] if "text" in value else list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)
    elif value is not None:
        yield str(value)


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(list(row)[:_SHOWN]) or "no columns"
