"""Strictness: what the real endpoint refuses is refused here, with its error body."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from personalake.llm.offline import CHAT_MODEL, EMBEDDING_MODEL, OfflineSettings, serving

USER: dict[str, Any] = {"role": "user", "content": "hello there"}
CLOSED: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["a"],
    "properties": {"a": {"type": "string"}},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(OfflineSettings(api_keys=("sk-right-key-0001",))) as base_url:
        yield base_url


def send(
    url: str,
    body: object,
    path: str = "/v1/chat/completions",
    key: str | None = "sk-right-key-0001",
    verb: str = "POST",
) -> tuple[int, Any, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(verb, path, raw, {"Authorization": f"Bearer {key}"} if key is not None else {})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text), response.headers


def schema(**changes: object) -> dict[str, Any]:
    named = {"name": "n", "strict": True, "schema": {**CLOSED, **changes}}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


BAD_CHAT = [
    ({"temperature": "warm"}, "temperature", "invalid_type"),
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ({"temperature": True}, "temperature", "invalid_type"),
    ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
    ({"n": 9}, "n", "integer_above_max_value"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "invalid_parameter_combination"),
    ({"max_toknes": 5}, "max_toknes", "unknown_parameter"),
    ({"reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": "hi"}, "messages", "invalid_type"),
    ({"messages": None}, "messages", "invalid_type"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type",
     "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour", "unknown_parameter"),
    ({"messages": [{"role": "user", "content": "x " * 300_000}]}, "messages", "context_length_exceeded"),
    ({"response_format": {"type": "json_object"}}, "messages", None),
    ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": CLOSED}}},
     "response_format.json_schema.name", "missing_required_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": CLOSED}}},
     "response_format.json_schema.name", "invalid_value"),
]  # fmt: skip
BAD_SCHEMAS = [
    ({"additionalProperties": True}, "'additionalProperties' is required"),
    ({"required": []}, "'required' is required"),
    ({"type": "array", "items": {"type": "string"}}, "type: \"object\""),
    ({"allOf": []}, "'allOf' is not permitted"),
    ({"properties": {"a": {"type": "string", "default": "x"}}}, "('properties', 'a'), 'default' is not permitted"),
    ({"properties": {"a": {"type": "array"}}}, "array schema missing items"),
    ({"properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}}},
     "('properties', 'a', 'items')"),
    ({"properties": {"a": {"type": "text"}}}, "'text' is not a valid type"),
    ({"properties": {"a": {}}}, "must have a 'type' key"),
    ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, "can't be resolved"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param", "code"), BAD_CHAT)
def test_a_bad_chat_request_is_a_400_that_names_the_parameter(
    url: str, change: dict[str, Any], param: str, code: str | None
) -> None:
    status, body, _ = send(url, {"model": CHAT_MODEL, "messages": [USER], **change})
    assert status == 400
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["error"]["param"], body["error"]["code"]) == (
        "invalid_request_error",
        param,
        code,
    )


@pytest.mark.parametrize(("change", "said"), BAD_SCHEMAS)
def test_a_schema_that_strict_mode_forbids_is_a_400_that_names_the_place(
    url: str, change: dict[str, Any], said: str
) -> None:
    status, body, _ = send(url, {"model": CHAT_MODEL, "messages": [USER], **schema(**change)})
    assert (status, body["error"]["param"]) == (400, "response_format")
    assert said in body["error"]["message"]


def test_a_good_schema_and_every_supported_parameter_pass(url: str) -> None:
    extras = {"temperature": 0.7, "top_p": 1, "seed": 3, "user": "u", "max_completion_tokens": 50, "store": False}
    extras |= {"tools": None, "logit_bias": None, "top_logprobs": None}  # Null is as good as absent, whatever it is.
    assert send(url, {"model": CHAT_MODEL, "messages": [USER], **schema(), **extras})[0] == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_body_that_is_not_a_json_object_is_a_400(url: str, raw: bytes) -> None:
    status, body, _ = send(url, raw)
    assert status == 400
    assert "JSON" in body["error"]["message"]


def test_missing_messages_and_missing_model_are_400s(url: str) -> None:
    assert send(url, {"model": CHAT_MODEL})[1]["error"]["param"] == "messages"
    assert send(url, {"messages": [USER]})[0] == 400


def test_an_unknown_model_is_a_404_on_chat_and_embeddings(url: str) -> None:
    for path, body in (("/v1/chat/completions", {"messages": [USER]}), ("/v1/embeddings", {"input": "x"})):
        status, found, _ = send(url, {"model": "gpt-nope", **body}, path)
        assert (status, found["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(("key", "code"), [(None, None), ("", None), ("sk-wrong-key-9999", "invalid_api_key")])
def test_a_missing_or_wrong_key_is_a_401_that_does_not_repeat_the_key(
    url: str, key: str | None, code: str | None
) -> None:
    status, body, headers = send(url, {"model": CHAT_MODEL, "messages": [USER]}, key=key)
    assert (status, body["error"]["code"]) == (401, code)
    assert "sk-wrong-key-9999" not in body["error"]["message"]
    assert headers["x-request-id"].startswith("req_")


def test_an_unknown_route_is_a_404_and_a_wrong_method_a_405(url: str) -> None:
    assert send(url, {}, "/v1/completions")[0] == 404
    status, body, _ = send(url, b"", verb="GET")
    assert (status, body["error"]["code"]) == (405, "method_not_supported")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "word " * 9000}, "input"),
        ({"dimensions": 4096}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"colour": 1}, "colour"),
        ({"input": None}, "input"),
    ],
)
def test_a_bad_embeddings_request_is_a_400(url: str, change: dict[str, Any], param: str) -> None:
    status, body, _ = send(url, {"model": EMBEDDING_MODEL, "input": "x", **change}, "/v1/embeddings")
    assert (status, body["error"]["param"]) == (400, param)


def test_limits_refuse_with_the_headers_to_wait_by_and_too_large_for_good() -> None:
    with serving(OfflineSettings(rpm=60, tpm=6_000, api_keys=("k",))) as url:
        body = {"model": CHAT_MODEL, "messages": [USER], "max_tokens": 50}
        first, second = send(url, body, key="k"), send(url, body, key="k")
        assert first[0] == 200
        assert first[2]["x-ratelimit-limit-requests"] == "60"
        assert int(first[2]["x-ratelimit-remaining-tokens"]) < 6_000
        assert (second[0], second[1]["error"]["code"]) == (429, "rate_limit_exceeded")
        assert second[2]["retry-after"] == "1"
        assert 0 < int(second[2]["retry-after-ms"]) <= 1_000
        status, found, headers = send(url, {**body, "max_tokens": 7_000}, key="k")
        assert status == 429
        assert found["error"]["message"].startswith("Request too large")
        assert "retry-after" not in headers
