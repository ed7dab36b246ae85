"""What is measured: the rows of a store's hub, personas or examples, and what their columns mean here."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.diversity.draw import Shape
from personalake.errors import SettingsError
from personalake.store import Store

ATTRIBUTES = ("occupation", "domain", "expertise", "age_band", "region", "language", "relation")
COMBINED = ("domain", "expertise", "age_band")
"""Attributes of which the combinations are counted."""
VARIATION = "variation"
AXIS = "vary_"
"""What the name of a column begins with that has the value drawn on an axis of variation."""

_PERSONAS_BY = ("hop", "source", "language", "domain", "relation", "model")
BY = {
    "hub": _PERSONAS_BY,
    "personas": _PERSONAS_BY,
    "examples": ("task", "model", "source", "language", VARIATION),
}
"""What rows of each kind can be grouped by; by the first two where nothing is said."""


@dataclass(frozen=True)
class Subject:
    """Rows to be measured, what their columns mean, and the vectors that some have."""

    rows: DataFrame
    shape: Shape
    vectors: DataFrame | None = None


def check(of: str, by: str | None) -> None:
    """Raise :class:`SettingsError` where rows of kind *of* can't be grouped *by* that."""
    if by is not None and by not in BY[of]:
        what = f"--by {by} doesn't go with --of {of}"
        raise SettingsError(what, cure=f"{of} can be grouped by {', '.join(BY[of])}")


def personas(rows: DataFrame, by: tuple[str, ...], vectors: DataFrame | None = None) -> Subject:
    """Rows of PERSONAS or HUB; those of one page are a family."""
    columns = dict.fromkeys((*by, *ATTRIBUTES))
    named = rows.select(F.col("persona_id").alias("id"), "text", F.col("root_doc_id").alias("family"), *columns)
    return Subject(named, Shape(by, ATTRIBUTES, COMBINED), vectors)


def examples(rows: DataFrame, by: tuple[str, ...]) -> Subject:
    """Rows of EXAMPLES: what their writing steps brought; their attributes are what was drawn on the tasks' axes."""
    axes = [row[0] for row in rows.select(F.explode(F.map_keys(VARIATION))).distinct().collect()]
    drawn = {f"{AXIS}{axis}": F.try_element_at(VARIATION, F.lit(axis)) for axis in sorted(axes)}
    by = tuple(name for given in by for name in (drawn if given == VARIATION else (given,)))
    columns = [name for name in dict.fromkeys((*by, "language")) if name not in drawn]
    named = rows.select(
        F.col("example_id").alias("id"),
        F.array_join(F.map_values("fields"), "\n").alias("text"),
        F.coalesce("root_doc_id", "persona_id").alias("family"),
        *columns,
        *(value.alias(name) for name, value in drawn.items()),
    )
    return Subject(named, Shape(by, ("language", *drawn)))


def subject(store: Store, of: str, by: str | None, embedding: str | None) -> Subject:
    """The rows of kind *of* in *store*, grouped *by* one thing or as usual, with vectors of model *embedding*."""
    groupings = BY[of][:2] if by is None else (by,)
    if of == "examples":
        return examples(store.read("examples"), groupings)
    vectors = None
    if of == "hub" and embedding is not None and store.exists("hub_vectors"):
        known = store.read("hub_vectors").where(F.col("model") == embedding)
        vectors = known.select(F.col("persona_id").alias("id"), "vector")
    return personas(store.read(of), groupings, vectors)
