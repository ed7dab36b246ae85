"""Faults on order: which one a request meets is a function of (seed, client request id, attempt)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from ...errors import SettingsError, nearest
from .draw import Draw

KINDS = (
    "429",  # rate_limit_exceeded: passes
    "quota",  # 429 insufficient_quota: never passes
    "500",
    "503",
    "reset",  # connection reset before any byte
    "cut",  # headers and half of the body, then the connection closes
    "garbage",  # 200 whose body is not JSON
    "html",  # 502 page of a proxy
    "refusal",  # content null, refusal set, finish_reason stop
    "content_filter",  # finish_reason content_filter and no message key
    "empty_length",  # empty content, finish_reason length, all tokens spent
    "hang",  # no answer until the client goes away
)
RETRY_STYLES = ("retry-after", "retry-after-ms", "none")
LATENCY_KINDS = {"fixed": ("ms",), "uniform": ("low_ms", "high_ms"), "lognormal": ("median_ms", "sigma")}
_FIELDS = ("seed", "latency", "rates", "kind", "attempts", "retry_style", "retry_after_s")


@dataclass(frozen=True)
class FaultPlan:
    """Rates by kind (their sum at most 1), latency in milliseconds, and how a 429 asks to wait.

    *attempts*: only the first so many attempts of a request meet faults (None: all).
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)
    attempts: int | None = None
    retry_style: str = "retry-after"
    retry_after_s: float = 1.0

    def fault(self, client_id: str, attempt: int) -> str | None:
        """Return the kind that this attempt (1, 2, ...) of this request meets, or None."""
        if not self.rates or (self.attempts is not None and attempt > self.attempts):
            return None
        left = Draw("fault", self.seed, client_id, attempt).unit("kind")
        for kind in KINDS:
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
        """Return the plan as :func:`plan_of` reads it."""
        return {
            "seed": self.seed,
            "rates": dict(self.rates),
            "latency": dict(self.latency),
            "attempts": self.attempts,
            "retry_style": self.retry_style,
            "retry_after_s": self.retry_after_s,
        }


NO_FAULTS = FaultPlan()


def plan_of(raw: object, where: str = "faults") -> FaultPlan:
    """Return the plan that a JSON object (or its text) describes; ``{"kind": K}`` is short for rate 1 of K.

    Raises SettingsError that names the field.
    """
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError as error:
            raise SettingsError("not JSON", where=where, cure='e.g. {"rates": {"429": 0.2}}') from error
    if not isinstance(raw, dict):
        raise SettingsError("not a JSON object", where=where, cure='e.g. {"rates": {"429": 0.2}}')
    for name in raw:
        if name not in _FIELDS:
            raise SettingsError(f"unknown field {name!r}", where=where, cure=nearest(str(name), _FIELDS))
    rates = {raw["kind"]: 1.0} if "kind" in raw else raw.get("rates") or {}
    _check_rates(rates, where)
    latency = raw.get("latency") or {}
    if isinstance(latency, (int, float)):
        latency = {"kind": "fixed", "ms": latency}
    _check_latency(latency, where)
    attempts, style = raw.get("attempts"), raw.get("retry_style", "retry-after")
    if attempts is not None and (not isinstance(attempts, int) or attempts < 0):
        raise SettingsError("attempts is not a count", where=where, cure="a whole number or null")
    if style not in RETRY_STYLES:
        raise SettingsError(f"unknown retry_style {style!r}", where=where, cure=nearest(str(style), RETRY_STYLES))
    seed, after = raw.get("seed", 0), raw.get("retry_after_s", 1.0)
    if not isinstance(seed, int) or not isinstance(after, (int, float)) or after < 0:
        raise SettingsError("seed or retry_after_s is not a number", where=where, cure="whole number; seconds >= 0")
    return FaultPlan(seed, rates, latency, attempts, style, float(after))


def _check_rates(rates: object, where: str) -> None:
    if not isinstance(rates, dict):
        raise SettingsError("rates is not an object", where=where, cure='e.g. {"429": 0.2}')
    for kind, rate in rates.items():
        if kind not in KINDS:
            raise SettingsError(f"unknown fault {kind!r}", where=where, cure=nearest(str(kind), KINDS))
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise SettingsError(f"rate of {kind!r} is {rate!r}", where=where, cure="a share from 0 to 1")
    if sum(rates.values()) > 1 + 1e-9:
        raise SettingsError("the rates add up to more than 1", where=where, cure="lower one of them")


def _check_latency(latency: object, where: str) -> None:
    if not isinstance(latency, dict):
        raise SettingsError("latency is neither a number nor an object", where=where, cure="milliseconds")
    if not latency:
        return
    names = LATENCY_KINDS.get(latency.get("kind", ""))
    if names is None or set(latency) != {"kind", *names}:
        raise SettingsError(f"unknown latency {latency!r}", where=where, cure=f"kinds, fields: {LATENCY_KINDS}")
    if any(not isinstance(latency[name], (int, float)) or latency[name] < 0 for name in names):
        raise SettingsError("a latency is not a number >= 0", where=where, cure="milliseconds")
