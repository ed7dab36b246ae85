"""What an endpoint said instead of a reply: the many shapes of an error as one, and what it is about.

Status, code and type decide where they say something; the words of the message only where they don't, since words
change with every release and may repeat a part of the prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_DETAIL, _JUDGED = 500, 4_000


@dataclass(frozen=True)
class Said:
    """An endpoint's error in one shape: its words, its names (code, type), the parameter and the status it names."""

    text: str = ""
    code: str = ""
    names: frozenset[str] = frozenset()
    param: str = ""
    status: int = 0

    @property
    def low(self) -> str:
        """The words that are judged, in lower case."""
        return self.text[:_JUDGED].lower()


_SPENT_NAMES = {
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded", "insufficient_balance",
    "exceeded_current_quota_error", "insufficient_credits",
}  # fmt: skip
# Without "exceeded your current quota": Gemini says it of its limits per minute, too.
_SPENT = re.compile(
    r"insufficient (balance|credits?|funds)|credit balance is too low|(used all|out of|have any|more) (available )?"
    r"credits|spending limit|key limit exceeded|credit limit"
)
_TOO_LONG_NAMES = {
    "context_length_exceeded", "request_too_large", "too_many_prompt_tokens", "exceed_context_size_error",
}  # fmt: skip
_TOO_LONG = re.compile(
    r"maximum (context|model|prompt) length|context (window|length|size)|too many (input |prompt )?tokens|"
    r"(prompt|input|messages) (is|are) too long|reduce the length of|maximum number of tokens|"
    r"tokens` \+ `max_new_tokens|must be at least 1, got -"
)
_TOO_LARGE = re.compile(r"request too large.{0,200}tokens per|request too large for model", re.DOTALL)
_LIMIT = re.compile(r"limit:? (\d{1,12})\b.{0,80}?requested:? (\d{1,12})\b", re.DOTALL)
_FILTERED_NAMES = {
    "content_filter", "content_policy_violation", "moderation_blocked", "invalid_prompt", "contentfilter",
    "responsibleaipolicyviolation", "data_inspection_failed",
}  # fmt: skip
_FILTERED = re.compile(
    r"content (management )?policy|content violates|content exists risk|input was flagged|requires moderation"
)
_RATE_NAMES = {"rate_limit_exceeded", "rate_limit_error", "ratelimitreached", "too_many_requests"}
_OVERLOADED_NAMES = {"overloaded_error", "overloaded", "engine_overloaded_error", "engine_overloaded"}
_OVERLOADED = re.compile(r"overload|capacity|too busy|high demand|insufficient.system.resource")
_MODEL_NAMES = {
    "model_not_found", "model_not_available", "deploymentnotfound", "model_decommissioned", "invalid_model",
    "unknown_model", "unavailable_model",
}  # fmt: skip
_MODEL = re.compile(
    r"\bmodels?\b.{0,120}?(does ?n[o']t exist|\bnot exist|not found|not a valid|unavailable|deprecated|decommissioned)|"
    r"(invalid|unknown|no such) model|not a valid model|no endpoints found",
    re.DOTALL,
)
_KEY = re.compile(
    r"(incorrect|invalid|wrong|missing|expired|no) api[ _-]?key|"
    r"api[ _-]?key (is |was )?(not valid|invalid|incorrect|expired|missing|required)|authentication (fails|failed)"
)
_SETTING_NAMES = {
    "unsupported_parameter", "unsupported_value", "unknown_parameter", "missing_required_parameter",
    "invalid_json_schema", "invalid_request_format", "invalid_function_parameters",
}  # fmt: skip
_BY_WORDS = {
    "invalid_json_schema": r"invalid (json )?schema",
    "unknown_parameter": r"(unknown|unrecognized|unexpected) (request )?(parameter|argument|keyword|field|name)\b|"
    r"extra (inputs|fields) (are )?not permitted|additional properties are not allowed",
    "missing_required_parameter": r"missing (required|field)|field required|is a required property",
    "unsupported_parameter": r"unsupported (parameter|value)|must contain the word 'json'|(not supported|unsupported) "
    r"(with|by|for|on|in) (this|the) (model|endpoint)|(model|endpoint) does not support",
    "invalid_value": r"(?s)\b(temperature|top_p|top_k|max_(completion_)?tokens|response_format|reasoning_effort)\b"
    r".{0,80}(must be|range|allowed|expected|support|minimum|maximum)",
}
_OF_THE_ROW = {"messages", "message", "input", "inputs", "prompt", "content", "image", "images", "url", "file", "body"}
_TYPE_STATUS = {
    "invalid_request_error": 400, "badrequesterror": 400, "authentication_error": 401, "permission_error": 403,
    "not_found_error": 404, "notfounderror": 404, "rate_limit_error": 429, "rate_limit_exceeded": 429,
    "overloaded_error": 529,
}  # fmt: skip
# Names that say nothing beside the status.
_GENERIC = {
    "", "invalid_request_error", "invalid-argument", "invalid_argument", "bad_request", "badrequest",
    "bad_request_error", "server_error", "internal_error", "internal_server_error", "api_error", "unknown", "null",
}  # fmt: skip


