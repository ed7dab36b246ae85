from __future__ import annotations

import ast
import csv
import gzip
import itertools
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.testing import assertSchemaEqual

from personalake.dedup import tuning
from personalake.dedup.blocks import set_prints
from personalake.dedup.deduplicate import Deduplicated, deduplicate
from personalake.dedup.family import Family
from personalake.dedup.minhash import HASH_PRIME, Coefficients
from personalake.dedup.ragged import int64_list, ragged
from personalake.dedup.survivors import Stage
from personalake.dedup.tokens import token_hashes, tokens
from personalake.schemas import DUPLICATES, HUB_KEYS

NEW = "id string, text string, quality double"
_DRAWN = np.random.default_rng(17)
COEFFICIENTS = Coefficients(_DRAWN.integers(1, HASH_PRIME, 128), _DRAWN.integers(0, HASH_PRIME - 1, 128))
MINHASH, EXACT = Family.of_hashes(COEFFICIENTS, 0.9, 0.99), Family(0.9)
FAMILIES = pytest.mark.parametrize("family", [MINHASH, EXACT], ids=["minhash", "exact"])
PERSONAS = Path(__file__).resolve().parents[3] / "shared" / "data" / "personas"

Row = tuple[str, str, float | None]
Dropped = dict[str, tuple[str, str, float]]


@dataclass
class Outcome:
    """The dropped rows (id to kept id, method, similarity), and the blocks and ids of the kept ones."""

    dropped: Dropped
    blocks: DataFrame
    kept: list[str]


def run(
    spark: SparkSession,
    stage: Stage,
    rows: list[Row],
    family: Family,
    hub: DataFrame | None = None,
    seq: int = 1,
    partitions: int = 2,
) -> Outcome:
    new = spark.createDataFrame(rows, NEW).repartition(partitions)
    found = deduplicate(new, hub, family, seq, stage)
    blocks = stage(found.keys, "keys")
    outcome = Outcome(as_dict(found), blocks, [row["id"] for row in unpacked(blocks, "rows")])
    assert sorted([*outcome.dropped, *outcome.kept]) == sorted(row[0] for row in rows)
    return outcome


def as_dict(found: Deduplicated) -> Dropped:
    rows = found.duplicates.collect()
    result = {row["id"]: (row["kept_id"], row["method"], row["similarity"]) for row in rows}
    assert len(result) == len(rows)
    return result


def unpacked(blocks: DataFrame, part: str) -> list[dict[str, Any]]:
    streams = [row[part] for row in blocks.orderBy("block").collect()]
    return [row for stream in streams for row in pa.ipc.open_stream(stream).read_all().to_pylist()]


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


def by_brute_force(rows: list[Row], hub: list[Row], family: Family) -> Dropped:
    """The oracle: all pairs, greedily from the best row on; of rows with equal tokens the best one speaks for them."""

    def order(row: Row) -> tuple[float, str]:
        return (math.inf if row[2] is None else -row[2], row[0])

    every = [*sorted(hub), *sorted(rows, key=order)]
    found = int64_list(family.keys(ragged(token_hashes(pa.array([row[1] for row in every]))))).to_pylist()
    keys = dict(zip((row[0] for row in every), map(set, found), strict=True))
    kept, dropped = list(every[: len(hub)]), Dropped()
    for row in every[len(hub) :]:
        for other in kept:
            similarity = alike(row[1], other[1])
            if similarity >= Fraction(9, 10) and (family is EXACT or keys[row[0]] & keys[other[0]]):
                dropped[row[0]] = (other[0], "identical" if similarity == 1 else family.method, float(similarity))
                break
        else:
            kept.append(row)
    return dropped


