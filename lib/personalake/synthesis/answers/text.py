r"""Final answers compared as text: one spelling, plain numbers exactly, units and percent signs with care.

What is decided here is certain, or typed as undecided; what needs algebra is left to math-verify, in the spelling that
it reads. Four things it must not see, since it takes them for the same: other units (``5\text{ km}``, ``5\text{ m}``),
words of the same letters (``listen``, ``silent``: products of symbols), decimals that differ past the sixth place, and
``1 1/2`` and ``1``, of which it reads the beginning alone.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from personalake.synthesis.answers.numbers import Number, comma_decimal, number, same_number
from personalake.synthesis.extract import unwrapped

Reason = Literal[
    "timed_out", "too_long", "too_large", "unparsable", "incomparable", "units", "words", "crashed", "no_verifier"
]
"""Why two answers can be called neither equal nor different; :class:`Verdict` says what each means."""


@dataclass(frozen=True)
class Verdict:
    """What is known of two answers; *reason* is there where they are ``undecided``, and only there.

    ``timed_out``, ``too_large`` (memory), ``crashed``: what math-verify did over one of them, or over the pair.
    ``too_long``: not parsed at all. ``unparsable``: no mathematics that it reads. ``incomparable``: it reads both, and
    fails over the pair. ``units``: not the same ones. ``words``: other ones, which may mean the same. ``no_verifier``:
    the extra `verify` isn't installed.
    """

    said: Literal["equal", "different", "undecided"]
    reason: Reason | None = None


EQUAL, DIFFERENT = Verdict("equal"), Verdict("different")

_SIGNS = {
    "−": "-", "﹣": "-", "－": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\leq ", "≥": r"\geq ", "≠": r"\neq ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}", "٫": ".", "٬": ",", "．": ".", "，": ",", "％": "%", "（": "(", "）": ")", "＄": "$",
    "º": "°", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u200b": "",
}  # fmt: skip
_TRANSLATED = str.maketrans(_SIGNS)
_ROOT = re.compile(r"√\s?(?:\(([^()]*)\)|(\d+|[a-z]))")
_LATEX = (
    (re.compile(r",\\! ?"), ","),
    (re.compile(r"\\(?:left|right|displaystyle|textstyle|limits|[bB]ig+[lr]?)(?![a-zA-Z])|\\!"), ""),
    (re.compile(r"\\[dt]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\\[,;:> ]|\\q?quad(?![a-zA-Z])|(?<!\\)~"), " "),
    (re.compile(r"\\([$%#&])"), r"\1"),
    (re.compile(r"(?<=\d)\{,\}(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), "."),
    (re.compile(r"\^\s?(?:\{\s?\\circ\s?\}|\\circ(?![a-z]))"), "°"),
)
_SPACES = re.compile(r"\s+")
_LOOSE = re.compile(r" ?([-+*/=^_(){}<>|\[\]]) ?")
_END = re.compile(r"(?<![.\s])\s?[.,;。]$")
_BEFORE_UNIT = re.compile(r"\$([^$]+)\$ ?((?:[^\W\d_]+(?: |$)){1,4}|%)")

_CASE = r"\\(?:text|mathrm|textrm|textbf|mathbf|mbox) ?\{([^{}]*)\}"
_WHOLE_TEXT = re.compile(_CASE)
_TEXT_UNIT = re.compile(rf"(?<=\S) ?{_CASE}(?:\^ ?\{{?(-?\d)\}}?)?$")
_PHRASE = r"([^\W\d_]+(?:[ /.-][^\W\d_]+){0,3})(?:\^\{?(-?\d)\}?)?|[%°$€£¥₹]"
_UNIT = re.compile(_PHRASE)
_PLAIN_UNIT = re.compile(rf"(.*[\d}}])(?P<apart> ?)(?P<unit>{_PHRASE})")
_MONEY = re.compile(r"([-+]?)([$€£¥₹]) ?([-+]?[\d.].*)")
_SHORT_UNITS = frozenset("m g s h l km cm mm nm kg mg lb ft in yd mi hr ms ml cl dl kb mb gb tb kw hz kj".split())
_UNIT_NAMES = {
    "dollar": "$", "usd": "$", "euro": "€", "eur": "€", "gbp": "£", "percent": "%", "pct": "%", "percentage": "%",
    "degree": "°", "kilometer": "km", "kilometre": "km", "meter": "m", "metre": "m", "centimeter": "cm",
    "centimetre": "cm", "millimeter": "mm", "millimetre": "mm", "kilogram": "kg", "gram": "g", "hour": "h", "hr": "h",
    "minute": "min", "second": "s", "sec": "s", "foot": "ft", "feet": "ft", "inch": "in", "inches": "in", "mile": "mi",
    "pound": "lb", "liter": "l", "litre": "l", "mph": "mi per h", "kmh": "km per h", "kph": "km per h",
}  # fmt: skip
_POWERS = {"square": "2", "sq": "2", "cubic": "3"}

_NAMES = re.compile(r"\\(?:begin|end)\{[a-z*]+\}|\\[a-zA-Z]+")
_WORD_LETTERS = 3
_WORD = re.compile(rf"[^\W\d_]{{{_WORD_LETTERS},}}|[^\W\d_a-zA-Zα-ωΑ-Ω]")
_FUNCTIONS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "log", "ln", "exp", "pi"]
)
_NAKED = re.compile(rf"(?<![a-zA-Z\\])({'|'.join(_FUNCTIONS)})(?![a-zA-Z])")
_KNOWN_WORDS = _FUNCTIONS | {"and", "sqrt", "frac", "gcd", "lcm", "max", "min", "mod", "det", "lim"}
_NO_UNIT = _KNOWN_WORDS | frozenset("or is are not more less than least most if for all when where".split())
_VAGUE = re.compile(r"\.\.\.|…|\\[lcd]?dots|(?<![_^\d])\d+ \d")
_OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}


@dataclass(frozen=True)
class Read:
    """An answer as read: *key* is one for what is certainly the same, *body* is what is left without its *unit*."""

    key: str
    body: str
    unit: str
    number: Number | None
    kind: Literal["number", "math", "words", "vague"]

    @property
    def math(self) -> str:
        r"""The answer in the spelling that math-verify reads: within ``$...$``, without its unit."""
        text = _NAKED.sub(r"\\\1 ", self.body).replace("%", r"\%")
        return text if "$" in text else f"${text}$"


@lru_cache(maxsize=4096)
def read(text: str) -> Read:
    """Read an answer of some hundred characters; nothing is refused, what can't be read is ``words`` or ``vague``."""
    body, unit = _split(_spelled(text))
    found = number(body)
    if found is not None:
        return Read(f"{found.value} {unit}".rstrip(), found.text, unit, found, "number")
    whole = _WHOLE_TEXT.fullmatch(body)
    body = whole[1].strip() if whole else body
    if len(body) == len("(A)") and body[0] == "(" and body[-1] == ")" and body[1].isalpha():
        body = body[1]
    if _is_words(body, is_text=whole is not None):
        return Read(f"{body.casefold()} {unit}".rstrip(), body, unit, None, "words")
    return Read(f"{body} {unit}".rstrip(), body, unit, None, "vague" if _VAGUE.search(body) else "math")


