"""What single values of a persona set say: strings, lists that were written into one, ages, regions."""

from __future__ import annotations

import ast
import datetime as dt
import json
import math
import re
from decimal import Decimal

from personalake.corpus.language import declared_language
from personalake.personas.shape import AGE_BANDS, EXPERTISE

MOST_CHARS = 200
"""Of an attribute; what is longer is prose."""


def attribute(value: object) -> str | None:
    """A scalar or short list as an attribute of a persona has it; None for what is longer, nested, or says nothing."""
    if isinstance(value, str):
        if value.startswith("[") and (items := listed(value)) is not None:
            value = ", ".join(items)
        text = string(value) if len(value) <= 2 * MOST_CHARS else None
    elif isinstance(value, list):
        text = ", ".join(listed(value) or ()) if len(value) <= MOST_CHARS else None  # A vector is none.
    else:
        text = _scalar(value)
    return text if text and len(text) <= MOST_CHARS else None


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | Decimal) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return value.isoformat() if isinstance(value, dt.date) else None  # A datetime is a date, too.


def string(value: object) -> str | None:
    """A string with something in it, white space folded; `None`, `null` and `nan` are what other programs left."""
    text = clean(value) if isinstance(value, str) else ""
    return text if text and text.casefold() not in ("none", "null", "nan") else None


def clean(text: str) -> str:
    """A text with its white space folded, and without halves of characters, which no table can hold."""
    folded = " ".join(text.split())
    return folded if folded.isascii() else folded.encode("utf-8", "replace").decode()


_LONGEST_LIST = 10_000


def listed(value: object) -> list[str] | None:
    """A list of strings and numbers, also one that was written into a string as JSON or as Python's `repr`."""
    if isinstance(value, str):
        value = _parsed(value.strip())
    if not isinstance(value, list):
        return None
    return [text for each in value if (text := string(each) or _scalar(each))]


def _parsed(text: str) -> object:
    if not text.startswith("[") or len(text) > _LONGEST_LIST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


# Where the bands of `personas.AGE_BANDS` begin, in years.
_BANDS = tuple(zip((0, 13, 20, 35, 65), AGE_BANDS, strict=True))
_OLDEST = 130
_AGE_CHARS = 20
_NUMBER = re.compile(r"\d+")


def age_band(value: object) -> str | None:
    """The band of an age in years (`74`), of a range (`25-34`, its middle), a decade (`30s`), or a band's own name."""
    if isinstance(value, str):
        word = value.strip().casefold().replace(" ", "_").replace("-", "_")
        if word in AGE_BANDS:
            return word
        numbers = _NUMBER.findall(value) if len(value) <= _AGE_CHARS else []
        value = sum(map(int, numbers)) / len(numbers) if len(numbers) in (1, 2) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _OLDEST:
        return None
    return next(band for begins, band in reversed(_BANDS) if value >= begins)


_CODE = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")
_LOCALE = re.compile(r"[a-z]{2,3}(?:[_-][A-Z][a-z]{3})?[_-]([A-Z]{2})")
# The countries of Nemotron-Personas, which it names in their own languages.
_COUNTRIES = {
    "usa": "US", "united states": "US", "japan": "JP", "日本": "JP", "india": "IN", "भारत": "IN", "brazil": "BR",
    "brasil": "BR", "singapore": "SG", "france": "FR", "south korea": "KR", "대한민국": "KR", "germany": "DE",
    "deutschland": "DE", "belgium": "BE", "vietnam": "VN", "việt nam": "VN", "el salvador": "SV",
}  # fmt: skip


def region(value: object) -> str | None:
    """The ISO 3166 code of a region that is one, of a locale (`ja_JP`) or of a country's name; None for others."""
    text = string(value) or ""
    if _CODE.fullmatch(text):
        return text
    match = _LOCALE.fullmatch(text)
    return match[1] if match else _COUNTRIES.get(text.casefold())


def expertise(value: object) -> str | None:
    """One of `personas.EXPERTISE`; None for what isn't."""
    text = (string(value) or "").casefold()
    return text if text in EXPERTISE else None


def language(value: object) -> str | None:
    """The ISO 639-1 code of a language or locale (`ja_JP`); None for what is none."""
    return declared_language(string(value))
