from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.testing import assertSchemaEqual

from personalake.dedup import cells, embedding, vector_passes
from personalake.dedup.cosine import first_near
from personalake.dedup.embedding import semantic_repeats
from personalake.dedup.survivors import Stage
from personalake.dedup.vectors import kept, matrix

WIDTH = 24
NEW, HUB = "id string, rank double, vector binary", "id string, vector binary"
Row = tuple[str, float, bytes]
Dropped = dict[str, tuple[str, float]]


def rows_of(seed: int, count: int, ids_from: str, spread: float = 0.2) -> list[Row]:
    """Vectors of which a third lie near another one, with many equal ranks."""
    drawn = np.random.default_rng(seed)
    values = drawn.standard_normal((count, WIDTH))
    for row in range(count // 3, 2 * count // 3):
        values[row] = values[drawn.integers(0, row)] + spread * drawn.standard_normal(WIDTH)
    ranks = drawn.choice([-0.9, -0.5, -0.5, float("inf")], count)
    numbers = drawn.permutation(count)
    return [(f"{ids_from}{n:04}", float(r), v) for n, r, v in zip(numbers, ranks, kept(values), strict=True)]


def one_by_one(rows: list[Row], hub: list[Row], threshold: float) -> Dropped:
    """The oracle: from the best row on, each against all that stayed before it."""
    every = [*sorted(hub), *sorted(rows, key=lambda row: (row[1], row[0]))]
    witness, alike = first_near(matrix(pa.array([row[2] for row in every])), len(hub), threshold)
    return {every[n][0]: (every[w][0], float(alike[n])) for n, w in enumerate(witness.tolist()) if w >= 0}


def run(
    spark: SparkSession, stage: Stage, rows: list[Row], threshold: float, hub: list[Row] | None = None, parts: int = 2
) -> tuple[Dropped, str]:
    new = spark.createDataFrame(rows, NEW).repartition(parts)
    old = None if hub is None else spark.createDataFrame([(row[0], row[2]) for row in hub], HUB)
    found = semantic_repeats(new, old, threshold, 0.99, stage)
    assertSchemaEqual(
        found.dropped.schema, spark.createDataFrame([], "id string, kept_id string, similarity double").schema
    )
    listed = found.dropped.collect()
    dropped = {row["id"]: (row["kept_id"], row["similarity"]) for row in listed}
    assert len(dropped) == len(listed)
    return dropped, found.told


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells, parts and heads as a million rows would have, for a thousand."""
    monkeypatch.setattr(cells, "ALL_PAIRS", 100)
    monkeypatch.setattr(cells, "_PROBES", 500)
    monkeypatch.setattr(embedding, "_PART_BYTES", 40_000)
    monkeypatch.setattr(embedding, "_HEAD_BYTES", 1)


def test_few_rows_are_all_compared_and_drop_as_one_by_one(spark: SparkSession, stage: Stage) -> None:
    rows, hub = rows_of(1, 60, "n"), rows_of(1, 30, "h", 0.0)
    dropped, told = run(spark, stage, rows, 0.9, hub)
    assert dropped == one_by_one(rows, hub, 0.9)
    assert {name[0] for name, _ in dropped.values()} == {"n", "h"}
    assert told == "all compared with each other"


@pytest.mark.usefixtures("small")
def test_within_cells_nearly_all_repeats_are_found_and_no_two_kept_rows_are_a_found_pair(
    spark: SparkSession, stage: Stage
) -> None:
    rows, hub = rows_of(2, 1_200, "n"), rows_of(2, 200, "h", 0.0)
    dropped, told = run(spark, stage, rows, 0.9, hub)
    expected = one_by_one(rows, hub, 0.9)
    assert "cells" in told
    assert len(dropped.keys() & expected.keys()) >= 0.99 * len(expected) > 200
    vectors = {row[0]: row[2] for row in (*rows, *hub)}
    for repeat, (name, alike) in dropped.items():
        assert name not in dropped
        pair = matrix(pa.array([vectors[repeat], vectors[name]]))
        assert float(pair[0].astype(float) @ pair[1].astype(float)) == pytest.approx(alike, abs=1e-6)
        assert alike >= 0.9


@pytest.mark.usefixtures("small")
def test_the_partitions_of_the_input_change_nothing(spark: SparkSession, stage: Stage) -> None:
    rows = rows_of(3, 600, "n")
    assert run(spark, stage, rows, 0.9, parts=1) == run(spark, stage, rows, 0.9, parts=5)


@pytest.mark.usefixtures("small")
def test_a_crowd_in_one_cell_is_settled_without_all_of_its_pairs(
    spark: SparkSession, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_passes, "_PAIRS_A_ROW", 3)
    drawn = np.random.default_rng(4)
    about = drawn.standard_normal(WIDTH)
    alike = kept(about + 0.1 * drawn.standard_normal((200, WIDTH)))
    rows = [*rows_of(4, 800, "n"), *((f"c{n:03}", -0.7, vector) for n, vector in enumerate(alike))]
    dropped, _ = run(spark, stage, rows, 0.9)
    assert sum(name.startswith("c") for name in dropped) == 199
    assert {kept_id for name, (kept_id, _) in dropped.items() if name.startswith("c")} == {"c000"}
    assert not {kept_id for kept_id, _ in dropped.values()} & dropped.keys()


@pytest.mark.usefixtures("small")
def test_at_wide_angles_all_are_compared_with_the_kept_ones_and_drop_as_one_by_one(
    spark: SparkSession, stage: Stage
) -> None:
    rows, hub = rows_of(5, 2_500, "n"), rows_of(6, 40, "h")
    dropped, told = run(spark, stage, rows, 0.5, hub)
    assert told == "all compared with those kept"
    assert dropped == one_by_one(rows, hub, 0.5)
    assert len(dropped) > 1_000


def test_nothing_new_beside_a_hub_drops_nothing(spark: SparkSession, stage: Stage) -> None:
    assert run(spark, stage, [], 0.9, rows_of(7, 5, "h"))[0] == {}
    assert run(spark, stage, [], 0.9)[0] == {}
