"""Text-to-persona by rules: personas from a page's own words, with evidence copied from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .draw import Draw
from .fill import fill
from .sentences import ENGLISH, ENGLISH_MORE, OTHERS, RELATIONS
from .themes import Theme, domain_of, theme_of
from .words import Words, words_of

MOST = 3
LEAST_KEYWORDS = 4
TWO_SENTENCES, OCCUPATION_SAID = 0.6, 0.9
LEAST_EVIDENCE_WORDS, MOST_EVIDENCE_WORDS = 5, 12
_FENCE = re.compile(r"^=== [0-9a-fA-F]+ ===", re.MULTILINE)
_AT_MOST = re.compile(r"\bat most\W+(\d+|one|two|three)\W+personas?\b", re.IGNORECASE)
_NUMBERS = {"one": 1, "two": 2, "three": 3}
_EVIDENCE_CHARS = 160
ENCODER = json.JSONEncoder(ensure_ascii=False)
_FLAWS = ("first person", "placeholder", "evidence", "contact", "empty")


def page_of(user: str) -> str:
    """Return what stands between the two fence lines of a user message, or all of it where there is no fence."""
    found = _FENCE.search(user)
    if found is None:
        return user
    page, closed, _ = user[found.end() :].partition(f"\n{found[0]}")
    return page.strip("\r\n") if closed else user


def persona_reply(system: str, user: str, schema: Mapping[str, Any], variant: Draw, flaws: float) -> str:
    """Return a JSON reply with 0 to 3 personas for the page in *user*.

    Sentences depend on the page's words alone, so that near copies of a page bring near copies of a persona; which
    line is quoted, the order of interests and the flaws depend on *variant* (the request).
    """
    page = page_of(user)
    words = words_of(page)
    limit = _limit(system, user)
    if len(words.keywords) < LEAST_KEYWORDS or variant.unit("none") < flaws / 2 or limit < 1:
        return '{"personas": []}'
    item_schema = item_of(schema)
    count = 1 + words.stable(99) % limit
    first_relation = words.stable(98)
    personas = []
    for ordinal in range(count):
        relation = RELATIONS[(first_relation + ordinal) % len(RELATIONS)]
        persona = _persona(page, words, relation, ordinal, item_schema, variant)
        if variant.unit(f"flawed.{ordinal}") < flaws:
            spoil(persona, variant.pick(f"flaw.{ordinal}", _FLAWS), words.keywords)
        personas.append(persona)
    return ENCODER.encode({"personas": personas})


def _limit(system: str, user: str) -> int:
    """Return N of "at most N personas" where the prompt says it (the page doesn't count), at most 3."""
    around = _FENCE.split(user)
    found = _AT_MOST.search(system) or _AT_MOST.search(around[0]) or _AT_MOST.search(around[-1])
    if found is None:
        return MOST
    said = found[1].lower()
    return min(_NUMBERS.get(said) or int(said), MOST)


def item_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of one persona of a reply."""
    listed = schema["properties"]["personas"]
    items = listed.get("items", {}) if isinstance(listed, Mapping) else {}
    while "$ref" in items:
        node: Any = schema
        for part in items["$ref"].lstrip("#/").split("/"):
            node = node[part]
        items = node
    return items if isinstance(items, Mapping) else {}


def _persona(
    page: str, words: Words, relation: str, ordinal: int, item_schema: Mapping[str, Any], variant: Draw
) -> dict[str, Any]:
    stable = Draw("persona", words.stable(ordinal), ordinal)
    slots = words.slots(ordinal, 6)
    theme = theme_of(words.keywords, stable)
    persona = described(theme, words.language, relation, slots, ordinal, item_schema, stable, variant)
    if "evidence" in persona:
        persona["evidence"] = _evidence(page, variant.number(f"evidence.{ordinal}"))
    return persona


def described(
    theme: Theme,
    language: str,
    relation: str,
    slots: Sequence[str],
    ordinal: int,
    item_schema: Mapping[str, Any],
    stable: Draw,
    variant: Draw,
) -> dict[str, Any]:
    """Return a persona of *theme* whose sentence has six words in its *slots*, with what its schema asks for."""
    code = language if language in OTHERS else "en"
    occupation = stable.pick("occupation", theme.occupations[code])
    names = dict(zip("abcdef", slots, strict=True), who=occupation[0].upper() + occupation[1:])
    if code == "en":
        text = stable.pick("sentence", ENGLISH[relation]).format(**names)
        if stable.unit("more") < TWO_SENTENCES:
            text += " " + stable.pick("second", ENGLISH_MORE).format(**names)
    else:
        text = stable.pick("sentence", OTHERS[code]).format(**names)
    known: dict[str, Any] = {
        "evidence": "",
        "relation": relation,
        "persona": text,
        "occupation": occupation.split(" ", 1)[1] if stable.unit("known") < OCCUPATION_SAID else None,
        "domain": domain_of(theme, _enum(item_schema, "domain") or ["other"], stable),
        "expertise": stable.pick("expertise", ("novice", "practitioner", "expert", None)),
        "interests": variant.order(f"interests.{ordinal}", slots[: 2 + stable.number("interests") % 3]),
        "age_band": stable.pick("age", [*_enum(item_schema, "age_band"), None]),
        "region": None,
        "language": code,
    }
    properties = item_schema.get("properties", {})
    if not properties:
        return known
    return {name: known[name] if name in known else fill(part, stable, slots) for name, part in properties.items()}


def _enum(item_schema: Mapping[str, Any], name: str) -> list[str]:
    node = item_schema.get("properties", {}).get(name, {})
    nodes = [node, *node.get("anyOf", [])]
    return [value for part in nodes for value in part.get("enum", []) if isinstance(value, str)]


def _evidence(page: str, number: int) -> str:
    """Return 5 to 12 contiguous words of one line, character by character (15 characters without spaces)."""
    lines = [line for line in page[:6_000].split("\n") if line.strip()]
    spaced = [line for line in lines if line.count(" ") >= LEAST_EVIDENCE_WORDS - 1]
    if not spaced:
        line = lines[number % len(lines)].strip()
        return line if len(line.split()) > 1 else line[:15]
    line = spaced[number % len(spaced)].strip()
    if len(line) > 2 * _EVIDENCE_CHARS:
        start = line.find(" ", (number >> 20) % (len(line) - _EVIDENCE_CHARS)) + 1
        line = line[start : start + _EVIDENCE_CHARS].rpartition(" ")[0]
    return " ".join(line.split(" ")[:MOST_EVIDENCE_WORDS]).strip()


def spoil(persona: dict[str, Any], flaw: str, words: Sequence[str]) -> None:
    """Plant a *flaw* that a check has to find."""
    topic = words[0]
    if flaw == "first person":
        persona["persona"] = f"I am someone who has worked with {topic} for years, and my notes on it are well known."
    elif flaw == "placeholder":
        persona["persona"] = f"[NAME] is a [OCCUPATION] who takes an interest in {topic} and its surroundings."
    elif flaw == "evidence":
        persona["evidence"] = f"a sentence on {topic} that nobody ever wrote there"
    elif flaw == "contact":
        persona["persona"] = f"A keen reader on {topic} who answers letters at {topic.lower()}.fan@example.com."
    else:
        persona["persona"] = ""
