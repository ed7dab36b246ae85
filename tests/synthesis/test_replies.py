from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.accept import Refusal
from personalake.synthesis.replies import fields_of
from personalake.synthesis.tasks import Step


def step(**more: Any) -> Step:
    return Step.model_validate({"id": "made", "role": "writer", "user": "Write.", **more})


TAGGED = step(reply="tagged", tags=["code", "tests"])
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parameters": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "parameters"],
    "additionalProperties": False,
}
JSON = step(reply="json", schema=SCHEMA)


def test_a_text_is_the_field_of_the_steps_name() -> None:
    assert fields_of(" a \\frac{1}{2}\r\nb ", step()) == {"made": "a \\frac{1}{2}\nb"}


def test_each_tags_last_pair_counts_without_its_fence() -> None:
    reply = (
        "I put the code between <code> and </code>.\n<code>\n```python\ndef f(x):\n    return x < 2\n```\n</code>\n"
        "<tests>assert f(1)</tests> Done."
    )
    assert fields_of(reply, TAGGED) == {"code": "def f(x):\n    return x < 2", "tests": "assert f(1)"}


@given(st.text().filter(lambda text: "<" not in text and "`" not in text))
def test_whatever_stands_between_tags_is_kept(text: str) -> None:
    kept = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    assert fields_of(f"<code>{text}</code><tests>x</tests>", TAGGED) == {"code": kept, "tests": "x"}


@pytest.mark.parametrize(
    "reply", ["", "<code>a</code>", "<tests>b</tests>", "<code>a<tests>b</tests>", "</code><code>"]
)
def test_a_reply_without_a_tag_says_which(reply: str) -> None:
    found = fields_of(reply, TAGGED)
    assert isinstance(found, Refusal)
    assert (found.reason, found.raw) == ("no_tag", reply)
    assert found.detail in ("no <code>...</code>", "no <tests>...</tests>")


def test_a_json_reply_brings_a_field_a_property() -> None:
    reply = json.dumps({"name": "add", "parameters": ["a", "ü"]})
    for given_reply in (reply, f"```json\n{reply}\n```"):
        assert fields_of(given_reply, JSON) == {"name": "add", "parameters": '["a","ü"]'}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("no JSON", "invalid_json"),
        ('{"name": "add"}', "invalid_schema"),
        ('{"name": 1, "parameters": []}', "invalid_schema"),
        ('{"name": "a", "parameters": [], "more": 1}', "invalid_schema"),
        ('["name"]', "invalid_schema"),
        # Under-escaped LaTeX is valid JSON, and something else: \\frac, \\boxed, \\times.
        ('{"name": "\\frac{1}{2}", "parameters": []}', "escape_damage"),
        ('{"name": "a", "parameters": ["\\boxed{2}"]}', "escape_damage"),
        ('{"name": "3 \\times 4", "parameters": []}', "escape_damage"),
        ('{"name": "\\ud83d", "parameters": []}', "escape_damage"),
    ],
)
def test_a_json_reply_that_does_not_hold_says_why(reply: str, reason: str) -> None:
    found = fields_of(reply, JSON)
    assert isinstance(found, Refusal)
    assert found.reason == reason


def test_latex_that_is_escaped_as_it_should_be_is_kept() -> None:
    reply = json.dumps({"name": "\\frac{1}{2} \\times \\boxed{3}", "parameters": ["a\nb"]})
    assert fields_of(reply, JSON) == {"name": "\\frac{1}{2} \\times \\boxed{3}", "parameters": '["a\\nb"]'}
