"""Numbers as a reader wants them: grouped by thin spaces, money with the digits that matter, shares that never lie."""

from __future__ import annotations

import math
from datetime import datetime, timezone

THIN = "\u202f"
"""Narrow no-break space: groups digits and parts a number from its unit."""

DASH = "\u2013"
"""What stands where there is no figure."""

_MINUTE, _HOUR = 60, 3600
_WHOLE_DOLLARS = 1000


def number(value: int) -> str:
    """Return ``12 345`` for 12345."""
    return f"{value:,}".replace(",", THIN)


def money(usd: float | None) -> str:
    """Return US dollars: whole ones from 1 000, cents from one, else two significant digits; a dash for None."""
    if usd is None:
        return DASH
    if usd == 0:
        return "$0"
    if abs(usd) >= _WHOLE_DOLLARS:
        return f"${usd:,.0f}".replace(",", THIN)
    digits = max(2, 1 - math.floor(math.log10(abs(usd))))
    whole, _, cents = f"{usd:.{digits}f}".partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"


def share(part: int, whole: int) -> str:
    """Return *part* of *whole* in per cent: ``0 %`` and ``100 %`` only where exact, a dash for no whole."""
    if whole <= 0:
        return DASH
    percent = 100 * part / whole
    if 0 < percent < 0.1:  # noqa: PLR2004 - one decimal is shown
        return f"<0.1{THIN}%"
    if 99.9 < percent < 100:  # noqa: PLR2004 - one decimal is shown
        return f">99.9{THIN}%"
    return f"{percent:.0f}{THIN}%" if percent in (0, 100) else f"{percent:.1f}{THIN}%"


def duration(seconds: float) -> str:
    """Return seconds as ``0.42 s``, ``12.3 s``, ``3 min 12 s`` or ``2 h 05 min``."""
    if seconds < 1:
        return f"{seconds:.2f}{THIN}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.1f}{THIN}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}{THIN}min {whole % _MINUTE:02d}{THIN}s"
    return f"{number(whole // _HOUR)}{THIN}h {whole % _HOUR // _MINUTE:02d}{THIN}min"


def instant(moment: datetime) -> str:
    """Return a moment as ``2026-03-01 14:05 UTC``; one without a zone is taken as UTC."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return f"{zoned.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
