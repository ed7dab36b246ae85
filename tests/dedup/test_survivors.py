from __future__ import annotations

import random
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.dedup.survivors import IN_HUB, PAIRS, SMALL, Stage, rank, settle

Pair = tuple[str, float, int, str, float, float]
LATE = float("inf")


def settled(pairs: DataFrame, stage: Stage, small: int = SMALL) -> dict[str, tuple[str, float]]:
    rows = settle(pairs, stage, small).collect()
    found = {row["id"]: (row["kept_id"], row["similarity"]) for row in rows}
    assert len(found) == len(rows)
    return found


def one_by_one(pairs: list[Pair]) -> dict[str, tuple[str, float]]:
    """The oracle: best row first; a row is dropped if it repeats a kept one, and names the best of those."""
    dropped: dict[str, tuple[str, float]] = {}
    for _, row in sorted({(pair[1], pair[0]) for pair in pairs}):
        kept = [
            (rank_, better, alike) for id_, _, _, better, rank_, alike in pairs if id_ == row and better not in dropped
        ]
        if kept:
            _, witness, alike = min(kept)
            dropped[row] = (witness, alike)
    return dropped


def random_pairs(seed: int) -> list[Pair]:
    """Chains, stars and clouds of 60 rows, a few of them in the hub, with many equal ranks."""
    drawn = random.Random(seed)
    ranks = {f"r{n:02}": drawn.choice([IN_HUB, -0.9, -0.9, -0.5, -0.5, -0.1, LATE]) for n in range(60)}
    pairs = []
    for n in range(60):
        for m in {*drawn.sample(range(60), drawn.choice([0, 1, 1, 4])), *([n + 1] if n % 20 < 15 else [])} - {n}:
            (better_rank, better), (own_rank, own) = sorted((ranks[f"r{k:02}"], f"r{k:02}") for k in (n, m))
            if own_rank != IN_HUB:
                pairs.append((own, own_rank, int(own[1:]), better, better_rank, drawn.randint(90, 100) / 100))
    return list({(pair[0], pair[3]): pair for pair in pairs}.values())


def test_in_a_chain_the_last_row_stays_because_it_repeats_nobody_who_does(spark: SparkSession, stage: Stage) -> None:
    pairs = spark.createDataFrame([("b", 0.0, 2, "a", 0.0, 0.95), ("c", 0.0, 3, "b", 0.0, 0.95)], PAIRS)
    assert settled(pairs, stage) == {"b": ("a", 0.95)}


def test_the_best_kept_neighbour_is_named_and_not_the_most_alike(spark: SparkSession, stage: Stage) -> None:
    rows = [("c", -0.2, 3, "a", -0.3, 0.99), ("c", -0.2, 3, "h", IN_HUB, 0.9), ("c", -0.2, 3, "b", -0.8, 0.95)]
    assert settled(spark.createDataFrame(rows, PAIRS), stage) == {"c": ("h", 0.9)}


@pytest.mark.parametrize("small", [SMALL, 20, 0])
def test_random_graphs_are_settled_as_one_by_one_however_many_rounds_it_takes(
    spark: SparkSession, tmp_path: Path, small: int
) -> None:
    pairs = [pair for seed in range(6) for pair in _renamed(random_pairs(seed), str(seed))]
    random.Random(small).shuffle(pairs)

    def write(frame: DataFrame, name: str) -> DataFrame:
        frame.write.parquet(str(tmp_path / name))
        return spark.read.schema(frame.schema).parquet(str(tmp_path / name))

    found = settled(spark.createDataFrame(pairs, PAIRS), write, small)

    assert found == one_by_one(pairs)
    assert (tmp_path / "settled_undecided_1").exists() == (small < SMALL)


def _renamed(pairs: list[Pair], name: str) -> list[Pair]:
    return [
        (f"{row}/{name}", own, place, f"{better}/{name}", other, alike)
        for row, own, place, better, other, alike in pairs
    ]


def test_the_same_rows_go_in_any_partitioning(spark: SparkSession, stage: Stage) -> None:
    frame = spark.createDataFrame(random_pairs(9), PAIRS)
    expected = one_by_one(random_pairs(9))
    assert expected
    for partitions in (1, 3, 16):
        assert settled(frame.repartition(partitions), stage) == expected


def test_no_pairs_drop_nobody(spark: SparkSession, stage: Stage) -> None:
    assert settled(spark.createDataFrame([], PAIRS), stage) == {}


def test_better_quality_ranks_first_and_none_last(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [("none", None), ("low", 0.0), ("nan", float("nan")), ("high", 1.0)], "id string, q double"
    )
    ranked = frame.orderBy(rank(F.col("q")), "id").collect()
    assert [row["id"] for row in ranked] == ["high", "low", "nan", "none"]
