"""Templates to messages: one pass of substitution, and the draw of a task's variation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from personalake.scan import having

Values = Mapping[str, Mapping[str, str]]
"""What a template may name: ``{"persona": {"text": ...}, "vary": {...}, "fields": {...}, "language": {...}}``."""

PLACEHOLDER = re.compile(r"\{\{ ?([A-Za-z_][\w-]*)\.([A-Za-z_][\w-]*) ?\}\}")
"""``{{group.name}}``; anything else in braces (LaTeX, JSON, code) is plain text."""

FALLBACK_LANGUAGE = "en"
_SPEAKERS = ("user", "assistant")

_UNSEEN = "\u00ad\u034f\u180e\u200b\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef"
_JOINERS = "\u200c\u200d\ufe00-\ufe0f"
_MOST_JOINERS = 2
_HIDING = re.compile(f"[{_UNSEEN}{_JOINERS}]+")
_HIDDEN = re.compile(f"[{_UNSEEN}]")
_HIDES = f"[{_UNSEEN}]|[{_JOINERS}]{{{_MOST_JOINERS + 1}}}"
# What begins or is a tag: `<|im_end|>`, `</s>`, `<start_of_turn>`, `</persona>`, `<!-- -->`, also with wide brackets.
_TAG = re.compile(r"[<＜﹤](\s*[/／|｜!?]?\s*[^\W\d][^<>＜＞﹤﹥\n]{0,200})[>＞﹥]|[<＜﹤](?=\s*[/／|｜!?])")
# Those of Mistral (`[INST]`), GLM (`[gMASK]`), EXAONE (`[|user|]`) and MiniMax (`]~b]`, `[e~[`).
_BRACKETED = re.compile(r"\[(/?[A-Z][A-Z_]{2,30}|[gs]MASK|\|[^\[\]]{1,30})\]|\](?=~|![a-z]~)|(?<=~)\[")
_CODE = re.compile("[a-z]{2,3}")

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


def language_code(given: str | None) -> str:
    """Return the ISO 639 code that a prompt says: English for none, and for what is none, whatever row it is from."""
    return given if given is not None and _CODE.fullmatch(given) else FALLBACK_LANGUAGE


def language_name(code: str) -> str:
    """Return the English name of an ISO 639-1 *code* as a prompt says it, or the code itself where it has none here."""
    code = language_code(code)
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


def unhidden(text: str) -> str:
    """Return *text* without what nobody sees and a model may read.

    That is tag characters, supplementary variation selectors, signs that turn the reading direction, zero-width ones.
    One or two joiners stay: Persian, the scripts of India and emoji are spelt with them; a longer row is a message.
    """
    return text if text.isascii() else _HIDING.sub(_seen, text)


def _seen(found: re.Match[str]) -> str:
    return "" if len(found[0]) > _MOST_JOINERS else _HIDDEN.sub("", found[0])


def inert(text: str) -> str:
    """Return *text* as data that a prompt can hold: no tag in it, no token of a chat template, nothing hidden.

    A fence of tags can't be closed from within, and no tokenizer finds the end of a turn, whose tokens many servers
    also take out of a user's words. Brackets become parentheses (`</persona>` is `(/persona)`), so that the words can
    still be read and no length changes; hidden characters go. One pass each, and done twice it changes nothing more.
    """
    text = unhidden(text)
    # Few texts have a bracket at all, and to look for one is a hundred times quicker than to look for a tag.
    if "<" in text or "＜" in text or "﹤" in text:
        text = _TAG.sub(lambda found: "(" if found[1] is None else f"({found[1]})", text)
    return _BRACKETED.sub(_parenthesised, text) if "[" in text or "]" in text else text


def unhidden_all(texts: Sequence[str]) -> list[str]:
    """Return each of *texts* :func:`unhidden`, most of which have nothing to hide."""
    return [unhidden(text) if odd else text for text, odd in zip(texts, having(texts, _HIDES), strict=True)]


def inert_all(texts: Sequence[str]) -> list[str]:
    """Return each of *texts* :func:`inert`, as most of them are."""
    odd = having(texts, rf"{_HIDES}|[<＜﹤\[\]]")
    return [inert(text) if each else text for text, each in zip(texts, odd, strict=True)]


def _parenthesised(found: re.Match[str]) -> str:
    return f"({found[1]})" if found[1] else ")" if found[0] == "]" else "("


def turns_of(step: Template, dialogue: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return role and template of each message that asks *step*: the system's, where it has one, then the user's.

    Between them stand the turns of a *dialogue* that it goes on with: fields, the first of which the user has said.
    """
    said = [(_SPEAKERS[number % 2], f"{{{{fields.{field}}}}}") for number, field in enumerate(dialogue)]
    return [*([("system", step.system)] if step.system else []), *said, *([("user", step.user)] if step.user else [])]


def messages(step: Template, values: Values, dialogue: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the chat messages that ask *step* with *values*, as :func:`turns_of` orders them."""
    return [{"role": role, "content": render(text, values)} for role, text in turns_of(step, dialogue)]


def step_values(
    variation: Mapping[str, str],
    language: str | None,
    *,
    persona: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> Values:
    """Return what a step may name: the *persona*, made :func:`inert`, where it sees one; the *fields* of earlier steps.

    *language* is English where null.
    """
    code = language_code(language)
    return {
        "persona": {} if persona is None else {"text": inert(persona)},
        "fields": fields or {},
        "vary": variation,
        "language": {"code": code, "name": language_name(code)},
    }


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
