"""Runs of words that two texts have in common: how a reply is found that repeats its instructions, or its persona."""

from __future__ import annotations

import re
from functools import lru_cache

from personalake.prompts.render import PLACEHOLDER

LEAK_WORDS = 13
"""A run of this many words shared with the instructions is always found; one of 7 to 12 may be found as well."""

_WINDOW = (LEAK_WORDS + 1) // 2  # Side by side, one of them lies within every run of LEAK_WORDS.

# A word, or one sign of a script that is written without spaces: there a run has twice as many.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_ANY_WORD = re.compile(r"\w+")
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
SIGN = re.compile(rf"[{_UNSPACED}]")
"""A sign of a script that is written without spaces."""
_ASCII_WORDS = {code: " " for code in range(128) if not re.match(r"\w", chr(code))}


def echoes(text: str, instructions: str) -> bool:
    """Whether *text* repeats a run of the words of *instructions*, a template, in which placeholders don't count."""
    words = spaced_words(text)
    return any(window in words for window in _instruction_windows(instructions))


@lru_cache(maxsize=4)
def spaced_words(text: str) -> str:
    """Return the words of *text*, lower-cased, spaces around each: a run of words is then a substring."""
    return f" {' '.join(words_of(text))} "


def words_of(text: str) -> list[str]:
    """Return the words of *text*, lower-cased, in their order."""
    low = text.lower()
    # Three ways to the same words, the quick ones first: most texts are ASCII, and few are written without spaces.
    if low.isascii():
        return low.translate(_ASCII_WORDS).split()
    return _WORD.findall(low) if SIGN.search(low) else _ANY_WORD.findall(low)


def windows_of(words: list[str], size: int, step: int = 1) -> tuple[str, ...]:
    """Return the runs of *size* among *words*, each *step* words on, in the form of :func:`spaced_words`."""
    return tuple(f" {' '.join(words[at : at + size])} " for at in range(0, len(words) - size + 1, step))


@lru_cache(maxsize=64)
def _instruction_windows(instructions: str) -> tuple[str, ...]:
    parts = PLACEHOLDER.sub("\0", instructions).split("\0")
    return tuple(window for part in parts for window in windows_of(words_of(part), _WINDOW, _WINDOW))
