"""Groups and samples: the rows of lowest hash, in any partitioning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.dedup.vectors import kept
from personalake.diversity.draw import ALL, Shape, group_sizes, samples
from personalake.diversity.sample import Sample

SHAPE = Shape(("hop", "source"), ("domain",))


def frame(spark: SparkSession, number: int) -> DataFrame:
    """Rows of three hops, and of sources of which the first has half of them; one row in ten has no source."""
    source = "CASE WHEN id % 10 = 9 THEN NULL WHEN id % 2 = 0 THEN 'large' ELSE concat('small', id % 7) END AS source"
    columns = ("concat('r', id) AS id", "concat('text of ', id) AS text", "CAST(NULL AS string) AS family")
    return spark.range(number).selectExpr(*columns, "id % 3 AS hop", source, "concat('d', id % 4) AS domain")


def told(found: dict[Any, Sample]) -> dict[Any, Any]:
    return {key: (list(sample.texts), list(sample.families), dict(sample.attributes)) for key, sample in found.items()}


def test_the_largest_groups_are_named_and_the_rest_is_one(spark: SparkSession) -> None:
    sizes = group_sizes(frame(spark, 70), ("source",), ("domain",), largest=3)
    expected = {row["source"]: row["count"] for row in frame(spark, 70).groupBy("source").count().collect()}
    assert sizes[ALL] == 70
    assert sizes["source", "large"] == expected["large"] == 35
    assert len([key for key in sizes if key[0] == "source"]) == 4
    assert sum(size for key, size in sizes.items() if key[0] == "source") == 70 - expected[None]
    # What is only counted isn't cut.
    assert [sizes["domain", f"d{n}"] for n in range(4)] == [18, 18, 17, 17]


@pytest.mark.parametrize("most", [40, 5_000])
def test_a_sample_is_the_rows_of_lowest_hash_in_their_order(spark: SparkSession, most: int) -> None:
    rows = frame(spark, 2_000)
    ranked = rows.select("*", F.xxhash64(F.lit(7), "id").alias("rank")).orderBy("rank", "id").collect()
    sizes = group_sizes(rows, SHAPE.by, largest=2)
    found = samples(rows, sizes, SHAPE, 7, most=most)
    named = {group for name, group in sizes if name == "source"}
    assert set(found) == set(sizes)
    for key, sample in found.items():
        own = [
            row
            for row in ranked
            if key == ALL
            or (key[0] == "hop" and str(row["hop"]) == key[1])
            or (key == ("hop", None) and str(row["hop"]) not in {g for n, g in sizes if n == "hop"})
            or (key[0] == "source" and row["source"] == key[1] and key[1] is not None)
            or (key == ("source", None) and row["source"] is not None and row["source"] not in named)
        ]
        assert list(sample.texts) == [row["text"] for row in own[:most]], key
        assert sample.families == [row["id"] for row in own[:most]]
        assert sample.attributes["domain"] == [row["domain"] for row in own[:most]]


def test_samples_are_the_same_in_any_partitioning(spark: SparkSession) -> None:
    rows = frame(spark, 1_500)
    found = []
    for parts in (1, 7):
        parted = rows.repartition(parts)
        found.append(told(samples(parted, group_sizes(parted, SHAPE.by), SHAPE, 1, most=30)))
    assert found[0] == found[1]


def test_another_seed_draws_other_rows(spark: SparkSession) -> None:
    rows = frame(spark, 1_500)
    sizes = group_sizes(rows, ())
    one, other = (samples(rows, sizes, Shape(()), seed, most=30)[ALL].texts for seed in (1, 2))
    assert set(one) != set(other)


def test_rows_bring_the_vectors_that_they_have(spark: SparkSession) -> None:
    rows = frame(spark, 4)
    values = np.array([[3.0, 4.0], [0.0, 1.0]])
    vectors = spark.createDataFrame(list(zip(["r2", "r9"], kept(values), strict=True)), "id string, vector binary")
    sample = samples(rows, group_sizes(rows, ()), Shape(()), 0, vectors=vectors)[ALL]
    assert sample.vectors is not None
    assert sample.with_vector is not None
    assert sample.vectors.tolist() == [pytest.approx([0.6, 0.8], abs=1e-3)]
    assert [sample.texts[at] for at in sample.with_vector] == ["text of 2"]


def test_a_text_that_is_null_is_an_empty_one(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("1", None, "f")], "id string, text string, family string")
    sample = samples(rows, group_sizes(rows, ()), Shape(()), 0)[ALL]
    assert (sample.texts, sample.families, sample.vectors) == ([""], ["f"], None)
