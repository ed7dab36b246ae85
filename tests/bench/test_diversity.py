"""Figures of diversity of a million personas by hop and source, beside Spark's own exact count of their n-grams."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.diversity.beside import beside
from personalake.diversity.draw import ALL, Shape, group_sizes, samples
from personalake.diversity.measure import diversity
from personalake.diversity.subjects import ATTRIBUTES, COMBINED
from tests.bench.personas import personas
from tests.bench.results import Result
from tests.conftest import SHARED

pytestmark = pytest.mark.bench

ROWS = 1_000_000
SHAPE = Shape(("hop", "source"), ATTRIBUTES, COMBINED)
_COMMAND = "make bench ARGS='-k diversity'"
_T = TypeVar("_T")

_DRAWN = {
    "family": ("substr(id, 1, 5)", 1),
    "hop": ("pmod(hash(id), 7)", 1),
    "source": ("concat('part-', pmod(hash(id, 1), 40), '.warc.gz')", 1),
    "occupation": ("concat('o', pmod(hash(id, 2), 20000))", 0.9),
    "domain": ("concat('d', pmod(hash(id, 3), 40))", 1),
    "expertise": ("concat('e', pmod(hash(id, 4), 3))", 0.8),
    "age_band": ("concat('a', pmod(hash(id, 5), 5))", 0.6),
    "region": ("concat('r', pmod(hash(id, 6), 180))", 0.2),
    "language": ("concat('l', pmod(hash(id, 7), 12))", 1),
    "relation": ("concat('r', pmod(hash(id, 8), 4))", 1),
}
"""Columns that made-up personas lack, and the share of rows that have one."""


def with_columns(texts: DataFrame) -> DataFrame:
    drawn = [
        f"CASE WHEN pmod(hash(id, '{name}'), 100) < {100 * share} THEN {value} END AS {name}"
        for name, (value, share) in _DRAWN.items()
    ]
    return texts.selectExpr("id", "text", *drawn)


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> DataFrame:
    folder = tmp_path_factory.mktemp("diversity")
    batches = personas(ROWS)
    first = next(batches)
    with pq.ParquetWriter(folder / "texts.parquet", first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
    with_columns(spark.read.parquet(str(folder / "texts.parquet"))).repartition(8).write.parquet(str(folder / "rows"))
    return spark.read.parquet(str(folder / "rows"))


def timed(action: Callable[[], _T]) -> tuple[float, _T]:
    began = time.monotonic()
    found = action()
    return time.monotonic() - began, found


def exact(rows: DataFrame) -> dict[str, float]:
    """Distinct-1, -2 and -3 by Spark: each n-gram of each text through a shuffle."""
    words = rows.select(F.split("text", " ").alias("w"))
    found = {}
    for length in (1, 2, 3):
        at = F.sequence(F.lit(1), F.size("w") - length + 1)
        runs = words.select(F.explode(F.transform(at, lambda n: F.xxhash64(F.slice("w", n, length)))).alias("run"))  # noqa: B023 (used at once)
        row: Any = runs.agg(F.count_distinct("run").alias("different"), F.count("run").alias("all")).collect()[0]
        found[f"distinct_{length}"] = row["different"] / row["all"]
    return found


def test_diversity_of_a_million_personas(million: DataFrame) -> None:
    diversity(million.limit(2_000), SHAPE, most=100)  # What a session does once isn't what grows.
    part, _ = timed(lambda: diversity(million, SHAPE, whole=False))
    whole, found = timed(lambda: diversity(million, SHAPE))
    theirs, counted = timed(lambda: exact(million))
    everything = found.groups[0].every
    Result(
        name="diversity_million",
        value=whole,
        unit=f"s for {ROWS:,} personas in {len(found.groups)} groups, all figures",
        compared_with="Spark's exact count of their different n-grams, of all rows alone",
        compared_value=theirs,
        goal="no more than that",
        command=_COMMAND,
        detail={
            "samples_alone": part,
            **{f"{name}_error": (everything[name] or 0) / share - 1 for name, share in counted.items()},
        },
    ).keep()
    assert len(found.groups) == 1 + 7 + 21


def test_two_stores_side_by_side(million: DataFrame) -> None:
    sizes = group_sizes(million, ("hop",))
    took, (one, other) = timed(
        lambda: [samples(million, sizes, Shape(("hop",), ATTRIBUTES, COMBINED), seed) for seed in (1, 2)]
    )
    seconds, found = timed(lambda: beside(one, other))
    Result(
        name="diversity_beside",
        value=seconds,
        unit=f"s for the intervals of {len(found)} groups of 1,000 rows",
        compared_with="drawing the two samples",
        compared_value=took,
        goal="seconds a group",
        command=_COMMAND,
        detail={"false_alarms": sum(each.tells for group in found for each in group.differences)},
    ).keep()


@pytest.mark.skipif(not SHARED.exists(), reason="the real personas are not part of the project")
def test_diversity_of_real_personas(spark: SparkSession, tmp_path: Path) -> None:
    source = SHARED / "personas" / "spc_personas.jsonl.gz"
    with gzip.open(source, "rt") as file, (tmp_path / "rows.jsonl").open("w") as out:
        for number, line in enumerate(file):
            out.write(json.dumps({"id": f"{number:064x}", "text": json.loads(line)["persona"]}) + "\n")
    rows = with_columns(spark.read.json(str(tmp_path / "rows.jsonl"), "id string, text string"))
    diversity(rows.limit(2_000), SHAPE, most=100)
    seconds, found = timed(lambda: diversity(rows, SHAPE))
    part, _ = timed(lambda: diversity(rows, SHAPE, whole=False))
    figures = {name: value for name, value in found.groups[0].sample.items() if value is not None}
    Result(
        name="diversity_real",
        value=seconds,
        unit=f"s for {found.groups[0].rows:,} personas of several sentences",
        compared_with="samples alone",
        compared_value=part,
        goal="seconds",
        command=_COMMAND,
        detail={name: figures[name] for name in list(figures)[:6]},
    ).keep()
    assert found.groups[0].by == ALL[0]
