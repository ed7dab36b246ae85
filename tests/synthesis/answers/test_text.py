from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.synthesis.answers.text import DIFFERENT, EQUAL, Verdict, read, settle

PIECES = [
    "1", "12", "1,234", "0.5", "3/4", r"\frac{1}{3}", r"\frac12", r"\sqrt{", "}", "{", "$", r"\$", r"\text{ km}", " km",
    " dollars", "%", r"\%", "-", "−", "x", "=", "^2", "²", "(A)", "yes", "Monday", ".", ",", " ", r"\,", r"\boxed{",
    "…", "٤", "個", r"\left(", ")", "\x00", r"\overline{3}", "e9", r"\times10^{3}",
]  # fmt: skip
answers = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", " 18. "),
        ("18", "18.0"),
        ("18", "$18$"),
        ("18", r"\(18\)"),
        ("18", r"\boxed{18}"),
        ("18", "**18**"),
        ("18", "+18"),
        ("-18", "−18"),
        ("0", "-0.00"),
        ("1234", "1,234"),
        ("1234", r"1{,}234"),
        ("1234567", r"1,\!234,\!567"),
        ("10000", "10 000"),
        ("2.5", r"2{,}5"),
        ("2.5", "2,5"),
        ("0.111", "0,111"),
        ("1500", r"1.5 \times 10^3"),
        ("100000", "1e5"),
        ("3/4", r"\dfrac{3}{4}"),
        ("3/4", r"\frac34"),
        ("-3/4", r"-\frac{3}{4}"),
        ("6/8", "0.75"),
        ("3/2", "1 1/2"),
        ("3/2", r"1\frac{1}{2}"),
        ("3/2", "1½"),
        ("1/3", "0.333333"),
        ("1/3", r"0.\overline{3}"),
        ("18", "17.999999999999996"),
        ("10.833333", "10.833333333333332"),
        ("42", "٤٢"),
        (r"\frac{x}{2}", r"\left. \dfrac { x } { 2 } \right."[6:-8]),
        ("x+1", "x + 1"),
        ("x^2", "x²"),
        (r"\sqrt{2}", "√2"),
        (r"\text{Monday}", "monday"),
        ("C", r"\text{(C)}"),
    ],
)
def test_other_spellings_are_the_same_answer(one: str, other: str) -> None:
    assert settle(read(one), read(other)) == EQUAL


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", "$18"),
        ("18 dollars", r"\$18"),
        ("18 eggs", "18 egg"),
        ("5 km/h", "5 kilometers per hour"),
        ("5 m^2", "5 square metres"),
        (r"\pi\text{ cm}^2", r"\pi \mathrm{cm}^{2}"),
        ("$42$ dollars", "42 USD"),
        ("90°", r"90^\circ"),
        ("18個", "18"),
        ("50%", r"50\%"),
        ("50%", "50 percent"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("12.5%", "1/8"),
    ],
)
def test_a_unit_may_be_spelled_or_left_out(one: str, other: str) -> None:
    assert settle(read(one), read(other)) == EQUAL


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", "18.5"),
        ("18", "-18"),
        ("1,234", "1.234"),
        ("1/3", "0.33"),
        ("0.0000001", "0.0000002"),
        ("0.3333333", "0.3333334"),
        ("1 1/2", "1"),
        ("18 eggs", "19 eggs"),
        ("50%", "5"),
        ("2,5", "2.6"),
        ("7" * 999, "8" * 999),
        ("Yes", "no"),
    ],
)
def test_other_numbers_are_other_answers(one: str, other: str) -> None:
    assert settle(read(one), read(other)) == DIFFERENT


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("5 km", "5 m", "units"),
        (r"2\sqrt{3}\text{ cm}", r"2\sqrt{3}\text{ m}", "units"),
        ("5%", "5 km", "units"),
        ("listen", "silent", "words"),
        ("five", "5", "words"),
        (r"\text{no}", r"\text{on}", "words"),
        ("東京", "京東", "words"),
        ("3 or more", "3", "words"),
        ("0.333...", "1/3", "unparsable"),
        ("3 4", "34", "unparsable"),
    ],
)
def test_what_a_text_does_not_tell_is_no_guess(one: str, other: str, reason: str) -> None:
    verdict = settle(read(one), read(other))
    assert verdict is not None
    assert (verdict.said, verdict.reason) == ("undecided", reason)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2xy", "2yx"),
        ("5m", "5"),
        (r"2\sin x", "2 sin x"),
        ("1, 2", "2, 1"),
        ("(1,2)", "(2,1)"),
        ("x=5", "5"),
        ("x=1 or x=2", "1, 2"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "x"),
        ("7!", "5040"),
        (r"\log_2 8", "3"),
    ],
)
def test_algebra_is_left_to_algebra(one: str, other: str) -> None:
    assert settle(read(one), read(other)) is None


@pytest.mark.parametrize(
    ("answer", "math"),
    [
        ("10 000", "$10000$"),
        (r"\$18", "$18$"),
        ("pi/2", r"$\pi /2$"),
        (r"x \, \%", r"$x \%$"),
        ("π", r"$\pi$"),
        ("$x$ and $y$", "$x$ and $y$"),
        (r"2\sqrt{3}\text{ cm}", r"$2\sqrt{3}$"),
    ],
)
def test_math_verify_gets_one_spelling_without_the_unit(answer: str, math: str) -> None:
    assert read(answer).math == math


@given(answers, answers)
def test_the_order_of_two_answers_does_not_matter(one: str, other: str) -> None:
    assert settle(read(one), read(other)) == settle(read(other), read(one))


@given(answers)
def test_an_answer_is_the_same_as_itself_between_dollars(answer: str) -> None:
    assert settle(read(answer), read(answer)) == EQUAL
    if answer.strip() and "$" not in answer:
        assert read(f" ${answer}$").key == read(answer).key


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_the_same_where_they_are_equal(one: int, other: int) -> None:
    expected = EQUAL if one == other else DIFFERENT
    assert settle(read(f"{one:,}"), read(str(other))) == expected


def test_a_verdict_has_a_reason_only_where_it_is_none() -> None:
    assert EQUAL.reason is DIFFERENT.reason is None
    assert Verdict("undecided", "units") != Verdict("undecided", "words")
