from __future__ import annotations

import json
from typing import Any

import pytest

from personalake.accept import Refusal
from personalake.llm.models import Abilities, Question
from personalake.personas.expand import Asker, drawn, prompt
from personalake.prompts import Prompt
from personalake.settings import AcceptSettings, ExpandSettings, InferSettings, RoleSettings

INFER, ACCEPT = InferSettings.model_validate({}), AcceptSettings.model_validate({})
SETTINGS = ExpandSettings.model_validate({"hops": 2, "fan_out": 2})
ASKER = Asker(SETTINGS, INFER, ACCEPT, ("crafts",), seed=0)
PARENT = {
    "persona_id": "p", "text": "A bell founder who keeps notes on how loam dries in damp weather.", "language": "en",
    "occupation": "bell founder", "age_band": "adult", "root_doc_id": "d", "hop": 0, "url": "u", "source": "f",
    "licence": "CC0-1.0",
}  # fmt: skip


def _persona(**changes: Any) -> dict[str, Any]:
    return {
        "relation": drawn("p", SETTINGS, 0)[0],
        "persona": "A verger who rings for evening service and hears when a bell has a flaw.",
        "occupation": "verger", "domain": "crafts", "expertise": None, "interests": [], "age_band": None,
        "region": None, **changes,
    }  # fmt: skip


def _read(*personas: Any, **parent: Any) -> list[Any]:
    answer = {
        **PARENT, **parent, "origin_id": "p", "request_key": "k", "prompt_id": "q", "model": "m",
        "reply": json.dumps({"personas": list(personas)}),
    }  # fmt: skip
    return [told for _, told in ASKER.read([answer])[0].items]


def _question(made: Prompt) -> Question:
    role = RoleSettings.model_validate({"model": "m"})
    return Question(
        label="m", role=role, abilities=Abilities(), schema_name="personas", response_schema=made.response_schema
    )


def test_a_persona_of_a_persona_keeps_the_root_the_parent_the_relation_and_the_hop() -> None:
    (row,) = _read(_persona())
    assert (row["parent_id"], row["root_doc_id"], row["hop"], row["licence"]) == ("p", "d", 1, "CC0-1.0")
    assert row["relation"] == drawn("p", SETTINGS, 0)[0]
    assert (row.get("doc_id"), row["evidence"], row["language"]) == (None, None, "en")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"relation": "enemy"}, "schema"),
        ({"persona": ""}, "empty"),
        ({"occupation": " Bell Founder "}, "same_as_parent"),
        ({"occupation": "bell founder", "age_band": "adult"}, "same_as_parent"),
        ({"persona": "I am the verger who rings for evening service each day."}, "first_person"),
    ],
)
def test_each_refusal_of_a_persona_of_a_persona_has_its_reason(changes: dict[str, Any], reason: str) -> None:
    (refused,) = _read(_persona(**changes))
    assert isinstance(refused, Refusal)
    assert refused.reason == reason


def test_the_same_occupation_at_another_age_is_another_person() -> None:
    (row,) = _read(_persona(occupation="bell founder", age_band="senior"))
    assert row["age_band"] == "senior"


def test_a_relation_that_was_not_drawn_for_this_persona_and_a_third_persona_are_refused() -> None:
    other = next(name for name in SETTINGS.relations if name not in drawn("p", SETTINGS, 0))
    first, second, third = _read(_persona(relation=other), _persona(), _persona())
    assert (first.reason, third.reason) == ("schema", "surplus")
    assert second["hop"] == 1


def test_relations_are_drawn_by_hash_each_once_before_any_comes_again() -> None:
    seven = ExpandSettings.model_validate({"fan_out": 7})
    found = drawn("p", seven, 0)
    assert sorted(found[:5]) == sorted(seven.relations)
    assert found[5:] == found[:2]
    assert len({tuple(drawn(str(number), seven, 0)) for number in range(40)}) > 10


def test_a_request_shows_the_persona_between_fences_and_relations_of_ones_own_in_their_words() -> None:
    own = ExpandSettings.model_validate(
        {"fan_out": 2, "relations": {"teacher": "who taught them", "pupil": "who learns"}}
    )
    asker = Asker(own, INFER, ACCEPT, ("crafts",), seed=0)
    made = prompt(own, INFER, ("crafts",))
    body = json.loads(asker.request(PARENT, _question(made), made)["body"])
    user = body["messages"][1]["content"]
    assert "teacher: who taught them" in user
    assert user.count("\n=== ") == 2
    assert user.index("pupil: who learns") < user.index(PARENT["text"])
    assert "{{" not in json.dumps(body["messages"])
