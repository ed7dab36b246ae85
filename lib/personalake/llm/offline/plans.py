"""Fault plans as JSON: every field checked, every mistake named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...errors import SettingsError, nearest
from .canned import reply_of
from .faults import BATCH_KINDS, KINDS, LATENCY_KINDS, RETRY_STYLES, FaultPlan

FIELDS = (*FaultPlan.__dataclass_fields__, "kind")
_EXAMPLE = 'e.g. {"rates": {"429": 0.2}}'


def plan_of(raw: object, where: str = "faults") -> FaultPlan:
    """Return the plan that a JSON object (or its text) describes; ``{"kind": K}`` is short for rate 1 of K.

    Raises SettingsError that names the field.
    """
    raw = _object(raw, where)
    for name in raw:
        if name not in FIELDS:
            raise SettingsError(f"unknown field {name!r}", where=where, cure=nearest(str(name), FIELDS))
    rates = {raw["kind"]: 1.0} if "kind" in raw else raw.get("rates") or {}
    _check_rates(rates, where)
    latency = raw.get("latency") or {}
    if isinstance(latency, (int, float)):
        latency = {"kind": "fixed", "ms": latency}
    _check_latency(latency, where)
    attempts, seed = raw.get("attempts"), raw.get("seed", 0)
    if attempts is not None and (type(attempts) is not int or attempts < 0):
        raise SettingsError("attempts is not a count", where=where, cure="a whole number or null")
    if type(seed) is not int:
        raise SettingsError("seed is not a whole number", where=where, cure="e.g. 0")
    until_s = raw.get("until_s")
    return FaultPlan(
        seed=seed,
        rates=rates,
        latency=latency,
        attempts=attempts,
        retry_style=_one_of(RETRY_STYLES, "retry_style", raw.get("retry_style", "retry-after"), where),
        retry_after_s=_seconds(raw, "retry_after_s", 1.0, where),
        from_s=_seconds(raw, "from_s", 0.0, where),
        until_s=None if until_s is None else _seconds(raw, "until_s", 0.0, where),
        slow_ms=_seconds(raw, "slow_ms", FaultPlan.slow_ms, where),
        big_mb=_seconds(raw, "big_mb", FaultPlan.big_mb, where),
        batch=_one_of({"": "", **BATCH_KINDS}, "batch", raw.get("batch") or "", where),
        reply=reply_of(raw.get("reply"), where),
    )


def _object(raw: object, where: str) -> Mapping[str, Any]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError as error:
            raise SettingsError("not JSON", where=where, cure=_EXAMPLE) from error
    if not isinstance(raw, dict):
        raise SettingsError("not a JSON object", where=where, cure=_EXAMPLE)
    return raw


def _one_of(known: Mapping[str, str], name: str, value: object, where: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise SettingsError(f"unknown {name} {value!r}", where=where, cure=nearest(str(value), filter(None, known)))
    return value


def _seconds(raw: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise SettingsError(f"{name} is {value!r}", where=where, cure="a number >= 0")
    return float(value)


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
