"""From a reply to the text that is kept, and from a solution to its final answer."""

from __future__ import annotations

import re
from collections.abc import Callable

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|\\boxed(?=\s+[^\s{])")
_UNBRACED = re.compile(r"\s+([^\s$]+)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_SHELLS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"), ("`", "`"))
_LABELS = (
    r"(?:the\s)?(?:final\s|correct\s)?answer|antwort|respuesta(?:\sfinal)?|réponse(?:\sfinale)?|risposta|resposta|"
    r"antwoord|ответ|odpowiedź|cevap|答案|答え|答|정답"
)
# Read in one line each; what a line leaves open, the next one says.
_SAID = re.compile(
    rf"####|(?:^|(?<=[\s*_#>(\"“,.:;。，]))(?:{_LABELS})[*_]{{0,3}}\s?[:：]"
    r"|(?:^|(?<=[\s*_#>(\"“]))answer(?:\sto\s[^.:\n]{1,80}?)?[*_]{0,3}\sis(?!\snot\b)"
    r"(?:\s?:|\s(?:therefore|thus|then|simply|just|equal\sto)(?=\s))?"
    r"|(?:die\santwort\s(?:lautet|ist)|la\srespuesta\s(?:final\s)?es|la\sréponse\s(?:finale\s)?est|"
    r"la\srisposta\sè|a\sresposta\sé|het\santwoord\sis|答案是|答案为|答えは|정답은)\s?[:：]?"
    r"|^[#*_ ]{0,8}final\sanswer[*_]{0,3}$",
    re.IGNORECASE | re.MULTILINE,
)
_SAID_LAST = re.compile(r"[ *_#]{0,8}A[*_]{0,3}:")
_GAP = re.compile(r"[*_\s]*")
_REST = re.compile(r"\$\$.*?\$\$|\\\[.*?\\\]|[^\n]*", re.DOTALL)
_SENTENCE = re.compile(r"[.!?](?=[\s*_]|$)|。|,?\s(?:because|since|which|where)\s.*", re.DOTALL)
_CHOICE = re.compile(
    r"(?:(?:option|choice|answer)\s+)?(?:[(\[]\s?([A-Ja-j])\s?[)\]]|([A-J]))(?:\s?[).:：].*|[,;]?\s(?:because|since|as)\s.*)?",
    re.DOTALL,
)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf|textrm)\s*\{([^{}]*)\}")


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


def answer_is(text: str) -> str | None:
    r"""Return what *text* last calls its answer ("The answer is 42.", "#### 42", "**Answer:** $42$"); null if nothing.

    It ends with its sentence or line; emphasis, ``$...$`` and a box around it are taken off.
    """
    end = len(text.rstrip())
    said = _SAID_LAST.match(text, text.rfind("\n", 0, end) + 1, end)
    while said is None and end > 0:
        start = text.rfind("\n", 0, end) + 1
        for said in _SAID.finditer(text, start, end):  # noqa: B007 (the last match is what is wanted)
            pass
        end = start - 1
    if said is None:
        return None
    gap = _GAP.match(text, said.end())
    rest = _REST.match(text, gap.end()) if gap else None
    return _bare(rest[0]) if rest else None


def final_line(text: str) -> str | None:
    """Return the last line that isn't blank, without what calls it the answer; null for a blank text."""
    line = text.rstrip().rsplit("\n", 1)[-1]
    return answer_is(line) if _SAID_LAST.match(line) or _SAID.search(line) else _bare(line)


def choice(text: str) -> str | None:
    """Return the letter, A to J, of the option that *text* ends with: boxed, called the answer, or the last line.

    Null where that is no option, or several.
    """
    found = boxed(text) or answer_is(text) or final_line(text) or ""
    option = _CHOICE.fullmatch(_TEXT.sub(r"\1", found).strip(" *_$."))
    return (option[1] or option[2]).upper() if option else None


def unwrapped(text: str) -> str:
    r"""Return *text* without what stands around all of it: white space, ``$``, ``\(``, ``**``, a box."""
    while True:
        text = text.strip()
        inner = _inside(text)
        if inner is None:
            return text
        text = inner


def _inside(text: str) -> str | None:
    if text.startswith(r"\boxed{") and _braced(text, len(r"\boxed")) == text[len(r"\boxed{") : -1].strip():
        return text[len(r"\boxed{") : -1]
    for opening, closing in _SHELLS:
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner and not (closing in inner or opening in inner):
            return inner
    return None


def _bare(said: str) -> str | None:
    if r"\boxed" in said:
        return boxed(said)
    said = unwrapped(said)
    end = _SENTENCE.search(said)
    said = unwrapped(said[: end.start()] if end else said)
    return said.strip(" *_") or None


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


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "boxed": boxed,
    "answer_is": answer_is,
    "final_line": final_line,
    "choice": choice,
}
"""How a final answer is found, by the name that a task file uses."""


def final_answer(text: str, how: str | None) -> str | None:
    """Return the final answer of *text* by the extractor *how*; null where there is none, or nothing is to be found."""
    return EXTRACTORS[how](text) if how else None
