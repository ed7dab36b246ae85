"""Plain numbers as people write them in an answer: exact values, and how many of their places were written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_PLACES = 6
"""Decimals and significant digits that a number needs, to stand for a longer one that it may be rounded from."""

_NOISE = 12
"""Significant digits past which a decimal is a binary float's, as in 17.999999999999996: they tell nothing apart."""

_DECIMAL = re.compile(r"([-+]?)([1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+|\d+)?(?:\.(\d*))?")
_FRACTION = re.compile(
    r"([-+]?)(?:(\d+) ?(?=\\frac)|(\d+) (?=\d+/))?"
    r"(?:\\frac(?:\{(-?\d+)\}\{(\d+)\}|(\d) ?(\d))|(\d+)/(\d+))"
)
_POWER = re.compile(r"([-+]?\d+(?:\.\d+)?)(?:[eE]([-+]?\d{1,3})| ?(?:\\times|\\cdot|\*) ?10\^(?:\{(-?\d{1,3})\}|(\d)))")
_REPEATING = re.compile(r"([-+]?)(\d*)\.(\d*)\\overline\{(\d+)\}")
_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Number:
    """A number: its value, decimals and significant digits as written (no decimals: exact), and its one spelling."""

    value: Fraction
    places: int
    digits: int
    text: str

    @property
    def hundredth(self) -> Number:
        """What it is as so many percent."""
        return Number(self.value / 100, self.places + 2 if self.places else 0, self.digits, "")


def number(text: str) -> Number | None:
    r"""Read ``1,234.50``, ``-3/4``, ``1\frac12``, ``1 1/2``, ``2.5\times10^3``, ``0.\overline{3}``; else null.

    *text* is short (Python itself refuses more than 4,300 digits), one spelling of signs and spaces.
    """
    decimal = _DECIMAL.fullmatch(text)
    if decimal and (decimal[2] or decimal[3]):
        return _of_decimal(decimal[1], re.sub("[, ]", "", decimal[2] or "0"), decimal[3] or "")
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        sign, *parts = fraction.groups(default="")
        above, below = int(parts[2] or parts[4] or parts[6]), int(parts[3] or parts[5] or parts[7])
        whole = int(parts[0] or parts[1] or 0)
        return _exact((-1 if sign == "-" else 1) * (whole + Fraction(above, below))) if below else None
    repeating = _REPEATING.fullmatch(text)
    if repeating:
        minus, before, once, again = repeating.groups()
        above = int(before + once + again) - int("0" + before + once)
        value = Fraction(above, (10 ** len(again) - 1) * 10 ** len(once))
        return _exact(-value if minus == "-" else value)
    power = _POWER.fullmatch(text)
    if power:
        return _exact(Fraction(power[1]) * Fraction(10) ** int(power[2] or power[3] or power[4]))
    return None


def comma_decimal(text: str) -> Number | None:
    """Read ``2,5`` as half the world writes it; null for anything else."""
    return number(text.replace(",", ".")) if _COMMA.fullmatch(text) else None


def same_number(one: Number, other: Number) -> bool:
    """Tell whether two numbers are one value, or one is the other as rounded to the places that it was written with.

    It takes six decimals and six significant digits to be a rounded number: 0.333333 is 1/3, and 0.33 isn't.
    """
    if one.value == other.value:
        return True
    slack = max(_slack(one), _slack(other))
    return slack > 0 and abs(one.value - other.value) <= slack


def _slack(shown: Number) -> Fraction:
    """Half a unit of the last place that was written, of those that count."""
    if shown.places < _PLACES or shown.digits < _PLACES:
        return Fraction(0)
    return Fraction(1, 2 * 10 ** (shown.places - max(0, shown.digits - _NOISE)))


def _of_decimal(sign: str, whole: str, decimals: str) -> Number:
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    digits = len((whole + decimals).lstrip("0"))
    value = int(whole + decimals)
    minus = "-" if sign == "-" and value else ""
    exact = Fraction(-value if minus else value, 10 ** len(decimals))
    return Number(exact, len(decimals), digits, minus + whole + (f".{decimals}" if decimals else ""))


def _exact(value: Fraction) -> Number:
    above, below = value.numerator, value.denominator
    text = str(above) if below == 1 else f"{'-' if above < 0 else ''}\\frac{{{abs(above)}}}{{{below}}}"
    return Number(value, 0, len(str(abs(above))), text)
