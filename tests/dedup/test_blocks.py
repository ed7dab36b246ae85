from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from personalake.dedup import blocks as b
from personalake.dedup.ragged import Ragged


def test_an_address_tells_batch_block_and_place() -> None:
    number = next(itertools.islice(b.block_numbers(batch=7, task=3), 5, None))
    found = b.addresses(number, 4)
    assert b.block_of(found).tolist() == [number] * 4
    assert b.place_of(found).tolist() == [0, 1, 2, 3]
    assert b.batch_of(found).tolist() == [7] * 4


def test_the_last_numbers_of_the_last_task_and_batch_are_still_told_apart() -> None:
    batch, task = b.batch_number((1 << 18) - 1, 15), (1 << 15) - 1
    numbers = b.block_numbers(batch, task)
    last = next(itertools.islice(numbers, (1 << 15) - 1, None))
    assert b.batch_of(b.addresses(last, b.MOST_ROWS))[-1] == batch
    assert b.addresses(last, b.MOST_ROWS)[-1] == 2**63 - 1
    with pytest.raises(OverflowError, match="no block numbers left in task 32767 of batch 4194303"):
        next(numbers)
    with pytest.raises(OverflowError, match="no block numbers left for task"):
        next(b.block_numbers(0, task + 1))


@pytest.mark.parametrize(("seq", "round_"), [(1 << 18, 0), (0, 16)])
def test_a_run_or_round_beyond_the_last_is_refused(seq: int, round_: int) -> None:
    with pytest.raises(OverflowError, match="no block numbers left for round"):
        b.batch_number(seq, round_)


def test_blocks_hold_every_row_once_and_none_has_too_many_rows_or_tokens() -> None:
    counts = np.array([3] * 5_000 + [b.MOST_VALUES + 5, 0, b.MOST_VALUES, 7])
    sets, keys = (
        Ragged(np.arange(counts.sum()), counts),
        Ragged(np.arange(len(counts)), np.ones(len(counts), dtype=int)),
    )
    ids = pa.array([f"r{row}" for row in range(len(counts))])
    batch = b.blocks(ids, pa.array(np.zeros(len(counts))), sets, keys, b.block_numbers(1, 0))
    assert len(set(batch.column("block").to_pylist())) == len(batch)
    unpacked = [b.unpack(stream) for stream in batch.column("rows")]
    assert [len(each) for each in unpacked] == batch.column("count").to_pylist()
    assert [row for each in unpacked for row in each.column("id").to_pylist()] == ids.to_pylist()
    assert max(map(len, unpacked)) <= b.MOST_ROWS
    assert all(len(each) == 1 or b.lists_of(each, "tokens").counts.sum() <= b.MOST_VALUES for each in unpacked)
    assert [row for each in unpacked for row in b.lists_of(each, "tokens").counts.tolist()] == counts.tolist()


def test_equal_sets_have_equal_prints_and_others_have_not() -> None:
    sets = Ragged(np.array([1, 2, 1, 2, 3, 2, 1]), np.array([2, 0, 3, 2]))
    assert len(set(b.set_prints(sets).tolist())) == 3
    assert b.set_prints(sets)[0] == b.set_prints(sets)[3]


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_spark_puts_each_slot_into_its_own_partition(spark: SparkSession, count: int) -> None:
    numbers = b.slots(count)
    frame = spark.createDataFrame([(number,) for number in numbers], "number int").repartition(count, "number")
    found = {
        row["number"]: row["home"] for row in frame.select("number", F.spark_partition_id().alias("home")).collect()
    }
    assert [found[number] for number in numbers] == list(range(count))
