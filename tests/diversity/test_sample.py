"""Each figure of a sample against the same counted one by one."""

from __future__ import annotations

import gzip
import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.dedup.tokens import token_list, tokens
from personalake.diversity.sample import Figures, Sample, entropy, figures, values_of

WORDS = st.lists(st.sampled_from("a nurse who sings sailing 東京都庁 garden of !!!".split()), max_size=9).map(" ".join)
TEXTS = st.lists(WORDS, max_size=7)
WHOLE = 10**9
GZIP_MORE = 12
"""Bytes of gzip's header and trailer above zlib's."""


def measured(texts: Sequence[str], most: int = WHOLE, rows: int = WHOLE, order: Sequence[int] | None = None) -> Figures:
    return figures(Sample(texts), most, rows, {}, None if order is None else np.array(order, dtype=np.int64))


def cut(texts: Sequence[str], most: int) -> list[list[str]]:
    """The tokens of each text, of which the first *most* of all are left; a text none of which is left is gone."""
    found = []
    for text in texts:
        if most <= 0:
            break
        found.append(token_list(text)[:most])
        most -= len(token_list(text))
    return found


def runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


@given(TEXTS, st.integers(0, 40))
def test_distinct_n_is_the_share_of_different_runs_among_those_of_the_first_tokens(texts: list[str], most: int) -> None:
    found = measured(texts, most)
    for length in (1, 2, 3):
        every = [run for words in cut(texts, most) for run in runs(words, length)]
        assert found[f"distinct_{length}"] == (pytest.approx(len(set(every)) / len(every)) if every else None)


@given(TEXTS, st.integers(0, 40))
def test_self_repetition_counts_the_places_in_other_texts_that_share_a_run_of_four(texts: list[str], most: int) -> None:
    began = texts[: len(cut(texts, most))]
    own = [set(runs(token_list(text), 4)) for text in began]
    everywhere = Counter(run for each in own for run in each)
    scores = [math.log(1 + sum(everywhere[run] - 1 for run in each)) for each in own]
    expected = sum(scores) / len(scores) if scores else None
    assert measured(texts, most)["self_repetition"] == (None if expected is None else pytest.approx(expected))


@given(TEXTS, st.integers(0, 8))
def test_nearest_is_the_mean_similarity_to_the_most_similar_other_text(texts: list[str], rows: int) -> None:
    sets = [tokens(text) for text in texts[:rows]]
    best = [
        max(
            len(one & other) / len(one | other) if one | other else 1.0 for at, other in enumerate(sets) if at != number
        )
        for number, one in enumerate(sets)
        if len(sets) > 1
    ]
    found = measured(texts, WHOLE, rows)["nearest"]
    assert found == (pytest.approx(sum(best) / len(best), abs=1e-6) if best else None)


@given(TEXTS.filter(len), st.integers(1, 40))
def test_compression_is_gzips_ratio_of_the_texts_that_the_first_tokens_are_of(texts: list[str], most: int) -> None:
    whole = " ".join(texts[: len(cut(texts, most))]).encode()
    expected = len(whole) / (len(gzip.compress(whole, 6)) - GZIP_MORE) if whole else None
    assert measured(texts, most)["compression"] == expected


def test_texts_that_repeat_each_other_say_so_in_every_figure() -> None:
    chance = random.Random(1)
    words = [f"word{n}" for n in range(400)]
    varied = [" ".join(chance.sample(words, 12)) for _ in range(60)]
    template = [f"A person who likes {chance.choice(words)} and talks about it every single day." for _ in range(60)]
    one, other = measured(varied, 600, 50), measured(template, 600, 50)
    assert all(one[name] > other[name] for name in ("distinct_1", "distinct_2", "distinct_3"))  # type: ignore[operator]
    assert all(one[name] < other[name] for name in ("compression", "self_repetition", "nearest"))  # type: ignore[operator]


@given(
    st.lists(WORDS, min_size=1, max_size=6), st.randoms(use_true_random=False), st.integers(0, 30), st.integers(0, 6)
)
def test_an_order_is_the_same_as_a_sample_in_that_order(
    texts: list[str], chance: random.Random, most: int, rows: int
) -> None:
    order = list(range(len(texts)))
    chance.shuffle(order)
    expected = measured([texts[at] for at in order], most, rows)
    assert measured(texts, most, rows, order) == pytest.approx(expected, nan_ok=True)


