"""Names of persons in a text, by lists of names, by the words around them, and by how they stand on the page behind it.

Capitals tell what may be a name, so this is for scripts that have them; `caseless.py` has the others. Not found without
the page: a name of which no part is on the lists and that no cue goes before. Not found at all: a form of a name that
the page has in another one (Polish, Russian and Finnish decline them).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from personalake.personas.capitals import ENDS, WORD, common, sequences
from personalake.personas.words import NameWords, name_words

_CAPITALISED = re.compile(WORD)
_LEAST, _AROUND = 3, 60
_ARTICLES = frozenset("vom zum zur der den das".split())
"""Particles of names behind which every German noun may stand."""
_OPENING = " \n\t\"'“„«‘(["


def found(text: str, page: str, words: Collection[str]) -> Iterator[str]:
    """The names of persons in *text*, of which *words* are the folded words.

    Those that are names by the words around them, and those by how a word of theirs stands on the *page* (or parent).
    """
    lists = name_words()
    capitalised = _CAPITALISED.findall(text)
    if _may_name(text, capitalised, words, lists):
        yield from (name for each in sequences(text) if (name := each.name()))
    for word in capitalised:
        # Most are the first word of a sentence.
        name = None if len(word) < _LEAST or common(word) else _on_page(word, page, lists)
        if name and any(each.has(word) for each in sequences(text)):
            yield name


def borne(name: str, text: str) -> bool:
    """Whether something else than a person bears *name*, which is folded, in *text*: a street, an institute, a ship."""
    return any(each.borne(name.split()) for each in sequences(text))


def _may_name(text: str, capitalised: list[str], words: Collection[str], lists: NameWords) -> bool:
    """Whether a text may have a name by itself: it has one of the lists, a cue, such an ending, or two initials."""
    if not (lists.names_and_kin.isdisjoint(capitalised) and lists.near.isdisjoint(words)):
        return True
    if len(capitalised) == 1 and text.isascii():
        return False
    initials = [word for word in capitalised if len(word) == 1 and f"{word}." in text]
    return len(initials) > 1 or not ENDS.isdisjoint([word[-4:] for word in capitalised])


def _on_page(word: str, page: str, lists: NameWords) -> str | None:
    """The name of a person on the *page* that has *word*, which is capitalised; null where none has it."""
    alone, at = word in lists.given, page.find(word)
    while at >= 0:
        start = page.rfind(" ", 0, at - 1) + 1
        previous = page[start : at - 1]
        # Most words stand behind one in lower case, and that is that.
        if alone or not previous[:1].islower() or "\n" in previous or _leads(previous, page, start, lists):
            name = _named_at(word, at, page)
            if name is not None:
                return name
        at = page.find(word, at + len(word))
    return None


def _leads(previous: str, page: str, start: int, lists: NameWords) -> bool:
    """Whether a word in lower case may go before a name: a title, a particle, or a person's kin."""
    if previous in _ARTICLES:
        return page.endswith((" van", " von"), 0, start - 1)
    return previous in lists.particles or previous in lists.kin or previous.rstrip(".") in lists.small_titles


def _named_at(word: str, at: int, page: str) -> str | None:
    """The name of a person that has the *word* that stands there on the page."""
    end = at + len(word)
    if (at and page[at - 1] not in _OPENING) or page[end : end + 1].isalnum() or page[end : end + 1] == "-":
        return None
    begins = max(page.rfind("\n", 0, at), at - _AROUND - 1) + 1
    line = page[begins : end + _AROUND].partition("\n")[0] if "\n" not in page[at:end] else word
    for each in sequences(line, page=True):
        if each.start <= at - begins < each.end:
            name = each.name()
            return name if name and each.has(word) and word in name else None
    return None
