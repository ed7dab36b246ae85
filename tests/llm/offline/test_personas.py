"""Persona replies: grounded in the page, distinct across pages, nearly equal for near copies, flawed on order."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from typing import Any

import pytest

from personalake.llm.offline.personas import page_of
from personalake.llm.offline.rules import asked, choice
from personalake.llm.offline.sentences import ENGLISH, OTHERS
from personalake.llm.offline.words import words_of

NAMES = "evidence relation persona occupation domain expertise interests age_band region"
FIELDS = NAMES.split()
DOMAINS = ["health", "food", "farming", "technology", "education", "history", "other"]
ITEM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": FIELDS,
    "properties": {
        "evidence": {"type": "string"},
        "relation": {"type": "string", "enum": ["write", "read", "like", "dislike"]},
        "persona": {"type": "string"},
        "occupation": {"type": ["string", "null"]},
        "domain": {"type": "string", "enum": DOMAINS},
        "expertise": {"type": ["string", "null"], "enum": ["novice", "practitioner", "expert", None]},
        "interests": {"type": "array", "items": {"type": "string"}},
        "age_band": {"anyOf": [{"type": "string", "enum": ["18-24", "25-44", "45+"]}, {"type": "null"}]},
        "region": {"type": ["string", "null"]},
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["personas"],
    "properties": {"personas": {"type": "array", "items": ITEM}},
}
SHAPE = {"type": "json_schema", "json_schema": {"name": "personas", "strict": True, "schema": SCHEMA}}
ENGLISH_PAGE = """Keeping sourdough alive
A starter lives on flour and water, and it wants to be fed at regular hours. In a warm kitchen the dough rises fast.
Bakers watch the bubbles, the smell and the weight of the dough before they shape a loaf.
  Rye flour   ferments quickly, while wheat needs patience and a longer rest in the basket.
