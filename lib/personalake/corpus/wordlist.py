"""Words and phrases of a list, found in a text in any case and script; made for long lists and many texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

WORD = re.compile(r"\w+")
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, kana and ideographs, as the inside of a regular expression's brackets."""

_UNSPACED = re.compile(f"[{UNSPACED}]")


def fold(text: str) -> str:
    """*text* without what doesn't tell words apart: case, and which apostrophe it has."""
    return text.casefold().replace("\u2019", "'")


@dataclass(frozen=True)
class WordList:
    """Entries by their longest word, or, in scripts that are written without spaces, by their first sign.

    An entry is found between the edges of words; one with a sign of those scripts, or without any word, anywhere.
    """

    by_word: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_sign: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[str]) -> WordList:
        """The list of *entries*, white space in them folded."""
        words: dict[str, list[str]] = {}
        signs: dict[str, list[str]] = {}
        for entry in sorted({fold(" ".join(each.split())) for each in entries} - {""}):
            own = [] if _UNSPACED.search(entry) else WORD.findall(entry)
            if own:
                words.setdefault(max(own, key=len), []).append(entry)
            else:
                signs.setdefault(entry[0], []).append(entry)
        return cls(*({key: tuple(found) for key, found in each.items()} for each in (words, signs)))

    def __bool__(self) -> bool:
        return bool(self.by_word or self.by_sign)

    def find(self, folded: str, words: Collection[str] | None = None) -> str | None:
        """The entry that stands in a *folded* text, the first in the order of the alphabet; null where none does.

        *words* are the text's, where the caller has them already.
        """
        return min(self.found(folded, words), default=None)

    def found(self, folded: str, words: Collection[str] | None = None) -> Iterator[str]:
        """All entries that stand in a *folded* text, in no order; as :meth:`find`."""
        if self.by_word:
            for key in self.by_word.keys() & (WORD.findall(folded) if words is None else words):
                yield from (entry for entry in self.by_word[key] if _stands(entry, folded))
        if self.by_sign and not folded.isascii():
            for key in self.by_sign.keys() & set(folded):
                yield from (entry for entry in self.by_sign[key] if entry in folded)


def _stands(entry: str, folded: str) -> bool:
    """Whether *entry* stands in *folded* between the edges of words."""
    at = folded.find(entry)
    while at >= 0:
        end = at + len(entry)
        inner = (at > 0 and _word(entry[0]) and _word(folded[at - 1])) or (
            end < len(folded) and _word(entry[-1]) and _word(folded[end])
        )
        if not inner:
            return True
        at = folded.find(entry, at + 1)
    return False


def _word(char: str) -> bool:
    """Whether a word may go on with *char*; the vowel signs of Indic scripts are marks."""
    return char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M"
