"""Which pages say too little, or always the same, for anybody to stand behind them.

The rules are Gopher's (arXiv 2112.11446, appendix A) and C4's (arXiv 1910.10683), those of them that hold in any
language and script: counts of English stop words, of full stops at line ends or of characters a word don't.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from operator import mul

from personalake.corpus.records import RefusedError
from personalake.settings import QualitySettings

_SIGNS = bytes(n for n in range(0x21, 0x7F) if not chr(n).isalpha())
"""ASCII's digits and signs. No others are counted: Python takes the vowels of Indic scripts for no letters, either."""

_BLANK = (" ", "\n", "\t")
_BULLETS = ("•", "●", "‣", "▪", "*", "-", "–", "·")
_ELLIPSES = ("…", "...")
_LEAST_LINES = 5
_PLACEHOLDER = "orem ipsum dolor"
_NOTICE = re.compile(
    r"(?:enable|activate|turn on|requires?) (?:your )?java ?script|java ?script is (?:disabled|required|not enabled)"
    r"|access denied|403 forbidden|404 not found|page (?:you (?:requested|are looking for) )?(?:was |could )?not "
    r"(?:be )?found|are you (?:a robot|human)|verify (?:that )?you are (?:a )?human|checking your browser"
    r"|this domain (?:is|may be) for sale|index of /|under construction|just a moment\.\.\.",
    re.IGNORECASE,
)
_NOTICE_CHARS = 600
"""Longer pages talk about such things; shorter ones are them."""


def check(text: str, settings: QualitySettings) -> None:
    """Raise :class:`RefusedError` where *text* isn't worth asking about, with the rule that it breaks."""
    if settings.boilerplate:
        _check_boilerplate(text)
    words = text.split()
    _check_signs(text, len(words), settings)
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if len(lines) >= _LEAST_LINES:
        _check_lines(lines, settings)
    if settings.repeated_words is not None and words:
        _check_repeated_words(words, settings.repeated_words)


def _check_boilerplate(text: str) -> None:
    if _PLACEHOLDER in text:
        raise RefusedError("boilerplate", "it says 'lorem ipsum dolor'")
    if len(text) <= _NOTICE_CHARS and (found := _NOTICE.search(text)):
        raise RefusedError("boilerplate", f"it says {found[0]!r}")


def _check_signs(text: str, words: int, settings: QualitySettings) -> None:
    if settings.symbols is not None:
        signs = text.count("#") + sum(map(text.count, _ELLIPSES))
        if signs > settings.symbols * words:
            raise RefusedError("symbols", f"{signs} # and ellipses in {words} words")
    if settings.letters is not None:
        encoded = text.encode("utf-8", "replace")
        signs = len(encoded) - len(encoded.translate(None, _SIGNS))  # Each of them is a byte.
        most = (1 - settings.letters) * (len(text) - sum(map(text.count, _BLANK)))
        if signs > most:
            raise RefusedError("few_letters", f"{signs} of its {len(text)} characters are digits and signs")


def _check_lines(lines: list[str], settings: QualitySettings) -> None:
    if settings.repeated_lines is not None and len(set(lines)) < len(lines):
        counts = Counter(lines)
        again = sum((n - 1) * len(line) for line, n in counts.items())
        share = again / sum(map(len, lines))
        if share > settings.repeated_lines:
            raise RefusedError("repetition", f"{share:.0%} of it are lines that repeat another")
    for reason, most, marked in (
        ("list", settings.lists, sum(line.startswith(_BULLETS) for line in lines)),
        ("cut_lines", settings.cut_lines, sum(line.endswith(_ELLIPSES) for line in lines)),
    ):
        if most is not None and marked > most * len(lines):
            raise RefusedError(reason, f"{marked} of its {len(lines)} lines")


def _check_repeated_words(words: list[str], most: float) -> None:
    whole, counts = sum(map(len, words)), Counter(words)
    # A pair is no more frequent than either of its words, so where no word takes half of it, no pair takes all.
    if 2 * max(map(mul, map(len, counts), counts.values())) <= most * whole:
        return
    for pair, count in Counter(pairwise(words)).most_common(1):
        share = count * sum(map(len, pair)) / whole
        if count > 1 and share > most:
            raise RefusedError("repetition", f"{share:.0%} of it is {' '.join(pair)!r}"[:200])
