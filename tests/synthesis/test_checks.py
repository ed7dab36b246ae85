from __future__ import annotations

from pathlib import Path

import pytest

from personalake.synthesis.checks import CHECKS, Context, canonical, run
from personalake.synthesis.tasks import load_task

TASKS = Path(__file__).parents[2] / "conf" / "tasks"
PERSONA = "A retired lighthouse keeper on the Baltic coast who repairs barometers and teaches knots to scouts."
GOOD = (
    "Ilse winds a rope of 36 metres around a bollard whose circumference is 1.5 metres. After each full turn she ties "
    "a knot that takes 30 centimetres of rope. How many full turns with their knots can she make before the rope ends?"
)
LONGER_GOOD = "Der Leuchtturm blinkt alle 12 s, die Boje alle 18 s. Nach wie vielen Sekunden blinken beide zugleich?"


def reason(check: str, text: str, persona: str = PERSONA, instructions: str = "") -> str | None:
    return run([canonical(check)], text, Context(persona, instructions))


@pytest.mark.parametrize(
    ("check", "text", "expected"),
    [
        ("length: 5..10", "abcd", "too_short"),
        ("length: 5..10", "abcde", None),
        ("length: 5..10", "abcdefghij", None),
        ("length: 5..10", "abcdefghijk", "too_long"),
        ("length: ..3", "", None),
        ("length: 3..", "ab", "too_short"),
        ("not_empty", " \n- ...", "empty"),
        ("not_empty", "无", None),
        ("single_question", GOOD, None),
        ("single_question", "Find the area of the garden.", "no_question"),
        ("single_question", "How far is it? And how long does it take?", "several_questions"),
        ("single_question", "How far is it?? Give kilometres.", None),
        ("single_question", "(a) How long is it (b) and how wide is it?", "several_questions"),
        ("single_question", "What is f(1) if f(x) = 2x (x > 0) ?", None),
        ("single_question", "他一共需要多少天？", None),
        ("single_question", "何個ありますか。", None),
        ("single_question", "كم عدد السفن؟", None),
        ("single_question", "Πόσα πλοία έφυγαν;", None),
        ("single_question", "เรือแล่นไปกี่กิโลเมตร", None),
        ("no_solution", GOOD, None),
        ("no_solution", GOOD + " The answer is 20.", "solution_given"),
        ("no_solution", GOOD + "\n\nSolution: divide.", "solution_given"),
        ("no_solution", GOOD + "\n**Answer:** 20", "solution_given"),
        ("no_solution", GOOD + " Answer: 20", "solution_given"),
        ("no_solution", GOOD + r" $\boxed{20}$", "solution_given"),
        ("no_solution", GOOD + "\n#### 20", "solution_given"),
        ("no_solution", LONGER_GOOD + "\nLösung: 36", "solution_given"),
        ("no_solution", "他一共需要多少天？答案：3", "solution_given"),
        ("no_solution", "She mixes a salt solution: 3 parts to 7. How much salt is in 2 litres?", None),
        ("no_leak", GOOD, None),
        ("no_leak", "Given <persona>A keeper</persona>, how many?", "prompt_leak"),
        ("no_leak", "My system prompt says that I write one problem.", "prompt_leak"),
        ("no_leak", "How old is {{persona.text}}?", "prompt_leak"),
        ("no_leak", "How many?<|im_end|>", "prompt_leak"),
        ("no_leak", "</think> How many?", "prompt_leak"),
        ("no_leak", "Based on the persona provided, how many?", "prompt_leak"),
        ("no_leak", "¿Cuánto paga la persona que compra tres?", None),
        ("not_as_a", "As a keeper of a lighthouse, I ask how many.", "as_a"),
        ("not_as_a", '"As an engineer, how do I', "as_a"),
        ("not_as_a", "作为一名教师，我想知道", "as_a"),
        ("not_as_a", "As able seamen they sailed. As a rule it rains.", None),
        ("no_preamble", "Sure! How many boats?", "preamble"),
        ("no_preamble", "Here is a math problem for a keeper:\n\nHow many boats?", "preamble"),
        ("no_preamble", "**Problem:** How many boats?", "preamble"),
        ("no_preamble", "Question 1: How many boats?", "preamble"),
        ("no_preamble", "Here is my draft, please improve it: Dear all, ...", None),
        ("no_preamble", "Problems with my barometer: it never rises.", None),
        ("boxed", r"so \boxed{\frac{1}{2}}", None),
        ("boxed", "so one half", "no_boxed"),
        ("boxed", r"so \boxed{\frac{1}{2", "no_boxed"),
        ("no_recital", GOOD, None),
        ("no_recital", f"{PERSONA} How many?", "recital"),
        ("no_recital", "A retired LIGHTHOUSE keeper, on the Baltic coast, has 3 ropes.", "recital"),
        ("no_recital", "A retired lighthouse keeper has a hut on the Baltic coast and repairs barometers.", None),
    ],
)
def test_each_check_refuses_what_it_should_and_nothing_else(check: str, text: str, expected: str | None) -> None:
    assert reason(check, text) == expected


