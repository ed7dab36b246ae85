"""Free text cut into pieces that the page shows differently: mathematics, code, and words in which two texts differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

_SPECIAL = re.compile(
    r"(?P<code>```.*?```)"
    r"|(?P<math>\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)"
    # As pandoc has it, so that "$5 to $10" stays text: no space inside the dollars, no digit after the second.
    r"|\$(?=\S)[^$\n]+?(?<=\S)\$(?!\d))",
    re.DOTALL,
)
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)\s*|\s+")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True)
class Piece:
    """A stretch of text and its kind: ``text``, ``math``, ``code`` or ``differs``."""

    kind: str
    text: str


def visible(text: str) -> str:
    """Return *text* with control, direction-override and broken characters spelt out, as ``[U+202E]``.

    They would otherwise hide or reorder what stands around them. Marks that scripts need (U+200C to U+200F) stay.
    """
    return _INVISIBLE.sub(lambda match: f"[U+{ord(match[0]):04X}]", text.replace("\r\n", "\n"))


def shorten(text: str, limit: int) -> tuple[str, int]:
    """Return at most *limit* characters of *text*, cut at a space where one is near, and how many were left out."""
    if len(text) <= limit:
        return text, 0
    space = text.rfind(" ", limit - 40, limit)
    cut = text[: space if space > 0 else limit].rstrip()
    return cut, len(text) - len(cut)


def pieces(text: str) -> list[Piece]:
    """Cut *text* into plain text, LaTeX mathematics (delimiters kept) and fenced code; joined they are *text* again."""
    found, at = [], 0
    for match in _SPECIAL.finditer(text):
        found += [Piece("text", text[at : match.start()]), Piece(str(match.lastgroup), match[0])]
        at = match.end()
    return [piece for piece in [*found, Piece("text", text[at:])] if piece.text]


def differing(one: str, other: str) -> tuple[list[Piece], list[Piece]]:
    """Cut both texts so that the words in which they differ are pieces of kind ``differs``.

    Case and punctuation at a word's edges don't count, as in deduplication; a character is a word in scripts without
    spaces. Joined, the pieces are each text again.
    """
    left, right = _WORD.findall(one), _WORD.findall(other)
    matcher = SequenceMatcher(None, [_key(word) for word in left], [_key(word) for word in right], autojunk=False)
    same_left, same_right = set[int](), set[int]()
    for at_left, at_right, size in matcher.get_matching_blocks():
        same_left.update(range(at_left, at_left + size))
        same_right.update(range(at_right, at_right + size))
    return _marked(left, same_left), _marked(right, same_right)


def _key(word: str) -> str:
    bare = word.strip().lower()
    return _EDGES.sub("", bare) or bare


def _marked(words: Iterable[str], same: set[int]) -> list[Piece]:
    found = []
    for is_same, group in groupby(enumerate(words), key=lambda pair: pair[0] in same or not pair[1].strip()):
        text = "".join(word for _, word in group)
        if is_same:
            found.append(Piece("text", text))
            continue
        bare = text.rstrip()
        found += [Piece("differs", bare), Piece("text", text[len(bare) :])]
    return [piece for piece in found if piece.text]
