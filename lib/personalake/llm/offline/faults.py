"""Faults on order: which one a request meets is a function of (seed, client request id, attempt)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from .canned import Canned
from .draw import Draw

# Appended to, never reordered: a plan's draws walk through the kinds in this order.
KINDS = {
    "429": "429 rate_limit_exceeded, at once: passes; how it asks to wait is retry_style",
    "quota": "429 insufficient_quota, at once: never passes",
    "500": "500 server_error",
    "503": "503 overloaded",
    "reset": "connection reset before any byte of the answer",
    "cut": "headers and half of the body (or of the stream), then the connection closes; billed",
    "garbage": "200 whose body is not JSON; billed",
    "html": "502 and the HTML page of a proxy",
    "refusal": "content null, refusal set, finish_reason stop; billed",
    "content_filter": "finish_reason content_filter and no message key; billed for its prompt",
    "empty_length": "empty content, finish_reason length, all tokens spent; billed",
    "hang": "no answer until the client goes away",
    "529": "529 overloaded_error, as Anthropic's",
    "slow_body": "headers at once, the body dribbles in over slow_ms; billed",
    "big_body": "200 whose JSON is padded to big_mb megabytes; billed",
    "error_in_200": "200 whose body is an error object with an integer code, as OpenRouter's",
    "invalid_json": "content that is prose, broken JSON or JSON that its schema refuses, by turns; billed",
    "tool_call": "content null, a call of a tool that nobody offered, finish_reason tool_calls; billed",
    "wrong_key_400": "400 {code, error: Incorrect API key}, at once, as xAI's",
    "firewall": "403 and the HTML page of a firewall, whatever the attempt: never passes",
}
_BY_ATTEMPT = tuple(kind for kind in KINDS if kind != "firewall")
# What a batch meets, as a plan's `batch`. "Every second row" starts with the first.
BATCH_KINDS = {
    "expired": "ends as expired: the first half in the output file, the rest as batch_expired in the error file",
    "cancelled": "ends as cancelled by the provider: the first half answered, the rest batch_cancelled",
    "failed_validation": "ends as failed with an error on line 1",
    "queue_limit": "is created; retrieving it shows failed with token_limit_exceeded",
    "all_rows_failed_no_output": "completed, every row a 500 in the error file, output_file_id null",
    "error_null": "every second row a 500 in the error file: error null, the error inside response.body",
    "empty_error_file_id": 'completed, all answered, error_file_id ""',
    "missing_rows": "every second row in neither file, never worked on",
    "unordered": "output rows in another order than the input's",
    "duplicate_rows": "every second row twice in the output file, billed once",
}
RETRY_STYLES = {
    "retry-after": "header retry-after in seconds, rounded up",
    "retry-after-ms": "header retry-after-ms",
    "both": "both headers",
    "http-date": "header retry-after with a date",
    "azure": "retry-after: 1 beside retry-after-ms: 0",
    "huge": "retry-after: 86400",
    "body-only": 'no header, "Please try again in 1.2s" in the message',
    "none": "neither header nor message",
}
LATENCY_KINDS = {"fixed": ("ms",), "uniform": ("low_ms", "high_ms"), "lognormal": ("median_ms", "sigma")}


@dataclass(frozen=True)
class FaultPlan:
    """Rates by kind (their sum at most 1), latency in milliseconds, and how a 429 asks to wait.

    *attempts*: only the first so many attempts of a request meet faults (None: all). *from_s* and *until_s*: faults
    happen only in this span of seconds since the plan was set (None: no end). *batch* is one of BATCH_KINDS or "".
    *reply* orders canned texts in place of the rules' (None).
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)
    attempts: int | None = None
    retry_style: str = "retry-after"
    retry_after_s: float = 1.0
    from_s: float = 0.0
    until_s: float | None = None
    slow_ms: float = 1_000.0
    big_mb: float = 50.0
    batch: str = ""
    reply: Canned | None = None

    def fault(self, client_id: str, attempt: int, elapsed_s: float = 0.0) -> str | None:
        """Return the kind that this attempt (1, 2, ...) of this request meets, or None.

        *elapsed_s*: seconds since the plan was set.
        """
        if self.rates.get("firewall", 0.0) > Draw("firewall", self.seed, client_id).unit("kind"):
            return "firewall"
        if not self.rates or (self.attempts is not None and attempt > self.attempts):
            return None
        if elapsed_s < self.from_s or (self.until_s is not None and elapsed_s >= self.until_s):
            return None
        left = Draw("fault", self.seed, client_id, attempt).unit("kind")
        for kind in _BY_ATTEMPT:
            left -= self.rates.get(kind, 0.0)
            if left < 0:
                return kind
        return None

    def wait_s(self, client_id: str, attempt: int) -> float:
        """Return this attempt's latency in seconds."""
        latency = self.latency
        if not latency:
            return 0.0
        if latency["kind"] == "fixed":
            return float(latency["ms"]) / 1000
        unit = Draw("latency", self.seed, client_id, attempt).unit("ms")
        if latency["kind"] == "uniform":
            return float(latency["low_ms"] + unit * (latency["high_ms"] - latency["low_ms"])) / 1000
        z = NormalDist().inv_cdf(min(max(unit, 1e-9), 1 - 1e-9))
        return float(latency["median_ms"]) * math.exp(latency["sigma"] * z) / 1000

    def to_json(self) -> dict[str, Any]:
        """Return the plan as :func:`.plans.plan_of` reads it."""
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        reply = self.reply.to_json() if self.reply else "rules"
        return {**known, "rates": dict(self.rates), "latency": dict(self.latency), "reply": reply}


NO_FAULTS = FaultPlan()
