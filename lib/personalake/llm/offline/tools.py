"""Stand-ins for tools and for replies in parts: interfaces, code with its tests, texts between tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .draw import Draw
from .problems import own_words, role_of
from .words import words_of
from .writers import answer_reply

_TAGS = re.compile(r"between <(?!persona>)(\w+)> and </\1>", re.IGNORECASE)
_NAMED = re.compile(r"^Name: (\w+)$", re.MULTILINE)
_SNAKE = re.compile(r"[^a-z0-9]+")

# verb: (what it does, parameters as "name type", what comes back, the function's body, tests as "arguments -> result")
_KINDS: dict[str, tuple[str, str, str, str, str]] = {
    "estimate": (
        "Estimate what {a} takes in all", "pieces integer, each number", "the total, in the unit of `each`",
        "if pieces < 0 or each < 0:\n    raise ValueError('no negative amounts')\nreturn pieces * each",
        "3, 2.5 -> 7.5; 0, 4 -> 0; -1, 2 -> ValueError",
    ),
    "share": (
        "Share {a} equally and say what is left over", "pieces integer, people integer", "the pieces left over",
        "if pieces < 0 or people < 1:\n    raise ValueError('pieces from 0, people from 1')\nreturn pieces % people",
        "17, 5 -> 2; 20, 5 -> 0; 3, 0 -> ValueError",
    ),
    "check": (
        "Check whether {a} stays within its limits", "value number, lowest number, highest number",
        "whether the value lies between the two", "if lowest > highest:\n    raise ValueError('lowest above highest')\n"
        "return lowest <= value <= highest",
        "5, 1, 9 -> True; 10, 1, 9 -> False; 1, 9, 1 -> ValueError",
    ),
}  # fmt: skip


def is_interface(schema: Mapping[str, Any]) -> bool:
    """Whether a reply's *schema* describes a tool."""
    return {"name", "parameters", "returns"} <= {*schema.get("properties", {})}


def interface_reply(persona: str, variant: Draw) -> str:
    """Return a tool's interface as JSON: one of a few kinds, named after a word of the persona."""
    word = variant.order("words", own_words(persona, role_of(persona)))[0]
    verb = variant.pick("kind", sorted(_KINDS))
    does, parameters, returns, _, tests = _KINDS[verb]
    arguments, result = tests.split("; ")[0].split(" -> ")
    said = {
        "name": f"{verb}_{_SNAKE.sub('_', word.lower()).strip('_') or 'things'}",
        "description": does.format(a=word) + ".",
        "parameters": [
            {"name": name, "type": kind, "description": f"the {name}", "required": True, "enum": None}
            for name, kind in map(str.split, parameters.split(", "))
        ],
        "returns": returns,
        "example": f"For {arguments} it returns {result}.",
    }
    return json.dumps(said, ensure_ascii=False)


def tagged_reply(system: str, user: str, variant: Draw) -> str | None:
    """Return a reply in the parts that *system* asks for between tags; null where it asks for none."""
    tags = [match[1] for match in _TAGS.finditer(system)]
    return "\n".join(f"<{tag}>\n{text}\n</{tag}>" for tag, text in _parts(tags, user, variant)) if tags else None


def _parts(tags: list[str], user: str, variant: Draw) -> Iterator[tuple[str, str]]:
    named = _NAMED.search(user)
    for tag in tags:
        if tag == "code":
            yield tag, _code(named[1] if named else "estimate")
        elif tag == "tests":
            yield tag, _tests(named[1] if named else "estimate")
        elif tag == "name":
            yield tag, " ".join(word.capitalize() for word in words_of(user).slots(variant.number("name"), 2))
        else:
            yield tag, answer_reply(user, variant)


def _kind(name: str) -> tuple[str, str, str, str, str]:
    return _KINDS.get(name.partition("_")[0], _KINDS["estimate"])


def _code(name: str) -> str:
    does, parameters, _, body, _ = _kind(name)
    types = {"integer": "int", "number": "float"}
    told = ", ".join(
        f"{each} : {types[kind]}".replace(" :", ":") for each, kind in map(str.split, parameters.split(", "))
    )
    inside = body.replace("\n", "\n    ")
    return f'def {name}({told}):\n    """{does.format(a="it")}."""\n    {inside}'


def _tests(name: str) -> str:
    lines = []
    for test in _kind(name)[4].split("; "):
        arguments, result = test.split(" -> ")
        if result == "ValueError":
            lines += ["try:", f"    {name}({arguments})", "except ValueError:", "    pass", "else:", "    assert False"]
        else:
            lines.append(f"assert {name}({arguments}) == {result}")
    return "\n".join(lines)
