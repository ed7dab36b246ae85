"""Templates to messages: one pass of substitution, and the draw of a task's variation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

Values = Mapping[str, Mapping[str, str]]
"""What a template may name: ``{"persona": {"text": ...}, "vary": {...}, "fields": {...}, "language": {...}}``."""

PLACEHOLDER = re.compile(r"\{\{ ?([A-Za-z_][\w-]*)\.([A-Za-z_][\w-]*) ?\}\}")
"""``{{group.name}}``; anything else in braces (LaTeX, JSON, code) is plain text."""

FALLBACK_LANGUAGE = "en"

_LANGUAGES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan",
    "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish",
    "gl": "Galician", "gu": "Gujarati", "ha": "Hausa", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "km": "Khmer", "kn": "Kannada", "ko": "Korean", "lo": "Lao",
    "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi",
    "ms": "Malay", "my": "Burmese", "nb": "Norwegian", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian",
    "om": "Oromo", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "rw": "Kinyarwanda", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian", "so": "Somali", "sq": "Albanian",
    "sr": "Serbian", "st": "Sesotho", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu",
    "th": "Thai", "ti": "Tigrinya", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "uz": "Uzbek", "vi": "Vietnamese", "xh": "Xhosa", "yo": "Yoruba", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip


class Template(Protocol):
    """Anything with the two texts of a request."""

    @property
    def system(self) -> str:
        """Template of the system message; none is sent where it is empty."""

    @property
    def user(self) -> str:
        """Template of the user message."""


def language_name(code: str) -> str:
    """Return the English name of an ISO 639-1 *code* as a prompt says it, or the code itself where it has none here."""
    return _LANGUAGES.get(code, f"the language with the ISO 639 code {code!r}")


def placeholders(template: str) -> Iterator[tuple[str, str]]:
    """Yield ``(group, name)`` of each placeholder in *template*, in order."""
    for match in PLACEHOLDER.finditer(template):
        yield match[1], match[2]


def render(template: str, values: Values) -> str:
    """Replace each ``{{group.name}}`` of *template* once; what is put in is never read again.

    Raises KeyError for a placeholder without a value: a task file that was loaded has none but the persona's, the
    axes', the language's and those of earlier steps.
    """
    return PLACEHOLDER.sub(lambda match: values[match[1]][match[2]], template)


def messages(step: Template, values: Values) -> list[dict[str, str]]:
    """Return the chat messages that ask *step* with *values*: the system message, where it has one, then the user's."""
    system = [{"role": "system", "content": render(step.system, values)}] if step.system else []
    return [*system, {"role": "user", "content": render(step.user, values)}]


def writing_values(persona: str, variation: Mapping[str, str], language: str | None) -> Values:
    """Return what a writing step may name; *language* is the code asked for, English where null."""
    code = language or FALLBACK_LANGUAGE
    return {
        "persona": {"text": persona},
        "vary": variation,
        "language": {"code": code, "name": language_name(code)},
    }


def answering_values(fields: Mapping[str, str], variation: Mapping[str, str], language: str | None) -> Values:
    """Return what an answering step may name: the texts of earlier steps by their id, and no persona."""
    code = language or FALLBACK_LANGUAGE
    return {"fields": fields, "vary": variation, "language": {"code": code, "name": language_name(code)}}


def draw(vary: Mapping[str, Mapping[str, int]], seed: int, key: str) -> dict[str, str]:
    """Draw one value on each axis of *vary* (``{axis: {value: weight}}``), by hash: the same for the same seed and key.

    Decided on integers. Neither the order of the axes nor that of the values matters, and an added axis doesn't move
    what the others draw.
    """
    drawn: dict[str, str] = {}
    for axis in sorted(vary):
        weights = vary[axis]
        ticket = _hashed(seed, key, axis) % sum(weights.values())
        for value in sorted(weights):
            ticket -= weights[value]
            if ticket < 0:
                drawn[axis] = value
                break
    return drawn


def _hashed(*parts: str | int) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest(), "big")
