"""Comparing final answers: pairs a second and core, by text and by algebra; agreement with labels; hostile answers."""

from __future__ import annotations

import json
import random
import resource
import time
from collections.abc import Callable, Iterable

import pytest

from personalake.synthesis.answers.same import SECONDS, Same
from personalake.synthesis.extract import answer_is
from tests.bench.results import Result
from tests.conftest import SHARED

pytestmark = pytest.mark.bench

_SOLUTIONS = SHARED / "benchmarks" / "gsm8k_model_solutions.jsonl"
_ABSENT = f"the example_model_solutions.jsonl of openai/grade-school-math is not there as {_SOLUTIONS.name}"
_HOSTILE = ("9^{9^{9^9}}", r"\frac{1}{" * 60 + "2" + "}" * 60, "(" * 900, "(10^9)!", r"\sum_{k=1}^{10^9} k^{-2}")

Labelled = tuple[str, str, bool]


def solutions() -> list[Labelled]:
    """GSM8K's label, a model's answer (empty where it gave none), and whether its authors call it right."""
    rows = [json.loads(line) for line in _SOLUTIONS.read_text("utf-8").splitlines()]
    return [
        (answer_is(row["ground_truth"]) or "", answer_is(value["solution"]) or "", value["is_correct"])
        for row in rows
        for value in row.values()
        if isinstance(value, dict)
    ]


def made(count: int) -> list[Labelled]:
    """Pairs that take algebra, in seven shapes; two in five differ by a little."""
    draw = random.Random(5)
    pairs = []
    for index in range(count):
        a, b, c = (draw.randint(2, 30) for _ in range(3))
        off = draw.randint(1, 3) if draw.random() < 0.4 else 0
        shapes = (
            (rf"\frac{{{a}}}{{{b}}}\sqrt{{{c}}}", rf"\frac{{{a + off}\sqrt{{{c}}}}}{{{b}}}"),
            (rf"(x+{a})(x+{b})", rf"x^2+{a + b + off}x+{a * b}"),
            (rf"\{{{a},{b},{c}\}}", rf"\{{{c},{a},{b + off}\}}"),
            (rf"({a},{a + b}]", rf"\left({a},\,{a + b + off}\right]"),
            (rf"{a}\pi", rf"\pi\cdot {a + off}"),
            (rf"x={a}", f"{a + off}"),
            (rf"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}", rf"\begin{{pmatrix}}{a}.0\\{b + off}\end{{pmatrix}}"),
        )
        pairs.append((*shapes[index % len(shapes)], not off))
    return pairs


def alone() -> Callable[[str, str], bool]:
    """math-verify in this process, with its own time limits."""
    math_verify = pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")

    def same(label: str, answer: str) -> bool:
        return bool(math_verify.verify(math_verify.parse(f"${label}$"), math_verify.parse(f"${answer}$")))

    return same


def timed(pairs: Iterable[Labelled], same: Callable[[str, str], bool]) -> tuple[int, float]:
    """How many of *pairs* are found as labelled, and the seconds of this process and of children that ended."""
    began = spent()
    agreed = sum((bool(answer) and same(label, answer)) == right for label, answer, right in pairs)
    return agreed, spent() - began


def spent() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


@pytest.mark.skipif(not _SOLUTIONS.is_file(), reason=_ABSENT)
def test_answers_that_texts_tell() -> None:
    pairs = solutions()
    with Same() as same:
        agreed, seconds = timed(pairs, lambda label, answer: same.same(label, answer).said == "equal")
        crossed = same.compared
    by_others, theirs = timed(pairs, alone())
    Result(
        name="answers_by_text",
        value=len(pairs) / seconds,
        unit="pairs a second and core, of GSM8K's labels and answers of real models",
        compared_with="math-verify alone",
        compared_value=len(pairs) / theirs,
        goal="agrees with as many labels as math-verify",
        command="make bench ARGS='-k answers_that_texts_tell'",
        detail={"pairs": len(pairs), "as_labelled": agreed, "math_verify_as_labelled": by_others, "crossed": crossed},
    ).keep()
    assert agreed >= by_others


def test_answers_that_take_algebra() -> None:
    pairs = made(1_500)
    by_others, theirs = timed(pairs, alone())
    began = spent()
    with Same() as same:
        agreed, _ = timed(pairs, lambda label, answer: same.same(label, answer).said == "equal")
        crossed = same.compared
    seconds = spent() - began  # the child's too, now that it has ended; its start is in it
    Result(
        name="answers_by_algebra",
        value=len(pairs) / seconds,
        unit="pairs a second and core, made ones",
        compared_with="math-verify alone, which compares in one direction",
        compared_value=len(pairs) / theirs,
        goal="at least 0.7 of math-verify's",
        command="make bench ARGS='-k answers_that_take_algebra'",
        detail={"pairs": len(pairs), "as_labelled": agreed, "math_verify_as_labelled": by_others, "crossed": crossed},
    ).keep()
    assert agreed >= by_others


def test_hostile_answers() -> None:
    pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")
    took, after = [], []
    with Same() as same:
        same.same("x+x", "2x")
        for number, hostile in enumerate(_HOSTILE):
            began = time.perf_counter()
            assert same.same(hostile, "5").reason == "timed_out"
            ended = time.perf_counter()
            assert same.same(f"{number}x+x", f"{number + 1}x").said == "equal"
            took.append(ended - began)
            after.append(time.perf_counter() - ended)
    Result(
        name="hostile_answers",
        value=max(took),
        unit="seconds of the clock, the longest of five",
        compared_with="the limit, in seconds of the processor",
        compared_value=SECONDS,
        goal="near the limit on an idle machine",
        command="make bench ARGS='-k hostile_answers'",
        detail={"answers": len(_HOSTILE), "next_pair_ms": 1_000 * max(after)},
    ).keep()
