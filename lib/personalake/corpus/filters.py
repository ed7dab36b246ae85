"""Page filters: what makes a text clean, and what makes it no page; each refusal has its reason."""

from __future__ import annotations

import re
import unicodedata

from personalake.corpus.records import RefusedError

_LINE_ENDS = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
# C0 and C1 controls, surrogates and noncharacters: no text needs them, and Arrow or a JSON reader may choke on them.
# Zero-width joiners stay: Persian and the scripts of India are spelt with them.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_UNCLEAN = re.compile(f"{_LINE_ENDS.pattern}|{_CONTROLS.pattern}")
_EMPTY_LINES = re.compile(r"\n{3,}")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]")
_SENTENCE_END = re.compile(
    r"[.!?\u2026\u0964\u061f]['\"\u201d\u2019)]*(?=\s)"  # full stops that a blank follows
    r"|[\u3002\uff01\uff1f][\u300d\u300f\u201d]*"  # those of Chinese and Japanese
)
_GARBLED_SHARE = 0.1
_CJK_WEIGHT = 2


def clean(text: str) -> str:
    """Return *text* with plain line ends, without control characters, trailing blanks and runs of empty lines."""
    if _UNCLEAN.search(text):
        text = _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))
    text = "\n".join(map(str.rstrip, text.split("\n")))
    return (_EMPTY_LINES.sub("\n\n", text) if "\n\n\n" in text else text).strip()


def weigh(text: str) -> int:
    """Return the characters of *text*, those of Chinese, Japanese and Korean counted twice.

    A word of these takes one to three characters where English takes five and a space, so a limit set for Latin script
    would refuse pages that say more than those it keeps.
    """
    return len(text) + (_CJK_WEIGHT - 1) * len(_CJK.findall(text))


def check(text: str, min_chars: int) -> None:
    """Raise :class:`RefusedError` where cleaned *text* is no page: `not_text` (garbled), `too_short`."""
    if text.count("\ufffd") > _GARBLED_SHARE * len(text):
        raise RefusedError("not_text", "more than a tenth of its characters could not be decoded")
    if len(text) >= min_chars:
        return
    weight = weigh(text)
    if weight < min_chars:
        raise RefusedError("too_short", f"{weight} characters (CJK counted twice), wanted are {min_chars}")


def cut(text: str, max_chars: int) -> str:
    """Return *text* cut to *max_chars*: at the last paragraph, line, sentence or word in the second half of that."""
    if len(text) <= max_chars:
        return text
    head, half = text[: max_chars + 1], max_chars // 2
    sentences = [match.end() for match in _SENTENCE_END.finditer(head, half)]
    ends = (head.rfind("\n\n"), head.rfind("\n"), sentences[-1] if sentences else -1, head.rfind(" "), max_chars)
    end = next(end for end in ends if half <= end <= max_chars)
    return text[:end].rstrip()


def fold(text: str) -> str:
    """Return *text* in NFC with each run of white space as one blank: what the content hash is taken of."""
    return " ".join(unicodedata.normalize("NFC", text).split())
