"""How limits and 429s show on the wire: each provider's headers, the ways to ask for a pause, the error bodies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any, NamedTuple

from .refusals import RefusalError
from .settings import CHAT_MODEL

HUGE_S = 86_400


class State(NamedTuple):
    """One limit as headers tell of it; *unit* is ``requests`` or ``tokens``, *reset_s* the time to a full allowance."""

    unit: str
    limit: int
    remaining: int
    reset_s: float


def limit_headers(style: str, states: Sequence[State]) -> dict[str, str]:
    """Return the headers by which *style* tells of limits."""
    if not states or style == "none":
        return {}
    found: dict[str, str] = {}
    for state in states:
        found.update(_STYLES[style](state))
    return found


def _openai(state: State) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{state.unit}": str(state.limit),
        f"x-ratelimit-remaining-{state.unit}": str(state.remaining),
        f"x-ratelimit-reset-{state.unit}": duration(state.reset_s),
    }


def _azure(state: State) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{state.unit}": str(state.remaining)}


def _openrouter(state: State) -> dict[str, str]:
    """Told in the body of a 429 only."""
    del state
    return {}


def _anthropic(state: State) -> dict[str, str]:
    full = datetime.fromtimestamp(time.time() + state.reset_s, timezone.utc)
    return {
        f"anthropic-ratelimit-{state.unit}-limit": str(state.limit),
        f"anthropic-ratelimit-{state.unit}-remaining": str(state.remaining),
        f"anthropic-ratelimit-{state.unit}-reset": full.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


_STYLES: dict[str, Callable[[State], dict[str, str]]] = {
    "openai": _openai,
    "azure": _azure,
    "openrouter": _openrouter,
    "anthropic": _anthropic,
}
OWN_RETRY = {"openai": "both", "azure": "both", "openrouter": "none", "anthropic": "retry-after", "none": "none"}


def limited(style: str, retry_style: str, states: Sequence[State], unit: str, wait_s: float, need: int) -> RefusalError:
    """Return the 429 of a limit that is used up, as *style* words it; *retry_style* "" is the style's own."""
    retry = retry_style or OWN_RETRY[style]
    state = next(state for state in states if state.unit == unit)
    per = f"{unit} per min ({'RPM' if unit == 'requests' else 'TPM'})"
    message = f"Rate limit reached for {CHAT_MODEL} on {per}: Limit {state.limit}, Requested {need}."
    if retry != "none":
        message += f" Please try again in {duration(wait_s)}."
    headers = {**limit_headers(style, states), **retry_headers(retry, wait_s)}
    if style in _BODIES:
        return RefusalError.of(429, _BODIES[style](message, state, wait_s), headers)
    return RefusalError(429, message, code="rate_limit_exceeded", kind=unit, headers=headers)


def _azure_body(message: str, state: State, wait_s: float) -> dict[str, Any]:
    del state, wait_s
    return {"error": {"code": "RateLimitReached", "message": message, "details": message}}


def _openrouter_body(message: str, state: State, wait_s: float) -> dict[str, Any]:
    told = {
        "X-RateLimit-Limit": str(state.limit),
        "X-RateLimit-Remaining": str(state.remaining),
        "X-RateLimit-Reset": str(math.ceil((time.time() + wait_s) * 1000)),
    }
    metadata = {"headers": told, "provider_name": None}
    return {"error": {"message": message, "code": 429, "metadata": metadata}, "user_id": "user_offline"}


def _anthropic_body(message: str, state: State, wait_s: float) -> dict[str, Any]:
    del state, wait_s
    return {"type": "error", "error": {"type": "rate_limit_error", "message": message}}


_BODIES: dict[str, Callable[[str, State, float], dict[str, Any]]] = {
    "azure": _azure_body,
    "openrouter": _openrouter_body,
    "anthropic": _anthropic_body,
}


def retry_headers(style: str, wait_s: float) -> dict[str, str]:
    """Return the headers by which a 429 asks to wait, in one of RETRY_STYLES."""
    seconds = {"retry-after": str(math.ceil(wait_s))}
    milliseconds = {"retry-after-ms": str(math.ceil(wait_s * 1000))}
    return {
        "retry-after": seconds,
        "retry-after-ms": milliseconds,
        "both": {**seconds, **milliseconds},
        "http-date": {"retry-after": formatdate(math.ceil(time.time() + wait_s), usegmt=True)},
        "azure": {"retry-after": "1", "retry-after-ms": "0"},
        "huge": {"retry-after": str(HUGE_S)},
    }.get(style, {})


def duration(seconds: float) -> str:
    """Return seconds as the headers write them: ``6ms``, ``8.64s``, ``1m2s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:.2f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{text}" if minutes else text
