from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.dedup.ragged import Ints, Ragged
from personalake.dedup.tokens import token_list
from personalake.synthesis import common_runs
from personalake.synthesis.common_runs import evidence, finder, items_of

HALF = Fraction(1, 2)
Pairs = dict[tuple[str, str], tuple[int, float]]


def found(texts: list[str | None], items: list[str], n: int, ratio: Fraction = HALF, common: int = 100) -> Pairs:
    """What the kernel says: rows are named by their number, items by theirs in two digits."""
    names = pa.array([f"{number:02}" for number in range(len(items))])
    looked_for = items_of(names, pa.array(items, pa.string()), n, ratio, common)
    rows = [pa.array([str(number) for number in range(len(texts))]), pa.array(texts, pa.string())]
    told = [
        row
        for batch in finder(looked_for)(iter([pa.RecordBatch.from_arrays(rows, ["id", "text"])]))
        for row in batch.to_pylist()
    ]
    assert len({(row["id"], row["item_id"]) for row in told}) == len(told)
    return {(row["id"], row["item_id"]): (row["shared"], row["ratio"]) for row in told}


def runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


def one_by_one(texts: list[str | None], items: list[str], n: int, ratio: Fraction = HALF, common: int = 100) -> Pairs:
    """The oracle: every text beside every item, each run of words beside each."""
    distinct: dict[tuple[str, ...], str] = {}
    for number, item in enumerate(items):
        if token_list(item):
            distinct.setdefault(tuple(token_list(item)), f"{number:02}")
    having = [set(runs(list(words), min(n, len(words)))) for words in distinct]
    told: Pairs = {}
    for (number, text), (at, (words, id_)) in itertools.product(enumerate(texts), enumerate(distinct.items())):
        own = token_list(text or "")
        often = {run: sum(run in others for others in having) for run in having[at]}
        telling = {run for run in often if often[run] <= max(common, min(often.values()))}
        shared = len(telling & set(runs(own, min(n, len(words)))))
        least = max(1, n // 2)
        matched = {
            place
            for start, run in enumerate(runs(list(words), min(least, len(words))))
            if run in runs(own, min(least, len(words)))
            for place in range(start, start + len(run))
        }
        of = min(len(words), len(own)) if len(words) >= least else len(own)
        if shared and Fraction(min(len(matched), of), of) > ratio:
            told[str(number), id_] = (shared, min(len(matched), of) / of)
    return told


_WORDS = st.lists(st.sampled_from(["a", "B", "c,", "é", "東", "京都", "ß"]), max_size=14).map(" ".join)


@given(
    st.lists(st.none() | _WORDS, max_size=6),
    st.lists(_WORDS, max_size=5),
    st.integers(1, 5),
    st.sampled_from([Fraction(0), Fraction(1, 3), HALF, Fraction(9, 10)]),
    st.integers(1, 3),
)
def test_what_is_found_is_what_a_comparison_of_all_words_finds(
    texts: list[str | None], items: list[str], n: int, ratio: Fraction, common: int
) -> None:
    assert found(texts, items, n, ratio, common) == one_by_one(texts, items, n, ratio, common)


@given(st.lists(_WORDS, max_size=5), st.lists(_WORDS, max_size=5), st.integers(1, 4))
def test_hashes_only_propose(texts: list[str], items: list[str], n: int) -> None:
    def every(self: common_runs._Sought, found: Ragged) -> Ints:
        held = np.unique(self._items)
        return np.stack([np.repeat(np.arange(len(found.counts)), len(held)), np.tile(held, len(found.counts))])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common_runs._Sought, "pairs", every)
        assert found(list(texts), items, n) == one_by_one(list(texts), items, n)


