"""Problems and their solvers: every kind is parsed back, worked out, and programmed to the same answer."""

from __future__ import annotations

import contextlib
import io
import re
from fractions import Fraction

import pytest

from personalake.llm.offline.draw import Draw
from personalake.llm.offline.more_kinds import KINDS
from personalake.llm.offline.problem_kinds import LEVELS, TOPICS, Kind
from personalake.llm.offline.problems import parsed, problem_reply, program_reply, solution_reply, worked
from personalake.llm.offline.rules import asked, choice

PERSONA = "A village baker who keeps notes on sourdough, rye flour and the patience that a cool cellar asks for."


def reply(system: str, user: str, request_id: str = "r", flaws: float = 0.0) -> str:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return choice(asked({"messages": messages}, request_id), 0, None, (), flaws).text


def boxed(text: str) -> Fraction:
    found = re.search(r"\\boxed\{(?:\\frac\{(-?\d+)\}\{(\d+)\}|(-?\d+))\}", text)
    assert found, text
    return Fraction(int(found[1]), int(found[2])) if found[1] else Fraction(int(found[3]))


def of_kind(kind: Kind, count: int) -> list[str]:
    """Problems of one kind, by trying variants of its topic and level."""
    found: list[str] = []
    for number in range(400):
        text = problem_reply(PERSONA, f"{kind.topic} {kind.level}", Draw(kind.name, number), spoiled=False)
        match = parsed(text)
        assert match is not None, text
        if match[0] is kind:
            found.append(text)
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_problem_of_every_kind_is_solved_and_programmed_to_the_same_answer(kind: Kind) -> None:
    for text in of_kind(kind, 4):
        assert text.count("?") == 1
        match = parsed(text)
        assert match is not None
        right = Fraction(worked(*match)["answer"])
        answers = [boxed(solution_reply(text, Draw(number))) for number in range(25)]
        assert answers.count(right) > 15
        programs = [program_reply(text, Draw(number)) for number in range(3)]
        printed = []
        for program in programs:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(program.removeprefix("```python\n").removesuffix("```"), {})
            printed.append(Fraction(out.getvalue().strip()))
        assert right in printed


def test_there_are_at_least_twenty_five_kinds_over_all_topics_and_levels() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 25
    assert {(kind.topic, kind.level) for kind in KINDS} == {(topic, level) for topic in TOPICS for level in LEVELS}


def test_topic_and_difficulty_of_the_user_message_are_obeyed_and_those_of_the_persona_are_not() -> None:
    persona = "A geometry teacher who explains probability to school classes."
    for number in range(20):
        text = reply("Write a problem.", f"contest, rates\n<persona>{persona}</persona>", str(number))
        match = parsed(text)
        assert match is not None
        assert (match[0].topic, match[0].level) == ("rates", "contest")


def test_a_problem_is_set_in_the_persona_s_situation() -> None:
    texts = [reply("Write a math problem.", f"<persona>{PERSONA}</persona>", str(number)) for number in range(40)]
    assert all("village baker" in text for text in texts)
    assert len(set(texts)) == 40
    own = ("sourdough", "flour", "patience", "cellar", "cool", "notes")
    assert all(any(word in text for word in own) for text in texts)


def test_about_eight_percent_of_the_solutions_carry_a_slip() -> None:
    text = problem_reply(PERSONA, "", Draw(1), spoiled=False)
    match = parsed(text)
    assert match is not None
    right = Fraction(worked(*match)["answer"])
    wrong = sum(boxed(reply(r"Put it in \boxed{}.", text, str(number))) != right for number in range(1_000))
    assert 50 <= wrong <= 115


def test_a_problem_that_is_not_its_own_gets_a_reasoned_boxed_number() -> None:
    text = reply(r"End with \boxed{}.", "How many angels dance on the head of a pin?")
    assert boxed(text) > 0
    assert "```python" in reply("Write a Python program.", "How many angels dance on the head of a pin?")


def test_a_flawed_problem_gives_away_its_solution_or_is_empty() -> None:
    texts = [reply("Write a problem.", f"<persona>{PERSONA}</persona>", str(n), flaws=1.0) for n in range(30)]
    assert {bool(text) for text in texts} == {True, False}
    assert all("Solution:" in text for text in texts if text)


def test_a_persona_s_request_is_typed_by_it_and_a_flawed_one_says_as_a() -> None:
    user = f"<persona>{PERSONA}</persona>"
    good = [reply("Write what they would ask.", user, str(number)) for number in range(60)]
    assert len(set(good)) >= 55
    assert not any(text.startswith("As a") for text in good)
    flawed = [reply("Write what they would ask.", user, str(number), flaws=1.0) for number in range(30)]
    assert all(not text or text.startswith("As a ") for text in flawed)
