"""The groups of some rows, and a sample of each: the rows of lowest hash, whatever the partitioning.

Two small queries, however many rows there are: one counts the groups, the other brings the rows below the hash that so
many of a group lie below. Only these reach the driver.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from personalake.dedup.vectors import matrix
from personalake.diversity.sample import Sample

MOST = 1_000
"""Rows of a group's sample: any two of them are compared."""
LARGEST = 20
"""Groups of a grouping that are named; the others are one."""

Key = tuple[str, str | None]
"""A group: by which column, and its value there, null for all that are not among the largest."""
ALL: Key = ("all", "")

_LOWEST, _HASHES = -(1 << 63), 1 << 64


@dataclass(frozen=True)
class Shape:
    """Which columns of some rows mean what; beside these they have `id`, `text` and `family`.

    A row that is null in a column of *by* is in none of its groups.
    """

    by: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    combined: tuple[str, ...] = ()


def group_sizes(
    rows: DataFrame, by: Sequence[str], counted: Sequence[str] = (), largest: int = LARGEST
) -> dict[Key, int]:
    """How many rows each group has: all, the *largest* of each column of *by*, the rest, and all groups of *counted*.

    The largest come first.
    """
    groupings = {ALL[0]: F.lit(ALL[1]), **{name: F.col(name).cast("string") for name in (*by, *counted)}}
    pairs = (F.struct(F.lit(name).alias("by"), group.alias("group")) for name, group in groupings.items())
    stacked = F.explode(F.array(*pairs))
    counts = rows.select(stacked.alias("key")).groupBy("key.by", "key.group").agg(F.count(F.lit(1)).alias("rows"))
    every = Window.partitionBy("by")
    ranked = counts.where("group IS NOT NULL").select(
        "*",
        F.row_number().over(every.orderBy(F.col("rows").desc(), "group")).alias("place"),
        F.sum("rows").over(every).alias("whole"),
    )
    found = ranked.where((F.col("place") <= largest) | F.col("by").isin(*counted)).collect()
    order = list(groupings)
    found.sort(key=lambda row: (order.index(row["by"]), row["place"]))
    sizes = {(row["by"], row["group"]): int(row["rows"]) for row in found}
    for name, whole in {row["by"]: int(row["whole"]) for row in found}.items():
        rest = whole - sum(number for (other, _), number in sizes.items() if other == name)
        if rest:
            sizes[name, None] = rest
    return sizes or {ALL: 0}


def samples(
    rows: DataFrame,
    sizes: Mapping[Key, int],
    shape: Shape,
    seed: int,
    *,
    most: int = MOST,
    vectors: DataFrame | None = None,
) -> dict[Key, Sample]:
    """The *most* rows of lowest hash of (*seed*, id) of each group of *sizes* by a column of *shape*.

    *vectors* (id, vector) are those of some rows, as they are kept.
    """
    rank = F.xxhash64(F.lit(seed), "id").alias("rank")
    labels = [F.col(name).cast("string").alias(f"in_{name}") for name in shape.by]
    text, family = F.coalesce("text", F.lit("")).alias("text"), F.coalesce("family", "id").alias("family")
    drawn = rows.select(rank, "id", text, family, *labels, *shape.attributes)
    if sizes[ALL] > most:
        drawn = drawn.where(_low_enough(sizes, shape.by, most))
    table = drawn.toArrow()
    kept = {} if vectors is None else _vectors(vectors, drawn)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    order = sorted(range(len(table)), key=lambda at: (columns["rank"][at], columns["id"][at]))
    found = {}
    for key in [key for key in sizes if key == ALL or key[0] in shape.by]:
        named = {group for name, group in sizes if name == key[0]}
        labelled = columns.get(f"in_{key[0]}", [])
        members = order if key == ALL else [at for at in order if _in(labelled[at], key[1], named)]
        found[key] = _sample(members[:most], columns, shape, kept)
    return found


def _in(label: str | None, group: str | None, named: Iterable[str | None]) -> bool:
    return label == group if group is not None else label is not None and label not in named


def _low_enough(sizes: Mapping[Key, int], by: Sequence[str], most: int) -> Column:
    """Whether a row's rank lies so low that it may be among the *most* lowest of one of its groups."""
    low = F.col("rank") <= _bound(sizes[ALL], most)
    for name in by:
        bounds = {group: _bound(number, most) for (other, group), number in sizes.items() if other == name}
        rest, label = bounds.pop(None, _LOWEST), F.col(f"in_{name}")
        pairs = [F.lit(value) for pair in bounds.items() for value in pair]
        own = F.coalesce(F.try_element_at(F.create_map(*pairs), label), F.lit(rest)) if pairs else F.lit(rest)
        low = low | (label.isNotNull() & (F.col("rank") <= own))
    return low


def _bound(number: int, most: int) -> int:
    """A hash below which more than *most* of *number* rows lie: fewer do once in a billion."""
    wanted = most + 6 * math.sqrt(most) + 16
    return _LOWEST + min(_HASHES - 1, int(wanted / number * _HASHES)) if number > wanted else _LOWEST + _HASHES - 1


def _vectors(vectors: DataFrame, drawn: DataFrame) -> dict[str, bytes]:
    found = vectors.join(F.broadcast(drawn.select("id")), "id", "left_semi").select("id", "vector").collect()
    return {row["id"]: bytes(row["vector"]) for row in found}


def _sample(
    places: Sequence[int], columns: Mapping[str, list[str]], shape: Shape, vectors: Mapping[str, bytes]
) -> Sample:
    ids = [columns["id"][at] for at in places]
    having = [row for row, name in enumerate(ids) if name in vectors]
    return Sample(
        [columns["text"][at] for at in places],
        [columns["family"][at] for at in places],
        {name: [columns[name][at] for at in places] for name in shape.attributes},
        shape.combined,
        matrix(pa.array([vectors[ids[row]] for row in having], pa.binary())) if having else None,
        np.array(having, dtype=np.int64),
    )
