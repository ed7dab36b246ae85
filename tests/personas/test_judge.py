from __future__ import annotations

import json

import pytest

from personalake.accept import Refusal
from personalake.personas.judge import prompt, read_score
from personalake.settings import JudgeSettings


def _read(reply: str) -> object:
    read = read_score({"reply": reply, "origin_id": "p", "sample": 0}, "v", 3)
    return read.refused or read.items[0][1]


@pytest.mark.parametrize(("score", "passed"), [(1, False), (2, False), (3, True), (5, True)])
def test_a_score_is_a_verdict_that_passes_from_the_least_score_on(score: int, passed: bool) -> None:
    verdict = _read(json.dumps({"reason": "specific", "score": score}))
    assert isinstance(verdict, dict)
    assert (verdict["score"], verdict["passed"], verdict["evidence"]) == (float(score), passed, "specific")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("five", "invalid_json"),
        ("[5]", "schema"),
        ('{"score": 6}', "schema"),
        ('{"score": "5"}', "schema"),
        ('{"score": true}', "schema"),
        ('{"score": null}', "schema"),
    ],
)
def test_a_reply_without_a_score_of_one_to_five_is_no_verdict(reply: str, reason: str) -> None:
    refused = _read(reply)
    assert isinstance(refused, Refusal)
    assert refused.reason == reason


def test_the_judge_gives_its_reason_before_the_score() -> None:
    made = prompt(JudgeSettings.model_validate({}))
    assert made.response_schema is not None
    assert list(made.response_schema["properties"]) == ["reason", "score"]
