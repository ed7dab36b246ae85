from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Usage, of_response

PRICE = Price(input=1.0, cached_input=0.5, output=2.0, as_of="2026-01-01")
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "api_responses" / "recorded.jsonl.gz"


def _reply(message: dict[str, Any] | None, finish: str = "stop", **more: Any) -> bytes:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if message is not None:
        choice["message"] = {"role": "assistant", **message}
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    return json.dumps({"id": "x", "model": "m-1", "choices": [choice], "usage": usage, **more}).encode()


def _error(message: str = "no", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


def test_a_reply_is_answered_with_its_text_its_usage_and_its_price() -> None:
    details = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    body = _reply({"content": "hello"}, usage=details, system_fingerprint="fp")
    outcome = of_response(200, {"x-request-id": "r1"}, body, PRICE)
    assert outcome.kind is Kind.ANSWERED
    assert (outcome.reply, outcome.model, outcome.fingerprint, outcome.request_id) == ("hello", "m-1", "fp", "r1")
    assert outcome.usage == Usage(prompt=100, completion=50, reasoning=20, cached=60, microusd=40 + 30 + 100)


def test_reasoning_is_kept_apart_from_its_own_field_or_from_a_leading_think_block() -> None:
    field = of_response(200, {}, _reply({"content": "42", "reasoning_content": "because"}), None)
    block = of_response(200, {}, _reply({"content": "<think>\nbecause\n</think>\n\n42"}), None)
    assert (field.reply, field.reasoning) == (block.reply, block.reasoning) == ("42", "because")


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (200, _reply({"content": "cut"}, "length"), Kind.REJECT, "length"),
        (200, _reply({"content": ""}, "length"), Kind.REJECT, "length"),
        (200, _reply({"content": None, "refusal": "I can't"}), Kind.REJECT, "refusal"),
        (200, _reply(None, "content_filter"), Kind.REJECT, "content_filter"),
        (200, _reply({"content": ""}), Kind.REJECT, "empty_reply"),
        (200, b"<html>a proxy's page</html>", Kind.RETRY, "unusable_reply"),
        (200, b'{"id": "x", "choi', Kind.RETRY, "unusable_reply"),
        (200, _error("upstream failed", code=502), Kind.RETRY, "unusable_reply"),
        (401, _error("Incorrect API key", code="invalid_api_key"), Kind.STOP, "wrong_key"),
        (403, b'{"error": "not allowed"}', Kind.STOP, "forbidden"),
        (404, _error("The model `x` does not exist", code="model_not_found"), Kind.STOP, "unknown_model"),
        (400, _error("Unsupported parameter", code="unsupported_parameter"), Kind.STOP, "unsupported_parameter"),
        (400, _error("Invalid schema", code="invalid_json_schema"), Kind.STOP, "invalid_json_schema"),
        (400, _error("too many tokens", code="context_length_exceeded"), Kind.REJECT, "too_long"),
        (429, _error("Request too large for gpt-x ... on tokens per min (TPM)"), Kind.REJECT, "too_long"),
        (400, _error("content management policy", code="content_filter"), Kind.REJECT, "content_filter"),
        (400, b'{"detail": "bad input"}', Kind.REJECT, "http_400"),
        (402, _error("out of credits", code=402), Kind.DEFER, "http_402"),
        (429, _error("quota", code="insufficient_quota", type="insufficient_quota"), Kind.DEFER, "insufficient_quota"),
        (429, _error("slow down", code="rate_limit_exceeded"), Kind.RETRY, "rate_limited"),
        (408, b"", Kind.RETRY, "http_408"),
        (500, _error("oops", code="server_error"), Kind.RETRY, "http_500"),
        (503, b"<html>busy</html>", Kind.RETRY, "http_503"),
    ],
)
def test_each_shape_of_reply_comes_to_its_outcome(status: int, body: bytes, kind: Kind, reason: str) -> None:
    outcome = of_response(status, {}, body, PRICE)
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_a_refused_reply_keeps_what_it_cost() -> None:
    outcome = of_response(200, {}, _reply({"content": "cut"}, "length"), PRICE)
    assert outcome.usage.microusd == 18
    assert outcome.reply == "cut"


def test_milliseconds_are_honoured_before_seconds() -> None:
    both = of_response(429, {"retry-after": "1", "retry-after-ms": "20"}, b"{}", None)
    one = of_response(429, {"retry-after": "3"}, b"{}", None)
    neither = of_response(429, {"retry-after": "soon"}, b"{}", None)
    assert (both.retry_after_s, one.retry_after_s, neither.retry_after_s) == (0.02, 3.0, None)


def test_what_the_endpoint_says_is_one_short_line_without_a_key() -> None:
    outcome = of_response(401, {}, _error("Incorrect key provided: sk-abcd****wxyz.\nSee " + "x" * 900), None)
    assert "\n" not in outcome.detail
    assert "abcd" not in outcome.detail
    assert len(outcome.detail) <= 500


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded replies are not part of the project")
def test_every_recorded_chat_reply_comes_to_an_outcome_that_fits_its_status() -> None:
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        replies = [json.loads(line) for line in lines]
    chats = [r for r in replies if r["request"]["path"].endswith("/chat/completions") and not r["stream"]]
    assert len(chats) > 60
    for recorded in chats:
        response = recorded["response"]
        headers = {name.lower(): str(value) for name, value in response["headers"].items()}
        body = response["body"]
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        outcome = of_response(response["status"], headers, content, PRICE)
        if outcome.kind is Kind.ANSWERED:
            assert response["status"] == 200, recorded["id"]
            assert outcome.reply, recorded["id"]
        else:
            assert outcome.reason, recorded["id"]