def is_error(body: dict[str, Any]) -> bool:
    """Whether a body that came with status 200 is an error all the same."""
    return bool(
        body.get("error")
        or body.get("errors")
        or "error" in (body.get("object"), body.get("type"))
        or _status(body, "")
        or any(isinstance(body.get(name), str) and body[name] for name in ("detail", "message", "msg"))
    )


def said_of(body: Any, content: bytes = b"") -> Said:  # noqa: ANN401 (whatever the endpoint sent)
    """One shape for `{"error": {...}}`, `{"error": "text"}`, `{"detail": ...}`, bare lists, plain text and pages."""
    error, code = body, ""
    for _ in range(3):
        if isinstance(error, dict):
            code = code or _name(error.get("code"))
            inner = error.get("error") or error.get("errors")
            error = inner or error
        if isinstance(error, list):
            error = error[0] if error else None
    if isinstance(error, str):
        return Said(error, code, frozenset({code}), "", _status(body, code))
    if not isinstance(error, dict):
        return Said(_page(content))
    message, names, param = _message(error)
    inner = error.get("innererror") or error.get("inner_error")
    deeper = _name(inner.get("code")) if isinstance(inner, dict) else ""
    code = _name(error.get("code")) or (names[0] if names else "") or code
    param = _word(error.get("param")) or param
    if not param and (field := re.search(r" - '([\w.\[\]]+)'\s*\Z", message[:_JUDGED])):
        param = field.group(1)  # An older validator of OpenAI's: "5 is greater than the maximum of 2 - 'temperature'".
    named = frozenset({code, _name(error.get("type")), deeper, *names})
    status = _status(error, code) or next((_TYPE_STATUS[name] for name in named if name in _TYPE_STATUS), 0)
    return Said(message or _page(content), code, named, param, status)


def _message(error: dict[str, Any]) -> tuple[str, list[str], str]:
    """The words; and the names and the parameter that a list of complaints (pydantic's, FastAPI's) gives."""
    message = next((error[name] for name in ("message", "detail", "msg", "title") if error.get(name)), "")
    if isinstance(message, dict):
        message = message.get("detail") or message.get("message") or ""
    if isinstance(message, list):
        return _complaints(message)
    text = message if isinstance(message, str) else ""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    # OpenRouter says "Provider returned error", and only here what the provider said.
    return (f"{text}: {raw}" if isinstance(raw, str) and raw else text), [], ""


def _complaints(found: list[Any]) -> tuple[str, list[str], str]:
    """A validator's list without its `input`, which repeats the prompt."""
    texts, names, params = [], [], []
    known = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
    for one in found[:5]:
        if isinstance(one, dict):
            place = one.get("loc")
            loc = (
                ".".join(str(part) for part in place if isinstance(part, str | int)) if isinstance(place, list) else ""
            )
            params.append(loc.removeprefix("body."))
            texts.append(f"{params[-1]}: {_word(one.get('msg'))}")
            names.append(known.get(_name(one.get("type")), "invalid_value"))
    return "; ".join(texts), names[:1], params[0] if params else ""


def _word(value: Any) -> str:  # noqa: ANN401 (as above)
    return value if isinstance(value, str) else ""


def _name(value: Any) -> str:  # noqa: ANN401 (as above)
    return value.lower() if isinstance(value, str) and not value.isdigit() else ""


def _status(error: Any, code: str) -> int:  # noqa: ANN401 (as above)
    if isinstance(error, dict):
        for value in (error.get(name) for name in ("code", "status", "status_code", "statusCode")):
            told = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{3}", value) else value
            if isinstance(told, int) and 400 <= told <= 599:  # noqa: PLR2004 (HTTP's errors)
                return told
    return _TYPE_STATUS.get(code, 0)