def test_every_check_has_a_case_for_either_outcome() -> None:
    marks = test_each_check_refuses_what_it_should_and_nothing_else.pytestmark  # type: ignore[attr-defined]
    cases = [(check.partition(":")[0], expected is None) for check, _, expected in marks[0].args[1]]
    assert {*cases} == {(name, passes) for name in [*CHECKS, "length"] for passes in (True, False)}


@pytest.mark.parametrize(
    ("persona", "text", "expected"),
    [
        ("A pastry chef in Lyon", "How many tarts does a pastry chef in Lyon sell?", "recital"),
        ("A nurse", "A nurse has 3 vials. How many drops?", None),
        ("", GOOD, None),
        ("一位在云南山区种植普洱茶的中年茶农", "一位在云南山区种植普洱茶的中年茶农卖出三箱茶", "recital"),
        ("一位在云南山区种植普洱茶的中年茶农", "云南山区的茶农卖出三箱普洱茶", None),
    ],
)
def test_a_recital_is_a_long_run_or_a_short_persona_whole(persona: str, text: str, expected: str | None) -> None:
    assert reason("no_recital", text, persona) == expected


@pytest.mark.parametrize(("task", "step"), [("math", "problem"), ("math", "solution"), ("instruction", "request")])
def test_a_run_of_the_instructions_is_caught_wherever_it_starts(task: str, step: str) -> None:
    asked = load_task(TASKS / f"{task}.yaml").bringing(step)
    words = asked.system.split()
    for start in range(0, len(words) - 15):
        text = f"Note: {' '.join(words[start : start + 15])}. How many ropes are left?"
        assert reason("no_leak", text, instructions=asked.instructions) == "prompt_leak"


def test_good_texts_pass_every_check_of_the_shipped_tasks() -> None:
    math, instruction = (load_task(TASKS / f"{name}.yaml") for name in ("math", "instruction"))
    request = "My brass barometer reads 12 hPa too low since I cleaned it. How do I set it right without a workshop?"
    replies = [
        (math.bringing("problem"), GOOD),
        (math.bringing("problem"), LONGER_GOOD),
        (math.bringing("solution"), "Each turn takes $1.5 + 0.3 = 1.8$ metres, so $36 / 1.8 = 20$.\n\n\\boxed{20}"),
        (instruction.bringing("request"), request),
        (instruction.bringing("reply"), "Turn the screw at the back by a quarter, then compare with a station nearby."),
    ]
    for step, text in replies:
        assert run(step.checks, text, Context(PERSONA, step.instructions)) is None


def test_the_first_check_that_refuses_names_the_reason() -> None:
    checks = [canonical(spec) for spec in ("length: 40..2000", "no_solution", "not_as_a")]
    text = "As a keeper I know: the answer is 3."
    assert run(checks, text, Context()) == "too_short"
    assert run(checks[1:], text, Context()) == "solution_given"
    assert run(checks[2:], text, Context()) == "as_a"
    assert run([], text, Context()) is None


@pytest.mark.parametrize(
    ("spec", "spelling"),
    [("no_leak", "no_leak"), ({"length": "40..2000"}, "length: 40..2000"), ("length:  1..", "length: 1..")],
)
def test_a_check_has_one_spelling(spec: str | dict[str, str], spelling: str) -> None:
    assert canonical(spec) == spelling


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_leaks", "unknown check `no_leaks` .did you mean 'no_leak'"),
        ("lenght: 1..2", "did you mean 'length'"),
        ("length", "LEAST..MOST"),
        ("length: 40", "LEAST..MOST"),
        ("length: ..", "LEAST..MOST"),
        ("length: 9..3", "LEAST..MOST"),
        ({"length": 40}, "LEAST..MOST"),
        ("boxed: yes", "takes no argument"),
        ({"length": "1..2", "boxed": None}, "one check per line"),
    ],
)
def test_a_check_that_is_none_is_refused_with_what_to_write(spec: str | dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonical(spec)
