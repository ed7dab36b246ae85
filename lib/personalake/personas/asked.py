"""What both kinds of requests for personas say and get alike: the fence around what is data, and the reply's list."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from personalake.accept import Refusal
from personalake.llm.structured import read_json
from personalake.prompts import Prompt
from personalake.prompts.render import language_name, unhidden
from personalake.settings import AttributeSettings

_SHORT_RAW = 2_000
_HALF = re.compile(r"\\u[dD]")


def mark_of(origin_id: str, seed: int, text: str) -> str:
    """The mark of the fence around *text*, a page or persona: 24 hex digits that it can't know, and doesn't hold.

    One that holds the mark, by chance or since somebody has copied it out of a prompt, gets the next.
    """
    low, number = text.encode("utf-8", "surrogatepass").lower(), 0
    while (mark := _nth_mark(origin_id, seed, number)).encode() in low:
        number += 1
    return mark


def _nth_mark(origin_id: str, seed: int, number: int) -> str:
    again = f"\x1f{number}" if number else ""
    return hashlib.sha256(f"fence\x1f{seed}\x1f{origin_id}{again}".encode()).hexdigest()[:24]


def describe(attributes: Mapping[str, AttributeSettings]) -> str:
    """The further attributes, as a prompt says what each is; begins with a space, empty without any."""
    said = []
    for name, asked in attributes.items():
        values = f" ({', '.join(asked.values)})" if asked.values else ""
        said.append(f'"{name}": {asked.description.rstrip(".")}{values}.')
    return "".join(f" {each}" for each in said)


def language_of(code: str | None) -> str:
    """A language as a prompt names it."""
    return language_name(code or "en")


def found_personas(reply: str) -> list[Any] | Refusal:
    """The list of personas in an :func:`unhidden` reply, or why there is none.

    In place of one that can't be written there is its refusal.
    """
    try:
        parsed = read_json(reply)
        if "\\u" in reply:  # JSON can spell what nobody sees.
            parsed = json.loads(unhidden(json.dumps(parsed, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        return Refusal("invalid_json", str(error), reply[:_SHORT_RAW])
    found = parsed.get("personas") if isinstance(parsed, dict) else None
    if not isinstance(found, list):
        return Refusal("schema", "no list `personas`", reply[:_SHORT_RAW])
    # JSON may hold half a surrogate pair, and UTF-8 may not.
    return list(map(_whole, found)) if _HALF.search(reply) else found


def _whole(item: Any) -> Any:  # noqa: ANN401 (JSON)
    try:
        json.dumps(item, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return Refusal("escape_damage", "half a surrogate pair", raw_of(item))
    return item


def spaced_once(text: str) -> str:
    """*text* with each run of white space as one blank, and none at its ends; most are so already."""
    if text.isprintable() and "  " not in text and text.strip() == text:
        return text
    return " ".join(text.split())


def texts_of(prompt: Prompt | None) -> tuple[str, ...]:
    """The texts of a prompt, none without one."""
    return () if prompt is None else (prompt.system, prompt.user)


def said_beside(item: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """What *item* says beside its persona: the free words under *names*, and its interests."""
    said = {name: words for name in names if (words := item.get(name))}
    return said | {"interests": ", ".join(item["interests"])} if item["interests"] else said


def raw_of(item: Any) -> str:  # noqa: ANN401 (JSON)
    """A persona as the reply has it, shortened: what `rejects` keeps of it."""
    return json.dumps(item, ensure_ascii=False)[:_SHORT_RAW].encode("utf-8", "backslashreplace").decode()
