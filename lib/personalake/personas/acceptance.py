"""Which texts are taken for a persona: one typed reason for each that isn't.

A text is held against what the request showed (the page, or the parent), so that what should have stayed there, a name
or the prompt, is found. Kept free of Spark and of tables: plain strings in, a reason out, for millions of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from personalake.personas.orders import marked, ordering
from personalake.settings import AcceptSettings

_DAMAGE = re.compile(r"[\x08\x0c]|\t(?=[a-z])")
_CONTACT = re.compile(
    r"[\w.+-]+@[\w-]+\.\w{2,}|https?://|www\.|(?:\+|\b00)\d[\d ()/.-]{6,}\d|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b"
)
_FIRST_PERSON = {
    "en": re.compile(r"\bI\b|\bI['’]m\b|\b(?:[Mm]y|[Mm]yself|[Ww]e|[Oo]ur)\b"),
    "de": re.compile(r"\b(?:ich|mich|mir|wir|mein(?:e[mnrs]?)?|unser(?:e[mnrs]?)?)\b", re.IGNORECASE),
    "es": re.compile(r"\b(?:yo|mis?|nosotros|nuestr[oa]s?)\b", re.IGNORECASE),
    "fr": re.compile(r"\b(?:je|j['’]|mon|mes|nous|notre|nos)\b", re.IGNORECASE),
}
# A model that slips into English on a page of another language; a bare "I" may be a Roman numeral there.
_I_AM = re.compile(r"\bI(?:['’]m| am| have| was) ")


@dataclass(frozen=True)
class Shown:
    """What a request has shown the model: the *text* of a page or parent, its title, and the mark of its fence."""

    text: str
    mark: str
    language: str | None = None
    """The language that its personas are wanted in."""
    title: str = ""


class Acceptance:
    """What is asked of a persona's text. It travels to the workers."""

    def __init__(self, settings: AcceptSettings) -> None:
        self._settings = settings

    def reason(self, text: str, given: str, shown: Shown) -> str | None:
        """Why *text* isn't taken, null where it is; *given* is the text as the reply has it, white space and all."""
        first_person = _FIRST_PERSON.get(shown.language or "en", _FIRST_PERSON["en"])
        title = folded(shown.title)
        checks = (
            ("empty", not text),
            ("escape_damage", bool(_DAMAGE.search(given))),
            ("too_short", len(text) < self._settings.min_chars * (0.4 if _dense(text) else 1)),
            ("too_long", len(text) > self._settings.max_chars),
            ("first_person", bool(first_person.search(text) or _I_AM.search(text))),
            ("placeholder", marked(text)),
            ("contact_data", bool(_CONTACT.search(text))),
            ("prompt_leak", ordering(text) or shown.mark in text.casefold()),
            ("is_title", bool(title) and folded(text).rstrip(".") == title),
        )
        return next((reason for reason, refused in checks if refused), None)

    def unfit(self, said: str, shown: Shown) -> str | None:
        """Why what a persona has beside its text, an attribute or its interests, isn't taken; null where it is."""
        checks = (
            ("too_long", len(said) > self._settings.max_chars),
            ("placeholder", marked(said)),
            ("contact_data", bool(_CONTACT.search(said))),
            ("prompt_leak", ordering(said) or shown.mark in said.casefold()),
        )
        return next((reason for reason, refused in checks if refused), None)


def folded(text: str) -> str:
    """*text* without what doesn't tell texts apart: case, and how it is spaced."""
    return " ".join(text.split()).casefold()


def _dense(text: str) -> bool:
    """Whether a text is mostly written in ideographs, kana or hangul, which say more in a character."""
    dense = sum("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7af" for c in text)
    return dense * 2 > len(text)
