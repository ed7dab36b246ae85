"""How a word stands on a page: whether it is part of a person's name there."""

from __future__ import annotations

import re

from personalake.corpus.wordlist import fold
from personalake.personas.words import NameWords

CAPITALS = "".join(chr(code) for code in range(0x41, 0x2000) if chr(code).isupper())
"""Capital letters of all scripts that have them, as the inside of a regular expression's brackets."""

WORD = rf"[{CAPITALS}]\w*(?:['’-]\w\w+)*"
"""A capitalised word, without a genitive's ending."""

INITIALS = re.compile(rf"(?:[{CAPITALS}]\.){{1,3}}")
STATES = ("U.S.", "U.K.", "U.N.", "E.U.", "D.C.", "A.D.", "B.C.", "P.M.", "A.M.")
"""What looks like initials and isn't a person's."""

_ARTICLES = frozenset("vom zum zur der den das".split())
"""Particles of names behind which every German noun may stand."""
_NOT_ARTICLES = ("wie", "ohne", "neben", "gegen", "wegen", "über", "unter", "hinter", "zwischen")
_INFLECTED = re.compile(r"[a-zäöü](?:e|er|en|em|es)$")
_SAYS = re.compile(
    r"(?:,? who)? (?:said|says|told|explained|explains|recalls|recalled|writes|wrote)(?!\w)|, \d\d(?:,| )"
)
_BY = re.compile(
    r"^[ \t]*(?:By|Author|Written by|Posted by|Contact|Von|Text|Foto|Autorin?|Par|Auteure?|Por|Autora?|Di|Door|Автор)"
    r"\s*:? *$"
)


def on_page(word: str, page: str, lists: NameWords) -> str | None:
    """The name of a person on the *page* that has *word*, which is capitalised; null where none has it."""
    alone, sought = word in lists.given, f" {word}"
    at = page.find(sought) + 1
    while at:
        start = page.rfind(" ", 0, at - 1) + 1
        previous = page[start : at - 1]
        # Most words stand behind one in lower case, and that is that.
        if alone or not previous[:1].islower() or "\n" in previous or _leads(previous, page, start, lists):
            name = _named_at(word, start, at, page, lists)
            if name is not None:
                return name
        at = page.find(sought, at) + 1
    return word if alone and f"\n{word} " in f"\n{page}" else None


def _leads(previous: str, page: str, start: int, lists: NameWords) -> bool:
    """Whether a word in lower case may go before a name: a title, a particle, or a person's kin."""
    if previous in _ARTICLES:
        return page.endswith((" van", " von"), 0, start - 1)
    return previous in lists.particles or previous in lists.kin or previous.rstrip(".") in lists.small_titles


def _named_at(word: str, start: int, at: int, page: str, lists: NameWords) -> str | None:
    """The name of a person that has the *word* that stands there on the page, behind one that begins at *start*."""
    end = at + len(word)
    if page[end : end + 1].isalnum() or page[end : end + 1] == "-":
        return None
    line = page[max(0, start - 40) : at - 1].rpartition("\n")[2].split(" ")
    previous = line.pop()
    while previous in lists.particles and line:
        previous = line.pop()
    previous, before = previous.lstrip("\"'“„«‘(["), line[-1] if line else ""
    title = fold(previous).rstrip(".")
    if title in lists.before:
        return None
    if title in lists.titles and not previous.isupper():
        return None if title in lists.noun_titles and is_noun(before, word) else f"{previous} {word}"
    if word in lists.given or previous in lists.kin:
        return word
    if previous[:1].isupper() and _forename(previous, before, word, lists):
        return None if fold(before).rstrip(".") in lists.before else f"{previous} {word}"
    told = _plain(previous, lists) and (_SAYS.match(page, end) or _BY.search(" ".join([*line, ""])))
    return f"{previous} {word}" if told else None


def _forename(previous: str, before: str, word: str, lists: NameWords) -> bool:
    """Whether the *previous* word makes the next one a family name: a given name, or initials."""
    if previous in lists.given:
        return True
    within = before[-1:].islower()
    if INITIALS.fullmatch(previous):
        several = previous.count(".") > 1 or INITIALS.fullmatch(before) is not None
        return (within or several) and previous not in STATES
    # A given name that is a word as well: not where it begins a sentence.
    return previous in lists.given_words and word not in lists.given_words and within and _plain(previous, lists)


def _plain(word: str, lists: NameWords) -> bool:
    """Whether it is a capitalised word, and none of those that begin sentences."""
    return word.isalpha() and word[:1].isupper() and word[1:].islower() and fold(word) not in lists.common


def is_noun(before: str, word: str) -> bool:
    """Whether German `Frau` or `Herr` is a noun there: an article or adjective goes *before* it, or a time behind."""
    last = before.rstrip().rpartition(" ")[2]
    if word in ("Mitte", "Anfang", "Ende", "Jahrgang", "Doktor") or last in ("als", "der", "den", "Der", "Den"):
        return True
    return last not in _NOT_ARTICLES and _INFLECTED.search(last) is not None
