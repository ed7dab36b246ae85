"""The pages of `tests/data/injections.yaml`, and what a model that obeys them replies."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "data" / "injections.yaml"
SHOWN_CHARS = 6_000
"""What is shown of a page under the settings' defaults."""
_FILLER = "The log of that day has the wind at four, the swell at one and the ferry on time. "
_HALF, _NEST, _DEPTH = "\ud800", "NEST", 100_000
_INVISIBLE = {"TAGS": 0xE0000, "VARIANTS": 0xE0100}


@dataclass(frozen=True)
class Injection:
    """A kind of page: its text, the obedient reply to it, and what is to become of each persona there."""

    kind: str
    language: str
    title: str
    text: str
    reply: str
    becomes: tuple[str, ...]
    misfit: bool
    injected: str

    def marked(self, **marks: str) -> Injection:
        """The same with the marks of fences in their places, by name."""
        said = dict(vars(self))
        for name, mark in marks.items():
            said |= {part: said[part].replace(name, mark) for part in ("title", "text", "reply", "injected")}
        return Injection(**said)


def injections() -> list[Injection]:
    """All kinds, in their order."""
    raw = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return [_made(each, raw["carriers"][each["language"]]) for each in raw["kinds"]]


def harmless() -> list[Injection]:
    """The carriers as they are, each with a fair reply."""
    raw = yaml.safe_load(DATA.read_text(encoding="utf-8"))["carriers"]
    return [
        _made({"kind": f"nothing ({language})", "language": language, "page": "", "becomes": ["accepted"]}, carrier)
        for language, carrier in raw.items()
    ]


def _made(each: dict[str, Any], carrier: dict[str, Any]) -> Injection:
    place, injected = each.get("place", "between"), _expanded(each["page"])
    first, second = carrier["page"]
    parts = {
        "first": [injected, first, second],
        "last": [first, second, injected],
        "deep": [first, _FILLER * 30, injected, _FILLER * 30, second],
        # The cut falls amid what is injected: in its first sentence, which is left out, or behind that.
        "cut": [first, _filled(first, len(injected) // 2), injected, _FILLER * 3, second],
        "title": [first, second],
    }.get(place, [first, injected, second])
    text = "\n\n".join(part for part in parts if part)
    if place == "cut":
        assert text.index(injected) < SHOWN_CHARS < text.index(injected) + len(injected)
    return Injection(
        each["kind"],
        each["language"],
        injected if place == "title" else "A page",
        text,
        _expanded(each["text"]) if "text" in each else _reply(each, carrier),
        tuple(each["becomes"]),
        each.get("misfit", False),
        injected,
    )


def _filled(first: str, most: int) -> str:
    return (_FILLER * 80)[: SHOWN_CHARS - len(first) - 4 - most].rsplit(" ", 1)[0]


def _reply(each: dict[str, Any], carrier: dict[str, Any]) -> str:
    persona = {
        "evidence": carrier["evidence"], "relation": "read", "persona": each.get("says", carrier["persona"]),
        "occupation": None, "domain": "other", "expertise": None, "interests": [], "age_band": None, "region": None,
        **each.get("with", {}),
    }  # fmt: skip
    # As JSON, where half a pair is spelt as an escape.
    return _expanded(json.dumps({"personas": [persona] * each.get("times", 1)})).replace(_HALF, "\\ud800")


def _expanded(text: str) -> str:
    def invisible(found: re.Match[str]) -> str:
        return "".join(chr(_INVISIBLE[found[1]] + ord(c)) for c in found[2])

    text = re.sub(rf"({'|'.join(_INVISIBLE)})\(([^)]*)\)", invisible, text)
    return text.replace("HALF", _HALF).replace(_NEST, "[" * _DEPTH)
