"""Two stores side by side: intervals that hold nothing where nothing differs, and tell where something does."""

from __future__ import annotations

import itertools
import random

import pytest

from personalake.diversity.beside import Difference, beside
from personalake.diversity.draw import ALL, Key
from personalake.diversity.measure import LEAST
from personalake.diversity.sample import Sample

ROWS = 60


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts of 12 to 36 words, drawn by Zipf's law."""
    chance = random.Random(3)
    words = [f"w{n}" for n in range(1, 20_001)]
    weights = list(itertools.accumulate(1 / n for n in range(1, 20_001)))
    return [" ".join(chance.choices(words, cum_weights=weights, k=chance.randint(12, 36))) for _ in range(3_000)]


def sample(texts: list[str], name: str = "r") -> Sample:
    domains = [random.Random(f"{name}{n}").choice(["care", "music", "crafts", None]) for n in range(len(texts))]
    return Sample(texts, [f"{name}{n}" for n in range(len(texts))], {"domain": domains}, ("domain",))


def differences(here: Sample, there: Sample) -> dict[str, Difference]:
    (found,) = beside({ALL: here}, {ALL: there})
    return {one.figure: one for one in found.differences}


def test_a_store_beside_itself_differs_in_nothing(texts: list[str]) -> None:
    for one in differences(sample(texts[:ROWS]), sample(texts[:ROWS])).values():
        assert (one.here, one.low, one.high) == (one.there, 0, 0)
        assert not one.tells


def test_of_samples_from_the_same_texts_nineteen_intervals_of_twenty_hold_nothing(texts: list[str]) -> None:
    names, missed, tries = ("distinct_1", "distinct_2", "compression", "nearest"), 0, 20
    for number in range(tries):
        at = 2 * ROWS * number
        found = differences(sample(texts[at : at + ROWS], "a"), sample(texts[at + ROWS : at + 2 * ROWS], "b"))
        missed += sum(found[name].tells for name in names)
    # Of 80, four are to be expected; the figures of one sample go together.
    assert missed <= 10


def test_texts_by_a_template_are_told_from_others_by_every_figure_of_texts(texts: list[str]) -> None:
    chance = random.Random(4)
    alike = [f"a person who likes to talk about {chance.choice(texts).split()[0]} all day long" for _ in range(ROWS)]
    found = differences(sample(texts[:ROWS], "a"), sample(alike, "b"))
    for name in ("distinct_1", "distinct_2", "distinct_3"):
        assert found[name].low > 0
    for name in ("compression", "self_repetition", "nearest"):
        assert found[name].high < 0
    assert not found["entropy.domain"].tells


def test_what_both_stores_have_in_common_does_not_count_as_chance(texts: list[str]) -> None:
    own = texts[:ROWS]
    longer = [f"{text} indeed" for text in own]
    paired = differences(sample(own), sample(longer))["distinct_2"]
    apart = differences(sample(own, "a"), sample(longer, "b"))["distinct_2"]
    assert (paired.here, paired.there) == (apart.here, apart.there)
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)


def test_rows_of_one_page_count_as_one_draw(texts: list[str]) -> None:
    pages = [f"page{number // 3}" for number in range(ROWS)]
    filled = {"domain": ["care" if number // 3 % 2 else None for number in range(ROWS)]}
    other = sample(texts[ROWS : 2 * ROWS], "b")
    apart = differences(Sample(texts[:ROWS], sample(texts[:ROWS]).families, filled), other)["filled.domain"]
    together = differences(Sample(texts[:ROWS], pages, filled), other)["filled.domain"]
    assert together.here == apart.here
    # Three rows that say the same are one witness: the error is up to the root of 3 times as large.
    assert together.high - together.low > 1.2 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_intervals(texts: list[str]) -> None:
    here, there = {ALL: sample(texts[:ROWS])}, {ALL: sample(texts[ROWS : 2 * ROWS])}
    assert beside(here, there, 1) == beside(here, there, 1) != beside(here, there, 2)


def test_both_are_measured_by_the_tokens_that_the_shorter_one_has(texts: list[str]) -> None:
    short = [" ".join(text.split()[:6]) for text in texts[:ROWS]]
    (found,) = beside({ALL: sample(short)}, {ALL: sample(texts[ROWS : 2 * ROWS])})
    assert found.size.tokens == 6 * ROWS
    assert found.size.rows < ROWS / 2
    assert (found.here, found.there) == (ROWS, ROWS)


def test_only_groups_that_both_have_in_sufficient_number_are_compared(texts: list[str]) -> None:
    large, small = sample(texts[:LEAST]), sample(texts[: LEAST - 1])
    keys: list[Key] = [ALL, ("hop", "0"), ("hop", "1"), ("source", None), ("task", "math")]
    here = dict.fromkeys(keys, large)
    there = {ALL: large, ("hop", "0"): small, ("hop", "1"): large, ("source", None): large, ("task", "math"): large}
    # The only task is all that there is.
    assert [(one.by, one.name) for one in beside(here, there)] == [ALL, ("hop", "1")]
