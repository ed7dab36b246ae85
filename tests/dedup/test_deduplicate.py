from __future__ import annotations

import gzip
import itertools
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.testing import assertSchemaEqual

from personalake.dedup.deduplicate import Deduplicated, deduplicate
from personalake.dedup.minhash import HASH_PRIME, Coefficients, band_keys, choose_bands, signatures
from personalake.dedup.survivors import Stage
from personalake.dedup.tokens import token_hashes, tokens
from personalake.schemas import DUPLICATES, HUB_KEYS
from personalake.settings import DedupSettings

NEW = "persona_id string, text string, quality double"
KEYS = "persona_id string, method string, tokens array<long>, keys array<long>"
SETTINGS = DedupSettings.model_validate({})
_DRAWN = np.random.default_rng(17)
FAMILY = Coefficients(_DRAWN.integers(1, HASH_PRIME, 128), _DRAWN.integers(0, HASH_PRIME - 1, 128))
PERSONAS = Path(__file__).resolve().parents[3] / "shared" / "data" / "personas" / "spc_reordered_personas.jsonl.gz"

Row = tuple[str, str, float | None]
Dropped = dict[str, tuple[str, str, float]]


@pytest.fixture
def stage(spark: SparkSession, tmp_path: Path) -> Stage:
    numbers = itertools.count()

    def write(frame: DataFrame, name: str) -> DataFrame:
        path = str(tmp_path / f"{next(numbers)}-{name}")
        frame.write.parquet(path)
        return spark.read.schema(frame.schema).parquet(path)

    return write


def run(
    spark: SparkSession, stage: Stage, rows: list[Row], hub: DataFrame | None = None, partitions: int = 2
) -> tuple[Dropped, DataFrame]:
    """The dropped rows (id to kept id, method, similarity) and the kept rows' keys."""
    new = spark.createDataFrame(rows, NEW).repartition(partitions)
    found = deduplicate(new, hub or spark.createDataFrame([], KEYS), SETTINGS, FAMILY, stage)
    dropped, keys = as_dict(found), stage(found.keys, "keys")
    assert sorted([*dropped, *ids(keys)]) == sorted(row[0] for row in rows)
    return dropped, keys


def as_dict(found: Deduplicated) -> Dropped:
    rows = found.duplicates.collect()
    result = {row["id"]: (row["kept_id"], row["method"], row["similarity"]) for row in rows}
    assert len(result) == len(rows)
    assert all(row["kind"] == "persona" for row in rows)
    return result


def ids(keys: DataFrame) -> list[str]:
    return [row["persona_id"] for row in keys.select("persona_id").collect()]


def alike(one: str, other: str) -> Fraction:
    a, b = tokens(one), tokens(other)
    return Fraction(len(a & b), len(a | b)) if a | b else Fraction(1)


def near_copies(count: int, seed: int, ids_from: str) -> list[Row]:
    """Short texts of few words, half of them copies of another with up to two words changed, added or left out."""
    drawn = random.Random(seed)
    words = [f"word{n}" for n in range(400)]
    texts = ["", "!", " ".join(words[:20]), words[7]]
    while len(texts) < count:
        text = drawn.choice(texts).split() if drawn.random() < 0.6 else drawn.sample(words, drawn.randint(8, 30))
        for _ in range(drawn.choice([0, 0, 1, 1, 2])):
            text = [*text[1:], *drawn.choices(words, k=drawn.choice([0, 1]))]
        drawn.shuffle(text)
        texts.append(" ".join(text))
    return [(f"{ids_from}{n:03}", text, drawn.choice([None, 0.2, 0.2, 0.9])) for n, text in enumerate(texts)]


def by_brute_force(rows: list[Row], hub: list[Row]) -> Dropped:
    """The oracle: all pairs, greedily from the best row on; of rows with equal tokens the best one speaks for them."""

    def order(row: Row) -> tuple[float, str]:
        return (math.inf if row[2] is None else -row[2], row[0])

    every = [*sorted(hub), *sorted(rows, key=order)]
    keys = band_keys(
        signatures(token_hashes(pa.array([row[1] for row in every])), FAMILY), choose_bands(0.9, 0.99, 128)
    )
    bands = dict(zip((row[0] for row in every), map(set, keys.to_pylist()), strict=True))
    kept, dropped = list(every[: len(hub)]), Dropped()
    for row in every[len(hub) :]:
        for other in kept:
            similarity = alike(row[1], other[1])
            if similarity >= Fraction(9, 10) and bands[row[0]] & bands[other[0]]:
                dropped[row[0]] = (other[0], "identical" if similarity == 1 else "minhash", float(similarity))
                break
        else:
            kept.append(row)
    return dropped


def test_what_is_dropped_and_for_whom_is_what_brute_force_says_in_any_partitioning(
    spark: SparkSession, stage: Stage
) -> None:
    rows = near_copies(150, seed=1, ids_from="a")
    expected = by_brute_force(rows, [])
    assert Counter(method for _, method, _ in expected.values()).keys() == {"identical", "minhash"}
    for partitions in (1, 3, 16):
        random.Random(partitions).shuffle(rows)
        assert run(spark, stage, rows, partitions=partitions)[0] == expected


