from __future__ import annotations

import re

import numpy as np
import pytest

from personalake.dedup.pair_table import marked, pair_table
from personalake.dedup.tokens import tokens
from personalake.dedup.tuning import Pairs

TEXTS = ["A nurse who sings", "A nurse who <b>sails</b>", "a nurse who sings & sails"]


def plain(html: str) -> str:
    """With brackets for marks."""
    return re.sub(r"<mark[^>]*>", "[", html).replace("</mark>", "]")


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("A nurse who sings", "a NURSE, who sails", "A nurse who [sings]"),
        ("A nurse & a cook", "a cook", "A [nurse] &amp; a cook"),
        ("<b>bold</b>", "b", "&lt;b&gt;[bold]&lt;/b&gt;"),
        ("東京の猫が好き", "東京の犬が好き", "東京の[猫]が好き"),
        ("नमस्ते दुनिया", "नमस्ते", "नमस्ते [दुनिया]"),
        ("a lock\u00adkeeper, ﬁne", "a lockkeeper fine", "a lock\u00adkeeper, ﬁne"),
        ("", "a", ""),
    ],
)
def test_what_the_other_text_has_not_is_marked(text: str, other: str, expected: str) -> None:
    assert plain(marked(text, tokens(other))) == expected


def test_a_line_parts_the_pairs_that_repeat_each_other_from_the_others() -> None:
    pairs = Pairs(np.array([0, 0]), np.array([2, 1]), np.array([4, 3]), np.array([5, 6]))
    shown = plain(pair_table(TEXTS, pairs, 0.8))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown)
    assert cells == [
        "0.800", "A nurse who sings", "a nurse who sings &amp; [sails]",
        "<b>↑ 1 at or above 0.8: one text of a pair goes · 1 below: both stay ↓</b>",
        "0.500", "A nurse who [sings]", "A nurse who &lt;[b]&gt;[sails]&lt;/[b]&gt;",
    ]  # fmt: skip