A hot oven with steam gives the crust its colour, and cooling on a rack keeps the crumb open and tender."""
GERMAN_PAGE = """Bienen im Winter
Die Imkerin kontrolliert im Herbst die Vorräte, damit das Volk den Winter übersteht. Ein Volk braucht genug Honig,
und die Wintertraube hält die Königin warm. Im Garten bleibt der Stock vor Wind geschützt, und die Bienen sitzen dicht
an dicht. Erst im Frühling fliegen die ersten Sammlerinnen wieder zu den Blüten der Weide und der Hasel."""


def infer(page: str, *, request_id: str = "r", flaws: float = 0.0, most: int = 3) -> list[dict[str, Any]]:
    user = f"Name at most {most} personas.\n=== 5f3a9c ===\n{page}\n=== 5f3a9c ===\nThe page is data."
    question = asked(
        {
            "messages": [{"role": "system", "content": "Infer."}, {"role": "user", "content": user}],
            "response_format": SHAPE,
        },
        request_id,
    )
    return list(json.loads(choice(question, 0, None, (), flaws).text)["personas"])


def made_up_pages(count: int) -> list[str]:
    """Pages of made-up words over a shared vocabulary: harder to keep apart than real ones."""
    source = random.Random(7)
    syllables = ["ba", "lo", "ri", "tan", "mek", "su", "vor", "ni", "del", "pra", "gos", "hem"]
    vocabulary = ["".join(source.choices(syllables, k=3)) for _ in range(1_500)]
    pages = []
    for _ in range(count):
        own = source.sample(vocabulary, 60)
        lines = [" ".join(["the", *source.choices(own, k=9), "of", "and", "with"]) for _ in range(12)]
        pages.append("\n".join(lines))
    return pages


def token_jaccard(left: str, right: str) -> float:
    a, b = (set(re.findall(r"\w+", text.lower())) for text in (left, right))
    return len(a & b) / len(a | b)


def test_evidence_is_copied_from_the_page_character_by_character() -> None:
    for number in range(60):
        for persona in infer(ENGLISH_PAGE, request_id=str(number)):
            assert persona["evidence"] in ENGLISH_PAGE
            assert "\n" not in persona["evidence"]
            assert 1 <= len(persona["evidence"].split()) <= 15


def test_every_field_of_the_schema_is_there_and_within_its_enum() -> None:
    for page in (ENGLISH_PAGE, GERMAN_PAGE):
        for persona in infer(page):
            assert list(persona) == FIELDS
            assert persona["domain"] in DOMAINS
            assert persona["relation"] in ITEM["properties"]["relation"]["enum"]
            assert persona["expertise"] in ("novice", "practitioner", "expert", None)
            assert persona["age_band"] in ("18-24", "25-44", "45+", None)
            assert persona["interests"]


def test_a_persona_uses_words_of_its_page_and_its_page_s_theme() -> None:
    personas = infer(ENGLISH_PAGE)
    assert all(any(word in persona["persona"] for word in words_of(ENGLISH_PAGE).keywords) for persona in personas)
    assert {persona["domain"] for persona in personas} == {"food"}


def test_german_pages_get_german_personas() -> None:
    openings = {text.split("{a}")[0].replace("{who}", "") for text in OTHERS["de"]}
    for persona in infer(GERMAN_PAGE):
        assert any(opening in persona["persona"] for opening in openings)


def test_what_stands_outside_of_the_fence_does_not_matter_to_the_sentences() -> None:
    user = f"=== ab ===\n{ENGLISH_PAGE}\n=== ab ===\nsome words on airplanes"
    assert page_of(user) == ENGLISH_PAGE
    assert page_of("no fence at all") == "no fence at all"
    assert page_of("=== ab ===\nnever closed") == "=== ab ===\nnever closed"


def test_the_number_asked_for_is_a_ceiling() -> None:
    for page in made_up_pages(30):
        assert len(infer(page, most=1)) == 1
        assert 1 <= len(infer(page)) <= 3
        assert len(infer(f"{page}\nat most 0 personas")) >= 1


def test_another_request_id_keeps_the_sentences_and_varies_the_rest() -> None:
    one, two = infer(ENGLISH_PAGE, request_id="a"), infer(ENGLISH_PAGE, request_id="b")
    assert [persona["persona"] for persona in one] == [persona["persona"] for persona in two]
    assert one != two
    assert one == infer(ENGLISH_PAGE, request_id="a")


def test_a_thousand_pages_bring_distinct_personas() -> None:
    texts = [infer(page)[0]["persona"] for page in made_up_pages(1_000)]
    assert len(set(texts)) > 950
    near = sum(token_jaccard(left, right) >= 0.9 for left, right in pairwise(texts))
    assert near < 20


def test_a_page_with_one_changed_sentence_mostly_brings_the_same_or_a_near_persona() -> None:
    kept = 0
    pages = made_up_pages(100)
    for page in pages:
        changed = page.replace(page.splitlines()[5], "the wholly other sentence of sorts and with nothing shared")
        kept += token_jaccard(infer(page)[0]["persona"], infer(changed)[0]["persona"]) >= 0.8
    assert kept >= 70


def test_flaws_come_at_about_the_rate_that_is_set_and_of_every_kind() -> None:
    found: list[dict[str, Any]] = []
    empty = 0
    for number in range(400):
        personas = infer(ENGLISH_PAGE, request_id=f"f{number}", flaws=0.4)
        empty += not personas
        found += personas
    kinds = [
        [p for p in found if p["persona"].startswith("I am")],
        [p for p in found if "[NAME]" in p["persona"]],
        [p for p in found if "@" in p["persona"]],
        [p for p in found if not p["persona"]],
        [p for p in found if p["evidence"] not in ENGLISH_PAGE],
    ]
    assert all(kinds)
    assert sum(map(len, kinds)) / len(found) == pytest.approx(0.4, abs=0.08)
    assert empty / 400 == pytest.approx(0.2, abs=0.07)


def test_pages_without_spaces_or_words_do_not_fail() -> None:
    chinese = "种植水稻需要充足的水源和肥沃的土壤。" * 10
    for persona in infer(chinese):
        assert persona["evidence"] in chinese
    assert infer("1234 5678") == []
    assert infer("") == []


def test_there_are_at_least_forty_english_patterns_and_eight_in_each_other_language() -> None:
    assert len({text for texts in ENGLISH.values() for text in texts}) >= 40
    assert all(len(set(texts)) >= 8 for texts in OTHERS.values())
