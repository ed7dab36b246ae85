"""What stands in a reply's message: the text, apart from the reasoning and the refusal."""

from __future__ import annotations

from typing import Any


def texts_of(message: dict[str, Any]) -> tuple[str | None, str | None, str]:
    """The text, None where there is no place for one; the reasoning; the refusal."""
    content, refusal = message.get("content"), message.get("refusal")
    reasoning = text_of(message.get("reasoning_content") or message.get("reasoning"))
    if content is None:
        content = ""
    elif isinstance(content, list):
        content, thought, refused = _parts(content)
        reasoning, refusal = reasoning or thought or None, refusal or refused
    text = text_of(content)
    if text and "think>" in text:
        text, thought = _without_thought(text)
        reasoning = reasoning or thought or None
    return text, reasoning, text_of(refusal) or ""


def _parts(parts: list[Any]) -> tuple[str, str, str]:
    """The text, the thoughts and the refusals of a content in parts (Mistral's)."""
    texts: dict[str, list[str]] = {"text": [], "thinking": [], "refusal": []}
    for part in parts:
        if isinstance(part, str):
            texts["text"].append(part)
        elif isinstance(part, dict):
            kind = next((name for name in ("refusal", "thinking") if part.get("type") == name), "text")
            value = part.get(kind)
            if isinstance(value, list):
                value = "".join(one["text"] for one in value if isinstance(one, dict) and text_of(one.get("text")))
            texts[kind].append(value if isinstance(value, str) else "")
    return "".join(texts["text"]), "".join(texts["thinking"]), "".join(texts["refusal"])


def _without_thought(text: str) -> tuple[str, str]:
    """Apart: the reply, and a leading `<think>` block.

    Chat templates that open the block themselves leave its end only; a block without an end has no reply behind it.
    """
    head, end, tail = text.partition("</think>")
    opened = head.lstrip().removeprefix("<think>")
    if opened == head.lstrip() and "<think>" in head:
        return text, ""  # It speaks of the marks.
    return tail.lstrip() if end else "", opened.strip()


def text_of(value: Any) -> str | None:  # noqa: ANN401 (whatever the endpoint sent)
    """A string that can be written as UTF-8: JSON may hold half a surrogate pair."""
    if not isinstance(value, str):
        return None
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode()
    return value
