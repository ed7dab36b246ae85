"""The shapes that replies come in, in words of our own: status, body, and what the engine has to make of it."""

from __future__ import annotations

import json
from typing import Any

from personalake.llm.outcome import Kind

Shape = tuple[int, bytes, Kind, str]

NO_OBJECTS: list[Any] = [None, 5, "text", [], {}, [1], {"status": "warm"}]
NO_CHOICES: list[Any] = [None, [], "x", [None], [[]], {"a": 1}]


def reply(message: Any = None, finish: Any = "stop", **more: Any) -> bytes:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if message is not None:
        choice["message"] = {"role": "assistant", **message} if isinstance(message, dict) else message
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    return json.dumps({"id": "x", "model": "m-1", "choices": [choice], "usage": usage, **more}).encode()


def error(message: Any = "no", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()


def events(*bodies: Any, done: bool = True) -> bytes:
    lines = [f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n" for body in bodies]
    return "".join([": waiting\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


def delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CALL = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]
PAGE = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body>at the edge</body></html>"
TOO_MUCH = "Limit 9000, Used 0, Requested 12000. Make it smaller."

ANSWERED: list[Shape] = [
    (200, reply({"content": "a tide table"}), Kind.ANSWERED, ""),
    (201, reply({"content": "a tide table"}), Kind.ANSWERED, ""),
    (200, reply({"content": "a tide table"}, "eos"), Kind.ANSWERED, ""),
    (200, reply({"content": "a tide table"}, None), Kind.ANSWERED, ""),
    (200, reply({"content": "a tide table"}, "a word of next year's"), Kind.ANSWERED, ""),
    (200, reply({"content": '{"json": true}', "tool_calls": []}, "tool_calls"), Kind.ANSWERED, ""),
    (200, reply({"content": "a tide table"}, usage=None), Kind.ANSWERED, ""),
    (200, raw({"choices": [{"text": "a tide table", "finish_reason": "stop"}]}), Kind.ANSWERED, ""),
    (200, events(delta(content="a "), delta(content="tide"), delta("stop")), Kind.ANSWERED, ""),
    (200, events(delta("stop", content="one event")), Kind.ANSWERED, ""),
]
REJECTED: list[Shape] = [
    (200, reply({"content": "cut"}, "length"), Kind.REJECT, "length"),
    (200, reply({"content": None}, "length"), Kind.REJECT, "length"),
    (200, reply({"content": "cut"}, "MAX_TOKENS"), Kind.REJECT, "length"),
    (200, reply({"content": "<think>and then"}, "length"), Kind.REJECT, "length"),
    (200, reply({"content": None}, "length", error={"code": 400, "message": "no more"}), Kind.REJECT, "length"),
    (200, reply({"content": None, "refusal": "Not I"}), Kind.REJECT, "refusal"),
    (200, reply({"content": [{"type": "refusal", "refusal": "Not I"}]}), Kind.REJECT, "refusal"),
    (200, reply(None, "content_filter"), Kind.REJECT, "content_filter"),
    (200, reply({"content": "half"}, "SAFETY"), Kind.REJECT, "content_filter"),
    (200, reply({"content": ""}), Kind.REJECT, "empty_reply"),
    (200, reply({}), Kind.REJECT, "empty_reply"),
    (200, reply({"content": " \n"}), Kind.REJECT, "empty_reply"),
    (200, reply({"content": "<think>only thoughts"}), Kind.REJECT, "empty_reply"),
    (200, reply({"content": None, "tool_calls": CALL}, "tool_calls"), Kind.REJECT, "tool_call"),
    (200, reply({"content": "Let me see.", "tool_calls": CALL}, "tool_calls"), Kind.REJECT, "tool_call"),
    (200, reply({"content": None, "function_call": {"name": "f"}}, "function_call"), Kind.REJECT, "tool_call"),
    (200, events(delta(tool_calls=CALL), delta("tool_calls")), Kind.REJECT, "tool_call"),
    (200, error("too long a text", code="context_length_exceeded"), Kind.REJECT, "too_long"),
    (400, error("40 tokens, 30 fit", code="context_length_exceeded"), Kind.REJECT, "too_long"),
    (400, error("max_tokens: over this model's maximum context length", param="max_tokens"), Kind.REJECT, "too_long"),
    (400, error("Too long", code="string_above_max_length", param="messages[1].content"), Kind.REJECT, "too_long"),
    (413, PAGE, Kind.REJECT, "too_long"),
    (413, error("Too large", code="rate_limit_exceeded"), Kind.REJECT, "too_long"),
    (429, error("Request too large for gpt-x ... on tokens per min (TPM)"), Kind.REJECT, "too_long"),
    (429, error(f"tokens per minute (TPM): {TOO_MUCH}", code="rate_limit_exceeded"), Kind.REJECT, "too_long"),
    (400, error("content management policy", code="content_filter"), Kind.REJECT, "content_filter"),
    (400, error("no", innererror={"code": "ResponsibleAIPolicyViolation"}), Kind.REJECT, "content_filter"),
    (403, error("it wants moderation: your input was flagged", code=403), Kind.REJECT, "content_filter"),
    (
        403,
        raw({"code": "No permission to do so", "error": "Content violates the rules"}),
        Kind.REJECT,
        "content_filter",
    ),
    (400, raw({"detail": "bad input"}), Kind.REJECT, "http_400"),
    (400, error("an odd picture", code="invalid_image_url"), Kind.REJECT, "invalid_image_url"),
    (400, error("a null byte", code="invalid_value", param="messages[1].content"), Kind.REJECT, "invalid_value"),
    (400, error("is too odd - 'messages.1.content'"), Kind.REJECT, "http_400"),
    (422, raw({"detail": [{"loc": ["body", "messages", 1], "msg": "bad", "type": "x"}]}), Kind.REJECT, "invalid_value"),
    (400, b"", Kind.REJECT, "http_400"),
]
PASSING: list[Shape] = [
    (200, PAGE, Kind.RETRY, "unusable_reply"),
    (200, b"", Kind.RETRY, "unusable_reply"),
    (200, reply({"content": "whole"})[:-9], Kind.RETRY, "unusable_reply"),
    (200, b"[" * 100_000, Kind.RETRY, "unusable_reply"),
    *((200, raw(value), Kind.RETRY, "unusable_reply") for value in NO_OBJECTS),
    *((200, raw({"choices": value}), Kind.RETRY, "unusable_reply") for value in NO_CHOICES),
    (200, reply([]), Kind.RETRY, "unusable_reply"),
    (200, reply({"content": 5}), Kind.RETRY, "unusable_reply"),
    (200, reply({"content": {"a": 1}}), Kind.RETRY, "unusable_reply"),
    (200, reply({"content": "half"}, "error"), Kind.RETRY, "unusable_reply"),
    (200, reply({"content": "half"}, "insufficient_system_resource"), Kind.RETRY, "unusable_reply"),
    (200, error("upstream failed", code=502), Kind.RETRY, "http_502"),
    (200, error("upstream failed"), Kind.RETRY, "unusable_reply"),
    (200, raw({"error": "upstream failed"}), Kind.RETRY, "unusable_reply"),
    (200, error(code=429), Kind.RETRY, "rate_limited"),
    (200, raw({"choices": [{"error": {"code": 429, "message": "later"}}]}), Kind.RETRY, "rate_limited"),
    (200, raw({"choices": [{"error": {"code": 401, "message": "not ours"}}]}), Kind.RETRY, "wrong_key"),
    (200, events(delta(content="a "), done=False), Kind.RETRY, "cut_stream"),
    (200, events(delta(content="a ")), Kind.RETRY, "cut_stream"),
    (200, events(delta(content="a "), '{"choices": [{"del', done=False), Kind.RETRY, "cut_stream"),
    (200, events(delta(content="a "), {"error": {"code": 503, "message": "away"}}), Kind.RETRY, "http_503"),
    (200, b"event: error\ndata: " + raw({"message": "away", "code": 502}) + b"\n\n", Kind.RETRY, "http_502"),
    (429, error("slow down", code="rate_limit_exceeded"), Kind.RETRY, "rate_limited"),
    (429, error("Limit 9000, Used 8000, Requested 2000.", code="rate_limit_exceeded"), Kind.RETRY, "rate_limited"),
    (429, error("requests per day (RPD): Limit 200, Used 200, Requested 1"), Kind.RETRY, "rate_limited"),
    (
        429,
        raw([error_body := {"error": {"code": 429, "message": "your current quota", "status": "OUT"}}]),
        Kind.RETRY,
        "rate_limited",
    ),
    (429, raw(error_body), Kind.RETRY, "rate_limited"),
    (429, error("Too many tokens: wait a little"), Kind.RETRY, "rate_limited"),
    (429, b"", Kind.RETRY, "rate_limited"),
    *((status, b"", Kind.RETRY, f"http_{status}") for status in (408, 409, 425, 500, 502, 503, 504, 524, 529)),
    (502, PAGE, Kind.RETRY, "http_502"),
    (500, error("oops", code="server_error"), Kind.RETRY, "http_500"),
    (500, error("oops", code=500), Kind.RETRY, "http_500"),
]
SPENT: list[Shape] = [
    (402, error("out of credits", code=402), Kind.DEFER, "insufficient_quota"),
    (402, b"", Kind.DEFER, "insufficient_quota"),
    (429, error("spent", code="insufficient_quota", type="insufficient_quota"), Kind.DEFER, "insufficient_quota"),
    (429, error("spent", code=None, type="insufficient_quota"), Kind.DEFER, "insufficient_quota"),
    (400, error("your credit balance is too low"), Kind.DEFER, "insufficient_quota"),
    (
        403,
        raw({"code": "No permission", "error": "the team doesn't have any credits"}),
        Kind.DEFER,
        "insufficient_quota",
    ),
    (200, error("add money", code=402), Kind.DEFER, "insufficient_quota"),
]
OF_EVERY_ROW: list[Shape] = [
    (401, error("Incorrect API key", code="invalid_api_key"), Kind.STOP, "wrong_key"),
    (401, raw({"detail": "who are you?"}), Kind.STOP, "wrong_key"),
    (401, b"", Kind.STOP, "wrong_key"),
    (400, raw({"code": "invalid-argument", "error": "Incorrect API key given."}), Kind.STOP, "wrong_key"),
    (400, raw([{"error": {"code": 400, "message": "API key not valid."}}]), Kind.STOP, "wrong_key"),
    (403, raw({"error": "not allowed"}), Kind.STOP, "forbidden"),
    (407, PAGE, Kind.STOP, "proxy_login"),
    (404, error("The model `x` does not exist", code="model_not_found"), Kind.STOP, "unknown_model"),
    (404, error("no such thing here", code="DeploymentNotFound"), Kind.STOP, "unknown_model"),
    (404, raw({"error": 'model "x" not found'}), Kind.STOP, "unknown_model"),
    (400, error("x/y is not a valid model ID", code=400), Kind.STOP, "unknown_model"),
    (410, error("this model is gone"), Kind.STOP, "unknown_model"),
    *((status, PAGE, Kind.STOP, "not_a_chat_endpoint") for status in (301, 404, 405, 501)),
    (404, raw({"detail": "Not Found"}), Kind.STOP, "not_a_chat_endpoint"),
    (404, error("Invalid URL (POST /models/chat)"), Kind.STOP, "not_a_chat_endpoint"),
    (200, raw({"object": "list", "data": []}), Kind.STOP, "not_a_chat_endpoint"),
    (200, raw({"object": "response", "output": [], "error": None}), Kind.STOP, "not_a_chat_endpoint"),
    (200, raw([{"generated_text": "of another API"}]), Kind.STOP, "not_a_chat_endpoint"),
    (200, events({"type": "response.completed", "response": {"object": "response"}}), Kind.STOP, "not_a_chat_endpoint"),
    (400, error("Unsupported parameter", code="unsupported_parameter"), Kind.STOP, "unsupported_parameter"),
    (400, error("no tools with this", param="tools", code=None), Kind.STOP, "invalid_value"),
    (400, error("Seeds are not supported with this model"), Kind.STOP, "unsupported_parameter"),
    (400, error("no", code="unsupported_value", param="messages[0].role"), Kind.STOP, "unsupported_value"),
    (400, error("Supported: user", code="invalid_value", param="messages[0].role"), Kind.STOP, "invalid_value"),
    (400, error("top_p must be between 0 and 1"), Kind.STOP, "invalid_value"),
    (400, error("9 is greater than the maximum of 2 - 'temperature'"), Kind.STOP, "invalid_value"),
    (400, error("below", code="decimal_below_min_value", param="top_p"), Kind.STOP, "decimal_below_min_value"),
    (400, error("Unrecognized request argument: colour"), Kind.STOP, "unknown_parameter"),
    (400, error("a field", code="missing_required_parameter"), Kind.STOP, "missing_required_parameter"),
    (400, error("Invalid schema for it", param="response_format"), Kind.STOP, "invalid_json_schema"),
    (400, error("Invalid schema", code="invalid_json_schema"), Kind.STOP, "invalid_json_schema"),
    (422, raw({"detail": [{"loc": ["body", "seed"], "type": "extra_forbidden"}]}), Kind.STOP, "unknown_parameter"),
]
SHAPES = [*ANSWERED, *REJECTED, *PASSING, *SPENT, *OF_EVERY_ROW]