@FAMILIES
def test_what_is_dropped_and_for_whom_is_what_brute_force_says_in_any_partitioning(
    spark: SparkSession, stage: Stage, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = near_copies(150, seed=1, ids_from="a")
    expected = by_brute_force(rows, [], family)
    assert Counter(method for _, method, _ in expected.values()).keys() == {"identical", family.method}
    for partitions, part in ((1, 10_000), (5, 200)):
        monkeypatch.setattr("personalake.dedup.deduplicate._PART", part)
        random.Random(partitions).shuffle(rows)
        assert run(spark, stage, rows, family, partitions=partitions).dropped == expected


def test_very_many_pairs_are_settled_in_rounds_with_the_same_outcome(
    spark: SparkSession, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = near_copies(150, seed=1, ids_from="a")
    monkeypatch.setattr("personalake.dedup.deduplicate.SMALL", 0)
    assert run(spark, stage, rows, EXACT).dropped == by_brute_force(rows, [], EXACT)


@FAMILIES
def test_crowds_are_settled_with_the_same_outcome_though_few_of_their_pairs_are_found(
    spark: SparkSession, stage: Stage, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several crowds, of rows that repeat each other and rows that don't, some of them also near rows outside."""
    drawn = random.Random(4)
    rows = near_copies(60, seed=3, ids_from="a")
    for crowd, size in enumerate((11, 20, 24)):
        core = [f"core{crowd}x{n}" for n in range(size)]
        for n in range(25):
            other = [f"own{drawn.randint(0, 12)}" for _ in range(drawn.randint(0, 2))]
            words = [*core[drawn.randint(0, 1) :], *other]
            rows.append((f"c{crowd}-{n:02}", " ".join(words), drawn.choice([None, 0.1, 0.5, 0.5])))
    monkeypatch.setattr("personalake.dedup.deduplicate.CROWD", 3)
    first, rest = rows[::2], rows[1::2]
    outcome = run(spark, stage, first, family)
    assert outcome.dropped == by_brute_force(first, [], family)
    hub = [row for row in first if row[0] in outcome.kept]
    again = run(spark, stage, rest, family, outcome.blocks, seq=2)
    # A crowd names the first kept row that it compared with, which may not be the best of several kept ones.
    assert again.dropped.keys() == by_brute_force(rest, hub, family).keys()
    if family is EXACT:
        check_promises(rest, hub, again, family)


@FAMILIES
def test_a_second_batch_is_compared_with_the_hub_whose_rows_stay(
    spark: SparkSession, stage: Stage, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = near_copies(80, seed=2, ids_from="m")
    hub = run(spark, stage, first, family)
    # Smaller ids and better quality than in the hub, and some of its very texts: the hub wins all the same.
    copies: list[Row] = [(f"b{n}", text, 1.0) for n, (_, text, _) in enumerate(first[::3])]
    second = [*near_copies(80, seed=2, ids_from="a")[40:], *copies]

    again = run(spark, stage, second, family, hub.blocks, seq=2)
    assert again.dropped == by_brute_force(second, [row for row in first if row[0] in hub.kept], family)
    assert {id_ for id_, _, _ in copies} <= set(again.dropped)
    assert not set(again.kept) & {id_ for id_, _, _ in first}
    monkeypatch.setattr("personalake.dedup.deduplicate._FILTERED", 0)
    assert run(spark, stage, second, family, hub.blocks, seq=2).dropped == again.dropped


def check_promises(rows: list[Row], hub: list[Row], outcome: Outcome, family: Family) -> None:
    """Every dropped row names a kept one with their similarity, and no two kept rows reach the threshold."""
    texts = {id_: text for id_, text, _ in [*rows, *hub]}
    kept = [*outcome.kept, *(id_ for id_, _, _ in hub)]
    for id_, (other, method, similarity) in outcome.dropped.items():
        assert other in kept
        assert similarity == float(alike(texts[id_], texts[other])) >= 0.9
        assert method == ("identical" if similarity == 1 else family.method)
    for one, other in itertools.combinations(kept, 2):
        assert alike(texts[one], texts[other]) < Fraction(9, 10)


def test_copies_of_a_dropped_row_name_the_kept_row_that_it_names(spark: SparkSession, stage: Stage) -> None:
    words = [f"w{n}" for n in range(20)]
    best, edited, shuffled = " ".join(words), " ".join([*words[1:], "other"]), " ".join(["other", *words[:0:-1]])
    rows: list[Row] = [("c", best, 0.9), ("b", edited, 0.5), ("a", shuffled, 0.1), ("d", shuffled, None)]
    expected = {id_: ("c", "minhash", 19 / 21) for id_ in "abd"}
    assert run(spark, stage, rows, MINHASH).dropped == expected


@FAMILIES
def test_texts_without_tokens_repeat_each_other_and_the_hubs(spark: SparkSession, stage: Stage, family: Family) -> None:
    hub = run(spark, stage, [("b", "", 0.1), ("a", "!?", 0.1), ("c", "gardener", None)], family)
    assert hub.dropped == {"b": ("a", "identical", 1.0)}
    again = run(spark, stage, [("0", "...", 1.0), ("1", "Gardener!", 1.0)], family, hub.blocks, seq=2)
    assert again.dropped == {"0": ("a", "identical", 1.0), "1": ("c", "identical", 1.0)}
    assert again.kept == []


def test_an_empty_batch_drops_and_keeps_nothing(spark: SparkSession, stage: Stage) -> None:
    outcome = run(spark, stage, [], MINHASH)
    assert (outcome.dropped, outcome.kept) == ({}, [])


def test_the_results_have_the_columns_of_their_tables(spark: SparkSession, stage: Stage) -> None:
    found = deduplicate(spark.createDataFrame([("a", "a gardener", 0.5)], NEW), None, MINHASH, 1, stage)
    for frame, table, more in ((found.duplicates, DUPLICATES, ("kind",)), (found.keys, HUB_KEYS, ("kind", "family"))):
        named = (column for column in table.columns if column.name not in ("seq", *more))
        ddl = ", ".join(f"{column.name} {column.type}" for column in named)
        assertSchemaEqual(frame.schema, spark.createDataFrame([], ddl).schema, ignoreNullable=True)
    assert unpacked(found.keys, "rows") == [
        {"id": "a", "rank": -0.5, "tokens": token_hashes(pa.array(["a gardener"]))[0].as_py()}
    ]
    assert len(unpacked(found.keys, "keys")[0]["keys"]) == 12


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


REORDERED = PERSONAS / "spc_reordered_personas.jsonl.gz"


@pytest.mark.skipif(not PERSONAS.exists(), reason="the real personas in ../shared/data are not here")
def test_on_real_personas_every_drop_is_right_and_less_than_one_pair_in_a_hundred_is_missed(
    spark: SparkSession, stage: Stage
) -> None:
    lines = gzip.decompress(REORDERED.read_bytes()).decode().splitlines()
    texts: dict[str, str] = {line["id"]: line["text"] for line in map(json.loads, lines)}
    rows: list[Row] = [(id_, text, None) for id_, text in texts.items()]

    dropped = run(spark, stage, rows, MINHASH).dropped

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


def real_personas(name: str) -> list[str]:
    if name == "personagym":
        (assigned,) = ast.parse((PERSONAS / name / "personas.py.txt").read_text()).body
        assert isinstance(assigned, ast.Assign)
        return [str(text) for text in ast.literal_eval(assigned.value)]
    if name == "japan":
        with (PERSONAS / "japan-synthetic-personas" / "sample_50.csv").open(encoding="utf-8") as file:
            return [row[column] for row in csv.DictReader(file) for column in row if column.endswith("persona")]
    lines = gzip.decompress((PERSONAS / f"{name}.jsonl.gz").read_bytes()).decode().splitlines()
    return [json.loads(line)["persona"] for line in lines]


@pytest.mark.skipif(not PERSONAS.exists(), reason="the real personas in ../shared/data are not here")
@pytest.mark.parametrize(
    ("name", "threshold", "least"),
    [("spc_personas", 0.9, 10_000), ("spc_personas", 0.8, 10_000), ("personagym", 0.5, 0), ("japan", 0.5, 0)],
)
def test_on_real_personas_exact_drops_what_all_pairs_drop(
    spark: SparkSession, stage: Stage, name: str, threshold: float, least: int
) -> None:
    texts = real_personas(name)
    dropped = run(spark, stage, [(f"{n:05}", text, None) for n, text in enumerate(texts)], Family(threshold)).dropped
    sets = ragged(token_hashes(pa.array(texts)))
    _, first = np.unique(set_prints(sets), return_index=True)
    first.sort()
    pairs = tuning.all_pairs(sets.take(first), threshold)
    stays = {f"{n:05}" for n in np.delete(first, tuning.dropped(pairs)).tolist()}
    assert {f"{n:05}" for n in range(len(texts))} - dropped.keys() == stays
    assert len(dropped) >= least
    for id_, (kept, _, similarity) in dropped.items():
        assert kept in stays
        assert similarity == float(alike(texts[int(id_)], texts[int(kept)]))
        assert similarity >= threshold
