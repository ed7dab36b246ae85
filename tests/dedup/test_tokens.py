from __future__ import annotations

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from personalake.dedup.tokens import SPARK_SEED, _hashes_of_short, token_hashes, token_list, token_runs, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A nurse, a NURSE: the nurse!", {"a", "nurse", "the"}),
        ("snake_case and 3 cats", {"snake", "case", "and", "3", "cats"}),
        ("Straße STRASSE", {"strasse"}),
        ("\uff46\uff55\uff4c\uff4c \ufb01ne", {"full", "fine"}),
        ("cafe\u0301 café", {"café"}),
        ("co\u00adoperate", {"cooperate"}),
        ("हिन्दी भाषा", {"हिन्दी", "भाषा"}),
        ("данные, Данные", {"данные"}),
    ],
)
def test_words_are_folded_and_counted_once(text: str, expected: set[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京都", {"東京", "京都"}),
        ("ラーメン", {"ラー", "ーメ", "メン"}),
        ("ﾗｰﾒﾝ", {"ラー", "ーメ", "メン"}),
        ("iPhoneを買う。", {"iphone", "を買", "買う"}),
        ("猫 bird", {"猫", "bird"}),
        ("ครู", {"คร", "รู"}),
        ("ຄູ", {"ຄູ"}),
        ("គ្រូ", {"គ្", "្រ", "រូ"}),
        ("ဆရာ", {"ဆရ", "ရာ"}),
        ("𠮷野", {"𠮷野"}),
        ("교사 한국", {"교사", "한국"}),
    ],
)
def test_a_script_without_spaces_gives_character_pairs(text: str, expected: set[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize("text", ["", "   \n", "?! ...", "🎉 ❤️", "___"])
def test_a_text_without_words_has_no_tokens(text: str) -> None:
    assert tokens(text) == set()


def test_a_single_word_is_its_only_token() -> None:
    assert tokens("Gardener.") == {"gardener"}


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_finds_what_the_long_way_finds(text: str) -> None:
    assert tokens(text) == tokens(text + " …")


_MARKED = st.sampled_from("=<>ae1 -_\u0338\u0301\u0327\u3099\u309aか가가ﾊﾞ①㍿ﬁ\u200d\u00ad\u00a8🈚🎉ß\ufffd")
"""Signs that Unicode's folding puts together, takes apart, or drops."""
_MIXED = st.text(st.sampled_from("abcÄß9 '’“”–—…‗· \u00a0«©²º\u200d\u00ad٣अि東京ไทย"), max_size=30)


@given(st.lists(st.one_of(_MIXED, st.text(max_size=12)), max_size=20))
def test_hashes_are_those_of_the_tokens_whichever_way_a_text_goes(texts: list[str]) -> None:
    hashed = token_hashes(pa.array(texts, pa.string())).to_pylist()
    for text, found in zip(texts, hashed, strict=True):
        exact = {xxhash.xxh64_intdigest(token.encode(), SPARK_SEED) for token in tokens(text)}
        assert {number % 2**64 for number in found} == exact


@given(st.lists(st.one_of(_MIXED, st.text(_MARKED, max_size=8), st.text(max_size=12)), max_size=20))
def test_runs_of_one_token_are_the_tokens_in_their_order(texts: list[str]) -> None:
    (found,) = token_runs(pa.array(texts, pa.string()), 1)
    exact = [[xxhash.xxh64_intdigest(token.encode(), SPARK_SEED) for token in token_list(text)] for text in texts]
    assert found.counts.tolist() == [len(each) for each in exact]
    assert found.values.view("u8").tolist() == [number for each in exact for number in each]


def test_a_page_that_never_parts_its_words_does_not_stay_in_memory() -> None:
    pages = [chr(0x0434 + n) * 50_000 for n in range(3)] + ["да"]
    before = _hashes_of_short.cache_info().currsize
    (found,) = token_runs(pa.array(pages), 1)
    assert found.values.view("u8").tolist() == [xxhash.xxh64_intdigest(each.encode(), SPARK_SEED) for each in pages]
    assert _hashes_of_short.cache_info().currsize <= before + 1


@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=20))
def test_hashes_are_sorted_distinct_and_independent_of_the_rest_of_the_batch(texts: list[str | None]) -> None:
    together = token_hashes(pa.array(texts, pa.string())).to_pylist()
    alone = [token_hashes(pa.array([text], pa.string())).to_pylist()[0] for text in texts]
    assert together == alone
    assert all(hashes == sorted(set(hashes)) for hashes in together)
    assert [len(hashes) for hashes in together] == [len(tokens(text or "")) for text in texts]


def test_a_hash_is_the_one_that_spark_computes(spark: SparkSession) -> None:
    words = ["a", "gardener", "naïve", "東京", "हिन्दी", "x" * 31, "x" * 32, "y" * 100]
    rows = (
        spark.createDataFrame([(word,) for word in words], "word string").select("word", F.xxhash64("word")).collect()
    )
    assert [(word, token_hashes(pa.array([word]))[0].as_py()) for word in words] == [(row[0], [row[1]]) for row in rows]
