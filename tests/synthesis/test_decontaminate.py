from __future__ import annotations

import random
import re

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual, assertSchemaEqual

from personalake.errors import SettingsError
from personalake.schemas import VERDICTS
from personalake.store import struct
from personalake.synthesis.benchmark import ITEMS, Benchmark
from personalake.synthesis.common_runs import FOUND
from personalake.synthesis.decontaminate import contaminated, read_benchmark, verdicts_of, version_of
from tests.conftest import SHARED

ROWS = "id string, text string"
BENCHMARK = "item_id string, text string"


def words(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def planted(seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]], set[tuple[str, str]]]:
    """300 rows, of which some have pieces of 40 items; the items; and which row has enough of which."""
    drawn = random.Random(seed)

    def made(count: int) -> list[str]:
        return [f"v{drawn.randrange(400)}" for _ in range(count)]

    items = [made(drawn.randrange(20, 60)) for _ in range(40)]
    rows, expected = [], set()
    for number in range(300):
        text = made(drawn.randrange(60, 120))
        if number % 3 == 0:
            at = drawn.randrange(len(items))
            count = drawn.choice([9, len(items[at]) // 2, len(items[at]) // 2 + 1, len(items[at])])
            start = drawn.randrange(len(items[at]) - count + 1)
            text[10:10] = items[at][start : start + count]
            if count >= 10 and 2 * count > len(items[at]):
                expected.add((f"r{number:03}", f"i{at:02}"))
        rows.append((f"r{number:03}", " ".join(text)))
    return rows, [(f"i{at:02}", " ".join(item)) for at, item in enumerate(items)], expected


def found(frame: DataFrame) -> set[tuple[str, str]]:
    return {(row["id"], row["item_id"]) for row in frame.collect()}


def test_planted_pieces_are_found_in_any_partitioning(spark: SparkSession) -> None:
    rows, items, expected = planted(1)
    frame, benchmark = spark.createDataFrame(rows, ROWS), spark.createDataFrame(items, BENCHMARK)
    first = contaminated(frame, benchmark)
    assert found(first) == expected
    for number in (1, 7):
        assertDataFrameEqual(contaminated(frame.repartition(number), benchmark.repartition(number)), first)


def test_a_row_is_told_once_for_each_item_that_it_repeats(spark: SparkSession) -> None:
    benchmark = spark.createDataFrame([("a", words(0, 20)), ("b", words(9, 20)), ("c", words(50, 20))], BENCHMARK)
    rows = spark.createDataFrame(
        [("one", f"so {words(0, 29)}"), ("none", words(100, 40)), ("null", None), ("empty", "")], ROWS
    )
    told = contaminated(rows, benchmark)
    assertSchemaEqual(told.schema, spark.createDataFrame([], FOUND).schema)
    expected = [("one", "a", 11, 1.0, words(0, 20)), ("one", "b", 11, 1.0, words(9, 20))]
    assertDataFrameEqual(told, spark.createDataFrame(expected, FOUND))


def test_an_ngram_of_thousands_of_rows_and_items_is_as_any_other(spark: SparkSession) -> None:
    head = words(0, 14)
    items = [(f"i{n:04}", f"{head} {words(1_000 * n, 14)}") for n in range(1, 1_001)]
    rows = spark.range(20_000).select(
        F.col("id").cast("string").alias("id"),
        F.concat_ws(" ", F.lit(head), F.lit("row"), F.col("id").cast("string"), F.lit(words(5_000_000, 20))).alias(
            "text"
        ),
    )
    copies = spark.createDataFrame([("copy", items[500][1]), ("piece", f"{words(501_001, 13)} and so on")], ROWS)
    assert found(contaminated(rows.union(copies), spark.createDataFrame(items, BENCHMARK))) == {
        ("copy", "i0501"),
        ("piece", "i0501"),
    }


def test_nothing_is_found_with_an_empty_benchmark(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", words(0, 20))], ROWS)
    assert contaminated(rows, spark.createDataFrame([], BENCHMARK)).isEmpty()


@pytest.mark.parametrize("settings", [{"n": 0}, {"ratio": 1.0}, {"ratio": -0.1}, {"common": 0}])
def test_what_cant_be_looked_for_is_refused(spark: SparkSession, settings: dict[str, float]) -> None:
    frame = spark.createDataFrame([], ROWS)
    with pytest.raises(SettingsError, match="n and common from 1 on, ratio from 0 to below 1"):
        contaminated(frame, frame.withColumnRenamed("id", "item_id"), **settings)  # type: ignore[arg-type]


def test_a_verdict_is_of_the_item_that_a_row_repeats_most(spark: SparkSession) -> None:
    told = [
        ("x", "i3", 5, 0.6, "some words"),
        ("x", "i2", 7, 0.9, "nearly all"),
        ("x", "i1", 7, 0.9, "as many"),
        ("x", "i0", 6, 0.9, "fewer"),
        ("y", "i3", 1, 0.51, "ten words"),
    ]
    verdicts = verdicts_of(spark.createDataFrame(told, FOUND), "v1")
    expected = [
        ("x", "contamination", "v1", 0, 0.9, False, "i1: as many"),
        ("y", "contamination", "v1", 0, 0.51, False, "i3: ten words"),
    ]
    schema = spark.createDataFrame([], struct(VERDICTS)).drop("seq").schema
    assertSchemaEqual(verdicts.schema, schema, ignoreNullable=True)
    assertDataFrameEqual(verdicts, spark.createDataFrame(expected, schema))


def test_the_version_changes_with_the_benchmark_and_the_parameters() -> None:
    one, other = (Benchmark("b.jsonl", sha, ITEMS.empty_table()) for sha in ("0" * 64, "1" * 64))
    versions = [
        version_of(one),
        version_of(other),
        version_of(one, n=13),
        version_of(one, ratio=0.6),
        version_of(one, common=50),
    ]
    assert len({*versions, version_of(one, 10, 0.5, 100)}) == len(versions)
    assert all(re.fullmatch("[0-9a-f]{64}", version) for version in versions)


@pytest.mark.skipif(not (SHARED / "benchmarks").is_dir(), reason="../shared/data/benchmarks is not there")
def test_a_real_benchmark_is_found_with_its_numbers_exchanged_and_not_in_another(spark: SparkSession) -> None:
    gsm8k, ifeval = (
        read_benchmark(str(SHARED / "benchmarks" / name)).frame(spark) for name in ("gsm8k_test.jsonl", "ifeval.jsonl")
    )
    assert contaminated(ifeval.withColumnRenamed("item_id", "id"), gsm8k).isEmpty()
    copies = gsm8k.withColumnRenamed("item_id", "id")
    assert contaminated(copies, gsm8k).where("id = item_id").count() == 1319
    drawn = random.Random(1)
    exchanged = [
        (row["item_id"], re.sub(r"\d+", lambda _: str(drawn.randint(2, 97)), row["text"])) for row in gsm8k.collect()
    ]
    again = contaminated(spark.createDataFrame(exchanged, ROWS), gsm8k)
    assert again.where("id = item_id").count() >= 1190  # 1,214 with other numbers; 84 have no ten words left
    assert again.where("id != item_id").count() <= 10
