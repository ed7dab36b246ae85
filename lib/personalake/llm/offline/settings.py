"""What the offline endpoint is set to: models, prices, limits, capacity, flaws and faults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import SettingsError, nearest
from .faults import NO_FAULTS, RETRY_STYLES, FaultPlan

CHAT_MODEL = "offline-rules"
CANNED_MODEL = "offline-canned"
CHAT_MODELS = (CHAT_MODEL, CANNED_MODEL)
EMBEDDING_MODEL = "offline-embedding"
MODELS_CREATED = 1_750_000_000
RULES_VERSION = 1
SYSTEM_FINGERPRINT = f"fp_offline_{RULES_VERSION:04d}"
CONTEXT_TOKENS = 128_000
MAX_OUTPUT_TOKENS = 16_384
EMBEDDING_TOKENS = 8_192
EMBEDDING_INPUTS = 2_048
EMBEDDING_DIMENSIONS = 384

LIMIT_WINDOWS = {
    "second": "a bucket of one second's worth: no bursts",
    "minute": "fixed minutes, which open with their first request: all may go at once",
}
LIMIT_HEADERS = {
    "openai": "x-ratelimit-limit/remaining/reset-requests/-tokens on every reply",
    "azure": "x-ratelimit-remaining-* only; a 429 has code RateLimitReached",
    "openrouter": "nothing on replies; X-RateLimit-* (reset in ms since 1970) inside a 429's error.metadata.headers",
    "anthropic": "anthropic-ratelimit-*; a 429 has type rate_limit_error",
    "none": "nothing",
}
QUEUE_FULL = {"503": "503 overloaded", "hang": "no answer until the client goes away"}
# What `POST /limits` may change while the endpoint runs.
LIMIT_FIELDS = (
    "rpm", "tpm", "limit_window", "limit_headers", "limit_retry_style", "refund", "capacity", "queue", "queue_full",
)  # fmt: skip
_WHERE = "offline endpoint"


def is_stand_in(model: str | None) -> bool:
    """Whether texts of *model* were made by this endpoint's rules, so that they must say so wherever they are shown."""
    return (model or "").startswith(CHAT_MODELS)


@dataclass(frozen=True)
class Prices:
    """Micro-dollars per million tokens; a batch costs half."""

    prompt: int = 150_000
    completion: int = 600_000
    embedding: int = 20_000


@dataclass(frozen=True)
class OfflineSettings:
    """Settings of one endpoint: *flaws* is the rate of deliberately bad replies, limits are per minute (0: none).

    With *api_keys* empty any bearer key is accepted. *batch_seconds* is how long a batch stays in each state. Limits
    are enforced by *limit_window* and told by *limit_headers*; their 429s ask to wait by *limit_retry_style* ("": the
    headers' own way). *refund* gives reserved tokens back that a reply did not use. At most *capacity* requests are
    served at once (0: all), *queue* more wait (None: all), and *queue_full* is what the rest meets.
    """

    flaws: float = 0.04
    rpm: int = 0
    tpm: int = 0
    api_keys: tuple[str, ...] = ()
    faults: FaultPlan = NO_FAULTS
    prices: Prices = field(default_factory=Prices)
    batch_seconds: float = 0.0
    limit_window: str = "second"
    limit_headers: str = "openai"
    limit_retry_style: str = ""
    refund: bool = False
    capacity: int = 0
    queue: int | None = None
    queue_full: str = "503"

    def __post_init__(self) -> None:
        if not 0 <= self.flaws <= 1:
            raise SettingsError(f"flaws is {self.flaws}", where=_WHERE, cure="a share from 0 to 1")
        if self.batch_seconds < 0:
            raise SettingsError(f"batch_seconds is {self.batch_seconds}", where=_WHERE, cure="seconds >= 0")
        for name in ("rpm", "tpm", "capacity", "queue"):
            value = getattr(self, name)
            if (type(value) is not int or value < 0) and not (name == "queue" and value is None):
                cure = "a whole number >= 0; null: no end" if name == "queue" else "a whole number; 0 means no limit"
                raise SettingsError(f"{name} is {value!r}", where=_WHERE, cure=cure)
        if type(self.refund) is not bool:
            raise SettingsError(f"refund is {self.refund!r}", where=_WHERE, cure="true or false")
        _check_word("limit_window", self.limit_window, LIMIT_WINDOWS)
        _check_word("limit_headers", self.limit_headers, LIMIT_HEADERS)
        _check_word("limit_retry_style", self.limit_retry_style, ("", *RETRY_STYLES))
        _check_word("queue_full", self.queue_full, QUEUE_FULL)

    def with_limits(self, changes: object) -> OfflineSettings:
        """Return these settings with the limits that a JSON object names changed; SettingsError says what is wrong."""
        if not isinstance(changes, Mapping):
            raise SettingsError("not a JSON object", where=_WHERE, cure='e.g. {"rpm": 600, "limit_window": "minute"}')
        for name in changes:
            if name not in LIMIT_FIELDS:
                cure = nearest(str(name), LIMIT_FIELDS)
                raise SettingsError(f"unknown field {name!r}", where=_WHERE, cure=cure)
        known: dict[str, Any] = dict(changes)
        return replace(self, **known)

    def limits_json(self) -> dict[str, Any]:
        """Return the limits as :meth:`with_limits` reads them."""
        return {name: getattr(self, name) for name in LIMIT_FIELDS}


def _check_word(name: str, value: object, known: Collection[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise SettingsError(f"unknown {name} {value!r}", where=_WHERE, cure=nearest(str(value), filter(None, known)))
