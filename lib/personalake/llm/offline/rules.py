"""Which rule answers a chat request, and what one choice of the reply is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .draw import Draw
from .fill import json_reply
from .personas import item_of, persona_reply
from .problems import persona_in, problem_reply, program_reply, solution_reply
from .relatives import relatives_reply
from .settings import MAX_OUTPUT_TOKENS
from .strict_schema import CANONICAL
from .tools import interface_reply, is_interface, tagged_reply
from .words import words_of
from .writers import answer_reply, request_reply

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
_REPAIR = re.compile(r"\b(JSON|schema)\b")
_PROGRAM = re.compile(r"\bprograms?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Choice:
    """One reply: its text, how it ended, and what it cost in tokens."""

    text: str
    finish_reason: str
    tokens: int


@dataclass(frozen=True)
class Asked:
    """A chat request as the rules see it; *variant* is the same for the same question under the same client id."""

    system: str
    user: str
    schema: Mapping[str, Any] | None
    json_object: bool
    prompt_tokens: int
    key: str
    repair: bool = False


def tokens_of(text: str) -> int:
    """Return the endpoint's own count: one token for every four UTF-8 bytes, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def text_of(content: object) -> str:
    """Return the text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts: Sequence[Any] = content if isinstance(content, list) else ()
    return "".join(str(part.get("text", part.get("refusal", ""))) for part in parts)


def asked(body: Mapping[str, Any], client_id: str) -> Asked:
    """Return what a checked request asks; its key covers messages, schema and the client's request id.

    A last turn that asks for JSON again, after an assistant's turn, is a repair: the question is the one before it.
    """
    system: list[str] = []
    user = asked_before = role = ""
    answered = repair = False
    tokens = 0
    digest = hashlib.blake2b(client_id.encode("utf-8", "surrogatepass"), digest_size=16)
    for message in body["messages"]:
        text, role = text_of(message.get("content")), message["role"]
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(f"\0{role}\0{len(raw)}\0".encode())
        digest.update(raw)
        tokens += TOKENS_PER_MESSAGE - -len(raw) // BYTES_PER_TOKEN if raw else TOKENS_PER_MESSAGE
        if role in ("system", "developer"):
            system.append(text)
        elif role == "user":
            repair = answered and _REPAIR.search(text) is not None
            user, asked_before = text, user
        answered = role == "assistant"
    shape = body.get("response_format") or {"type": "text"}
    if shape["type"] != "text":
        digest.update(str(shape["type"]).encode())
    schema = None
    if shape["type"] == "json_schema":
        schema = shape["json_schema"].get("schema") or {}
        digest.update(CANONICAL.text(schema).encode())
    key = digest.hexdigest()
    question = asked_before if repair else user
    return Asked("\n".join(system), question, schema, shape["type"] == "json_object", tokens, key, repair)


def choice(question: Asked, index: int, limit: int | None, stop: Sequence[str], flaws: float) -> Choice:
    """Return reply number *index*, cut at *limit* tokens (finish_reason ``length``) or at a stop sequence."""
    text = _reply(question, Draw(question.key, index), flaws)
    for mark in stop:
        text = text.partition(mark)[0]
    limit = MAX_OUTPUT_TOKENS if limit is None else limit
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > limit * BYTES_PER_TOKEN:
        return Choice(raw[: limit * BYTES_PER_TOKEN].decode("utf-8", "ignore"), "length", limit)
    return Choice(text, "stop", -(-len(raw) // BYTES_PER_TOKEN))


def _reply(question: Asked, variant: Draw, flaws: float) -> str:
    """Return the reply's text by the first rule that fits; a persona outranks what the system text mentions."""
    system, user = question.system, question.user
    if question.schema is not None:
        return _json_text(system, user, question.schema, variant, flaws)
    if question.json_object:
        return json.dumps({"topic": words_of(user).slots(1, 1)[0], "answer": answer_reply(user, variant)})
    persona, parts = persona_in(user), tagged_reply(system, user, variant)
    if parts is not None:
        return parts
    if persona is None and system.startswith("You write one original "):
        persona = ""  # Who writes for nobody: the task that others are compared with.
    if persona is not None:
        return _persona_text(system, user, persona, variant, flaws)
    return _answer(system, user, variant)


def _json_text(system: str, user: str, schema: Mapping[str, Any], variant: Draw, flaws: float) -> str:
    if "personas" in schema.get("properties", {}):
        of_a_page = "evidence" in item_of(schema).get("properties", {"evidence": {}})
        return (persona_reply if of_a_page else relatives_reply)(system, user, schema, variant, flaws)
    if is_interface(schema):
        return interface_reply(persona_in(user) or "", variant)
    return json_reply(schema, variant, words_of(user).keywords)


def _answer(system: str, user: str, variant: Draw) -> str:
    if _PROGRAM.search(system):
        return program_reply(user, variant)
    return solution_reply(user, variant) if "\\boxed" in system else answer_reply(user, variant)


def _persona_text(system: str, user: str, persona: str, variant: Draw, flaws: float) -> str:
    flawed = variant.unit("flawed") < flaws
    if flawed and variant.unit("flaw") < 1 / 3:
        return ""
    if "problem" in system.lower() or "puzzle" in system.lower():
        before, _, rest = user.partition("<persona>")
        wishes = before + rest.partition("</persona>")[2]
        return problem_reply(persona, wishes, variant, spoiled=flawed)
    return request_reply(persona, variant, spoiled=flawed)
