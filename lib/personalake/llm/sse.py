"""A reply that came as server-sent events, though nobody asked for a stream: put together into the reply it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_LINE = re.compile(r"\r\n|\n|\r")  # Not splitlines(): it also splits at U+2028, which may stand inside a JSON string.
_CUT = {"error": {"code": "cut_stream", "message": "the stream ended before its finish_reason"}}


def assembled(content: bytes) -> dict[str, Any] | None:
    """The body that the events of *content* amount to, in the shape of an unstreamed one; None where it has none.

    A stream of anything but chat or text completions comes to its last event. One without a `finish_reason` was cut:
    it comes to an error, whether or not `[DONE]` follows, as a proxy ends streams politely that broke behind it.
    """
    events = list(_events(content.decode("utf-8", "replace")))
    if not events:
        return None
    parts: dict[str, Any] = {"pieces": [], "reasoning": [], "refusal": []}
    body: dict[str, Any] = {}
    for name, event in events:
        for key in ("model", "system_fingerprint", "usage", "x_groq", "error"):
            if event.get(key):
                body[key] = event[key]
        if name == "error" or "error" in (event.get("type"), event.get("object")):
            body["error"] = event.get("error") or event
        choices = event.get("choices")
        if isinstance(choices, list):
            parts["seen"] = True
            for choice in choices:
                if isinstance(choice, dict) and choice.get("index") in (0, None):
                    _add(choice, parts, body)
    if "seen" not in parts:
        last = events[-1][1]
        whole = last.get("response")
        return body if body.get("error") else whole if isinstance(whole, dict) else last
    if not parts.get("finish") and not body.get("error"):
        body.update(_CUT)
    return {**body, "choices": [{"index": 0, "message": _message(parts), "finish_reason": parts.get("finish")}]}


def _events(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event's name and data, where that is a JSON object."""
    name, data = "", list[str]()
    for line in (*_LINE.split(text), ""):
        if line.startswith("data:"):
            data.append(line[5:])
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif not line:
            # Data in several lines is one value; but some gateways forget the blank line between events.
            whole = _parsed("\n".join(data))
            for one in [whole] if whole is not None else map(_parsed, data if len(data) > 1 else ()):
                if isinstance(one, dict):
                    yield name, one
            name, data = "", []


def _parsed(text: str) -> Any:  # noqa: ANN401 (whatever the endpoint sent)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _add(choice: dict[str, Any], parts: dict[str, Any], body: dict[str, Any]) -> None:
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        # Some send the whole message once, at the end; text completions send `text`.
        delta = choice["message"] if isinstance(choice.get("message"), dict) else {"content": choice.get("text")}
    content = delta.get("content")
    parts["pieces"].extend(content if isinstance(content, list) else [content] if isinstance(content, str) else ())
    for name, value in (
        ("reasoning", delta.get("reasoning_content") or delta.get("reasoning")),
        ("refusal", delta.get("refusal")),
    ):
        if isinstance(value, str):
            parts[name].append(value)
    parts["called"] = parts.get("called") or delta.get("tool_calls") or delta.get("function_call")
    parts["finish"] = choice.get("finish_reason") or parts.get("finish")
    if choice.get("error"):
        body["error"] = choice["error"]
    if isinstance(choice.get("usage"), dict):
        body.setdefault("usage", choice["usage"])  # Moonshot's place for it.


def _message(parts: dict[str, Any]) -> dict[str, Any]:
    pieces = parts["pieces"]
    texts = all(isinstance(piece, str) for piece in pieces)
    return {
        "content": "".join(pieces) if texts else pieces,
        "reasoning": "".join(parts["reasoning"]) or None,
        "refusal": "".join(parts["refusal"]) or None,
        "tool_calls": parts.get("called"),
    }
