"""Texts cut into pieces."""

from __future__ import annotations

from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.report.passages import Piece, differing, pieces, shorten, visible


def marked(found: list[Piece]) -> list[str]:
    """Return the marked stretches."""
    return [piece.text for piece in found if piece.kind == "differs"]


@pytest.mark.parametrize(
    ("text", "math"),
    [
        ("Let $x$ be $\\frac{1}{2}$.", ["$x$", "$\\frac{1}{2}$"]),
        ("It costs $5 to $10, or $5-$10.", []),
        ("So \\[a\nb\\] and \\(c\\) and $$d$$", ["\\[a\nb\\]", "\\(c\\)", "$$d$$"]),
        ("A lone \\( and a lone $", []),
    ],
)
def test_mathematics_is_told_from_prices(text: str, math: list[str]) -> None:
    assert [piece.text for piece in pieces(text) if piece.kind == "math"] == math


def test_dollars_within_fenced_code_are_code() -> None:
    assert [piece.kind for piece in pieces("Run\n```sh\necho $a$\n```\nnow")] == ["text", "code", "text"]


@given(st.text(alphabet="a1 $\\[]()`\n"))
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(piece.text for piece in pieces(text)) == text


@given(st.text(alphabet="ab ,霧x\n"), st.text(alphabet="ab ,霧x\n"))
def test_compared_texts_stay_whole(one: str, other: str) -> None:
    left, right = differing(one, other)
    assert ("".join(piece.text for piece in left), "".join(piece.text for piece in right)) == (one, other)


@given(st.lists(st.sampled_from(["ox", "yak", "elk"])), st.lists(st.sampled_from(["ox", "yak", "elk"])))
def test_unmarked_words_are_the_same_on_both_sides(one: list[str], other: list[str]) -> None:
    sides = differing(" ".join(one), " ".join(other))
    common = [" ".join(piece.text for piece in side if piece.kind == "text").split() for side in sides]
    assert common[0] == common[1]
    assert len(common[0]) == sum(
        block.size for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    )


def test_a_run_of_differing_words_is_one_mark_without_the_space_after_it() -> None:
    left, right = differing("A tall red barn owner.", "A small green barn owner.")
    assert (marked(left), marked(right)) == (["tall red"], ["small green"])


def test_case_and_punctuation_at_the_edges_do_not_count() -> None:
    assert [marked(side) for side in differing("A Baker, by night.", "a baker by night!")] == [[], []]


def test_a_script_without_spaces_is_compared_by_character() -> None:
    assert [marked(side) for side in differing("古い海図を直す", "古い地図を直す")] == [["海"], ["地"]]


@pytest.mark.parametrize(("text", "limit"), [("word " * 50, 100), ("x" * 250, 100)])
def test_a_shortened_text_says_how_much_is_missing(text: str, limit: int) -> None:
    shown, left_out = shorten(text, limit)
    assert len(shown) <= limit
    assert len(shown) + left_out == len(text)
    assert text.startswith(shown)


def test_marks_that_scripts_need_stay_and_overrides_are_spelt_out() -> None:
    assert visible("نمی\u200cبینم \u200f.\tx\r\ny") == "نمی\u200cبینم \u200f.\tx\ny"
    assert visible("\u202ea\x1b[2J\ud83d") == "[U+202E]a[U+001B][2J[U+D83D]"
