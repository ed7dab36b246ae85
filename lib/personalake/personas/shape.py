"""What a persona is in a reply: its keys, the values that they may have, and the row of the table that it becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from personalake.settings import AttributeSettings

RELATIONS = ("write", "read", "like", "dislike")
"""What the person behind a page does with it (arXiv 2406.20094, section 2.1)."""
EXPERTISE = ("novice", "practitioner", "expert")
AGE_BANDS = ("child", "teenager", "young_adult", "adult", "senior")
OTHER = "other"

_OPEN = ("occupation", "region")
_KNOWN = ("occupation", "expertise", "age_band", "region")
_TELLING = (*_KNOWN, "interests", "domain")


@dataclass(frozen=True)
class Shape:
    """The keys of a persona in a reply; one that is inferred *quotes* the page that it is inferred from."""

    domains: tuple[str, ...]
    relations: tuple[str, ...]
    attributes: Mapping[str, AttributeSettings] = field(default_factory=dict)
    quotes: bool = True

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of a whole reply: closed, and all keys required, as strict structured output wants it."""
        text = {"type": "string"}
        properties: dict[str, Any] = {"evidence": text} if self.quotes else {}
        properties |= {
            "relation": {"type": "string", "enum": list(self.relations)},
            "persona": text,
            "occupation": {"type": ["string", "null"]},
            "domain": {"type": "string", "enum": [*self.domains, OTHER]},
            "expertise": {"type": ["string", "null"], "enum": [*EXPERTISE, None]},
            "interests": {"type": "array", "items": text},
            "age_band": {"type": ["string", "null"], "enum": [*AGE_BANDS, None]},
            "region": {"type": ["string", "null"]},
        }
        for name, asked in self.attributes.items():
            properties[name] = {"type": ["string", "null"], "description": asked.description}
            if asked.values:
                properties[name]["enum"] = [*asked.values, None]
        one = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
        whole = {"personas": {"type": "array", "items": one}}
        return {"type": "object", "properties": whole, "required": ["personas"], "additionalProperties": False}

    @property
    def keys(self) -> str:
        """The keys in their order, as a prompt names them."""
        listed = self.schema["properties"]["personas"]["items"]["properties"]
        return ", ".join(f'"{name}"' for name in listed)

    @property
    def free(self) -> tuple[str, ...]:
        """The keys, beside the persona and its interests, that may have words of the model's own."""
        return (*_OPEN, *self.attributes)

    def wrong(self, item: Any, relations: tuple[str, ...] | None = None) -> str | None:  # noqa: ANN401 (JSON)
        """What is wrong with the types and closed values of *item*; null where nothing is.

        *relations* are those that were asked for, where these are fewer than the shape has.
        """
        if not isinstance(item, dict):
            return "a persona isn't an object"
        wrong = self._mistyped(item)
        if wrong:
            return wrong
        if item["relation"] not in (relations or self.relations):
            return "`relation` is not one of the values allowed"
        for name, values in self._allowed.items():
            if item.get(name) not in values:
                return f"`{name}` is not one of the values allowed"
        return None

    def _mistyped(self, item: Mapping[str, Any]) -> str | None:
        for name in self._required:
            if not isinstance(item.get(name), str):
                return f"`{name}` isn't a string"
        for name in self._optional:
            said = item.get(name)
            if said is not None and not isinstance(said, str):
                return f"`{name}` isn't a string or null"
        interests = item.get("interests")
        if not isinstance(interests, list) or not all([isinstance(i, str) for i in interests]):
            return "`interests` isn't a list of strings"
        return None

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return ("relation", "persona", "domain", *(("evidence",) if self.quotes else ()))

    @cached_property
    def _optional(self) -> tuple[str, ...]:
        return (*_OPEN, "expertise", "age_band", *self.attributes)

    @cached_property
    def _allowed(self) -> dict[str, frozenset[str | None]]:
        """The values of all keys that are closed but the relation's, which may be fewer."""
        closed = {
            "domain": (*self.domains, OTHER),
            "expertise": (*EXPERTISE, None),
            "age_band": (*AGE_BANDS, None),
            **{name: (*asked.values, None) for name, asked in self.attributes.items() if asked.values},
        }
        return {name: frozenset(values) for name, values in closed.items()}

    def row(self, text: str, item: Mapping[str, Any], evidence: str | None = None) -> dict[str, Any]:
        """The columns of `personas` that the persona itself fills: *text*, its *evidence*, what *item* says of it."""
        known = {name: said.strip() or None if (said := item.get(name)) else None for name in _KNOWN}
        further = {name: said for name in self.attributes if (said := (item.get(name) or "").strip())}
        interests = [said for each in item["interests"] if (said := each.strip())]
        return {
            "text": text,
            "text_hash": text_hash(text),
            "relation": item["relation"],
            "evidence": evidence,
            **known,
            "domain": item["domain"],
            "interests": interests,
            "attributes": further or None,
            "quality": _quality(*known.values(), interests, item["domain"]),
        }


def text_hash(text: str) -> str:
    """The sha256 of a persona's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def quality(persona: Mapping[str, Any]) -> float:
    """The share of its attributes that a persona has, 0..1: among repeats the one that says most survives."""
    return _quality(*[persona[name] for name in _TELLING])


def _quality(*said: object) -> float:
    return len([each for each in said if each and each != OTHER]) / len(said)
