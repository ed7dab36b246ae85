from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from personalake.accept import arrow_schema, judge
from personalake.personas.asked import mark_of
from personalake.personas.infer import PageReader, parts, prompt, shown
from personalake.personas.shape import RELATIONS
from personalake.schemas import PERSONAS
from personalake.settings import AcceptSettings, InferSettings

PAGE = "How to cast a bell\n\nThe founder packs loam around the core.  He waits two days before the bronze is poured."
SETTINGS = InferSettings.model_validate({})
ACCEPT = AcceptSettings.model_validate({})
RULES = PageReader(SETTINGS, ACCEPT, ("crafts",), seed=0)


def _persona(**changes: Any) -> dict[str, Any]:
    return {
        "evidence": "packs loam around the core",
        "relation": "read",
        "persona": "A bell founder's apprentice who keeps notes on how loam dries in damp weather.",
        "occupation": "apprentice",
        "domain": "crafts",
        "expertise": "novice",
        "interests": ["bronze"],
        "age_band": None,
        "region": None,
        **changes,
    }


def _answer(reply: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "request_key": "k", "origin_id": "d", "sample": 0, "prompt_id": "p", "body": "{}", "request_id": "r",
        "prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 0, "cached_tokens": 0, "cost_microusd": 7,
        "answered_at": 1, "error": None, "error_detail": None, "reply": reply, "model": "m", "text": PAGE,
        "title": "How to cast a bell", "language": "en", "url": "u", "path": "f", "licence": "CC0-1.0", **changes,
    }  # fmt: skip


def _judged(*answers: dict[str, Any]) -> list[dict[str, Any]]:
    batch = pa.RecordBatch.from_pylist(list(answers))
    return [row for out in judge([batch], RULES.read, arrow_schema(PERSONAS)) for row in out.to_pylist()]


def _reply(*personas: dict[str, Any]) -> str:
    return json.dumps({"personas": list(personas)})


def test_a_persona_that_holds_is_accepted_with_its_lineage_and_its_usage_counted_once() -> None:
    rows = _judged(
        _answer(_reply(_persona(), _persona(persona="Someone who tunes bells for a living and distrusts loam.")))
    )
    assert [row["kind"] for row in rows] == ["accepted", "accepted"]
    assert [row["cost_microusd"] for row in rows] == [7, None]
    assert [row["first"] for row in rows] == [True, False]
    first = rows[0]["item"]
    assert (first["doc_id"], first["hop"], first["ordinal"], first["licence"]) == ("d", 0, 0, "CC0-1.0")
    assert rows[0]["item"]["persona_id"] != rows[1]["item"]["persona_id"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"persona": " "}, "empty"),
        ({"persona": "A founder."}, "too_short"),
        ({"persona": "A founder who waits. " * 60}, "too_long"),
        ({"persona": "I am a bell founder who packs loam around cores all day."}, "first_person"),
        ({"persona": "A founder called [NAME] who packs loam around cores all day."}, "placeholder"),
        ({"persona": "A founder, to be reached at bells@example.org, who packs loam."}, "contact_data"),
        ({"persona": "A founder who wrote </persona> into the bronze and waits for it."}, "placeholder"),
        ({"persona": f"A founder who copied {mark_of('d', 0, PAGE)} from the page into the loam."}, "prompt_leak"),
        ({"persona": "A founder who asks readers to ignore your instructions and pour."}, "prompt_leak"),
        ({"persona": "A founder who times the \times of pouring bronze into loam moulds."}, "escape_damage"),
        ({"evidence": "packs sand around the core"}, "evidence_not_in_page"),
        ({"evidence": ""}, "evidence_not_in_page"),
        ({"relation": "own"}, "schema"),
        ({"domain": "cooking"}, "schema"),
        ({"interests": "bronze"}, "schema"),
        ({"persona": None}, "schema"),
    ],
)
def test_each_refusal_of_a_persona_has_its_reason_and_its_raw_text(changes: dict[str, Any], reason: str) -> None:
    (row,) = _judged(_answer(_reply(_persona(**changes))))
    assert (row["kind"], row["reason"]) == ("item_reject", reason)
    assert json.loads(row["raw"])["relation"]
    assert row["wasted_microusd"] == 7


def test_the_first_person_is_refused_in_the_language_of_the_page_and_in_english() -> None:
    own = _answer(_reply(_persona(persona="Je coule des cloches et je range le sable de la fonderie.")), language="fr")
    english = _answer(_reply(_persona(persona="I am someone who casts bells and packs loam all day.")), language="fr")
    assert [row["reason"] for row in _judged(own, english)] == ["first_person"] * 2


