from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.testing import assertDataFrameEqual, assertSchemaEqual

from personalake.dedup.survivors import Stage
from personalake.errors import InputError, SettingsError
from personalake.synthesis.splits import families, splits

EXAMPLES = "example_id string, persona_id string, root_doc_id string, parent_example_id string, doc_id string"
PERSONAS = "persona_id string, root_doc_id string, parent_id string"
DUPLICATES = "kind string, id string, kept_id string"
FAMILIES = "example_id string, family string"
Rows = list[tuple[Any, ...]]


def family_of(spark: SparkSession, stage: Stage, examples: Rows, duplicates: Rows, personas: Rows, **more: int) -> Any:
    """The family of each example, by its id."""
    found = families(
        spark.createDataFrame(examples, EXAMPLES),
        spark.createDataFrame(duplicates, DUPLICATES),
        spark.createDataFrame(personas, PERSONAS),
        stage,
        **more,
    )
    assertSchemaEqual(found.schema, spark.createDataFrame([], FAMILIES).schema)
    rows = found.collect()
    told = {row["example_id"]: row["family"] for row in rows}
    assert len(rows) == len(told)
    return told


def example(id_: str, persona: str, root: str | None, parent: str | None = None, page: str | None = None) -> Any:
    return (id_, persona, root, parent, page)


def test_what_descends_from_one_page_is_a_family_and_the_rest_is_not(spark: SparkSession, stage: Stage) -> None:
    examples = [example("x", "p", "d1"), example("y", "child of p", "d1"), example("z", "q", "d2")]
    personas = [("p", "d1", None), ("child of p", "d1", "p"), ("q", "d2", None)]
    assert family_of(spark, stage, examples, [], personas) == {"x": "d1", "y": "d1", "z": "d2"}


def test_an_imported_persona_is_a_family_with_those_that_descend_from_it(spark: SparkSession, stage: Stage) -> None:
    examples = [example("x", "p2", None), example("y", "p0", None), example("z", "p3", None), example("u", "p9", None)]
    personas = [("p0", None, None), ("p1", None, "p0"), ("p2", None, "p1"), ("p3", None, "p2"), ("p9", None, None)]
    assert family_of(spark, stage, examples, [], personas) == {"x": "p0", "y": "p0", "z": "p0", "u": "p9"}


def test_duplicates_join_families_by_pages_personas_and_examples(spark: SparkSession, stage: Stage) -> None:
    pairs = {"page": ("d2", "d1"), "persona": ("p3", "p2"), "example": ("e4", "e3"), "nothing known": ("e5", "e4")}
    examples = [example(f"e{n}", f"p{n}", f"d{n}") for n in range(1, 6)]
    personas = [(f"p{n}", f"d{n}", None) for n in range(1, 6)]
    duplicates = [(kind, *pair) for kind, pair in pairs.items()]
    found = family_of(spark, stage, examples, duplicates, personas)
    assert found == {"e1": "d1", "e2": "d1", "e3": "d1", "e4": "d1", "e5": "d5"}


def test_an_imported_persona_that_repeats_one_of_a_page_belongs_to_it(spark: SparkSession, stage: Stage) -> None:
    examples = [example("x", "p1", "d1"), example("y", "its child", None)]
    personas = [("p1", "d1", None), ("imported", None, None), ("its child", None, "imported")]
    assert family_of(spark, stage, examples, [("persona", "imported", "p1")], personas) == {"x": "d1", "y": "d1"}


def test_an_evolved_example_and_one_grounded_elsewhere_join_families(spark: SparkSession, stage: Stage) -> None:
    examples = [
        example("x", "p1", "d1"),
        example("evolved", "p2", "d2", parent="x"),
        example("grounded", "p3", "d3", page="d2"),
        example("at home", "p4", "d4", page="d4"),
    ]
    personas = [(f"p{n}", f"d{n}", None) for n in range(1, 5)]
    found = family_of(spark, stage, examples, [], personas)
    assert found == {"x": "d1", "evolved": "d1", "grounded": "d1", "at home": "d4"}


def test_a_chain_of_fifty_duplicates_is_one_family(spark: SparkSession, stage: Stage) -> None:
    order = random.Random(4).sample(range(52), 52)
    examples = [example(f"e{n}", f"p{n:02}", f"d{n:02}") for n in order]
    personas = [(f"p{n:02}", f"d{n:02}", None) for n in order]
    chain = [("persona", f"p{order[n]:02}", f"p{order[n + 1]:02}") for n in range(50)]
    found = family_of(spark, stage, examples, chain, personas, small=0)
    alone = order[51]
    assert {family for id_, family in found.items() if id_ != f"e{alone}"} == {f"d{min(order[:51]):02}"}
    assert found[f"e{alone}"] == f"d{alone:02}"


