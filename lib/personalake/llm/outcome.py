"""What a reply means: answered, try again here, put off, refused, or stop the run."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any

from personalake.llm import said as errors
from personalake.llm.message import text_of, texts_of
from personalake.llm.models import Price
from personalake.llm.said import Said, said_of, shorten
from personalake.llm.sse import assembled


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
    """One send's outcome: its kind, and the reply or the typed reason with what the endpoint said.

    `unknown`: nothing tells whether the send was billed. `overloaded`: the endpoint, not this account, is at its limit.
    """

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
    unknown: bool = False
    overloaded: bool = False


_CUT = {"length", "max_tokens", "model_length"}
_FILTERED = {"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "sensitive"}
_ENDED = _CUT | _FILTERED
_CALLED = {"tool_calls", "function_call"}
_BROKEN = {"error", "abort", "cancelled", "network_error", "insufficient_system_resource"}
# Keys of well-formed bodies that are no chat completion: a response, a list of models, a message of another API.
_FOREIGN = {
    "object", "id", "type", "model", "data", "results", "output", "content", "candidates", "message", "response",
    "batch_id", "generated_text",
}  # fmt: skip
_MOST_TOKENS = 10**9
_NUMBER = (int, float)  # `int | float` in place would be built anew for every count.
_GATEWAY_TIMEOUTS = {504, 524}


def of_response(status: int, headers: dict[str, str], content: bytes, price: Price | None) -> Outcome:
    """Read one HTTP response; *headers* have lower-case names."""
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        body = assembled(content)
    if isinstance(body, dict) and 200 <= status <= 299:  # noqa: PLR2004 (some gateways answer a POST with 201)
        choices = body.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            return _of_choice(body, choices[0], headers, price)
    return _of_no_choice(status, headers, body, content, price)


def _of_no_choice(status: int, headers: dict[str, str], body: object, content: bytes, price: Price | None) -> Outcome:
    bare = Outcome(Kind.RETRY, "unusable_reply", request_id=_id(headers))
    if not 200 <= status <= 299:  # noqa: PLR2004 (as above)
        told = replace(bare, unknown=status in _GATEWAY_TIMEOUTS)
        return _of_error(status, said_of(body, content), headers, told)
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        # Half a reply may stand in it, so it isn't quoted.
        what = f"{len(content)} bytes of {headers.get('content-type', 'no stated type')}, no JSON object"
        return replace(bare, detail=shorten(what), unknown=True)
    told = replace(bare, usage=usage_of(_usage_in(body), price), unknown=not _bills(body))
    if errors.is_error(body):
        return _of_error(HTTPStatus.OK, said_of(body, content), headers, told)
    if "choices" not in body and not (text_of(body.get("object")) or "").startswith("chat.") and _FOREIGN & body.keys():
        # A whole body of another API: `base_url` is wrong, every row would get (and may pay for) the same.
        return replace(told, kind=Kind.STOP, reason="not_a_chat_endpoint", detail="a reply that is no chat completion")
    return replace(told, detail="a reply without choices")


def _of_choice(body: dict[str, Any], choice: dict[str, Any], headers: dict[str, str], price: Price | None) -> Outcome:
    message = choice.get("message")
    if not isinstance(message, dict):
        # A text completion; or no place for a text, as when Azure's filter took the message away.
        message = {"content": choice.get("text", False)}
    content, reasoning, refusal = texts_of(message)
    finish = text_of(choice.get("finish_reason"))
    answered = Outcome(
        Kind.ANSWERED,
        reply=content,
        reasoning=reasoning,
        finish_reason=finish,
        usage=usage_of(_usage_in(body), price),
        model=text_of(body.get("model")),
        fingerprint=text_of(body.get("system_fingerprint")),
        request_id=_id(headers),
    )
    ended = "stop" if finish is None else finish.lower()
    called, error = message.get("tool_calls") or message.get("function_call"), choice.get("error") or body.get("error")
    if ended in _BROKEN or (error and ended not in _ENDED):
        said = said_of(error) if error else Said(f"finish_reason: {ended}")
        return _of_broken_choice(said, headers, replace(answered, reply=None, unknown=not _bills(body)))
    if ended == "stop" and content and not (refusal or called or content.isspace()):
        return answered
    reason, detail = _fault(ended, content, refusal, called=bool(called))
    if not reason:
        return answered
    kind = Kind.RETRY if reason == "unusable_reply" else Kind.REJECT
    unknown = kind is Kind.RETRY and not _bills(body)
    return replace(answered, kind=kind, reason=reason, detail=detail, reply=content or None, unknown=unknown)


def _fault(ended: str, content: str | None, refusal: str, *, called: bool) -> tuple[str, str]:
    """What keeps a reply from being an answer, and in words; an ending that no one knows is none."""
    faults = (
        ("content_filter", "the endpoint's content filter", ended in _FILTERED),
        ("refusal", shorten(refusal), refusal),
        ("length", "cut at the token limit" if content else "no text before the token limit", ended in _CUT),
        # Nobody offered tools, so text beside a call announces the call; it doesn't answer.
        ("tool_call", "a tool call instead of text", called or (ended in _CALLED and not content)),
        ("unusable_reply", "a choice without a message", content is None),
        ("empty_reply", "", not content or content.isspace()),
    )
    return next(((reason, detail) for reason, detail, is_so in faults if is_so), ("", ""))


def _of_broken_choice(said: Said, headers: dict[str, str], told: Outcome) -> Outcome:
    """An error where a choice had begun: key, model and settings had been taken, so that nothing in it is for all."""
    outcome = _of_error(HTTPStatus.OK, said, headers, told)
    return replace(outcome, kind=Kind.RETRY) if outcome.kind is Kind.STOP else outcome


_JUDGES = (
    (Kind.DEFER, errors.spent),
    (Kind.REJECT, errors.about_this_row),
    (Kind.RETRY, errors.limited),
    (Kind.STOP, errors.about_every_row),
    (Kind.RETRY, errors.passing),
    (Kind.REJECT, errors.otherwise),
)


def _of_error(status: int, said: Said, headers: dict[str, str], told: Outcome) -> Outcome:
    """An error by the first judge that knows it; one inside a 200 counts by the status that it names."""
    nameless = status == HTTPStatus.OK and not said.status
    if status == HTTPStatus.OK:
        status = said.status or HTTPStatus.INTERNAL_SERVER_ERROR.value
    kind, reason = next((kind, reason) for kind, judge in _JUDGES if (reason := judge(status, said)))
    if nameless and reason == f"http_{status}":
        named = errors.otherwise(status, said)
        reason = "unusable_reply" if named == reason else named
    return replace(
        told,
        kind=kind,
        reason=reason,
        detail=shorten(said.text),
        retry_after_s=_retry_after(headers),
        rate_limited=kind is Kind.RETRY and reason == "rate_limited",
        overloaded=kind is Kind.RETRY and errors.overloaded(status, said),
    )


def usage_of(usage: Any, price: Price | None) -> Usage:  # noqa: ANN401 (whatever the endpoint sent)
    """The billed tokens of a reply's `usage`; nothing where it has none."""
    if not isinstance(usage, dict):
        return Usage()
    prompt = _count(usage, "prompt_tokens") or _count(usage, "input_tokens")
    completion = _count(usage, "completion_tokens") or _count(usage, "output_tokens")
    cached = _count(usage.get("prompt_tokens_details"), "cached_tokens")
    if not cached:  # DeepSeek's and Mistral's own names are older than OpenAI's.
        cached = _count(usage, "prompt_cache_hit_tokens") or _count(usage, "num_cached_tokens")
    if cached > prompt:
        cached = 0  # Azure's Grok: more than the prompt, since they are of its own preamble, which isn't billed.
    reasoning = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
    beyond = _count(usage, "total_tokens") - prompt - completion
    if beyond > 0 and prompt:
        # xAI and Gemini leave the thoughts out of the completion, and bill them: they show in the total only.
        completion, reasoning = completion + beyond, max(reasoning, beyond)
    paid = 0 if price is None else price.microusd(prompt, cached, completion)
    return Usage(prompt, completion, reasoning, cached, paid)


