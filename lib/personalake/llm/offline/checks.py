"""Checks of request bodies, as strict as the real endpoint's: each raises the error body that it would answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .refusals import RefusalError, invalid, missing, no_model, not_json, unknown_value, wrong_type
from .settings import (
    CHAT_MODELS,
    CONTEXT_TOKENS,
    EMBEDDING_DIMENSIONS,
    EMBEDDING_INPUTS,
    EMBEDDING_MODEL,
    EMBEDDING_TOKENS,
    MAX_OUTPUT_TOKENS,
)
from .strict_schema import check_format

Check = Callable[[Any, str], None]
MOST_CHOICES = 8
MOST_STOPS = 4
ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_CONTENT_TYPES = ("text", "refusal")


def parse(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in a request body, or raise the 400 for it."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise not_json() from error
    if not isinstance(body, dict):
        raise not_json()
    return body


def check_chat(body: Mapping[str, Any]) -> None:
    """Raise unless *body* is a chat completion request that this endpoint serves."""
    if "model" not in body:
        raise invalid("you must provide a model parameter", None)
    if not isinstance(body["model"], str):
        raise wrong_type("model", "a string", body["model"])
    if body["model"] not in CHAT_MODELS:
        raise no_model(body["model"])
    for name, value in body.items():
        check = _CHAT.get(name)
        if check is None:
            if name in _UNSUPPORTED and value is None:
                continue
            if name in _UNSUPPORTED:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                raise invalid(message, name, "unsupported_parameter")
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        if value is not None or name == "messages":
            check(value, name)
    if "messages" not in body:
        raise missing("messages")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise invalid(message, "max_tokens", "invalid_parameter_combination")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    shape = body.get("response_format")
    if shape and shape["type"] == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        message = (
            "'messages' must contain the word 'json' in some form to use a 'response_format' of type 'json_object'."
        )
        raise invalid(message, "messages")


def check_context(prompt_tokens: int, limit: int | None) -> None:
    """Raise where prompt and reply can't fit into the context window of 128,000 tokens."""
    if prompt_tokens + (limit or 0) > CONTEXT_TOKENS:
        asked = f" ({prompt_tokens} in the messages, {limit} in the completion)" if limit else ""
        message = (
            f"This model's maximum context length is {CONTEXT_TOKENS} tokens. However, you requested"
            f" {prompt_tokens + (limit or 0)} tokens{asked}. Please reduce the length of the messages or completion."
        )
        raise invalid(message, "messages", "context_length_exceeded")


def output_limit(body: Mapping[str, Any]) -> int | None:
    """Return ``max_completion_tokens`` or ``max_tokens``, whichever the request gives."""
    limit = body.get("max_completion_tokens")
    value = body.get("max_tokens") if limit is None else limit
    return None if value is None else int(value)


def check_embeddings(body: Mapping[str, Any], tokens_of: Callable[[str], int]) -> list[str]:
    """Return the input texts of an embeddings request, or raise."""
    if "model" not in body:
        raise invalid("you must provide a model parameter", None)
    if body["model"] != EMBEDDING_MODEL:
        raise no_model(body["model"])
    for name, value in body.items():
        if name not in _EMBEDDINGS:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        if value is not None:
            _EMBEDDINGS[name](value, name)
    if body.get("input") is None:
        raise missing("input")
    texts = _inputs(body["input"])
    if not texts or any(not text for text in texts):
        raise invalid("'$.input' is invalid: an input is empty.", "input")
    if len(texts) > EMBEDDING_INPUTS:
        raise invalid(f"'$.input' is invalid: more than {EMBEDDING_INPUTS} inputs.", "input")
    longest = max(tokens_of(text) for text in texts)
    if longest > EMBEDDING_TOKENS:
        message = f"This model's maximum context length is {EMBEDDING_TOKENS} tokens, however you requested {longest}."
        raise invalid(message, "input", "context_length_exceeded")
    return texts


