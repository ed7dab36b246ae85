"""Delta tables of personas: which of their columns a persona is made of."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from personalake.corpus.records import BadRecord
from personalake.corpus.rows import Row, reject_row
from personalake.corpus.tables import MakeRow, TableReader, type_of
from personalake.errors import InputError
from personalake.own_personas import CURE, LAYOUT, persona_row
from personalake.personas.fields import PersonaFields, no_text
from personalake.settings import PersonasSettings

_TEXTS = ("string", "array<string>")
_KEPT = re.compile(r"string|boolean|\w*int|float|double|decimal\(.*|date|timestamp\w*|array<(?:string|\w*int)>")


def persona_tables(settings: PersonasSettings) -> TableReader:
    """How tables of personas are read under *settings*."""
    return TableReader(LAYOUT, functools.partial(_columns, settings=settings), functools.partial(_maker, settings))


def _columns(schema: StructType, table: str, settings: PersonasSettings) -> Sequence[Column]:
    plan = PersonaFields(settings).plan(schema.names)
    if not any(type_of(schema, name) in _TEXTS for name in plan.found["text"]):
        has = [f"{column.name} ({column.dataType.simpleString()})" for column in schema.fields]
        raise InputError(no_text(plan.wanted, has)[:600], where=table, cure=CURE)
    looked_for = {name.partition(".")[0] for names in plan.found.values() for name in names if "." in name}
    names = [
        column.name
        for column in schema.fields
        if column.name in looked_for or (column.name in plan.needed and _KEPT.fullmatch(column.dataType.simpleString()))
    ]
    return [F.struct(*(F.col(f"`{name}`") for name in names)).alias("row")]


def _maker(settings: PersonasSettings, base: str) -> MakeRow:
    fields = PersonaFields(settings, base)

    def make(given: Mapping[str, Any], offset: int) -> Row:
        made = persona_row(given["table"], offset, given["row"], fields)
        return reject_row(made) if isinstance(made, BadRecord) else made

    return make
