"""A million examples beside a benchmark of 10,000 items: in place, and as a join of their n-grams' hashes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.dedup.tokens import token_runs
from personalake.synthesis.decontaminate import contaminated
from tests.bench.personas import VOCABULARY, words
from tests.bench.results import Result

pytestmark = pytest.mark.bench

_ROWS, _ITEMS = 1_000_000, 10_000
_BLOCK = 50_000
_EVERY = 100
"""Of so many rows one has enough of an item, and one not quite."""


def texts(rows: int, shortest: int, longest: int, seed: int) -> Iterator[list[list[str]]]:
    """So many texts in blocks, as lists of words drawn by Zipf's law."""
    vocabulary = np.array(words(), dtype=object)
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    drawn = np.random.default_rng(seed)
    for first in range(0, rows, _BLOCK):
        lengths = drawn.integers(shortest, longest + 1, min(_BLOCK, rows - first))
        every = vocabulary[np.searchsorted(weights / weights[-1], drawn.random(lengths.sum()))]
        ends = np.cumsum(lengths)
        yield [every[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]


def written(folder: Path, items: list[list[str]]) -> Path:
    """A Parquet file of examples: id, text, and the item that was planted there, null for most."""
    drawn, path, done = np.random.default_rng(3), folder / "examples.parquet", 0
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("planted", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for block in texts(_ROWS, 50, 70, seed=1):
            planted: list[str | None] = [None] * len(block)
            for row in range(0, len(block), _EVERY // 2):
                number, enough = int(drawn.integers(len(items))), row % _EVERY == 0
                # Four words less than half, since a neighbour may happen to be the item's, too.
                count = len(items[number]) // 2 + (1 if enough else -4)
                start = int(drawn.integers(len(items[number]) - count + 1))
                block[row][20:20] = items[number][start : start + count]
                planted[row] = f"i{number}" if enough else None
            ids = [f"{done + row:08}" for row in range(len(block))]
            writer.write_table(pa.table([ids, [" ".join(text) for text in block], planted], schema=schema))
            done += len(block)
    return path


def joined(rows: DataFrame, benchmark: DataFrame) -> DataFrame:
    """Pairs with an n-gram's hash in common, by a broadcast join; nothing is measured or verified."""

    def hashes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for some in (batch.slice(low, 1_000) for low in range(0, batch.num_rows, 1_000)):
                runs = token_runs(some.column(1), 10)[0]
                ids = some.column(0).take(pa.array(np.repeat(np.arange(some.num_rows), runs.counts)))
                yield pa.RecordBatch.from_arrays([ids, pa.array(runs.values)], ["id", "hash"])

    left = rows.select("id", "text").mapInArrow(hashes, "id string, hash long")
    right = benchmark.select("item_id", "text").mapInArrow(hashes, "item_id string, hash long")
    return left.join(F.broadcast(right), "hash").groupBy("id", "item_id").count()


@contextmanager
def generated_code(spark: SparkSession) -> Iterator[None]:
    """Spark as it is for many rows; the tests' session is tuned for few."""
    wanted = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
    before = {name: str(spark.conf.get(name)) for name in wanted}
    for name, value in wanted.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def timed(frame: DataFrame, path: Path) -> tuple[float, DataFrame]:
    began = time.monotonic()
    frame.write.parquet(str(path))
    return time.monotonic() - began, frame.sparkSession.read.parquet(str(path))


def test_a_million_examples_beside_ten_thousand_items(spark: SparkSession, tmp_path: Path) -> None:
    items = [item for block in texts(_ITEMS, 40, 70, seed=2) for item in block]
    benchmark = spark.createDataFrame(
        pa.table({"item_id": [f"i{n}" for n in range(len(items))], "text": [" ".join(item) for item in items]})
    )
    rows = spark.read.parquet(str(written(tmp_path, items)))
    contaminated(rows.limit(1_000), benchmark).write.parquet(str(tmp_path / "first"))  # What a session does once.
    with generated_code(spark):
        began = time.monotonic()
        found = contaminated(rows, benchmark)
        collected = time.monotonic() - began
        seconds, told = timed(found, tmp_path / "found")
        other, pairs = timed(joined(rows, benchmark), tmp_path / "pairs")
    planted = rows.where("planted IS NOT NULL").select("id", F.col("planted").alias("item_id"))
    there, hit = planted.count(), told.join(planted, ["id", "item_id"], "left_semi").count()
    Result(
        name="decontaminate",
        value=collected + seconds,
        unit=f"s for {_ROWS:,} examples beside {_ITEMS:,} items",
        compared_with="a broadcast join of their n-grams, unverified",
        compared_value=other,
        goal="at most 180 s on two cores, every planted overlap found",
        command="make bench ARGS='-k decontaminate'",
        detail={"planted": there, "found": hit, "others": told.count() - hit, "pairs_of_join": pairs.count()},
    ).keep()
    assert hit == there == _ROWS // _EVERY
    assert told.count() == hit