def test_a_sample_without_rows_has_no_figures() -> None:
    empty = Sample([], [], {"domain": []}, ("domain",))
    found = figures(empty, 100, 100, {"domain": frozenset()})
    assert set(found.values()) == {None}


def test_one_row_has_no_nearest_and_repeats_nobody() -> None:
    found = measured(["a nurse"])
    assert found["nearest"] is None
    assert found["self_repetition"] == 0
    assert (found["distinct_1"], found["distinct_2"], found["distinct_3"]) == (1.0, 1.0, None)


def test_texts_of_one_word_have_no_runs_of_two() -> None:
    found = measured(["nurse", "baker", "nurse"])
    assert found["distinct_1"] == pytest.approx(2 / 3)
    assert found["distinct_2"] is None
    assert found["nearest"] == pytest.approx(2 / 3)


COLUMN = st.lists(st.none() | st.sampled_from(["crafts", "care", "music"]), min_size=1, max_size=12)


@given(COLUMN, st.integers(1, 14))
def test_an_attribute_is_told_by_the_share_filled_and_its_entropy_as_a_share_of_the_most(
    column: list[str | None], rows: int
) -> None:
    anywhere = {"domain": frozenset({"crafts", "care", "music", "elsewhere"})}
    found = figures(Sample(["x"] * len(column), [], {"domain": column}), WHOLE, rows, anywhere)
    taken = column[:rows]
    counts = Counter(value for value in taken if value is not None)
    number = sum(counts.values())
    assert found["filled.domain"] == pytest.approx(number / len(taken))
    bits = -sum(count / number * math.log2(count / number) for count in counts.values())
    most = math.log2(min(4, len(taken)))
    expected = None if not number else pytest.approx(bits / most if most else 0.0, abs=1e-12)
    assert found["entropy.domain"] == expected


def test_entropy_is_one_for_values_in_equal_parts_and_zero_for_a_single_one() -> None:
    assert entropy(np.array([5, 5, 5]), 3) == pytest.approx(1)
    assert entropy(np.array([0, 9, 0]), 3) == 0
    assert entropy(np.array([9]), 1) == 0
    assert 0 < entropy(np.array([9, 1]), 2) < 1


PAIRS = st.lists(st.tuples(*[st.none() | st.sampled_from("xyz")] * 2), min_size=1, max_size=12)


@given(PAIRS)
def test_combinations_are_those_seen_of_rows_that_have_all_attributes_of_all_that_could_be(
    pairs: list[tuple[str | None, str | None]],
) -> None:
    one, other = ([pair[at] for pair in pairs] for at in (0, 1))
    sample = Sample(["x"] * len(pairs), [], {"one": one, "other": other}, ("one", "other"))
    possible = len(set(one) - {None}) * len(set(other) - {None})
    seen = len({pair for pair in pairs if None not in pair})
    found = figures(sample, WHOLE, WHOLE, values_of([sample]))["combinations"]
    assert found == (seen / possible if possible else None)


def test_vectors_are_compared_by_cosine_and_rows_without_one_do_not_count() -> None:
    angles = np.array([0.0, 0.3, 2.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    sample = Sample(["a", "b", "c", "d"], [], {}, (), vectors, np.array([0, 2, 3]))
    expected = (2 * math.cos(0.3) + math.cos(1.7)) / 3
    assert figures(sample, WHOLE, WHOLE, {})["nearest_cosine"] == pytest.approx(expected, abs=1e-6)
    assert figures(sample, WHOLE, 2, {})["nearest_cosine"] is None
    assert figures(Sample(["a", "b"]), WHOLE, WHOLE, {})["nearest_cosine"] is None


@given(TEXTS, st.integers(0, 30))
def test_a_sample_within_so_many_tokens_has_the_same_figures_by_them(texts: list[str], most: int) -> None:
    sample = Sample(texts, texts, {"own": texts}, (), np.eye(len(texts), dtype=np.float32), np.arange(len(texts)))
    part = sample.within(most)
    assert len(part) == len(cut(texts, most)) == len(part.families) == len(part.attributes["own"])
    names = ("distinct_1", "distinct_2", "distinct_3", "compression", "self_repetition")
    one, other = (figures(each, most, 0, values_of([each])) for each in (sample, part))
    assert [one[name] for name in names] == [other[name] for name in names]
