from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.synthesis.extract import answer_is, boxed, choice, final_answer, final_line, reply_text, unwrapped


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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 42.", "42"),
        ("So the final answer is: **42**.", "42"),
        ("2 + 2 = 4\n#### 4", "4"),
        ("#### 1,234\n", "1,234"),
        ("It is 9 + 9.\nA: 18", "18"),
        (r"**Answer:** $\frac{1}{2}$", r"\frac{1}{2}"),
        ("**Answer: 42**", "42"),
        ("**The answer is 7**", "7"),
        ("The answer is 3.5 km. We checked it.", "3.5 km"),
        ("The answer is $42$ dollars.", "$42$ dollars"),
        ("The answer is $18 and not $20.", "$18 and not $20"),
        ("The answer is\n\\[\n42\n\\]\nas asked.", "42"),
        (r"The answer is \boxed{5}.", "5"),
        ("The answer to the second question is therefore 12.", "12"),
        ("The answer is 18 because 9 * 2 = 18.", "18"),
        ("### Final Answer\n\n42", "42"),
        ("The answer is 1, no: the answer is 2.", "2"),
        ("Die Antwort lautet 5.", "5"),
        ("Respuesta: 5", "5"),
        ("答案是42。", "42"),
        ("答え：42", "42"),
        ("The answer is 41.\nHence it's wrong.", "41"),
        ("The answer is not 42.", None),
        ("Her answer was 5", None),
        ("so we answer 5", None),
        ("A: 5\nB: 6", None),
        ("Final answer:", None),
        ("", None),
    ],
)
def test_the_final_answer_is_what_is_last_called_so(text: str, answer: str | None) -> None:
    assert answer_is(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("9 + 9\n18\n\n", "18"),
        ("The answer is 1.\n\n**18.**", "18"),
        ("9 + 9\n#### 18", "18"),
        ("9 + 9\n$$18$$", "18"),
        ("9 + 9\nA: 18", "18"),
        ("18", "18"),
        ("9 + 9\nAnswer:", None),
        (" \n", None),
    ],
)
def test_the_final_answer_is_what_the_last_line_says(text: str, answer: str | None) -> None:
    assert final_line(text) == answer


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (C).", "C"),
        ("Answer: c)", None),
        ("Answer: (c)", "C"),
        (r"So \boxed{\text{(C)}}", "C"),
        (r"\boxed{C. Paris}", "C"),
        ("It can't be B.\n**D**", "D"),
        ("C) Paris", "C"),
        ("The correct answer is option B: Paris", "B"),
        ("The answer is C because it rains.", "C"),
        ("The answer is A good idea", None),
        ("The answer is A and C", None),
        (r"\boxed{A, C}", None),
        (r"\boxed{K}", None),
        ("The answer is a matter of taste.", None),
        ("None of them.", None),
        ("", None),
    ],
)
def test_a_choice_is_one_letter(text: str, letter: str | None) -> None:
    assert choice(text) == letter


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (" $$ x $$ ", "x"),
        (r"**\(x\)**", "x"),
        (r"$\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        ("$1$ and $2$", "$1$ and $2$"),
        (r"\boxed{1} and \boxed{2}", r"\boxed{1} and \boxed{2}"),
        ("$", "$"),
        ("****", "****"),
    ],
)
def test_only_what_stands_around_all_of_a_text_is_taken_off(text: str, bare: str) -> None:
    assert unwrapped(text) == bare


@pytest.mark.parametrize(
    "piece", ["the answer is ", "\n", "*", "$", " ", "#### ", "A: 1\n", "final answer\n", "answer to "]
)
def test_a_reply_of_a_million_characters_is_read_in_seconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    for find in (answer_is, final_line, choice):
        find(text)
    assert time.process_time() - began < 10


def test_a_task_without_an_extractor_has_no_final_answer() -> None:
    assert (final_answer(r"\boxed{1}", None), final_answer(r"\boxed{1}", "boxed")) == (None, "1")


def test_a_reply_is_trimmed_at_its_ends_alone() -> None:
    assert reply_text("\r\n  a\r\n\r\n   b \rc\t \n") == "a\n\n   b \nc"
