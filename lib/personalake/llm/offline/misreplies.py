"""Replies that are ordered to go wrong: errors with a status, and completions of an unwanted shape."""

from __future__ import annotations

from typing import Any

from .draw import Draw
from .faults import FaultPlan
from .limit_styles import duration, retry_headers
from .refusals import RefusalError
from .rules import Asked, Choice, tokens_of
from .settings import CHAT_MODEL

# Met on arrival; the other faults show when the latency is over.
AT_ONCE = ("429", "quota", "wrong_key_400")
AS_ERRORS = (*AT_ONCE, "500", "503", "529", "error_in_200")
IN_BATCHES = ("429", "quota", "500", "503", "529")
SHAPES = ("refusal", "content_filter", "empty_length", "invalid_json", "tool_call")
EMPTY_LENGTH_TOKENS = 256
REFUSAL_TEXT = "I'm sorry, but I can't help with that."
PROSE = "Of course! Here is the answer in plain words, without any of the structure that you asked for."
MISFIT = '["a list", "where the schema asks for an object"]'
TOOL_CALL_TOKENS = 16


def error_of(kind: str, plan: FaultPlan) -> RefusalError:
    """Return the error that one of AS_ERRORS answers with."""
    if kind != "429":
        status, body = _ERRORS[kind]
        return RefusalError.of(status, body)
    message = f"Rate limit reached for {CHAT_MODEL} on requests per min (RPM). Please slow down."
    if plan.retry_style == "body-only":
        message += f" Please try again in {duration(plan.retry_after_s)}."
    headers = retry_headers(plan.retry_style, plan.retry_after_s)
    return RefusalError(429, message, code="rate_limit_exceeded", kind="requests", headers=headers)


def _openai(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_PROVIDER = {"message": "Provider returned error", "code": 502, "metadata": {"provider_name": "offline"}}
_ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "quota": (429, _openai(_QUOTA, "insufficient_quota", "insufficient_quota")),
    "500": (500, _openai("The server had an error processing your request.", "server_error")),
    "503": (503, _openai("That model is overloaded at the moment.", "server_error")),
    "529": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "error_in_200": (200, {"error": _PROVIDER, "user_id": "user_offline"}),
    "wrong_key_400": (400, {"code": "invalid-argument", "error": "Incorrect API key provided."}),
}


def misshapen(fault: str, reply: Choice, question: Asked, limit: int | None, draw: Draw) -> Choice:
    """Return what becomes of *reply* under one of SHAPES; *draw* is the attempt's own."""
    if fault == "empty_length":
        return Choice("", "length", limit or EMPTY_LENGTH_TOKENS)
    if fault == "refusal":
        return Choice(REFUSAL_TEXT, "stop", tokens_of(REFUSAL_TEXT))
    if fault == "content_filter":
        return Choice("", "content_filter", 0)
    if fault == "tool_call":
        return Choice("", "tool_calls", TOOL_CALL_TOKENS)
    ways = [PROSE, _broken(reply.text)] + ([MISFIT] if question.schema is not None else [])
    text = draw.pick("invalid_json", ways)
    return Choice(text, "stop", tokens_of(text))


def _broken(text: str) -> str:
    """JSON that ends in its middle."""
    whole = text if text.startswith("{") else '{"answer": "here it comes"}'
    return whole[: max(1, 2 * len(whole) // 3)]


def choice_json(index: int, reply: Choice, fault: str | None) -> dict[str, Any]:
    """Return one entry of ``choices``; *fault* is one of SHAPES or None."""
    body: dict[str, Any] = {"index": index, "finish_reason": reply.finish_reason, "logprobs": None}
    if fault == "content_filter":
        return body
    absent = fault in ("refusal", "tool_call")
    body["message"] = {
        "role": "assistant",
        "content": None if absent else reply.text,
        "refusal": reply.text if fault == "refusal" else None,
        "annotations": [],
    }
    if fault == "tool_call":
        function = {"name": "look_up", "arguments": '{"query": "nobody offered this tool"}'}
        body["message"]["tool_calls"] = [{"id": f"call_offline{index}", "type": "function", "function": function}]
    return body
