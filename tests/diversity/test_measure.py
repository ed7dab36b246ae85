"""Groups side by side: one size for all that are large enough."""

from __future__ import annotations

import random

import pytest
from pyspark.sql import DataFrame, SparkSession

from personalake.diversity.draw import Shape
from personalake.diversity.measure import LEAST, Diversity, diversity
from personalake.diversity.sample import Sample, figures

SHAPE = Shape(("hop",), ("domain",))
COLUMNS = "id string, text string, family string, hop int, domain string"


def frame(spark: SparkSession, *numbers: int) -> DataFrame:
    """So many rows of each hop; their texts get longer with the hop."""
    chance = random.Random(2)
    rows = [
        (f"{hop}-{n}", " ".join(f"w{chance.randrange(200)}" for _ in range(5 + 3 * hop)), None, hop, f"d{n % 3}")
        for hop, number in enumerate(numbers)
        for n in range(number)
    ]
    return spark.createDataFrame(rows, COLUMNS)


def names(found: Diversity) -> list[tuple[str, str | None, int]]:
    return [(group.by, group.name, group.rows) for group in found.groups]


def test_every_group_is_measured_by_the_tokens_and_rows_that_all_large_ones_have(spark: SparkSession) -> None:
    found = diversity(frame(spark, 40, 50), SHAPE)
    assert names(found) == [("all", "", 90), ("hop", "1", 50), ("hop", "0", 40)]
    assert (found.size.tokens, found.size.rows) == (200, 40)
    for group in found.groups:
        assert group.sample["filled.domain"] == 1.0
        assert group.every["tokens"] == {90: 600, 50: 400, 40: 200}[group.rows]
    smallest = found.groups[-1]
    assert smallest.sample == {name: value for name, value in smallest.every.items() if name != "tokens"}


def test_a_group_that_is_too_small_is_counted_and_does_not_set_the_size(spark: SparkSession) -> None:
    found = diversity(frame(spark, LEAST, LEAST - 1, 1), SHAPE)
    assert [bool(group.sample) for group in found.groups] == [True, True, False, False]
    assert found.size.rows == LEAST
    single = found.groups[-1]
    assert single.rows == 1
    assert single.every["nearest"] is None


def test_a_group_below_a_tenth_of_the_sample_does_not_bring_the_others_down(spark: SparkSession) -> None:
    found = diversity(frame(spark, 400, 39), SHAPE)
    assert found.size.rows == 400
    assert [bool(group.sample) for group in found.groups] == [True, True, False]


def test_few_rows_are_measured_as_a_whole(spark: SparkSession) -> None:
    found = diversity(frame(spark, 2, 1), SHAPE)
    assert found.size.rows == 3
    assert [bool(group.sample) for group in found.groups] == [True, False, False]


def test_no_rows_are_one_group_without_figures(spark: SparkSession) -> None:
    found = diversity(frame(spark), SHAPE)
    assert names(found) == [("all", "", 0)]
    assert set(found.groups[0].sample.values()) == {None}


def test_the_figures_are_the_same_in_any_partitioning(spark: SparkSession) -> None:
    rows = frame(spark, 60, 60)
    one, other = (diversity(rows.repartition(parts), SHAPE, most=40) for parts in (1, 5))
    assert one.size == other.size
    for first, second in zip(one.groups, other.groups, strict=True):
        assert first.sample == second.sample
        assert first.every == pytest.approx(second.every)


def test_more_rows_than_a_sample_has_are_all_read_where_the_whole_is_wanted(spark: SparkSession) -> None:
    rows = frame(spark, 60)
    whole, part = (diversity(rows, SHAPE, most=40, whole=whole) for whole in (True, False))
    assert part.groups[0].every == {}
    assert part.groups[0].sample == whole.groups[0].sample
    texts = [row["text"] for row in rows.collect()]
    exact = figures(Sample(texts), 10**6, 60, {})
    assert whole.groups[0].every["tokens"] == 300
    assert whole.groups[0].every["distinct_2"] == pytest.approx(exact["distinct_2"], rel=0.02)


def test_columns_that_are_only_counted_have_all_their_values(spark: SparkSession) -> None:
    found = diversity(frame(spark, 31), SHAPE, largest=1, counted=("domain",))
    assert found.counts == {"domain": (("d0", 11), ("d1", 10), ("d2", 10))}


def test_values_that_the_sample_of_all_does_not_have_count_for_the_groups_that_have_them(spark: SparkSession) -> None:
    common = [(f"a{n}", "a text", None, 0, "usual") for n in range(3_000)]
    rare = [(f"b{n}", "a text", None, 1, f"rare {n}") for n in range(40)]
    found = diversity(spark.createDataFrame([*common, *rare], COLUMNS), SHAPE, most=40, whole=False)
    entropies = {group.name: group.sample["entropy.domain"] for group in found.groups}
    assert entropies["0"] == 0
    assert entropies["1"] == pytest.approx(1)
