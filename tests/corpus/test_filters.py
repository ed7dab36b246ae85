"""Texts are cleaned, weighed and cut, and refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.corpus.filters import check, clean, cut, fold, weigh
from personalake.corpus.records import RefusedError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b\x07c\ufeff", "abc"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        (" a \t\n\n\n\n b \n", "a\n\n b"),
        ("\ud800a", "a"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_controls_and_stray_blanks_go_and_joiners_stay(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_cleaning_twice_changes_nothing_and_the_result_is_utf_8(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert once.encode().decode() == once


def test_a_character_of_chinese_japanese_or_korean_counts_twice() -> None:
    assert weigh("ab") == 2
    assert weigh("水位の가a") == 9


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "too_short"), ("a" * 19, "too_short"), ("水" * 9, "too_short"), ("\ufffda" * 50, "not_text")],
)
def test_what_is_no_page_is_refused(text: str, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(text, 20)
    assert refused.value.reason == reason


@pytest.mark.parametrize("text", ["a" * 20, "水" * 10])
def test_a_text_of_just_the_length_is_a_page(text: str) -> None:
    check(text, 20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12345 7890", "12345 7890"),
        ("one. two\n\nthree. four", "one. two"),
        ("aaaaaa. b c d e f", "aaaaaa."),
        ("水位水位水位。水位水位水位", "水位水位水位。"),
        ("aaa bbb ccc ddd", "aaa bbb"),
        ("a" * 20, "a" * 10),
        ("a. " + "b" * 20, "a. bbbbbbb"),
    ],
)
def test_a_long_text_is_cut_where_it_hurts_least(text: str, expected: str) -> None:
    assert cut(text, 10) == expected


@given(st.text(), st.integers(1, 50))
def test_a_cut_text_is_a_beginning_of_no_more_than_the_limit(text: str, limit: int) -> None:
    head = cut(text, limit)
    assert len(head) <= limit
    assert text.startswith(head)


def test_texts_that_differ_in_white_space_or_composition_fold_to_one() -> None:
    assert fold(" cafe\u0301\n\n au\u00a0lait ") == fold("café au lait") == "café au lait"
