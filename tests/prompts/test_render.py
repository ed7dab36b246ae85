from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.prompts.render import (
    draw,
    language_name,
    messages,
    placeholders,
    render,
    step_values,
)
from personalake.synthesis.tasks import Task, load_task

TASKS = Path(__file__).parents[2] / "conf" / "tasks"
PERSONA = "A beekeeper from Carinthia who loses hives to bears."


@pytest.fixture(scope="module")
def math() -> Task:
    return load_task(TASKS / "math.yaml")


@pytest.fixture(scope="module")
def instruction() -> Task:
    return load_task(TASKS / "instruction.yaml")


def test_the_writing_step_of_math_renders_to_these_bytes(math: Task) -> None:
    values = step_values({"difficulty": "high_school", "topic": "rates"}, "de", persona=PERSONA)
    system, user = messages(math.bringing("problem"), values)
    assert system["role"] == "system"
    assert system["content"].startswith("You write one original math problem that comes out of a person's world.\n\n")
    assert system["content"].endswith("no title, no introduction, no hint, no solution, no answer.")
    assert user == {
        "role": "user",
        "content": "Difficulty: high_school\nTopic: rates\nLanguage: German\n\n"
        "<persona>A beekeeper from Carinthia who loses hives to bears.</persona>",
    }


def test_the_answering_step_of_math_sees_the_problem_alone(math: Task) -> None:
    problem = "How many bears are $\\frac{{3}}{{4}}$ of 8 bears, {{persona.text}}?"
    system, user = messages(math.bringing("solution"), step_values({}, "en", fields={"problem": problem}))
    assert system["content"].startswith("You solve math problems carefully and show your work.\n\n")
    assert "\\boxed{}:" in system["content"]
    assert user == {"role": "user", "content": problem}


def test_the_writing_step_of_instruction_renders_to_these_bytes(instruction: Task) -> None:
    values = step_values({"kind": "plan", "detail": "short"}, None, persona=PERSONA)
    system, user = messages(instruction.bringing("request"), values)
    assert system["content"].startswith("You write the message that a person sends to an AI assistant.\n\n")
    assert user == {
        "role": "user",
        "content": "Kind of request: plan\nLevel of detail: short\nLanguage: English\n\n"
        "<persona>A beekeeper from Carinthia who loses hives to bears.</persona>",
    }


def test_the_answering_step_of_instruction_sees_the_request_alone(instruction: Task) -> None:
    system, user = messages(
        instruction.bringing("reply"), step_values({}, "en", fields={"request": "Fence plan, please."})
    )
    assert system["content"].startswith("You are a knowledgeable and careful assistant.\n\n")
    assert user == {"role": "user", "content": "Fence plan, please."}


def test_system_messages_are_the_same_for_every_row(math: Task, instruction: Task) -> None:
    for task in (math, instruction):
        for step in task.steps:
            assert list(placeholders(step.system)) == []


def test_a_step_without_a_system_message_sends_none() -> None:
    class Bare:
        system = ""
        user = "{{fields.a}}"

    assert messages(Bare(), {"fields": {"a": "x"}}) == [{"role": "user", "content": "x"}]


def test_what_is_put_in_is_never_read_again() -> None:
    values = {"persona": {"text": "{{vary.topic}} \\1 \\g<0>"}, "vary": {"topic": "{{persona.text}}"}}
    assert render("{{persona.text}}|{{vary.topic}}", values) == "{{vary.topic}} \\1 \\g<0>|{{persona.text}}"


def test_braces_that_name_nothing_stay_as_they_are() -> None:
    text = r'\frac{{1}}{{x}} \boxed{} {"a": {"b": 1}} {{}} {{a}} {{ 1.5 }} {% if %} {{{{'
    assert render(text, {}) == text


def test_a_placeholder_without_a_value_is_an_error_and_no_gap() -> None:
    with pytest.raises(KeyError, match="topic"):
        render("{{vary.topic}}", {"vary": {}})


@given(st.text(max_size=40))
def test_any_persona_arrives_unchanged(persona: str) -> None:
    assert render("<p>{{persona.text}}</p>", {"persona": {"text": persona}}) == f"<p>{persona}</p>"


def test_a_language_without_a_name_is_asked_for_by_its_code() -> None:
    assert (language_name("fr"), language_name("tlh")) == ("French", "the language with the ISO 639 code 'tlh'")


VARY = {"topic": {"algebra": 1, "geometry": 1, "rates": 2}, "difficulty": {"school": 3, "contest": 1}}


def test_marginals_of_the_draw_follow_the_weights_and_the_axes_are_independent() -> None:
    n = 20_000
    drawn = [draw(VARY, 0, f"persona-{number}") for number in range(n)]
    for axis, weights in VARY.items():
        counts = Counter(values[axis] for values in drawn)
        for value, weight in weights.items():
            share = weight / sum(weights.values())
            assert abs(counts[value] - n * share) < 4 * (n * share * (1 - share)) ** 0.5
    joint = Counter((values["topic"], values["difficulty"]) for values in drawn)
    assert abs(joint["rates", "contest"] - n / 8) < 4 * (n / 8 * 7 / 8) ** 0.5


def test_a_draw_depends_on_seed_and_key_alone() -> None:
    shuffled = {axis: dict(reversed(VARY[axis].items())) for axis in reversed(VARY)}
    keys = [f"persona-{number}" for number in range(50)]
    drawn = [draw(VARY, 1, key) for key in keys]
    assert drawn == [draw(shuffled, 1, key) for key in keys]
    assert drawn != [draw(VARY, 2, key) for key in keys]
    assert draw(VARY, 1, "persona-0") == {"difficulty": "school", "topic": "geometry"}  # Pinned: it must never move.


def test_an_axis_more_leaves_the_others_as_they_were() -> None:
    wider = {**VARY, "aspect": {"x": 1, "y": 1}}
    for number in range(50):
        drawn = draw(wider, 0, str(number))
        assert {axis: drawn[axis] for axis in VARY} == draw(VARY, 0, str(number))
