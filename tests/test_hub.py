"""Looking into a hub, held against what looking at every row by hand finds."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake import hub as hubs
from personalake.dedup import family as families
from personalake.dedup import passes
from personalake.dedup.blocks import BLOCK
from personalake.dedup.tokens import tokens
from personalake.dedup.vectors import kept
from personalake.errors import InputError
from personalake.hub import Lineage, Step, frequent, like, like_vector, lineage, sample
from personalake.schemas import DOCUMENTS, DUPLICATES, PERSONAS, Table
from personalake.store import struct

WORDS = "a nurse pilot who sings sails in the harbour of Málaga 東京都 garden old".split()
WANTED = "a nurse who sails in the harbour"
ROWS, WIDTH = 60, 8


def id_of(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    drawn = random.Random(1)
    return {id_of(n): " ".join(drawn.choices(WORDS, k=drawn.randint(1, 9))) for n in range(ROWS)}


@pytest.fixture(scope="module")
def hub(spark: SparkSession, texts: dict[str, str]) -> DataFrame:
    rows = [(n, id_, text, [text[:3]]) for n, (id_, text) in enumerate(texts.items())]
    return spark.createDataFrame(rows, "n int, persona_id string, text string, interests array<string>").repartition(3)


@pytest.fixture(scope="module")
def keys(spark: SparkSession, hub: DataFrame) -> DataFrame:
    """The hub's index, and one of pages."""
    rows = hub.selectExpr("persona_id AS id", "CAST(0 AS double) AS rank", "text")
    blocks = rows.mapInArrow(passes.block_maker(families.Family(0.9), 1), BLOCK).selectExpr("'persona' AS kind", "rows")
    page = spark.createDataFrame([(id_of("page"), 0.0, WANTED)], "id string, rank double, text string")
    made = page.mapInArrow(passes.block_maker(families.Family(0.9), 2), BLOCK).selectExpr("'page' AS kind", "rows")
    return blocks.unionByName(made)


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """A direction for each persona but the last."""
    drawn = np.random.default_rng(1)
    return {id_of(n): drawn.standard_normal(WIDTH) for n in range(ROWS - 1)}


@pytest.fixture(scope="module")
def vectors(spark: SparkSession, values: dict[str, Any]) -> DataFrame:
    rows = [(id_, WIDTH, bytearray(kept(value[None, :])[0])) for id_, value in values.items()]
    return spark.createDataFrame(rows, "persona_id string, dimensions int, vector binary").repartition(3)


def shown(found: DataFrame) -> list[tuple[float, str]]:
    return [(row["similarity"], row["persona_id"]) for row in found.collect()]


def by_words(texts: dict[str, str], limit: int, wanted: str = WANTED) -> list[tuple[float, str]]:
    alike = {
        id_: len(tokens(text) & tokens(wanted)) / len(tokens(text) | tokens(wanted)) for id_, text in texts.items()
    }
    return [(alike[id_], id_) for id_ in sorted(alike, key=lambda id_: (-alike[id_], id_))[:limit]]


def by_cosine(values: dict[str, Any], wanted: Any, limit: int) -> list[tuple[Any, str]]:
    near = {id_: value @ wanted / np.linalg.norm(value) / np.linalg.norm(wanted) for id_, value in values.items()}
    return [(pytest.approx(near[id_], abs=1e-3), id_) for id_ in sorted(near, key=lambda id_: -near[id_])[:limit]]


