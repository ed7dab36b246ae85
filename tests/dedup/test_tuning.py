from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from personalake.dedup import tuning
from personalake.dedup.deduplicate import deduplicate
from personalake.dedup.family import Family
from personalake.dedup.minhash import choose_bands, signatures
from personalake.dedup.ragged import Ragged, ragged
from personalake.dedup.survivors import Stage
from personalake.dedup.tokens import token_hashes
from personalake.dedup.tuning import Pairs
from personalake.dedup.verify import rational
from personalake.errors import InputError

ROWS = "id string, text string, quality double"
THRESHOLDS = (0.5, 0.6, 0.75, 0.8, 0.9, 1.0)
HASHES = tuning.drawn_hashes(128, 7)

SETS = st.lists(st.frozensets(st.integers(0, 14), max_size=8), max_size=14, unique=True)


def as_ragged(sets: list[frozenset[int]]) -> Ragged:
    return Ragged(np.array([v for one in sets for v in sorted(one)], np.int64), np.array([len(s) for s in sets], int))


def as_sets(sets: Ragged) -> list[set[int]]:
    return [set(one.tolist()) for one in np.split(sets.values, sets.starts[1:])]


def many_texts(count: int, words_in_all: int = 24) -> list[str]:
    """Texts of common words; of so few that pairs of all similarities are among them."""
    drawn = np.random.default_rng(5)
    words = [f"w{number}" for number in range(words_in_all)]
    return [" ".join(drawn.choice(words, drawn.integers(6, 18), replace=False)) for _ in range(count)]


def sample_of(spark: SparkSession, texts: list[str], most: int = 10_000) -> tuning.Sample:
    rows = [(f"{number:04}", text, None) for number, text in enumerate(texts)]
    return tuning.sample(spark.createDataFrame(rows, ROWS), most, seed=1)


@given(SETS, st.sampled_from(THRESHOLDS))
def test_all_pairs_at_or_above_a_threshold_are_counted(sets: list[frozenset[int]], threshold: float) -> None:
    found = tuning.all_pairs(as_ragged(sets), threshold)
    expected = {
        (left, right): (len(sets[left] & sets[right]), len(sets[left] | sets[right]))
        for left, right in itertools.combinations(range(len(sets)), 2)
        if len(sets[left] & sets[right]) >= rational(threshold) * len(sets[left] | sets[right])
    }
    counted = zip(found.shared.tolist(), found.union.tolist(), strict=True)
    assert dict(zip(zip(found.left.tolist(), found.right.tolist(), strict=True), counted, strict=True)) == expected


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_as_many_are_dropped_as_dedup_drops(spark: SparkSession, stage: Stage, threshold: float) -> None:
    texts = [*many_texts(120), *many_texts(120)[:9]]
    # Better ones at the end, so that the order counts.
    rows = [(f"{number:04}", text, number / 1000) for number, text in enumerate(texts)]
    frame = spark.createDataFrame(rows, ROWS)
    sample = tuning.sample(frame, 10_000, seed=1)
    pairs = tuning.all_pairs(sample.sets, 0.5)
    gone = {sample.texts[row] for row in tuning.dropped(pairs.where(pairs.reach(threshold))).tolist()}
    by_dedup = {row["id"] for row in deduplicate(frame, None, Family(threshold), 1, stage).duplicates.collect()}
    kept = {text for id_, text, _ in rows if id_ not in by_dedup}
    assert len(gone) + sample.copies == len(by_dedup)
    assert set(sample.texts) - gone == kept


def test_a_sample_is_the_same_rows_in_any_partitioning_best_first(spark: SparkSession) -> None:
    rows = [(str(number), f"text {number}", number % 3 / 2) for number in range(40)]
    found = [
        tuning.sample(spark.createDataFrame(rows, ROWS).repartition(parts), 10, seed=3).texts for parts in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]
    best = [int(text.split()[1]) % 3 for text in found[0]]
    assert best == sorted(best, reverse=True)


def test_a_sample_tells_how_many_rows_there_are_and_how_many_have_the_tokens_of_another(spark: SparkSession) -> None:
    texts = ["a nurse", "A nurse!", "nurse, a", "a sailor"]
    whole, part = sample_of(spark, texts), sample_of(spark, texts, most=3)
    assert (whole.texts, whole.rows, whole.total, whole.copies) == (["a nurse", "a sailor"], 4, 4, 2)
    assert (part.rows, part.total) == (3, 4)