def _count(group: Any, name: str) -> int:  # noqa: ANN401 (as above)
    """A number of tokens; 0 for what can't be one, as a bill must not rest on nonsense."""
    if not isinstance(group, dict):
        return 0
    value = group.get(name)
    return int(value) if isinstance(value, _NUMBER) and 0 < value < _MOST_TOKENS else 0


def _usage_in(body: dict[str, Any]) -> Any:  # noqa: ANN401 (as above)
    usage = body.get("usage")
    if usage or not isinstance(groq := body.get("x_groq"), dict):
        return usage
    return groq.get("usage")  # Groq's own place for it in streams.


def _bills(body: dict[str, Any]) -> bool:
    """Whether the body says what the send cost, be it nothing."""
    usage = _usage_in(body)
    names = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens")
    return isinstance(usage, dict) and any(isinstance(usage.get(name), _NUMBER) for name in names)


def _id(headers: dict[str, str]) -> str | None:
    return headers.get("x-request-id") or headers.get("apim-request-id")


def _retry_after(headers: dict[str, str]) -> float | None:
    """How long the endpoint wants to be left alone.

    `retry-after` is `retry-after-ms` rounded up to whole seconds, so that the milliseconds are the exact figure. Where
    the two contradict each other (Azure's 1 s beside 0 ms), the longer one is the safer.
    """
    exact, whole = _number(headers.get("retry-after-ms")), _number(headers.get("retry-after"))
    if whole is None and "retry-after" in headers:
        whole = _until(headers["retry-after"], headers.get("date"))
    if exact is None or whole is None:
        return whole if exact is None else exact / 1000
    return exact / 1000 if math.ceil(exact / 1000) == math.ceil(whole) else max(exact / 1000, whole)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _until(date: str, now: str | None) -> float | None:
    """Seconds until an HTTP date, by the endpoint's own clock where it tells it."""
    then, since = _moment(date), _moment(now or "")
    return None if then is None else max(0.0, then - (time.time() if since is None else since))


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def cure(reason: str) -> str:
    """What a person can do about a reason that stops a run."""
    return {
        "no_key": "make the key known to every worker, or set llm.run_on=driver",
        "wrong_key": "set llm.api_key.env to the variable that holds the right key",
        "forbidden": "the key may not use this model or project",
        "proxy_login": "a proxy between here and the endpoint wants a login: put it into HTTPS_PROXY, or go around it",
        "unknown_model": "set llm.model to one that the endpoint offers; llm.base_url often ends in /v1",
        "not_a_chat_endpoint": "set llm.base_url to what stands before /chat/completions; it often ends in /v1",
        "unknown_embedding_model": "set dedup.embedding.model to one that the endpoint offers",
        "not_an_embeddings_endpoint": "name one that offers /embeddings in dedup.embedding.endpoint",
        "invalid_json_schema": "set `structured` to json_object or none for this model in conf/models.yaml",
    }.get(reason, "the endpoint refuses this parameter: see conf/models.yaml for what a model can be asked")