def random_hub(seed: int) -> tuple[Rows, Rows, Rows]:
    """Examples, duplicates and personas of 60 roots, a third of them imported, of which some met."""
    drawn = random.Random(seed)
    personas: Rows = []
    for n in range(60):
        root = None if n % 3 == 0 else f"d{n:02}"
        own: list[str] = []
        for m in range(drawn.randrange(1, 5)):
            personas.append((f"p{n:02}.{m}", root, drawn.choice(own) if own and (m % 2 or root is None) else None))
            own.append(f"p{n:02}.{m}")
    ids = [row[0] for row in personas]
    duplicates: Rows = [("persona", drawn.choice(ids), drawn.choice(ids)) for _ in range(25)]
    duplicates += [("page", f"d{drawn.randrange(60):02}", f"d{drawn.randrange(60):02}") for _ in range(5)]
    examples = [
        example(f"e{n:03}", persona, root, parent=f"e{drawn.randrange(150):03}" if drawn.random() < 0.03 else None)
        for n, (persona, root, _) in enumerate(drawn.choices(personas, k=150))
    ]
    return examples, duplicates, personas


def by_hand(examples: Rows, duplicates: Rows, personas: Rows) -> set[frozenset[str]]:
    """The oracle: sets of everything that has to do with each other, reduced to their examples."""
    edges = [("", "")]
    edges += [(f"p {id_}", f"d {root}") for id_, root, _ in personas if root]
    edges += [(f"p {id_}", f"p {parent}") for id_, _, parent in personas if parent]
    edges += [(f"{kind[:2]} {a}", f"{kind[:2]} {b}") for kind, a, b in duplicates if kind == "page"]
    edges += [(f"p {a}", f"p {b}") for kind, a, b in duplicates if kind == "persona"]
    edges = [(a.replace("pa d", "d d"), b.replace("pa d", "d d")) for a, b in edges]
    edges += [(f"e {id_}", f"p {persona}") for id_, persona, *_ in examples]
    edges += [(f"e {id_}", f"e {parent}") for id_, _, _, parent, _ in examples if parent]
    groups: list[set[str]] = []
    for edge in edges:
        touched = [group for group in groups if group & set(edge)]
        groups = [group for group in groups if group not in touched] + [set(edge).union(*touched)]
    kept = (frozenset(node[2:] for node in group if node.startswith("e ")) for group in groups)
    return {group for group in kept if group}


@pytest.mark.parametrize(("seed", "small"), [(1, 500_000), (2, 5)])
def test_families_are_what_is_connected(spark: SparkSession, stage: Stage, seed: int, small: int) -> None:
    hub = random_hub(seed)
    groups: dict[str, set[str]] = {}
    for id_, family in family_of(spark, stage, *hub, small=small).items():
        groups.setdefault(family, set()).add(id_)
    assert {frozenset(group) for group in groups.values()} == by_hand(*hub)


def test_families_depend_on_no_partitioning(spark: SparkSession, stage: Stage) -> None:
    schemas = (EXAMPLES, DUPLICATES, PERSONAS)
    examples, duplicates, personas = (
        spark.createDataFrame(rows, schema) for rows, schema in zip(random_hub(6), schemas, strict=True)
    )
    first = families(examples, duplicates, personas, stage)
    for number in (1, 8):
        again = (frame.repartition(number) for frame in (examples, duplicates, personas))
        assertDataFrameEqual(families(next(again), next(again), next(again), stage, small=10), first)


@pytest.fixture(scope="module")
def many(spark: SparkSession) -> DataFrame:
    """2,000 examples of 500 families, of one to some dozens."""
    drawn = random.Random(8)
    rows = [
        (f"e{n:04}", f"f{int(drawn.paretovariate(0.8)) % 500:03}" if n % 4 else f"f{n % 500:03}") for n in range(2000)
    ]
    return spark.createDataFrame(rows, FAMILIES).cache()


def split_of(families: DataFrame, **settings: Any) -> dict[str, str | None]:
    frame = splits(families, **settings)
    assertSchemaEqual(frame.schema, families.sparkSession.createDataFrame([], "example_id string, split string").schema)
    rows = frame.collect()
    told = {row["example_id"]: row["split"] for row in rows}
    assert len(told) == len(rows)
    return told