@pytest.fixture(params=["few", "many"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub that counts as large is looked at in another way."""
    if request.param == "many":
        monkeypatch.setattr(hubs, "FEW", 5)
        monkeypatch.setattr(hubs, "_FIRST", 10)
    return str(request.param)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("condition", ["true", "n % 10 = 3", "n IN (3, 4, 5)", "false"])
def test_words_find_the_same_by_texts_and_by_keys_in_all_and_in_a_selection(
    hub: DataFrame, keys: DataFrame, texts: dict[str, str], condition: str
) -> None:
    chosen = hub.where(condition)
    ids = {row["persona_id"] for row in chosen.collect()}
    expected = by_words({id_: text for id_, text in texts.items() if id_ in ids}, 7)
    assert shown(like(chosen, WANTED, 7)) == expected
    assert shown(like(chosen, WANTED, 7, keys)) == expected


def test_a_row_that_is_found_has_all_its_columns_behind_its_similarity(hub: DataFrame, keys: DataFrame) -> None:
    first = like(hub, WANTED, 1).collect()
    assert first == like(hub, WANTED, 1, keys).collect()
    assert list(first[0].asDict()) == ["similarity", *hub.columns]
    assert first[0]["interests"] == [first[0]["text"][:3]]


@pytest.mark.usefixtures("size")
def test_a_limit_beyond_the_hub_shows_all_of_it(hub: DataFrame, keys: DataFrame, texts: dict[str, str]) -> None:
    assert shown(like(hub, WANTED, 1_000, keys)) == by_words(texts, ROWS)


def test_a_text_without_words_is_refused(hub: DataFrame) -> None:
    with pytest.raises(InputError, match="no word"):
        like(hub, "?!", 5)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("condition", ["true", "n % 10 = 3", "n IN (3, 4, 59)", "false"])
def test_vectors_find_the_nearest_in_all_and_in_a_selection(
    hub: DataFrame, vectors: DataFrame, values: dict[str, Any], condition: str
) -> None:
    chosen, wanted = hub.where(condition), np.random.default_rng(2).standard_normal(WIDTH)
    ids = {row["persona_id"] for row in chosen.collect()}
    expected = by_cosine({id_: value for id_, value in values.items() if id_ in ids}, wanted, 7)
    assert shown(like_vector(chosen, vectors, 3 * wanted, 7)) == expected


@pytest.mark.parametrize("wanted", [[0.0] * WIDTH, [float("nan")] * WIDTH, [1.0] * (WIDTH + 1)])
def test_a_vector_without_a_direction_or_of_another_dimension_is_refused(
    hub: DataFrame, vectors: DataFrame, wanted: list[float]
) -> None:
    with pytest.raises(InputError, match=r"no direction|has 9 dimensions, the hub's have 8"):
        like_vector(hub, vectors, wanted, 5)


def test_a_sample_is_the_same_in_any_partitioning_and_another_one_by_another_seed(hub: DataFrame) -> None:
    one, *others = (
        [row["persona_id"] for row in sample(hub.repartition(number), 9, 5).collect()] for number in (1, 2, 7)
    )
    assert len(set(one)) == 9
    assert others == [one, one]
    assert [row["persona_id"] for row in sample(hub, 12, 5).collect()][:9] == one
    assert {row["persona_id"] for row in sample(hub, 9, 6).collect()} != set(one)
    assert sample(hub, 1_000, 5).count() == ROWS


def test_the_most_frequent_values_are_counted_also_those_in_arrays_and_nulls_are_not(spark: SparkSession) -> None:
    rows = [("a", ["x", "y"]), ("a", ["x"]), ("b", []), ("c", None), (None, ["z"])]
    hub = spark.createDataFrame(rows, "one string, many array<string>")
    assert [tuple(row) for row in frequent(hub, "one", 2).collect()] == [("a", 2), ("b", 1)]
    assert [tuple(row) for row in frequent(hub, "many", 9).collect()] == [("x", 2), ("y", 1), ("z", 1)]
    assert [tuple(row) for row in frequent(hub, F.upper("one"), 1).collect()] == [("A", 2)]


class Family:
    """A page, the persona inferred from it, that one's colleague and her sister; and tables with other rows."""

    page, first, second, third = (id_of(name) for name in ("page", "first", "second", "third"))

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self.personas = [
            self.persona(self.first, 0, doc_id=self.page, relation="write"),
            self.persona(self.second, 1, parent_id=self.first, relation="colleague"),
            self.persona(self.third, 2, parent_id=self.second, relation="sister"),
            self.persona(id_of("cousin"), 2, parent_id=self.second, relation="cousin"),
            self.persona(id_of("own"), 0, root_doc_id=None, url=None, source=None, path="mine.jsonl"),
        ]
        self.hub = [self.third, id_of("own")]
        self.duplicates = [("persona", self.second, id_of("own")), ("page", self.third, id_of("other"))]
        self.documents = [self.page, id_of("another page")]

    def persona(self, id_: str, hop: int, **columns: Any) -> dict[str, Any]:
        row = dict.fromkeys(PERSONAS.names) | {"persona_id": id_, "text": f"text of {id_}", "text_hash": id_}
        row |= {"root_doc_id": self.page, "url": "https://example.org/page", "source": "crawl.warc.gz"}
        return {**row, "hop": hop, "ordinal": 0, "seq": 1, **columns}

    def way(self, id_: str) -> Lineage:
        def frame(table: Table, rows: list[dict[str, Any]]) -> DataFrame:
            blank = dict.fromkeys(table.names)
            ordered = [tuple({**blank, "seq": 1, **row}[name] for name in table.names) for row in rows]
            return self.spark.createDataFrame(ordered, struct(table))

        kept = self.spark.createDataFrame([(id_,) for id_ in self.hub], "persona_id string")
        dropped = [
            {"kind": kind, "id": id_, "kept_id": by, "method": "exact", "similarity": 0.9}
            for kind, id_, by in self.duplicates
        ]
        page = {"text": "t", "title": "A page", "url": "https://example.org/page", "path": "crawl.warc.gz"}
        pages = [{**page, "doc_id": id_, "offset": 0, "n_chars": 1, "scrubbed": 0} for id_ in self.documents]
        tables = frame(PERSONAS, self.personas), kept, frame(DUPLICATES, dropped), frame(DOCUMENTS, pages)
        return lineage(*tables, id_)


PAGE = {
    "doc_id": Family.page,
    "title": "A page",
    "url": "https://example.org/page",
    "path": "crawl.warc.gz",
}


def step(id_: str, hop: int, relation: str | None, *, in_hub: bool = False, kept_id: str | None = None) -> Step:
    return Step(hop, id_, f"text of {id_}", relation, "https://example.org/page", in_hub, kept_id)


WAY = (
    step(Family.third, 2, "sister", in_hub=True),
    step(Family.second, 1, "colleague", kept_id=id_of("own")),
    step(Family.first, 0, "write"),
)
"""In the hub; dropped for another one; not compared yet."""


def test_a_persona_leads_back_over_its_parents_to_the_page_and_each_says_what_became_of_it(spark: SparkSession) -> None:
    assert Family(spark).way(Family.third) == Lineage(WAY, PAGE)


def test_the_beginning_of_an_id_is_enough_where_one_persona_has_it(spark: SparkSession) -> None:
    family = Family(spark)
    assert family.way(Family.first[:8]) == Lineage(WAY[2:], PAGE)
    twin = family.first[:8] + "0" * 56
    family.personas.append(family.persona(twin, 0))
    with pytest.raises(InputError, match=f"several .* begin with {family.first[:8]}: {min(twin, family.first)} and"):
        family.way(family.first[:8])
    assert family.way(family.first).steps == WAY[2:]


def test_an_unknown_id_is_refused(spark: SparkSession) -> None:
    with pytest.raises(InputError, match="no persona's id begins with"):
        Family(spark).way(id_of("nobody"))


def test_a_page_that_was_deleted_is_said_to_be_missing(spark: SparkSession) -> None:
    family = Family(spark)
    family.documents.remove(family.page)
    assert family.way(family.third) == Lineage(WAY, missing=f"the page {family.page} is not in `documents` any more")


def test_a_parent_that_is_missing_ends_the_way_and_the_page_is_still_named(spark: SparkSession) -> None:
    family = Family(spark)
    del family.personas[0]
    missing = f"the parent {family.first} is not in `personas` any more"
    assert family.way(family.third) == Lineage(WAY[:2], PAGE, missing=missing)
    family.documents.remove(family.page)
    gone = f"{missing}; the page {family.page} is not in `documents` any more"
    assert family.way(family.third) == Lineage(WAY[:2], missing=gone)


def test_parents_in_a_circle_end_where_they_meet_again(spark: SparkSession) -> None:
    family = Family(spark)
    family.personas[0] |= {"parent_id": family.third}
    circle = f"the parents go round in a circle: {family.third} is its own ancestor"
    assert family.way(family.third) == Lineage(WAY, PAGE, missing=circle)
    family.personas[1] |= {"parent_id": family.second}
    found = family.way(family.third)
    assert found.steps == WAY[:2]
    assert found.missing == f"the parents go round in a circle: {family.second} is its own ancestor"


def test_a_parent_outside_the_family_is_found_by_its_id(spark: SparkSession) -> None:
    family = Family(spark)
    family.personas[0] |= {"root_doc_id": id_of("another page"), "hop": 5}
    way = (*WAY[:2], replace(WAY[2], hop=5))
    assert family.way(family.third) == Lineage(way, PAGE, missing=f"{family.first} is of hop 5 and names no parent")


def test_a_persona_without_a_root_leads_to_whatever_its_parents_name(spark: SparkSession) -> None:
    family = Family(spark)
    for row in family.personas:
        row["root_doc_id"] = None
    assert family.way(family.third) == Lineage(WAY, PAGE)


def test_a_persona_of_ones_own_leads_to_its_file(spark: SparkSession) -> None:
    family = Family(spark)
    own = replace(step(id_of("own"), 0, None, in_hub=True), url=None)
    assert family.way(id_of("own")) == Lineage((own,), imported_from="mine.jsonl")
    family.personas[-1] |= {"path": None}
    assert family.way(id_of("own")) == Lineage((own,), missing="it names neither a page nor a file")
