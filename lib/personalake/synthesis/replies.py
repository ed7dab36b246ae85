"""From a reply to the fields that a step brings, whichever kind of reply it asks for."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from personalake.accept import Refusal
from personalake.llm.structured import Checker, read_json
from personalake.personas.marks import DAMAGE
from personalake.synthesis.extract import reply_text

if TYPE_CHECKING:
    from personalake.synthesis.tasks import Step

_FENCE = re.compile(r"\A```[\w+-]*\n(.*?)\n?```\Z", re.DOTALL)


def fields_of(reply: str, step: Step) -> dict[str, str] | Refusal:
    """What *step* makes of *reply*, by field, or why it can't.

    A text is kept as it is. Of a tagged reply each tag's last pair counts, without a code fence around what is in it.
    Of a JSON reply a string is a field as it is, anything else as JSON; an escape that went wrong on the way (LaTeX's
    backslash-f is a form feed in JSON) is refused, since nobody can tell what it was.
    """
    text = reply_text(reply)
    if step.reply == "tagged":
        return _tagged(text, step.tags)
    return _of_json(text, step) if step.reply == "json" else {step.id: text}


def _tagged(text: str, tags: list[str]) -> dict[str, str] | Refusal:
    found = {}
    for tag in tags:
        # The last one: before it a model may have thought aloud.
        _, opening, rest = text.rpartition(f"<{tag}>")
        inside, closing, _ = rest.partition(f"</{tag}>")
        if not (opening and closing):
            return Refusal("no_tag", f"no <{tag}>...</{tag}>", text)
        fenced = _FENCE.match(inside.strip())
        found[tag] = fenced[1] if fenced else inside.strip()
    return found


def _of_json(text: str, step: Step) -> dict[str, str] | Refusal:
    wrong = _checker(json.dumps(step.json_schema)).wrong(text)
    if wrong:
        return Refusal(wrong[0], wrong[1], text)
    said = read_json(text)
    if _damaged(said):
        return Refusal("escape_damage", "a control character in a string", text)
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in said.items()
    }


def _damaged(value: object) -> bool:
    """Whether a string somewhere in *value* has a trace of an escape, or of half a surrogate pair, that went wrong."""
    if isinstance(value, str):
        return DAMAGE.search(value) is not None
    if isinstance(value, dict):
        return any(map(_damaged, value.values()))
    return isinstance(value, list) and any(map(_damaged, value))


@lru_cache(64)
def _checker(schema: str) -> Checker:
    return Checker(json.loads(schema))
