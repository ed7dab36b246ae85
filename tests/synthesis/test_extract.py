from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.synthesis.extract import boxed, final_answer, reply_text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed {  7 \text{ km} }", r"7 \text{ km}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{x \\ y}", r"x \\ y"),
        (r"\boxed{\left\{ a \right.}", r"\left\{ a \right."),
        ("\\boxed{1\n+2}", "1\n+2"),
        (r"$\boxed 3.5$.", "3.5"),
        (r"it is \boxed 7.", "7"),
        (r"\fbox{9}", "9"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"no box here", None),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        (r"\boxed{1} but then \boxed{2 + ", None),
        (r"\boxed", None),
        (r"\boxedtext{4}", None),
        ("", None),
    ],
)
def test_the_final_answer_is_what_the_last_box_holds(text: str, answer: str | None) -> None:
    assert boxed(text) == answer


@given(
    st.recursive(st.sampled_from(["x", "1", r"\{", r"\}"]), lambda inner: st.tuples(inner, inner).map("{%s}%s".__mod__))
)
def test_any_nesting_of_braces_is_taken_whole(content: str) -> None:
    assert boxed(f"before {{ \\boxed{{{content}}} after }}") == content


def test_a_task_without_an_extractor_has_no_final_answer() -> None:
    assert (final_answer(r"\boxed{1}", None), final_answer(r"\boxed{1}", "boxed")) == (None, "1")


def test_a_reply_is_trimmed_at_its_ends_alone() -> None:
    assert reply_text("\r\n  a\r\n\r\n   b \rc\t \n") == "a\n\n   b \nc"