def _page(content: bytes) -> str:
    text = content[:_JUDGED].decode("utf-8", "replace")
    if re.match(r"\s*<(!doctype|html|head|\?xml)", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"a web page: {title.group(1).strip()}" if title else f"a web page: {text}"
    return text


def spent(status: int, said: Said) -> str:
    """The reason where money or quota is spent: it comes back by the hand of a person, not in seconds."""
    paid = status == 402 or said.names & _SPENT_NAMES  # noqa: PLR2004 (Payment Required)
    return "insufficient_quota" if paid or (status in (400, 403, 429) and _SPENT.search(said.low)) else ""


def about_this_row(status: int, said: Said) -> str:
    """The reason where this text will never pass, whatever the others do."""
    if status in (401, 404):
        return ""
    if said.names & _FILTERED_NAMES or (status in (400, 403, 422) and _FILTERED.search(said.low)):
        return "content_filter"  # 403, too: OpenRouter's moderation and xAI's safety check say it so.
    if status == 413 or _TOO_LARGE.search(said.low):  # noqa: PLR2004 (Content Too Large)
        return "too_long"
    rate = status == 429  # noqa: PLR2004 (Too Many Requests)
    if said.names & _TOO_LONG_NAMES or (not rate and _TOO_LONG.search(said.low)):
        return "too_long"  # Bedrock's "too many tokens, please wait" is a rate.
    if "string_above_max_length" in said.names and (not said.param or _in_the_row(said.param)):
        return "too_long"
    # One request that is larger than a whole minute's tokens never fits, however long one waits.
    limit = _LIMIT.search(said.low) if rate else None
    return "too_long" if limit and int(limit.group(2)) > int(limit.group(1)) else ""


def limited(status: int, said: Said) -> str:
    """The reason where the endpoint wants fewer requests for a while."""
    return "rate_limited" if status == 429 or said.names & _RATE_NAMES else ""  # noqa: PLR2004 (Too Many Requests)


def about_every_row(status: int, said: Said) -> str:
    """The reason where every other row would be told the same."""
    if status in (401, 403, 407):
        return {401: "wrong_key", 403: "forbidden", 407: "proxy_login"}[status]
    if said.names & _MODEL_NAMES:
        return "unknown_model"
    if said.names & _SETTING_NAMES:
        return min(said.names & _SETTING_NAMES)
    if status in (404, 410):
        of_model = re.search(r"\bmodel|deployment|no endpoints found", said.low)
        of_address = re.search(r"\burl\b|\bpath\b|\broute\b", said.low)
        return "unknown_model" if of_model and not of_address else "not_a_chat_endpoint"
    if status < 400 or status in (405, 406, 415, 501):  # noqa: PLR2004 (a redirect that nobody followed)
        return "not_a_chat_endpoint"
    return _of_a_setting(said) if status in (400, 422) else ""


def _of_a_setting(said: Said) -> str:
    """What a 400 has against a setting, which each row carries, rather than against the row's own text."""
    named = said.code if _is_name(said.code) else ""
    if not named and _KEY.search(said.low):
        return "wrong_key"  # xAI and Gemini say so with status 400.
    if not named and _MODEL.search(said.low):
        return "unknown_model"
    if said.param and _in_the_row(said.param):
        return ""  # One odd row must not stop the others; 20 alike that open a stage do.
    by_words = "" if named else next((name for name, words in _BY_WORDS.items() if re.search(words, said.low)), "")
    if said.param:
        return named or by_words or "invalid_value"
    return named if named in ("invalid_value", "invalid_type") else by_words


def _in_the_row(param: str) -> bool:
    root = re.split(r"[.\[]", param, maxsplit=1)[0]
    return root in _OF_THE_ROW and not param.endswith("role")  # The template sets the roles, for every row.


def passing(status: int, said: Said) -> str:
    """The reason where the same request may well pass later. 498 is Groq's full tier, 499 a gateway that hung up."""
    passes = status in (408, 409, 425, 498, 499) or status >= 500 or said.names & _OVERLOADED_NAMES  # noqa: PLR2004
    return f"http_{status}" if passes else ""


def overloaded(status: int, said: Said) -> bool:
    """Whether an error that passes speaks of the endpoint's load, not only of this account's share."""
    by_words = (status == 429 or status >= 500) and _OVERLOADED.search(said.low)  # noqa: PLR2004 (errors of load)
    return bool(status in (498, 503, 529) or said.names & _OVERLOADED_NAMES or by_words)


def otherwise(status: int, said: Said) -> str:
    """The reason of a request that was refused without a hint that it concerns others."""
    return said.code if _is_name(said.code) else f"http_{status}"


def _is_name(code: str) -> bool:
    return code not in _GENERIC and re.fullmatch(r"[a-z][a-z0-9_.-]{1,60}", code) is not None


_SECRETS = (
    (re.compile(r"(bearer\s+)[\w*.~+/=-]{8,}", re.IGNORECASE), r"\1…"),
    (re.compile(r"(api[ _-]?key(?: provided)?\s*[:=]\s*['\"]?)[^\s'\",]{4,}", re.IGNORECASE), r"\1…"),
    (re.compile(r"\b(sk|csk|key|xai|nvapi|pplx)-[\w*.-]{4,}"), r"\1-…"),
    (re.compile(r"\b(gsk|hf|tgp|fw)_[\w*.-]{4,}"), r"\1_…"),
    (re.compile(r"\b(AIza|eyJ)[\w*.-]{8,}"), r"\1…"),
)


def shorten(text: str) -> str:
    """The endpoint's words for a person: one line, not longer than a sentence or two, and no key in it.

    OpenAI's 401 repeats part of the key.
    """
    folded = " ".join(text[: 4 * _DETAIL].split())
    for secret, masked in _SECRETS:
        folded = secret.sub(masked, folded)
    return folded[:_DETAIL].encode("utf-8", "replace").decode()
