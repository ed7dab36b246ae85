from __future__ import annotations

import itertools
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.testing import assertSchemaEqual

from personalake.dedup.survivors import Stage
from personalake.synthesis.components import SMALL, components, joined

Edges = list[tuple[str | None, str | None]]


def by_hand(edges: Edges) -> dict[str, str]:
    """The oracle: whoever has an edge says the least name that it knows, until nobody learns anything."""
    known = {node: node for edge in edges if None not in edge and edge[0] != edge[1] for node in edge if node}
    changed = True
    while changed:
        changed = False
        for one, other in edges:
            if one in known and other in known and known[one] != known[other]:
                known[one] = known[other] = min(known[one], known[other])
                changed = True
    return known


def random_edges(seed: int, nodes: int = 80) -> Edges:
    """Chains, stars and clouds, with repeats in both directions, loops and nulls."""
    drawn = random.Random(seed)
    names = [f"{drawn.getrandbits(32):08x}" for _ in range(nodes)]
    edges: Edges = list(itertools.pairwise(names[:20]))
    edges += [(names[20], name) for name in names[21:35]]
    edges += [(drawn.choice(names[35:]), drawn.choice(names[35:])) for _ in range(30)]
    edges += [(other, one) for one, other in drawn.sample(edges, 20)]
    return [*edges, (None, names[0]), (names[1], None), (names[2], names[2])]


def found(frame: DataFrame) -> dict[str, str]:
    rows = frame.collect()
    told = {row["node"]: row["component"] for row in rows}
    assert len(told) == len(rows)
    return told


@pytest.mark.parametrize("small", [SMALL, 20])
def test_random_graphs_fall_into_their_components_however_many_rounds_it_takes(
    spark: SparkSession, tmp_path: Path, small: int
) -> None:
    edges = [
        tuple(end and f"{seed}/{end}" for end in edge)
        for seed in range(5)
        for edge in random_edges(seed)
    ]  # fmt: skip
    random.Random(small).shuffle(edges)

    def write(frame: DataFrame, name: str) -> DataFrame:
        frame.write.parquet(str(tmp_path / name))
        return spark.read.schema(frame.schema).parquet(str(tmp_path / name))

    told = components(spark.createDataFrame(edges, "one string, other string"), write, small)

    assertSchemaEqual(told.schema, spark.createDataFrame([], "node string, component string").schema)
    assert found(told) == by_hand([(edge[0], edge[1]) for edge in edges])
    assert (tmp_path / "roots_1_1").exists() == (small < SMALL)


def test_a_chain_takes_as_many_passes_as_its_length_has_doublings(spark: SparkSession, tmp_path: Path) -> None:
    chain = [(f"n{n:03}", f"n{n + 1:03}") for n in range(200)]

    def write(frame: DataFrame, name: str) -> DataFrame:
        frame.write.parquet(str(tmp_path / name))
        return spark.read.schema(frame.schema).parquet(str(tmp_path / name))

    told = found(components(spark.createDataFrame(chain, "one string, other string"), write, 0))
    assert set(told.values()) == {"n000"}
    assert len(told) == 201
    assert (tmp_path / "edges_1").exists()
    assert not (tmp_path / "edges_2").exists()
    assert len(list(tmp_path.glob("roots_1_*"))) <= 10


def test_the_same_components_in_any_partitioning(spark: SparkSession, stage: Stage) -> None:
    edges = random_edges(9)
    frame = spark.createDataFrame(edges, "one string, other string")
    for partitions in (1, 5):
        assert found(components(frame.repartition(partitions), stage, 10)) == by_hand(edges)


def test_no_edges_have_no_nodes(spark: SparkSession, stage: Stage) -> None:
    for small in (SMALL, 0):
        assert found(components(spark.createDataFrame([], "one string, other string"), stage, small)) == {}


_NODES = st.sampled_from("abcdefghij")


@given(st.lists(st.tuples(_NODES, _NODES).filter(lambda edge: edge[0] != edge[1]), max_size=15), st.integers(1, 4))
def test_edges_are_joined_up_in_one_task(edges: list[tuple[str, str]], size: int) -> None:
    batches = [
        pa.RecordBatch.from_pylist([{"one": one, "other": other} for one, other in edges[low : low + size]])
        for low in range(0, len(edges), size)
    ]
    told = {row["node"]: row["next"] for batch in joined(iter(batches)) for row in batch.to_pylist()}
    assert told == by_hand(list(edges))