def words(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


@pytest.mark.parametrize(
    ("item", "common", "ratio"),
    [
        (17, 9, None),  # no ten in a row
        (19, 10, 10 / 19),
        (20, 10, None),  # half of it isn't more than half
        (20, 11, 11 / 20),
        (21, 10, None),
        (21, 11, 11 / 21),
        (10, 10, 1.0),
        (11, 10, 10 / 11),
    ],
)
def test_a_piece_of_an_item_in_a_long_text(item: int, common: int, ratio: float | None) -> None:
    text = f"{words(1000, 200)} {words(0, common)} {words(2000, 200)}"
    expected = {} if ratio is None else {("0", "00"): (common - 9, ratio)}
    assert found([text], [words(0, item)], 10) == expected


@pytest.mark.parametrize(
    ("row", "common", "ratio"), [(12, 12, 1.0), (20, 10, None), (20, 11, 11 / 20), (19, 10, 10 / 19)]
)
def test_a_short_text_out_of_a_long_item(row: int, common: int, ratio: float | None) -> None:
    text = f"{words(50, common)} {words(1000, row - common)}"
    expected = {} if ratio is None else {("0", "00"): (common - 9, ratio)}
    assert found([text], [words(0, 200)], 10) == expected


def test_runs_of_half_an_ngram_count_once_there_is_a_whole_one() -> None:
    item = words(0, 30)
    text = " ".join([words(0, 10), "x", words(11, 5), "x", words(17, 4), "x", words(22, 5), "x"])
    assert found([text], [item], 10) == {("0", "00"): (1, 20 / min(30, 28))}
    without = text.replace("w0 ", "x ")
    assert found([without], [item], 10) == {}


def test_an_item_of_fewer_words_is_found_by_all_of_them() -> None:
    item, text = words(0, 7), words(100, 50)
    assert found([f"{text} {item} {text}", f"{text} {words(0, 6)} {text}"], [item], 10) == {("0", "00"): (1, 1.0)}


def test_an_item_that_anybody_may_say_by_chance_is_found_where_there_is_little_else() -> None:
    rows: list[str | None] = ["Yes, of course! Sure", "yes of course we do sure we do", "yes of course"]
    assert found(rows, ["Yes, of course."], 10) == {("0", "00"): (1, 3 / 4), ("2", "00"): (1, 1.0)}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("The “brown” fox—it jumped over nine lazy dogs twice", "THE BROWN FOX; IT JUMPED OVER NINE LAZY DOGS TWICE?"),
        ("ｆｕｌｌ width and ﬁne forms fold to the same words", "full WIDTH and fine forms fold to the same words"),
        ("Die Straße führt über neun alte Brücken ins Meer", "die STRASSE führt u\u0308ber neun alte Brücken ins meer"),
        ("彼女は毎朝六時に起きて庭の花に水をやります。", "では、彼女は毎朝六時に起きて庭の花に水をやります"),
        ("มีแอปเปิลสิบลูกอยู่ในตะกร้าใบใหญ่", "โจทย์ มีแอปเปิลสิบลูกอยู่ในตะกร้าใบใหญ่"),
        ("एक दुकान में बारह सेब और आठ आम हैं कुल कितने फल", "एक दुकान में बारह सेब और आठ आम हैं, कुल कितने फल?"),
    ],
)  # fmt: skip
def test_an_item_is_found_however_it_is_written(item: str, text: str) -> None:
    assert found([text, "something else"], ["an item about nothing at all", item], 10).keys() == {("0", "01")}


def test_nothing_is_found_in_or_by_what_has_no_words() -> None:
    item = words(0, 12)
    assert found(["", None, "?! …", item], [item, "", "…"], 10) == {("3", "00"): (3, 1.0)}
    assert found([item], [], 10) == {}
    assert found([], [item], 10) == {}


def test_items_of_the_same_words_are_one() -> None:
    item = words(0, 12)
    assert found([item], [item.upper(), item, f"{item}!"], 10) == {("0", "00"): (3, 1.0)}


def test_how_all_items_begin_tells_of_none() -> None:
    head = words(0, 14)
    items = [f"{head} {words(100 * number, 10)}" for number in range(1, 41)]
    rows: list[str | None] = [f"{head} {words(9000, 8)}", items[7], f"{head} {words(5000, 100)}"]
    # Of the copy's 15 runs of ten 5 are the head's.
    assert found(rows, items, 10, common=39) == {("1", "07"): (10, 1.0)}
    assert len(found(rows, items, 10, common=40)) > 40


def test_an_item_that_has_only_what_others_have_is_found_all_the_same() -> None:
    items = [*(f"{words(0, 12)} {words(100 * n, 10)}" for n in range(1, 6)), words(0, 12)]
    assert ("0", "05") in found([words(0, 12)], items, 10, common=2)


def test_a_text_of_a_megabyte_is_compared_like_any_other() -> None:
    drawn = np.random.default_rng(1)
    text = " ".join(f"v{number}" for number in drawn.integers(0, 5_000, 180_000))
    items = [words(100 * number, 60) for number in range(300)]
    long, again = f"{text} {items[123]} {text}", " ".join([items[5]] * 4_000)
    assert len(again) > 1_000_000
    assert found([long, text, again, "short"], items, 10) == {("0", "123"): (51, 1.0), ("2", "05"): (51, 1.0)}


def test_texts_may_be_a_slice_and_no_utf8() -> None:
    item = words(0, 12)
    looked_for = items_of(pa.array(["i"]), pa.array([item]), 10, HALF, 100)
    texts = pa.array([b"", b"", b"\xff " + item.encode() + b" \xfe", b""]).view(pa.string())
    batch = pa.RecordBatch.from_arrays([pa.array(["a", "b", "c", "d"]), texts], ["id", "text"]).slice(1, 2)
    (told,) = finder(looked_for)(iter([batch]))
    assert told.to_pylist() == [{"id": "c", "item_id": "i", "shared": 3, "ratio": 1.0, "evidence": item}]


def test_the_evidence_is_the_matched_words_with_gaps_marked() -> None:
    assert evidence("how many of the big apples".split(), [0, 4], 2) == "how many … big apples"
    assert evidence("how many of the big apples".split(), [0, 1, 3], 2) == "how many of the big"
    assert evidence(token_list("iphoneを東京で 買う"), [0], 5) == "iphone を東京で 買う"
    assert evidence(["на", "аб"], [0], 2) == "на аб"
    long = evidence([f"word{number}" for number in range(100)], range(100), 1)
    assert len(long) == 300
    assert long.endswith("…")
