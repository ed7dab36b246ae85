"""Checks of a written text: each a plain function of the text and its context that returns a reason, or null.

A task file names them (``length: 40..2000``, ``single_question``); :func:`run` returns the first reason, which becomes
the ``reason`` of a row in ``rejects``. They read surface marks only: they catch what is certainly unusable, and say
nothing of whether a problem can be solved or an answer is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from personalake.errors import nearest
from personalake.prompts.echo import SIGN, echoes, spaced_words, windows_of, words_of
from personalake.synthesis.extract import boxed

RECITAL_WORDS = 8
"""A run of this many words shared with the persona is a recital; a shorter persona (from 5 words) as a whole."""

_LEAST_WORDS = 5

_QUESTION = re.compile(r"[?？؟⸮՞፧]+|(?<=か)。")
_GREEK_QUESTION = re.compile("[;\u037e]")
_GREEK = re.compile("[α-ωά-ώ]")
_UNMARKED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer need no question mark.
_PARTS = re.compile(r"(?:^|\s)\(?[a1i]\)\s.*\s\(?(?:b|2|ii)\)\s", re.DOTALL)

_SOLUTION_MARKS = (
    "\\boxed", "####", "the answer is", "the final answer", "the solution is", "let's solve", "let us solve", "step 1:",
    "die antwort lautet", "die lösung ist", "la respuesta es", "la solución es", "la réponse est", "la solution est",
    "la risposta è", "a resposta é", "het antwoord is", "ответом является", "答案是", "答案为", "答えは",
)  # fmt: skip
_SOLUTION_HEAD = re.compile(
    r"(?:^|[.?!。？！\n*#>])[\s*_#>]*(?:final answer|answer(?: key)?|solution|hint|antwort|lösung|lösungsweg|respuesta|"
    r"solución|réponse|risposta|soluzione|resposta|solução|antwoord|oplossing|ответ|решение|odpowiedź|rozwiązanie|cevap|"
    r"çözüm|答案|答|解|解答|回答|答え|정답|풀이)[*_]*\s?[:：]"
)
_LEAK_MARKS = (
    "<persona", "</persona", "system prompt", "{{persona", "{{ persona", "{{vary", "{{fields", "<think", "</think",
    "<|", "<｜", "[inst]", "<start_of_turn", "<end_of_turn", "given persona", "provided persona",
    "persona provided", "persona above", "persona described",
)  # fmt: skip
_AS_A = re.compile(r"[\s\"'“‘„«*_>(]*(?:as an?\b|en tant qu[e']|en qualité d[e']|作为一[名个位]|作為一[名個位])")
_ASKED = r"(?:problem|question|request|prompt|task|exercise|puzzle|instruction|message)"
_PREAMBLE = re.compile(
    r"[\s*_#>\"]*(?:(?:sure|certainly|absolutely|of course)\s?[,!.:]|"
    rf"here(?:'s|’s| is) [^.?!\n]*\b{_ASKED}\b[^.?!\n]*:|"
    rf"(?:math |user |the )?(?:{_ASKED}|aufgabe|frage|problème|problema|pregunta|задача|вопрос|题目|問題|问题)"
    r"\s?(?:\d+\s?)?[*_]*\s?[:：])"
)


@dataclass(frozen=True)
class Context:
    """What a text is held against: the persona behind it, and the instructions of the step that asked for it."""

    persona: str = ""
    instructions: str = ""


Check = Callable[[str, Context], str | None]
"""A check: the reason why a text is refused, or null."""


def length(text: str, _: Context, *, least: int, most: int | None) -> str | None:
    """Refuse a text with fewer than *least* or more than *most* characters."""
    if len(text) < least:
        return "too_short"
    return "too_long" if most is not None and len(text) > most else None


def not_empty(text: str, _: Context) -> str | None:
    """Refuse a text without a single letter or digit."""
    return None if any(map(str.isalnum, text)) else "empty"


def single_question(text: str, _: Context) -> str | None:
    """Refuse a text that doesn't ask exactly one question, as its question marks tell, or that asks in parts.

    A script without question marks of its own (Thai, Lao, Burmese, Khmer) may have none.
    """
    marks = text.count("?") if text.isascii() else len(_QUESTION.findall(text))
    if marks > 1:
        marks = len(_QUESTION.findall(text))  # "??" is one mark.
    if marks == 0 and _GREEK.search(text):
        marks = len(_GREEK_QUESTION.findall(text))
    if marks == 0:
        return None if _UNMARKED.search(text) else "no_question"
    return "several_questions" if marks > 1 or (") " in text and _PARTS.search(text)) else None


def no_solution(text: str, _: Context) -> str | None:
    """Refuse a problem that brings its answer: a box, "the answer is", a line that is headed "Solution:"."""
    low = text.lower()
    given = any(mark in low for mark in _SOLUTION_MARKS) or ((":" in low or "：" in low) and _SOLUTION_HEAD.search(low))
    return "solution_given" if given else None


def no_leak(text: str, context: Context) -> str | None:
    """Refuse a text that shows a mark of the prompt (``<persona>``, a chat token), or a run of its instructions."""
    low = text.lower()
    leaks = any(mark in low for mark in _LEAK_MARKS) or echoes(text, context.instructions)
    return "prompt_leak" if leaks else None


def not_as_a(text: str, _: Context) -> str | None:
    """Refuse a text that begins with "As a ...": the persona introduced instead of put to work."""
    return "as_a" if _AS_A.match(text[:80].lower()) else None


def no_preamble(text: str, _: Context) -> str | None:
    """Refuse a text that begins with talk about itself: "Sure!", "Here is a problem:", "Question:"."""
    return "preamble" if _PREAMBLE.match(text[:200].lower()) else None


def boxed_answer(text: str, _: Context) -> str | None:
    r"""Refuse a solution without a closed ``\boxed{...}`` that holds something."""
    return None if boxed(text) else "no_boxed"


def no_recital(text: str, context: Context) -> str | None:
    """Refuse a text that copies the persona's sentence: a run of 8 words in common, or a short persona whole."""
    words = spaced_words(text)
    return "recital" if any(window in words for window in _persona_windows(context.persona)) else None


