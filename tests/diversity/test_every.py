"""What all rows say: counted one by one beside the sketches, and the same however rows are parted."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from personalake.dedup.coverage import COUNT_ERROR
from personalake.dedup.tokens import token_list
from personalake.diversity.draw import ALL, Key, Shape, group_sizes
from personalake.diversity.every import counter, merger, of_attributes, of_texts

SHAPE = Shape(("hop", "source"), ("domain", "expertise"), ("domain", "expertise"))
COLUMNS = "id string, text string, family string, hop int, source string, domain string, expertise string"
Row = tuple[str, str | None, str | None, int, str | None, str | None, str | None]


def rows(number: int = 400) -> list[Row]:
    chance = random.Random(5)
    words = [f"w{n}" for n in range(300)]
    return [
        (
            f"{n:04}",
            " ".join(chance.choices(words, k=chance.randint(0, 20))) if n % 17 else None,
            None,
            n % 3,
            chance.choice(["a", "a", "a", "b", "c", None]),
            chance.choice(["care", "music", "crafts", None]),
            chance.choice(["novice", "expert"]),
        )
        for n in range(number)
    ]


def members(found: list[Row], key: Key, named: set[str | None]) -> list[Row]:
    if key == ALL:
        return found
    at = COLUMNS.replace(",", "").split()[::2].index(key[0])
    return [row for row in found if row[at] is not None and (str(row[at]) if str(row[at]) in named else None) == key[1]]


@pytest.mark.parametrize("parts", [1, 5])
def test_figures_of_all_rows_are_those_counted_one_by_one(spark: SparkSession, parts: int) -> None:
    every = rows()
    frame = spark.createDataFrame(every, COLUMNS).repartition(parts)
    sizes = group_sizes(frame, SHAPE.by, largest=2)
    assert set(sizes) == {
        ALL,
        *(("hop", group) for group in ("0", "1", None)),
        *(("source", g) for g in ("a", "b", None)),
    }
    texts, attributes = of_texts(frame, sizes, SHAPE), of_attributes(frame, sizes, SHAPE)
    for key, size in sizes.items():
        own = members(every, key, {group for name, group in sizes if name == key[0]})
        assert size == len(own)
        words = [token_list(row[1] or "") for row in own]
        assert texts[key]["tokens"] == sum(map(len, words))
        for length in (1, 2, 3):
            runs = [tuple(w[at : at + length]) for w in words for at in range(len(w) - length + 1)]
            expected = pytest.approx(len(set(runs)) / len(runs), rel=4 * COUNT_ERROR)
            assert texts[key][f"distinct_{length}"] == expected
        domains, both = Counter(row[5] for row in own if row[5]), {row[5:] for row in own if row[5] and row[6]}
        number = sum(domains.values())
        bits = -sum(n / number * math.log(n / number) for n in domains.values())
        assert attributes[key] == {
            "filled.domain": pytest.approx(number / len(own)),
            "entropy.domain": pytest.approx(bits / math.log(3)),
            "filled.expertise": 1.0,
            "entropy.expertise": pytest.approx(1, abs=0.05),
            "combinations": pytest.approx(len(both) / 6),
        }


def test_a_group_without_a_text_or_an_attribute_is_told_as_such(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("1", "", None, 0, "a", None, None)], COLUMNS)
    sizes = group_sizes(frame, SHAPE.by)
    nothing = {"tokens": 0.0, "distinct_1": None, "distinct_2": None, "distinct_3": None}
    assert of_texts(frame, sizes, SHAPE) == dict.fromkeys(sizes, nothing)
    assert of_attributes(frame, sizes, SHAPE)[ALL] == {
        "filled.domain": 0.0, "entropy.domain": None, "filled.expertise": 0.0, "entropy.expertise": None,
        "combinations": None,
    }  # fmt: skip


def test_no_rows_have_no_figures(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], COLUMNS)
    sizes = group_sizes(frame, SHAPE.by)
    assert sizes == {ALL: 0}
    assert of_texts(frame, sizes, SHAPE) == {}
    assert of_attributes(frame, sizes, SHAPE)[ALL]["filled.domain"] is None


TEXTS = st.lists(st.tuples(st.text("ab ", max_size=12), st.integers(-1, 2)), max_size=10)


@given(TEXTS, st.integers(1, 4))
def test_counts_are_the_same_in_any_number_of_tasks(texts: list[tuple[str, int]], tasks: int) -> None:
    def batch(part: list[tuple[str, int]]) -> pa.RecordBatch:
        columns = [[text for text, _ in part], [group for _, group in part]]
        arrays = [pa.array(columns[0], pa.string()), pa.array(columns[1], pa.int32())]
        return pa.RecordBatch.from_arrays(arrays, ["text", "at_0"])

    def merged(parts: list[list[tuple[str, int]]]) -> list[dict[str, Any]]:
        (found,) = merger(made for part in parts for made in counter(3)(iter([batch(part)])))
        return sorted(found.to_pylist(), key=lambda row: (row["place"], row["length"]))

    assert merged([texts[at::tasks] for at in range(tasks)]) == merged([texts])
    counted: dict[int, int] = defaultdict(int)
    for row in merged([texts]):
        counted[row["place"]] += row["texts"]
    # Of the three groups the first is all rows, and the others those of the column.
    assert counted[0] == 3 * (len(texts) + sum(group == 0 for _, group in texts))
    assert counted[2] == 3 * sum(group == 2 for _, group in texts)
