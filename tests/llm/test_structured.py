from __future__ import annotations

import json
from typing import Any

import pytest

from personalake.llm.structured import Checker, read_json

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["a", "b", None]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("reply", ['{"name": "x", "kind": null}', '```json\n{"name": "x", "kind": "a"}\n```'])
def test_a_reply_that_fits_is_fine_with_or_without_its_fence(reply: str) -> None:
    assert Checker(SCHEMA).wrong(reply) is None


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        ('{"name": "x"', "invalid_json", "delimiter"),
        ("Sure! Here it is.", "invalid_json", "Expecting value"),
        ("[" * 100_000, "invalid_json", "nested"),
        ('{"name": "x"}', "invalid_schema", "kind"),
        ('{"name": "x", "kind": "c"}', "invalid_schema", "must be one of"),
        ('{"name": 5, "kind": "a"}', "invalid_schema", "string"),
        ('{"name": "x", "kind": "a", "more": 1}', "invalid_schema", "properties"),
        ("[]", "invalid_schema", "object"),
    ],
)
def test_what_does_not_fit_is_told_by_its_kind(reply: str, reason: str, detail: str) -> None:
    found = Checker(SCHEMA).wrong(reply)
    assert found is not None
    assert found[0] == reason
    assert detail in found[1]


def test_the_second_request_shows_the_reply_and_what_is_wrong_with_it() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 5})
    again = json.loads(Checker(SCHEMA).repaired(body, "Sure!", "no JSON at all"))
    assert again["messages"][:2] == [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Sure!"}]
    assert "no JSON at all" in again["messages"][2]["content"]
    assert '"additionalProperties"' in again["messages"][2]["content"]
    assert (again["model"], again["max_tokens"]) == ("m", 5)


def test_a_schema_that_the_endpoint_was_given_is_not_told_twice() -> None:
    body = json.dumps({"messages": [], "response_format": {"type": "json_schema", "json_schema": {}}})
    assert "additionalProperties" not in Checker(SCHEMA).repaired(body, "", "x")


def test_json_in_a_fence_is_read() -> None:
    assert read_json("```\n[1]\n```") == [1]