def test_a_second_batch_is_compared_with_the_hub_whose_rows_stay(spark: SparkSession, stage: Stage) -> None:
    first = near_copies(80, seed=2, ids_from="m")
    dropped, hub = run(spark, stage, first)
    # Smaller ids and better quality than in the hub, and some of its very texts: the hub wins all the same.
    copies: list[Row] = [(f"b{n}", text, 1.0) for n, (_, text, _) in enumerate(first[::3])]
    second = [*near_copies(80, seed=2, ids_from="a")[40:], *copies]

    again, keys = run(spark, stage, second, hub)

    kept = [row for row in first if row[0] not in dropped]
    assert again == by_brute_force(second, kept)
    assert {id_ for id_, _, _ in copies} <= set(again)
    assert not set(ids(keys)) & {id_ for id_, _, _ in first}


def test_copies_of_a_dropped_row_name_the_kept_row_that_it_names(spark: SparkSession, stage: Stage) -> None:
    words = [f"w{n}" for n in range(20)]
    best, edited, shuffled = " ".join(words), " ".join([*words[1:], "other"]), " ".join(["other", *words[:0:-1]])
    rows: list[Row] = [("c", best, 0.9), ("b", edited, 0.5), ("a", shuffled, 0.1), ("d", shuffled, None)]
    expected = {id_: ("c", "minhash", 19 / 21) for id_ in "abd"}
    assert run(spark, stage, rows)[0] == expected


def test_texts_without_tokens_repeat_each_other_and_the_hubs(spark: SparkSession, stage: Stage) -> None:
    dropped, hub = run(spark, stage, [("b", "", 0.1), ("a", "!?", 0.1), ("c", "gardener", None)])
    assert dropped == {"b": ("a", "identical", 1.0)}
    again, keys = run(spark, stage, [("0", "...", 1.0), ("1", "Gardener!", 1.0)], hub)
    assert again == {"0": ("a", "identical", 1.0), "1": ("c", "identical", 1.0)}
    assert ids(keys) == []


def test_an_empty_batch_drops_and_keeps_nothing(spark: SparkSession, stage: Stage) -> None:
    dropped, keys = run(spark, stage, [])
    assert dropped == {}
    assert ids(keys) == []


def test_keys_of_other_methods_are_not_compared_with(spark: SparkSession, stage: Stage) -> None:
    _, hub = run(spark, stage, [("a", "a gardener", None)])
    other = hub.selectExpr("persona_id", "'exact' AS method", "tokens", "keys")
    assert run(spark, stage, [("b", "a gardener", None)], other)[0] == {}


def test_the_results_have_the_columns_of_their_tables(spark: SparkSession, stage: Stage) -> None:
    found = deduplicate(
        spark.createDataFrame([("a", "a gardener", 0.5)], NEW), spark.createDataFrame([], KEYS), SETTINGS, FAMILY, stage
    )
    for frame, table in ((found.duplicates, DUPLICATES), (found.keys, HUB_KEYS)):
        ddl = ", ".join(f"{column.name} {column.type}" for column in table.columns if column.name != "seq")
        assertSchemaEqual(frame.schema, spark.createDataFrame([], ddl).schema, ignoreNullable=True)
    key = found.keys.collect()[0]
    assert key["tokens"] == token_hashes(pa.array(["a gardener"]))[0].as_py()
    assert len(key["keys"]) == 12


def near_pairs(sets: list[frozenset[str]]) -> Iterable[tuple[frozenset[str], frozenset[str]]]:
    """All pairs of distinct sets at 0.9 or above: one of their first tokens by rarity must be common to both."""
    seen = Counter(itertools.chain.from_iterable(sets))
    holders: dict[str, list[frozenset[str]]] = defaultdict(list)
    for one in sets:
        rarest = sorted(one, key=lambda token: (seen[token], token))[: len(one) - math.ceil(len(one) * 9 / 10) + 1]
        for other in set(itertools.chain.from_iterable(holders[token] for token in rarest)):
            if 10 * len(one & other) >= 9 * len(one | other):
                yield one, other
        for token in rarest:
            holders[token].append(one)


@pytest.mark.skipif(not PERSONAS.exists(), reason="the real personas in ../shared/data are not here")
def test_on_real_personas_every_drop_is_right_and_less_than_one_pair_in_a_hundred_is_missed(
    spark: SparkSession, stage: Stage
) -> None:
    lines = gzip.decompress(PERSONAS.read_bytes()).decode().splitlines()
    texts: dict[str, str] = {line["id"]: line["text"] for line in map(json.loads, lines)}
    rows: list[Row] = [(id_, text, None) for id_, text in texts.items()]

    dropped, _ = run(spark, stage, rows)

    assert all(kept not in dropped for kept, _, _ in dropped.values())
    for id_, (kept, _, similarity) in dropped.items():
        assert alike(texts[id_], texts[kept]) >= Fraction(9, 10)
        assert similarity == float(alike(texts[id_], texts[kept]))
    sets = {id_: frozenset(tokens(text)) for id_, text in texts.items()}
    kept_sets = [sets[id_] for id_ in texts if id_ not in dropped]
    assert len(kept_sets) == len(set(kept_sets))
    pairs = list(near_pairs(list(dict.fromkeys(sets.values()))))
    missed = [pair for pair in pairs if set(pair) <= set(kept_sets)]
    assert len(pairs) > 1_000
    assert len(missed) <= 0.01 * len(pairs)