def settle(one: Read, other: Read) -> Verdict | None:
    """Compare two answers as far as their texts tell; null where it takes algebra. Symmetric.

    A unit on one side alone is taken for the question's own, as math-verify takes it; 50 % is then both 50 and 0.5.
    """
    if one.key == other.key:
        return EQUAL
    if one.unit and other.unit and one.unit != other.unit:
        return Verdict("undecided", "units")
    if one.number is not None and other.number is not None:
        same = same_number(one.number, other.number) or _same_part(one.number, one.unit, other.number, other.unit)
        return EQUAL if same else DIFFERENT
    for plain, listed in ((one, other), (other, one)):
        # One solver's list with just the digits of the other's decimal is the less likely reading.
        if plain.number and plain.number.places and (comma := comma_decimal(listed.body)) is not None:
            return EQUAL if same_number(plain.number, comma) else DIFFERENT
    kinds = {one.kind, other.kind}
    if "words" in kinds:
        return DIFFERENT if _OPPOSITES.get(one.key) == other.key else Verdict("undecided", "words")
    return Verdict("undecided", "unparsable") if "vague" in kinds else None


def _same_part(one: Number, its_unit: str, other: Number, others_unit: str) -> bool:
    """Tell whether one is a percentage and the other, without a unit, the part that it names."""
    if (its_unit == "%") == (others_unit == "%"):
        return False
    return same_number(one.hundredth if its_unit else one, other.hundredth if others_unit else other)


