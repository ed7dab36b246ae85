"""Looking into a hub: who is most like a text or a vector, a sample, and the way back from a persona to its page.

DataFrames in, as `Store.read` or `spark.read` gives them, of any number of rows and in any kind of session. All is
exact: it is what one would find by looking at every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DoubleType, StructField, StructType

from personalake.dedup.like import alike_blocks, alike_texts, cosines_to, near_vectors
from personalake.dedup.tokens import token_hashes
from personalake.errors import InputError
from personalake.session import at_once

_FOUND = "similarity double, persona_id string"
FEW = 100_000
"""Of so many rows each is looked at; of more, the best of all are looked for first."""
_FIRST = 1_000
"""So many of the best of all hold enough of most large selections."""


def like(hub: DataFrame, text: str, limit: int, keys: DataFrame | None = None, rows: int | None = None) -> DataFrame:
    """The *limit* rows of *hub* whose words are most like *text*'s, their `similarity` (Jaccard's) put first.

    With *keys*, the rows of `hub_keys`, words that are hashed there needn't be read and hashed again, which halves the
    time of a large hub; *hub* may be a selection of their personas. *rows* is how many it has, where that is known: it
    is counted otherwise. Raises :class:`InputError` for a text without words.
    """
    wanted = token_hashes(pa.array([text])).values.to_numpy()
    if not len(wanted):
        raise InputError(f"{text!r} has no word to compare by", cure="give words")
    every = _most(hub.mapInArrow(alike_texts(wanted, limit), _with_similarity(hub)), limit)
    if keys is None or (hub.count() if rows is None else rows) <= FEW:
        return every
    blocks = keys.where(F.col("kind") == "persona").select("rows")
    return _among_first(hub, lambda most: blocks.mapInArrow(alike_blocks(wanted, most), _FOUND), limit) or every


def like_vector(
    hub: DataFrame, vectors: DataFrame, wanted: npt.ArrayLike, limit: int, rows: int | None = None
) -> DataFrame:
    """The *limit* rows of *hub* whose *vectors* (rows of `hub_vectors`) are nearest to *wanted*, cosine put first.

    *hub* may be a selection of their personas; *rows* is how many it has, where that is known. Rows without a vector
    aren't found. Raises :class:`InputError` where vectors are of another dimension than *wanted*, or *wanted* has no
    direction.
    """
    unit = np.asarray(wanted, dtype=np.float64)[None, :]
    length = np.linalg.norm(unit)
    if not np.isfinite(length) or not length:
        raise InputError("the vector that is looked for has no direction", cure="give finite numbers, not all zero")
    unit = (unit / length).astype(np.float32)
    known = {row["dimensions"] for row in vectors.select("dimensions").limit(1).collect()}
    if known - {unit.shape[1]}:
        what = f"the vector that is looked for has {unit.shape[1]} dimensions, the hub's have {known.pop()}"
        raise InputError(what, cure="take the model that made the hub's")
    vectors = vectors.select("persona_id", "vector")
    if (hub.count() if rows is None else rows) <= FEW:
        own = vectors.join(F.broadcast(hub.select("persona_id")), "persona_id", "left_semi")
        best = _most(own.mapInArrow(near_vectors(unit, limit), _FOUND), limit)
        return _most(_beside(hub, F.broadcast(best)), limit)
    every = _most(_beside(hub, vectors.mapInArrow(cosines_to(unit), _FOUND)), limit)
    return _among_first(hub, lambda most: vectors.mapInArrow(near_vectors(unit, most), _FOUND), limit) or every


def _among_first(hub: DataFrame, best: Callable[[int], DataFrame], limit: int) -> DataFrame | None:
    """The *limit* best rows of *hub*, where so many are among the *best* of all; else null."""
    first, spark = max(_FIRST, limit), hub.sparkSession
    near = _most(best(first), first).toArrow()
    found = _most(_beside(hub, F.broadcast(spark.createDataFrame(near))), limit)
    rows = found.toArrow()
    return spark.createDataFrame(rows, found.schema) if len(rows) == limit else None


def sample(hub: DataFrame, n: int, seed: int = 0) -> DataFrame:
    """The *n* rows of *hub* with the lowest hash of (*seed*, `persona_id`): the same ones however it is partitioned."""
    return hub.orderBy(F.xxhash64(F.lit(seed), "persona_id"), "persona_id").limit(n)


def frequent(hub: DataFrame, column: Column | str, most: int) -> DataFrame:
    """The *most* most frequent values of *column* (of arrays, of what they hold) and their rows: `value`, `count`."""
    values = hub.select((F.col(column) if isinstance(column, str) else column).alias("value"))
    if isinstance(values.schema["value"].dataType, ArrayType):
        values = values.select(F.explode("value").alias("value"))
    counted = values.where("value IS NOT NULL").groupBy("value").count()
    return counted.orderBy(F.col("count").desc(), "value").limit(most)


@dataclass(frozen=True)
class Step:
    """A persona on the way back to a page; in the hub, or *kept_id* stands for it, or it is not compared yet."""

    hop: int
    persona_id: str
    text: str
    relation: str | None
    url: str | None
    in_hub: bool
    kept_id: str | None


@dataclass(frozen=True)
class Lineage:
    """The way from a persona, which is the first of *steps*, back to where it came from.

    At its end is the *page* (`doc_id`, `title`, `url`, `path`), or the file or table that it was *imported_from*.
    *missing* says in words what of the way the tables don't hold.
    """

    steps: tuple[Step, ...]
    page: Mapping[str, str | None] | None = None
    imported_from: str | None = None
    missing: str | None = None


def lineage(
    personas: DataFrame, hub: DataFrame, duplicates: DataFrame, documents: DataFrame, persona_id: str
) -> Lineage:
    """The way back of the one of *personas* whose id begins with *persona_id*, over its parents to the page.

    It ends whatever the tables hold, and says what is missing. Raises :class:`InputError` where no id begins so, or
    several do.
    """
    way, missing = _ancestors(personas, _named(personas, persona_id))
    last = way[-1]
    doc_id = last["doc_id"] or last["root_doc_id"]
    ids = [row["persona_id"] for row in way]
    dropped = duplicates.where((F.col("kind") == "persona") & F.col("id").isin(ids))
    pages = documents.where(F.col("doc_id") == doc_id) if doc_id else documents.limit(0)
    looks: tuple[Callable[[], list[Row]], ...] = (
        hub.where(F.col("persona_id").isin(ids)).select("persona_id").collect,
        dropped.select("id", "kept_id").collect,
        pages.select("doc_id", "title", "url", "path").collect,
    )
    in_hub, repeats, page = at_once(*looks)
    kept, stands = {row[0] for row in in_hub}, {row["id"]: row["kept_id"] for row in repeats}
    steps = tuple(_step(row, kept, stands) for row in way)
    return Lineage(steps, *_origin(last, page, missing))


_STEP = ("persona_id", "text", "relation", "hop", "url", "path", "doc_id", "parent_id", "root_doc_id")


def _named(personas: DataFrame, persona_id: str) -> Row:
    """The one persona whose id begins with *persona_id*."""
    found = personas.where(F.startswith("persona_id", F.lit(persona_id))).orderBy("persona_id")
    rows = found.select(*_STEP).limit(2).collect()
    if not rows:
        raise InputError(f"no persona's id begins with {persona_id}", cure="`personalake hub` shows ids")
    if len(rows) > 1:
        both = " and ".join(row["persona_id"] for row in rows)
        raise InputError(f"several personas' ids begin with {persona_id}: {both}", cure="give more of its digits")
    return rows[0]


def _ancestors(personas: DataFrame, first: Row) -> tuple[list[Row], str | None]:
    """*first* and those whom it goes back to, and what is missing behind the last of them.

    Of a family, whose root page is one, all that may be ancestors are read at once: each look for an id goes through
    the whole table. Whom that doesn't find is looked for by the id.
    """
    way, family = [first], {}
    if first["parent_id"] and first["root_doc_id"]:
        elders = personas.where((F.col("root_doc_id") == first["root_doc_id"]) & (F.col("hop") < first["hop"]))
        family = {row["persona_id"]: row for row in elders.select(*_STEP).collect()}
    seen = {first["persona_id"]}
    while parent := way[-1]["parent_id"]:
        if parent in seen:
            return way, f"the parents go round in a circle: {parent} is its own ancestor"
        rows = [family[parent]] if parent in family else _with_id(personas, parent)
        if not rows:
            return way, f"the parent {parent} is not in `personas` any more"
        way.append(rows[0])
        seen.add(parent)
    orphan = way[-1]["hop"] > 0
    return way, f"{way[-1]['persona_id']} is of hop {way[-1]['hop']} and names no parent" if orphan else None


def _with_id(personas: DataFrame, persona_id: str) -> list[Row]:
    return personas.where(F.col("persona_id") == persona_id).select(*_STEP).limit(1).collect()


def _step(row: Row, kept: set[str], stands: Mapping[str, str]) -> Step:
    id_ = row["persona_id"]
    return Step(row["hop"], id_, row["text"], row["relation"], row["url"], id_ in kept, stands.get(id_))


def _origin(
    last: Row, found: Sequence[Row], missing: str | None
) -> tuple[Mapping[str, str | None] | None, str | None, str | None]:
    """The page, file and what is missing that :class:`Lineage` tells of."""
    page = found[0].asDict() if found else None
    doc_id = last["doc_id"] or last["root_doc_id"]
    if page is None and doc_id:
        gone = f"the page {doc_id} is not in `documents` any more"
        missing = f"{missing}; {gone}" if missing else gone
    if page or missing:
        return page, None, missing
    return None, last["path"], None if last["path"] else "it names neither a page nor a file"


def _with_similarity(rows: DataFrame) -> StructType:
    return StructType([StructField("similarity", DoubleType()), *rows.schema.fields])


def _beside(hub: DataFrame, found: DataFrame) -> DataFrame:
    """The rows of *hub* that were *found*, their similarity put first."""
    return hub.join(found, "persona_id").select("similarity", *hub.columns)


def _most(found: DataFrame, limit: int) -> DataFrame:
    return found.orderBy(F.col("similarity").desc(), "persona_id").limit(limit)
