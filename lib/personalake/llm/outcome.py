"""What a reply means: answered, try again here, put off, refused, or stop the run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

from personalake.llm.models import Price


class Kind(Enum):
    """The five things that a send can come to."""

    ANSWERED = "answered"
    RETRY = "retry"
    DEFER = "defer"
    REJECT = "reject"
    STOP = "stop"


@dataclass(frozen=True)
class Usage:
    """Tokens as billed, and their price in millionths of a dollar."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    microusd: int = 0

    def plus(self, other: Usage) -> Usage:
        """Both together: what several tries of one request cost."""
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
            self.cached + other.cached,
            self.microusd + other.microusd,
        )


@dataclass(frozen=True)
class Outcome:
    """One send's outcome: its kind, and the reply or the typed reason with what the endpoint said."""

    kind: Kind
    reason: str = ""
    detail: str = ""
    reply: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    fingerprint: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
    rate_limited: bool = False


_THINK = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
_STOP_CODES = {
    "invalid_api_key", "model_not_found", "unsupported_parameter", "unsupported_value", "unknown_parameter",
    "invalid_json_schema", "invalid_request_format", "missing_required_parameter", "invalid_type", "invalid_value",
    "deploymentnotfound",
}  # fmt: skip
_TOO_LONG = {"context_length_exceeded", "string_above_max_length", "request_too_large"}
_DETAIL = 500


def of_response(status: int, headers: dict[str, str], content: bytes, price: Price | None) -> Outcome:
    """Read one HTTP response; *headers* have lower-case names."""
    request_id = headers.get("x-request-id") or headers.get("apim-request-id")
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = None
    if status == HTTPStatus.OK and isinstance(body, dict) and body.get("choices"):
        return _of_choice(body, request_id, price)
    error = _error_of(body)
    said = _shorten(error["message"] or content[:_DETAIL].decode("utf-8", "replace"))
    if status == HTTPStatus.OK:
        # An error object inside a 200, a proxy's page, half a body: nothing usable, and nothing says it was billed.
        kind = Kind.RETRY if not error["message"] else _kind_of_error(int(error["status"] or 500), error)
        return Outcome(kind, "unusable_reply", said, request_id=request_id)
    kind = _kind_of_error(status, error)
    return Outcome(
        kind,
        _reason_of(status, error),
        said,
        request_id=request_id,
        retry_after_s=_retry_after(headers),
        rate_limited=status == HTTPStatus.TOO_MANY_REQUESTS,
    )


def _of_choice(body: dict[str, Any], request_id: str | None, price: Price | None) -> Outcome:
    choice = body["choices"][0]
    message = choice.get("message") or {}
    content, reasoning = message.get("content"), message.get("reasoning_content") or message.get("reasoning")
    if isinstance(content, str):
        think = _THINK.match(content)
        if think:
            content, reasoning = content[think.end() :], reasoning or think.group(1).strip()
    finish = choice.get("finish_reason")
    told: dict[str, Any] = {
        "reasoning": reasoning if isinstance(reasoning, str) else None,
        "finish_reason": finish,
        "usage": usage_of(body.get("usage"), price),
        "model": body.get("model"),
        "fingerprint": body.get("system_fingerprint"),
        "request_id": request_id,
    }
    if finish == "content_filter":
        return Outcome(Kind.REJECT, "content_filter", "the endpoint's content filter", reply=content, **told)
    if message.get("refusal"):
        return Outcome(Kind.REJECT, "refusal", _shorten(str(message["refusal"])), **told)
    if not content:
        reason = "length" if finish == "length" else "empty_reply"
        return Outcome(Kind.REJECT, reason, "no text before the token limit" if reason == "length" else "", **told)
    if finish == "length":
        return Outcome(Kind.REJECT, "length", "cut at the token limit", reply=content, **told)
    return Outcome(Kind.ANSWERED, reply=content, **told)