def test_no_text_at_all_is_said(spark: SparkSession) -> None:
    with pytest.raises(InputError, match="no texts to look at"):
        sample_of(spark, [])


def test_planted_copies_have_the_similarity_that_is_told() -> None:
    sets = ragged(token_hashes(pa.array([*many_texts(20), "alone", "two words", ""])))
    both, pairs = tuning.planted(sets, 300, seed=2)
    held = as_sets(both)
    shown = [
        (len(held[left] & held[right]), len(held[left] | held[right]))
        for left, right in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    ]
    assert shown == list(zip(pairs.shared.tolist(), pairs.union.tolist(), strict=True))
    assert {frozenset(one) for one in held[:300]} <= {frozenset(one) for one in as_sets(sets)}
    assert pairs.similarity.max() < 1
    assert np.histogram(pairs.similarity, [0.5, 0.6, 0.7, 0.8, 0.9, 1])[0].min() > 10


def test_texts_without_a_word_leave_nothing_to_plant() -> None:
    with pytest.raises(InputError, match="none of the texts has a word"):
        tuning.planted(Ragged(np.zeros(0, np.int64), np.zeros(1, np.int64)), 5, seed=1)


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_pairs_are_found_as_often_as_the_bands_promise(threshold: float) -> None:
    sets, pairs = tuning.planted(ragged(token_hashes(pa.array(many_texts(2_000, 5_000)))), 4_000, seed=3)
    bands = choose_bands(threshold, 0.9, 128)
    found = tuning.found_by(signatures(sets, HASHES), pairs, bands)
    near, share = tuning.by_similarity(pairs, found)
    assert len(near) > 10
    assert np.abs(share - bands.finds(near)).max() < 0.1


def test_a_step_of_too_few_pairs_tells_no_share() -> None:
    shared, union = np.array([1, 1, 1, 9]), np.array([2, 2, 2, 10])
    pairs = Pairs(np.arange(4), np.arange(4) + 4, shared, union)
    assert tuning.by_similarity(pairs, np.array([True, False, False, True]), least=3).tolist() == [[0.5], [1 / 3]]


def test_the_nearest_pairs_are_those_on_both_sides_of_a_threshold() -> None:
    shared = np.array([3, 9, 8, 10, 6, 7])
    pairs = Pairs(np.arange(6), np.arange(6) + 6, shared, np.full(6, 10))
    assert pairs.nearest(0.8, 2).similarity.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert pairs.nearest(0.95, 2).similarity.tolist() == [1.0, 0.9, 0.8]


def test_the_cost_of_bands_counts_the_pairs_that_share_one() -> None:
    sets, bands = ragged(token_hashes(pa.array(many_texts(300)))), choose_bands(0.5, 0.99, 64)
    numbers = np.array(list(itertools.combinations(range(300), 2))).T
    every = Pairs(numbers[0], numbers[1], np.zeros(0, int), np.zeros(0, int))
    shares = tuning.found_by(signatures(sets, HASHES), every, bands)
    assert tuning.cost(sets, Family(0.5, 1, HASHES, bands)).candidates == shares.sum()


def test_the_cost_of_bands_counts_the_repeats_among_more_rows_than_a_block_has() -> None:
    sets, bands = ragged(token_hashes(pa.array(many_texts(2_100, 50)))), choose_bands(0.5, 0.9, 64)
    spent, pairs = tuning.cost(sets, Family(0.5, 1, HASHES, bands)), tuning.all_pairs(sets, 0.5)
    found = tuning.found_by(signatures(sets, HASHES), pairs, bands).sum()
    assert (spent.keys, spent.repeats, spent.crowded) == (bands.b * len(sets.counts), found, 0)
    assert found


def test_the_cost_of_exact_keys_counts_every_pair_and_what_settles_a_crowd() -> None:
    sets = ragged(token_hashes(pa.array(many_texts(700))))
    high, low = (tuning.all_pairs(sets, threshold) for threshold in (0.9, 0.5))
    spent_high, spent_low = (tuning.cost(sets, Family(threshold)) for threshold in (0.9, 0.5))
    assert (spent_high.repeats, spent_high.crowded) == (len(high.left), 0)
    assert (spent_low.repeats, spent_low.crowded) == (len(tuning.dropped(low)), len(sets.counts))
