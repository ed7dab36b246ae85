"""Canned replies: text of a wanted size by request id, no rules evaluated, JSON put together from pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .canned import Canned
from .draw import Draw
from .fill import json_reply
from .rules import BYTES_PER_TOKEN, Choice
from .settings import MAX_OUTPUT_TOKENS, SYSTEM_FINGERPRINT
from .strict_schema import CANONICAL

VARIANTS = 4
_MARK = "standin0mark"
_LEAD = "Stand-in text, written by no model ({key}): "
_POOL_WORDS = 12_000
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va")


def standin(canned: Canned, key: str, schema: Mapping[str, Any] | None, limit: int | None) -> Choice:
    """Return the canned reply for a request's *key*; one for a *schema* fits it and has the size that comes of it.

    Like any reply it ends with ``length`` where *limit* (in tokens) is too small for it.
    """
    if schema is None:
        text = _text(canned.chars, key)
    else:
        variant = int(key[-2:], 16) % VARIANTS
        text = f"stand-in {key[:16]}".join(_filled(CANONICAL.text(schema), variant))
    tokens = -(-len(text) // BYTES_PER_TOKEN) if canned.completion_tokens is None else canned.completion_tokens
    most = MAX_OUTPUT_TOKENS if limit is None else limit
    if len(text) > most * BYTES_PER_TOKEN:
        return Choice(text[: most * BYTES_PER_TOKEN], "length", most)
    return Choice(text, "stop", tokens)


def payload(reply: Choice, key: str, model: str, prompt_tokens: int, created: int) -> bytes:
    """Return the reply as JSON, byte for byte what encoding the completion as an object would give (tested)."""
    content = json.dumps(reply.text) if reply.text.startswith("{") else f'"{reply.text}"'
    return (
        f'{{"id":"chatcmpl-{key[:29]}","object":"chat.completion","created":{created},"model":"{model}","choices":'
        f'[{{"index":0,"finish_reason":"{reply.finish_reason}","logprobs":null,"message":{{"role":"assistant",'
        f'"content":{content},"refusal":null,"annotations":[]}}}}],"usage":{{"prompt_tokens":{prompt_tokens},'
        f'"completion_tokens":{reply.tokens},"total_tokens":{prompt_tokens + reply.tokens},{_USAGE_TAIL}'
    ).encode("ascii")


_USAGE_TAIL = (
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,'
    '"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default",'
    f'"system_fingerprint":"{SYSTEM_FINGERPRINT}"}}'
)


def _text(chars: int, key: str) -> str:
    """Texts start at different places of one long text: a journal of them compresses about as one of real texts does.

    They hold nothing that JSON would escape.
    """
    lead, pool = _LEAD.format(key=key[:16]), _pool()
    start = int(key[-8:], 16) % len(pool)
    beyond = start + chars - len(pool)
    body = pool[start : start + chars] if beyond <= 0 else (pool * (2 + beyond // len(pool)))[start : start + chars]
    return (lead + body)[:chars]


@lru_cache(maxsize=1)
def _pool() -> str:
    words, draw = [], Draw("canned")
    for number in range(_POOL_WORDS):
        value = draw.number(str(number))
        words.append("".join(_SYLLABLES[value >> 8 * index & 15] for index in range(1 + (value >> 60) % 4)))
    return " ".join(words) + " "


@lru_cache(maxsize=256)
def _filled(schema_text: str, variant: int) -> tuple[str, ...]:
    """A reply that fits the schema, split where the request's key goes."""
    return tuple(json_reply(json.loads(schema_text), Draw("canned", variant), [_MARK]).split(_MARK))