def _spelled(text: str) -> str:
    """One spelling: what stands around it goes, signs and spaces of LaTeX become plain ones."""
    if not text.isascii():
        text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text.translate(_TRANSLATED))
        text = "".join(c if c.isascii() or not c.isdecimal() else str(unicodedata.decimal(c)) for c in text)
    text = unwrapped(text)
    if "\\" in text or "^" in text or "{" in text or "~" in text:
        for pattern, plain in _LATEX:
            text = pattern.sub(plain, text)
    text = _LOOSE.sub(r"\1", _SPACES.sub(" ", text))
    text = unwrapped(_END.sub("", text.strip()))
    before = _BEFORE_UNIT.fullmatch(text)
    return rf"{before[1].strip()}\text{{{before[2]}}}" if before else text


def _split(text: str) -> tuple[str, str]:
    r"""An answer's body and its unit (``$5``, ``5 apples``, ``5 km/h``, ``\pi\text{ cm}^2``); empty if it has none."""
    if text[:1].isdigit() and text.isascii() and text.isdigit():
        return text, ""
    marked = _TEXT_UNIT.search(text)
    if marked and _UNIT.fullmatch(marked[1].strip()) and _NO_UNIT.isdisjoint(marked[1].casefold().split()):
        return text[: marked.start()], _unit(marked[1], marked[2])
    money = _MONEY.fullmatch(text)
    if money:
        body, unit = _split(money[1] + money[3])
        return body, _unit(f"{money[2]} {unit}" if unit != money[2] else unit)
    plain = _PLAIN_UNIT.fullmatch(text)
    if plain and number(plain[1]) and _is_unit(plain["unit"], apart=bool(plain["apart"])):
        return plain[1], _unit(plain[4] or plain["unit"], plain[5])
    return text, ""


def _is_unit(phrase: str, *, apart: bool) -> bool:
    """Tell whether what follows a number is a unit, and no factor, function or comparison."""
    if not phrase.isascii() or not phrase[0].isalpha():
        return True
    words = re.split(r"[ /.^-]", phrase.casefold())
    if not apart:  # 5km, and neither 5m nor 2xyz, which may be products
        return len(words[0]) > 1 and _one_of(words[0]) in _SHORT_UNITS
    return _NO_UNIT.isdisjoint(words) and all(
        len(word) >= _WORD_LETTERS or word in _SHORT_UNITS or not word.isalpha() for word in words
    )


def _unit(phrase: str, power: str | None = None) -> str:
    """One spelling of a unit: ``square metres`` is ``m^2``, ``km/h`` is ``km per h``, ``Dollars`` are ``$``."""
    words = phrase.casefold().replace("/", " per ").replace("per cent", "%").split()
    for word, square in _POWERS.items():
        if words[:1] == [word] and len(words) > 1:
            words, power = words[1:], square
    unit = " ".join(_one_of(word.strip(".")) for word in words)
    return f"{unit}^{power}" if power else unit


def _one_of(word: str) -> str:
    """Return the short name of what a word names several of."""
    single = word[:-1] if len(word) > _WORD_LETTERS and word.endswith("s") and not word.endswith("ss") else word
    return _UNIT_NAMES.get(word) or _UNIT_NAMES.get(single) or single


def _is_words(body: str, *, is_text: bool) -> bool:
    r"""Tell whether *body* has letters that are no symbols or functions: as a product, they would lose their order.

    Words have three letters, or two within a ``\text{...}``, or one in a script that mathematics doesn't use.
    """
    bare = _NAMES.sub(" ", body)
    if bare.casefold() in _OPPOSITES or (is_text and len(bare) > 1 and bare.isalpha()):
        return True
    return any(word.casefold() not in _KNOWN_WORDS for word in _WORD.findall(bare))
