"""Mathematical problems set in a persona's situation, and their solutions by chain or program of thought."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, gcd, isqrt
from types import CodeType
from typing import Any

from .draw import Draw
from .more_kinds import KINDS
from .problem_kinds import LEVELS, TOPICS, Kind
from .sentences import PATTERN_WORDS
from .words import words_of

SLIP_RATE = 0.08
_SLOT = re.compile(r"\[(\w+)\]|\{k1\}")
_NAMES: dict[str, Any] = {"Fraction": Fraction, "comb": comb, "factorial": factorial, "gcd": gcd, "isqrt": isqrt}
_PERSONA = re.compile(r"<persona>(.*?)</persona>", re.DOTALL)
_ROLE = re.compile(
    r"^\W*(An?|The|Eine?|Una?|Une?)\s+([^\W\d_][^,.;:]{2,50}?)(?=\s+(?:who|that|with|que|qui|mit)\b|[,.;:])"
)

OPENINGS = (
    "For a weekend on {k2} and {k3}, {who} makes a plan.",
    "While sorting notes on {k2}, {who} comes across an old question.",
    "{Who} wants to settle a matter of {k2} and {k3} before the next meeting.",
    "A quiet morning with {k2} gives {who} time for a calculation.",
    "{Who} has to give figures on {k3} to a neighbour who knows nothing of {k2}.",
    "Before an open day on {k2}, {who} checks the numbers once more.",
    "{Who} and two friends are getting a stand on {k2} and {k3} ready.",
    "In a talk about {k2}, {who} uses the following case.",
    "{Who} is asked for help with {k3} during a course on {k2}.",
    "After a long day of {k2}, {who} looks at the accounts for {k3}.",
    "A letter about {k2} reaches {who}, and one figure in it is missing.",
    "{Who} keeps a notebook on {k2}, where this entry on {k3} stands alone.",
    "To make {k2} less of a guess, {who} writes down what is known.",
    "{Who} compares two offers for {k2} and needs one number about {k3}.",
    "At the yearly fair for {k2}, {who} runs a table on {k3}.",
    "{Who} explains {k2} to a class with a small story.",
    "The committee for {k2} leaves the planning of {k3} to {who}.",
    "Since {k2} and {k3} cost more than expected, {who} does the sums again.",
    "{Who} prepares a riddle on {k2} for the members' bulletin.",
    "When the supplier of {k2} calls, {who} must answer at once.",
)


def persona_in(user: str) -> str | None:
    """Return the text between ``<persona>`` tags, or None."""
    found = _PERSONA.search(user)
    return found[1].strip() if found else None


def role_of(persona: str) -> str:
    """Return how to name the persona within a sentence: ``a village baker``."""
    found = _ROLE.match(persona)
    return f"{found[1].lower()} {found[2]}" if found else "an organiser"


def own_words(persona: str, role: str) -> list[str]:
    """Return 3 to 8 words that are this persona's, not a sentence pattern's."""
    own = [word for word in words_of(persona).keywords if word not in PATTERN_WORDS and word not in role]
    return [*own[:8], *["supplies", "deliveries", "records"][: max(0, 3 - len(own))]]


def problem_reply(persona: str, wishes: str, variant: Draw, *, spoiled: bool) -> str:
    """Return one checkable question with an integer or fraction as its answer; *wishes* may name topic and level.

    *spoiled* adds the solution, which a check has to refuse.
    """
    wished = wishes.lower()
    topics = [topic for topic in TOPICS if topic in wished or (topic == "rates" and "rate" in wished.split())]
    levels = [level for level in LEVELS if level in wished]
    fitting = [kind for kind in KINDS if (not topics or kind.topic in topics) and (not levels or kind.level in levels)]
    kind = variant.pick("kind", fitting or KINDS)
    shown = drawn_numbers(kind, variant)
    role = role_of(persona)
    k1, k2, k3 = variant.order("words", own_words(persona, role))[:3]
    opening = variant.pick("opening", OPENINGS)
    text = opening.format(k2=k2, k3=k3, who=role, Who=role[0].upper() + role[1:])
    text += " " + _SLOT.sub(lambda slot: str(shown[slot[1]]) if slot[1] else k1, kind.ask)
    if spoiled:
        known = worked(kind, shown)
        text += f" Solution: {_steps(kind, known)} The answer is {_latex(known['answer'])}."
    return text


def drawn_numbers(kind: Kind, draw: Draw) -> dict[str, int]:
    """Return the numbers of one problem of *kind*, drawn and computed."""
    values: dict[str, Any] = {}
    for entry in kind.draws.split("; "):
        name, *bounds = entry.split(" ")
        if len(bounds) == 1:
            values[name] = int(draw.pick(name, bounds[0].split("|")))
        else:
            values[name] = draw.between(name, int(bounds[0]), int(bounds[1]))
    exec(_compiled(kind.given), dict(_NAMES), values)
    return values


def parsed(problem: str) -> tuple[Kind, dict[str, int]] | None:
    """Return the kind of a problem written by :func:`problem_reply` and its shown numbers, or None."""
    for kind, marker, pattern in _patterns():
        if marker in problem:
            found = pattern.search(problem)
            if found:
                return kind, {name: int(value) for name, value in found.groupdict().items()}
    return None


def worked(kind: Kind, shown: Mapping[str, int]) -> dict[str, Any]:
    """Return the shown numbers together with every intermediate result and ``answer``."""
    values: dict[str, Any] = dict(shown)
    exec(_compiled(kind.work), dict(_NAMES), values)
    return values


def solution_reply(problem: str, variant: Draw) -> str:
    r"""Return a worked solution that ends in ``\boxed{}``; with 8 % a slip in its last step."""
    found = parsed(problem)
    if found is None:
        guess = Draw("guess", problem, variant.number("guess") % 3).between("value", 1, 99)
        topic = words_of(problem).slots(1, 2)
        return (
            f"The question concerns {topic[0]} and {topic[1]}. Only part of what is needed is stated, so I name my"
            f" assumptions first and keep to the plain reading of each sentence. Under these assumptions the count"
            rf" comes to about {guess}, which I give as the result.\n\nFinal answer: $\boxed{{{guess}}}$"
        ).replace("\\n", "\n")
    kind, shown = found
    known = worked(kind, shown)
    if variant.unit("slip") < SLIP_RATE:
        known["answer"] += variant.pick("by", (1, -1, 2, 10))
    opening = variant.pick(
        "opening",
        ("We take it step by step.", "Let us write down what is given.", "First we find what we need on the way.", ""),
    )
    closing = variant.pick("closing", ("The answer is", "Hence the final answer is", "Answer:", "Therefore we get"))
    return f"{opening}\n\n{_steps(kind, known)}\n\n{closing} $\\boxed{{{_latex(known['answer'])}}}$.".strip()


def program_reply(problem: str, variant: Draw) -> str:
    """Return a fenced Python program that prints the answer; with 8 % one number is copied wrongly."""
    found = parsed(problem)
    if found is None:
        return f"```python\nprint({Draw('guess', problem).between('value', 1, 99)})\n```"
    kind, shown = found
    if variant.unit("slip") < SLIP_RATE:
        name = variant.pick("which", sorted(shown))
        shown = {**shown, name: shown[name] + 1}
    lines = ["from fractions import Fraction", "from math import comb, factorial, gcd, isqrt", ""]
    lines += [f"{name} = {value}" for name, value in shown.items()]
    lines += [*kind.work.split("; "), "print(answer)"]
    return "```python\n" + "\n".join(lines) + "\n```"


def _steps(kind: Kind, known: Mapping[str, Any]) -> str:
    return _SLOT.sub(lambda slot: _latex(known[slot[1]]), kind.steps).replace("|", "\n")


def _latex(value: int | Fraction) -> str:
    if isinstance(value, Fraction) and value.denominator != 1:
        return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    return str(value)


@lru_cache(maxsize=256)
def _compiled(work: str) -> CodeType:
    return compile(work, "problem", "exec")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[Kind, str, re.Pattern[str]]]:
    rows = []
    for kind in KINDS:
        parts: list[str] = []
        seen: set[str] = set()
        start = 0
        for slot in _SLOT.finditer(kind.ask):
            parts.append(re.escape(kind.ask[start : slot.start()]))
            name, start = slot[1], slot.end()
            parts.append(r"[^\s,.?]+" if not name else f"(?P={name})" if name in seen else rf"(?P<{name}>\d+)")
            seen.add(name or "")
        parts.append(re.escape(kind.ask[start:]))
        marker = max(_SLOT.sub("\0", kind.ask).split("\0"), key=len)
        rows.append((kind, marker, re.compile("".join(parts))))
    return rows