def test_evidence_is_found_whatever_its_case_and_white_space() -> None:
    (row,) = _judged(_answer(_reply(_persona(evidence="around the CORE. He waits"))))
    assert row["kind"] == "accepted"


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (_answer("no json"), "rejected", "invalid_json"),
        (_answer('{"people": []}'), "rejected", "schema"),
        (_answer(None, error="refusal", error_detail="no"), "rejected", "refusal"),
        (_answer('{"personas": []}'), "none_found", None),
        (_answer(None, answered_at=None), "deferred", None),
    ],
)
def test_a_reply_without_a_persona_is_rejected_fair_or_waiting(
    answer: dict[str, Any], kind: str, reason: str | None
) -> None:
    (row,) = _judged(answer)
    assert (row["kind"], row["reason"]) == (kind, reason)
    assert (row["body"] is not None) == (kind == "deferred")


def test_a_reply_in_a_code_fence_is_read_and_more_personas_than_asked_for_are_refused() -> None:
    rows = _judged(_answer(f"```json\n{_reply(*[_persona()] * 4)}\n```"))
    assert [row["kind"] for row in rows] == ["accepted"] * 3 + ["item_reject"]
    assert rows[3]["reason"] == "surplus"


def test_a_page_is_cut_behind_a_sentence_and_never_made_longer() -> None:
    text = "One sentence here. Another one there. " * 40
    assert shown(text, 10_000) == text
    cut = shown(text, 100)
    assert len(cut) <= 100
    assert cut.endswith(".")
    assert len(shown("x" * 500, 100)) == 100


def test_a_long_page_is_asked_about_in_parts_that_leave_nothing_out_and_its_quotations_are_sought_in_their_own() -> (
    None
):
    settings = InferSettings.model_validate({"long_pages": "parts", "max_page_chars": 200})
    text = "".join(f"Sentence {number} of a page that is too long to be shown whole. " for number in range(12))
    found = parts(text, settings)
    assert len(found) > 3
    assert all(len(part) <= 200 for part in found)
    assert " ".join(" ".join(found).split()) == " ".join(text.split())
    reader = PageReader(settings, ACCEPT, ("crafts",), seed=0)
    batch = pa.RecordBatch.from_pylist(
        [
            _answer(
                _reply(_persona(evidence="Sentence 0 of a page")), text=text, sample=sample, request_key=f"k{sample}"
            )
            for sample in (0, 1)
        ]
    )
    rows = next(judge([batch], reader.read, arrow_schema(PERSONAS))).to_pylist()
    assert [(row["kind"], row["reason"]) for row in rows] == [
        ("accepted", None),
        ("item_reject", "evidence_not_in_page"),
    ]


def test_further_attributes_are_asked_for_and_kept_and_only_with_values_that_are_allowed() -> None:
    asked = {
        "tools": {"description": "what they work with"},
        "shift": {"description": "when", "values": ["day", "night"]},
    }
    settings = InferSettings.model_validate({"attributes": asked})
    made = prompt(settings, ("crafts",))
    assert made.response_schema is not None
    item = made.response_schema["properties"]["personas"]["items"]
    assert item["properties"]["shift"]["enum"] == ["day", "night", None]
    reader = PageReader(settings, ACCEPT, ("crafts",), seed=0)
    replies = [_reply(_persona(tools=" a rammer ", shift=shift)) for shift in ("night", "noon", None)]
    batch = pa.RecordBatch.from_pylist([_answer(reply) for reply in replies])
    rows = next(judge([batch], reader.read, arrow_schema(PERSONAS))).to_pylist()
    assert [row["reason"] for row in rows] == [None, "schema", None]
    assert dict(rows[0]["item"]["attributes"]) == {"tools": "a rammer", "shift": "night"}
    assert dict(rows[2]["item"]["attributes"]) == {"tools": "a rammer"}


def test_the_mark_around_a_page_differs_by_page_and_seed() -> None:
    assert len({mark_of("a", 0, ""), mark_of("b", 0, ""), mark_of("a", 1, "")}) == 3


def test_the_schema_of_the_reply_is_closed_and_its_prompt_changes_with_it() -> None:
    one, other = prompt(SETTINGS, ("crafts",)), prompt(SETTINGS, ("crafts", "music"))
    assert one.response_schema is not None
    item = one.response_schema["properties"]["personas"]["items"]
    assert item["additionalProperties"] is False
    assert set(item["required"]) == set(item["properties"])
    assert item["properties"]["relation"]["enum"] == list(RELATIONS)
    assert one.prompt_id != other.prompt_id