def _inputs(value: object) -> list[str]:
    """Token arrays are taken too; their numbers stand for words."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        if value and all(type(item) is int for item in value):
            return [" ".join(map(str, value))]
        if all(isinstance(item, str) for item in value):
            return list(value)
        if all(isinstance(item, list) and all(type(part) is int for part in item) for item in value):
            return [" ".join(map(str, item)) for item in value]
    raise wrong_type("input", "a string or an array of strings or of tokens", value)


def _number(low: float, high: float) -> Check:
    def check(value: object, name: str) -> None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise wrong_type(name, "a decimal", value)
        _in_range(value, low, high, name, "decimal")

    return check


def _integer(low: float, high: float) -> Check:
    def check(value: object, name: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(name, "an integer", value)
        _in_range(value, low, high, name, "integer")

    return check


def _in_range(value: float, low: float, high: float, name: str, kind: str) -> None:
    if value < low:
        message = f"Invalid '{name}': {kind} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise invalid(message, name, f"{kind}_below_min_value")
    if value > high:
        message = f"Invalid '{name}': {kind} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise invalid(message, name, f"{kind}_above_max_value")


def _typed(kind: type, expected: str) -> Check:
    def check(value: object, name: str) -> None:
        if type(value) is not kind:
            raise wrong_type(name, expected, value)

    return check


def _one_of(*allowed: str) -> Check:
    def check(value: object, name: str) -> None:
        if value not in allowed:
            raise unknown_value(name, value, allowed)

    return check


def _messages(value: object, name: str) -> None:
    if not isinstance(value, list):
        raise wrong_type(name, "an array of objects", value)
    if not value:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
        raise invalid(message, name, "empty_array")
    for index, message in enumerate(value):
        _message(message, f"{name}[{index}]")


def _message(message: object, where: str) -> None:
    if not isinstance(message, dict):
        raise wrong_type(where, "an object", message)
    role = message.get("role")
    if role is None:
        raise missing(f"{where}.role")
    if role not in ROLES:
        raise unknown_value(f"{where}.role", role, ROLES)
    content = message.get("content")
    if content is None:
        if role != "assistant" or "refusal" not in message:
            raise wrong_type(f"{where}.content", "a string or an array of content parts", content)
    elif isinstance(content, list):
        for index, part in enumerate(content):
            _part(part, f"{where}.content[{index}]")
    elif not isinstance(content, str):
        raise wrong_type(f"{where}.content", "a string or an array of content parts", content)
    for key in message:
        if key not in ("role", "content", "name", "refusal", "tool_call_id"):
            raise invalid(f"Unknown parameter: '{where}.{key}'.", f"{where}.{key}", "unknown_parameter")


def _part(part: object, where: str) -> None:
    if not isinstance(part, dict):
        raise wrong_type(where, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise missing(f"{where}.type")
    if kind not in _CONTENT_TYPES:
        raise unknown_value(f"{where}.type", kind, _CONTENT_TYPES)
    if not isinstance(part.get(kind), str):
        raise missing(f"{where}.{kind}") if part.get(kind) is None else wrong_type(where, "a string", part[kind])


def _response_format(value: object, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    kind = value.get("type")
    if kind is None:
        raise missing(f"{name}.type")
    if kind not in ("text", "json_object", "json_schema"):
        raise unknown_value(f"{name}.type", kind, ("json_object", "json_schema", "text"))
    if kind == "json_schema":
        check_format(value)


def _stop(value: object, name: str) -> None:
    marks = [value] if isinstance(value, str) else value
    if not isinstance(marks, list) or not all(isinstance(mark, str) and mark for mark in marks):
        raise wrong_type(name, "a string or an array of strings", value)
    if len(marks) > MOST_STOPS:
        raise invalid("Invalid 'stop': array too long. Expected at most 4.", name, "array_above_max_length")


def _stream_options(value: object, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    for key, option in value.items():
        if key not in ("include_usage", "include_obfuscation"):
            raise invalid(f"Unknown parameter: '{name}.{key}'.", f"{name}.{key}", "unknown_parameter")
        if not isinstance(option, bool):
            raise wrong_type(f"{name}.{key}", "a boolean", option)


_TEXT, _FLAG = _typed(str, "a string"), _typed(bool, "a boolean")
_CHAT: dict[str, Check] = {
    "model": _TEXT,
    "messages": _messages,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "max_tokens": _integer(1, MAX_OUTPUT_TOKENS),
    "max_completion_tokens": _integer(1, MAX_OUTPUT_TOKENS),
    "n": _integer(1, MOST_CHOICES),
    "seed": _integer(-(2**63), 2**63 - 1),
    "stop": _stop,
    "stream": _FLAG,
    "stream_options": _stream_options,
    "response_format": _response_format,
    "logprobs": _FLAG,
    "user": _TEXT,
    "safety_identifier": _TEXT,
    "prompt_cache_key": _TEXT,
    "service_tier": _one_of("auto", "default", "flex", "priority"),
    "store": _FLAG,
    "metadata": _typed(dict, "an object"),
}
_UNSUPPORTED_LIST = """
audio function_call functions logit_bias modalities parallel_tool_calls prediction prompt_cache_retention
reasoning_effort tool_choice tools top_logprobs verbosity web_search_options
"""
_UNSUPPORTED = frozenset(_UNSUPPORTED_LIST.split())
_EMBEDDINGS: dict[str, Check] = {
    "model": _TEXT,
    "input": lambda _value, _name: None,
    "encoding_format": _one_of("float", "base64"),
    "dimensions": _integer(1, EMBEDDING_DIMENSIONS),
    "user": _TEXT,
}


def check_batch_line(line: object, endpoint: str, seen: set[str]) -> str | None:
    """Return what is wrong with one line of a batch input file, or None; *seen* collects the custom ids."""
    if not isinstance(line, dict):
        return "This line is not parseable as valid JSON."
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        return "Missing required parameter: 'custom_id'."
    if custom_id in seen:
        return f"The custom_id for this request is a duplicate of another request: '{custom_id}'."
    seen.add(custom_id)
    if line.get("method") != "POST" or line.get("url") != endpoint:
        return f"The method and url of this request must be POST {endpoint}."
    return None if isinstance(line.get("body"), dict) else "Missing required parameter: 'body'."


def refused_line(error: RefusalError) -> dict[str, Any]:
    """Return a batch row's response for a refused request: the error sits in the body, as at the real endpoint."""
    return {"status_code": error.status, "body": error.body}