CHECKS: dict[str, Check] = {
    "not_empty": not_empty,
    "single_question": single_question,
    "no_solution": no_solution,
    "no_leak": no_leak,
    "not_as_a": not_as_a,
    "no_preamble": no_preamble,
    "boxed": boxed_answer,
    "no_recital": no_recital,
}
"""Checks without an argument, by the name that a task file uses; ``length: LEAST..MOST`` comes on top."""


def canonical(spec: str | Mapping[str, object]) -> str:
    """Return the one spelling of a check as a task file gives it: ``{"length": "40..2000"}`` is ``"length: 40..2000"``.

    Raises ValueError, with the nearest known name, for a check that there isn't or an argument that doesn't fit.
    """
    if isinstance(spec, Mapping):
        if len(spec) != 1:
            raise ValueError("one check per line of the list")
        spec = "{}: {}".format(*next(iter(spec.items())))
    name, colon, argument = (part.strip() for part in spec.partition(":"))
    text = f"{name}: {argument}" if colon else name
    _compiled(text)
    return text


def run(checks: Iterable[str], text: str, context: Context) -> str | None:
    """Return the first reason among *checks* (as :func:`canonical` spells them) to refuse *text*, or null."""
    return next((reason for _, reason in verdicts(checks, text, context) if reason), None)


def verdicts(checks: Iterable[str], text: str, context: Context) -> Iterator[tuple[str, str | None]]:
    """Yield each check in order with its reason to refuse *text*, or null."""
    for check in checks:
        yield check, _compiled(check)(text, context)


@lru_cache(maxsize=256)
def _compiled(spec: str) -> Check:
    name, colon, argument = spec.partition(": ")
    if name == "length":
        match = re.fullmatch(r"(\d*)\.\.(\d*)", argument)
        least, most = (int(bound) if bound else None for bound in match.groups()) if match else (None, None)
        if (least is None and most is None) or (most is not None and (least or 0) > most):
            raise ValueError(f"`length` takes LEAST..MOST characters, as in `length: 40..2000` (given: {argument!r})")
        return partial(length, least=least or 0, most=most)
    if name not in CHECKS:
        raise ValueError(f"unknown check `{name}` ({nearest(name, [*CHECKS, 'length'])})")
    if colon:
        raise ValueError(f"`{name}` takes no argument (given: {argument!r})")
    return CHECKS[name]


@lru_cache(maxsize=1024)
def _persona_windows(persona: str) -> tuple[str, ...]:
    words = words_of(persona)
    scale = 2 if 2 * len(SIGN.findall(persona)) > len(words) else 1
    if len(words) < _LEAST_WORDS * scale:
        return ()
    return windows_of(words, min(RECITAL_WORDS * scale, len(words)))