def kinds(families: DataFrame, told: dict[str, str | None]) -> dict[str, set[str | None]]:
    """The splits that the examples of each family are in."""
    found: dict[str, set[str | None]] = {}
    for row in families.collect():
        found.setdefault(row["family"], set()).add(told[row["example_id"]])
    return found


def test_every_example_has_a_split_and_every_family_one(many: DataFrame) -> None:
    told = split_of(many, seed=3)
    of_family = kinds(many, told)
    assert len(told) == many.count()
    assert all(len(own) == 1 for own in of_family.values())
    share = sum(own == {"test"} for own in of_family.values()) / len(of_family)
    assert 0.06 < share < 0.14
    assert set(told.values()) == {"train", "test"}


def test_shares_below_one_leave_families_out(many: DataFrame) -> None:
    of_family = kinds(many, split_of(many, shares={"a": 0.25, "b": 0.25}, seed=1))
    count = Counter(next(iter(own)) for own in of_family.values())
    assert all(len(own) == 1 for own in of_family.values())
    assert 0.4 < count[None] / len(of_family) < 0.6


def test_a_family_stays_where_it_is_when_others_come(many: DataFrame) -> None:
    whole = split_of(many, seed=5)
    some = split_of(many.where("family < 'f250'"), seed=5)
    assert some.items() <= whole.items()


def test_another_seed_splits_otherwise(many: DataFrame) -> None:
    assert split_of(many, seed=1) != split_of(many, seed=2)


@pytest.mark.parametrize("seed", range(4))
def test_sizes_are_exact_and_no_family_is_in_two_splits(many: DataFrame, seed: int) -> None:
    told = split_of(many, shares={"train": 1.0}, sizes={"test": 173, "validation": 60}, seed=seed)
    count = Counter(told.values())
    of_family = kinds(many, told)
    assert (count["test"], count["validation"]) == (173, 60)
    assert count["train"] + count[None] == 2000 - 233
    assert all(len(own - {None}) == 1 for own in of_family.values())
    # The surplus is of the families in which the two end.
    assert sum(None in own for own in of_family.values()) <= 2


def test_a_size_that_families_come_to_exactly_leaves_no_surplus(spark: SparkSession) -> None:
    rows = [(f"e{n}", f"f{n // 2}") for n in range(20)]
    told = split_of(spark.createDataFrame(rows, FAMILIES), shares={"train": 1.0}, sizes={"test": 6}, seed=1)
    assert Counter(told.values()) == {"test": 6, "train": 14}


def test_a_single_family_gives_what_is_asked_and_no_more(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(f"e{n}", "f") for n in range(10)], FAMILIES)
    assert Counter(split_of(frame, shares={"train": 1.0}, sizes={"test": 4}, seed=1).values()) == {"test": 4, None: 6}


@pytest.mark.parametrize("sizes", [None, {"test": 100, "validation": 31}])
def test_splits_are_the_same_again_and_in_any_partitioning(many: DataFrame, sizes: dict[str, int] | None) -> None:
    shares = {"train": 0.8} if sizes else {"train": 0.8, "test": 0.2}
    first = split_of(many, shares=shares, sizes=sizes, seed=7)
    for number in (1, 9):
        assert split_of(many.repartition(number), shares=shares, sizes=sizes, seed=7) == first


def test_more_than_there_is_is_refused(many: DataFrame) -> None:
    with pytest.raises(InputError) as refused:
        splits(many, {"train": 1.0}, 1, {"test": 1500, "validation": 501})
    assert "'validation' should have 501 examples, but only " in str(refused.value)


@pytest.mark.parametrize(
    ("shares", "sizes", "message"),
    [
        ({"train": 0.9, "test": 0.2}, {}, "these can't be shares of one whole: train 0.9, test 0.2"),
        ({"train": 1.0, "test": 0.0}, {}, "these can't be shares of one whole: train 1, test 0"),
        ({"test": 0.1}, {"test": 5}, "'test' has a share and a size"),
        ({}, {"test": 0}, "'test' can't have 0 examples"),
        ({}, {}, "there is no split"),
    ],
)
def test_splits_that_cant_be_are_refused(
    many: DataFrame, shares: dict[str, float], sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        splits(many, shares, 1, sizes)
    assert message in str(refused.value)