def usage_of(usage: Any, price: Price | None) -> Usage:  # noqa: ANN401 (whatever the endpoint sent)
    """The billed tokens of a reply's `usage`; nothing where it has none."""
    if not isinstance(usage, dict):
        return Usage()

    def count(group: Any, name: str) -> int:  # noqa: ANN401 (as above)
        value = group.get(name) if isinstance(group, dict) else None
        return int(value) if isinstance(value, int | float) and value > 0 else 0

    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    cached = min(count(usage.get("prompt_tokens_details"), "cached_tokens"), prompt)
    reasoning = count(usage.get("completion_tokens_details"), "reasoning_tokens")
    paid = 0 if price is None else price.microusd(prompt, cached, completion)
    return Usage(prompt, completion, reasoning, cached, paid)


def _error_of(body: Any) -> dict[str, str]:  # noqa: ANN401 (as above)
    """One shape for the many: `{"error": {...}}`, `{"error": "text"}`, `{"detail": ...}`, a bare list, nothing."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, str):
        return {"message": error, "code": str(body.get("code") or "").lower(), "type": "", "status": ""}
    if not isinstance(error, dict):
        return {"message": "", "code": "", "type": "", "status": ""}
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    return {
        "message": message if isinstance(message, str) else json.dumps(message),
        "code": str(error.get("code") or "").lower(),
        "type": str(error.get("type") or "").lower(),
        "status": str(error.get("code")) if isinstance(error.get("code"), int) else "",
    }


def _kind_of_error(status: int, error: dict[str, str]) -> Kind:
    names = {error["code"], error["type"]}
    if names & _QUOTA or status == HTTPStatus.PAYMENT_REQUIRED:
        return Kind.DEFER
    if _too_long(error):
        return Kind.REJECT
    if status in (401, 403, 404) or names & _STOP_CODES:
        return Kind.STOP
    if status in (408, 409, 425, 429) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Kind.RETRY
    if (
        names & {"content_filter", "content_policy_violation"}
        or "content management policy" in error["message"].lower()
    ):
        return Kind.REJECT
    return Kind.REJECT


def _too_long(error: dict[str, str]) -> bool:
    text = error["message"].lower()
    return (
        error["code"] in _TOO_LONG
        or "maximum context length" in text
        or ("request too large" in text and "tokens per m" in text)
    )


def _reason_of(status: int, error: dict[str, str]) -> str:
    if _too_long(error):
        return "too_long"
    if {error["code"], error["type"]} & _QUOTA:
        return "insufficient_quota"
    if "content_filter" in error["code"] or "content management policy" in error["message"].lower():
        return "content_filter"
    by_status = {401: "wrong_key", 403: "forbidden", 404: "unknown_model", 429: "rate_limited"}
    # A code that is a number (OpenRouter's) only repeats the status.
    named = "" if status >= HTTPStatus.INTERNAL_SERVER_ERROR or error["status"] else error["code"]
    return by_status.get(status) or named or f"http_{status}"


def _retry_after(headers: dict[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / unit)
        except (KeyError, ValueError):
            continue
    return None


def _shorten(text: str) -> str:
    """The endpoint's words for a person: one line, not longer than a sentence or two, and no key in it.

    OpenAI's 401 repeats part of the key.
    """
    folded = " ".join(text.split())
    return re.sub(r"\b(sk|key)-[\w*.-]{4,}", r"\1-…", folded)[:_DETAIL]


def cure(reason: str) -> str:
    """What a person can do about a reason that stops a run."""
    return {
        "no_key": "make the key known to every worker, or set llm.run_on=driver",
        "wrong_key": "set llm.api_key.env to the variable that holds the right key",
        "forbidden": "the key may not use this model or project",
        "unknown_model": "set llm.model to one that the endpoint offers; llm.base_url often ends in /v1",
    }.get(reason, "the endpoint refuses this parameter: see conf/models.yaml for what a model can be asked")
