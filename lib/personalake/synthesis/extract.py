"""From a reply to the text that is kept, and from a solution to its final answer."""

from __future__ import annotations

import re
from collections.abc import Callable

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|\\boxed(?=\s+[^\s{])")
_UNBRACED = re.compile(r"\s+([^\s$]+)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def reply_text(reply: str) -> str:
    """Return what is kept of a free-text *reply*: ends trimmed, line ends made newlines; nothing inside is touched."""
    return reply.replace("\r\n", "\n").replace("\r", "\n").strip()


def boxed(text: str) -> str | None:
    r"""Return what the last ``\boxed{...}`` of *text* holds, braces nested as they may; null where there is none.

    An empty or unclosed last box (a reply that was cut) is null too: an earlier box is a step, not the answer. The
    unbraced ``\boxed 7`` is read as well, and ``\fbox{}`` as a box.
    """
    last = None
    for last in _BOX.finditer(text):  # noqa: B007 (the last match is what is wanted)
        pass
    if last is None:
        return None
    if text[last.end() : last.end() + 1] == "{":
        return _braced(text, last.end())
    bare = _UNBRACED.match(text, last.end())
    return (bare[1].rstrip(".,;") or None) if bare else None


def _braced(text: str, start: int) -> str | None:
    depth = 0
    for brace in _BRACE.finditer(text, start):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : brace.start()].strip() or None
    return None


EXTRACTORS: dict[str, Callable[[str], str | None]] = {"boxed": boxed}
"""How a final answer is found, by the name that a task file uses."""


def final_answer(text: str, how: str | None) -> str | None:
    """Return the final answer of *text* by the extractor *how*; null where there is none, or nothing is to be found."""
    return EXTRACTORS[how](text) if how else None
