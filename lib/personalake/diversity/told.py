"""Figures of diversity in words: the same for the command and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from personalake.dedup.coverage import Counted
from personalake.dedup.sketches import PERSONA_NGRAMS, PERSONAS
from personalake.diversity.beside import Beside, Difference
from personalake.diversity.draw import ALL
from personalake.diversity.measure import Diversity, Group
from personalake.diversity.sample import COMBINATIONS, DISTINCT, ENTROPY, FILLED, Figures
from personalake.diversity.subjects import AXIS

Tables = tuple[tuple[str, tuple[dict[str, str], ...]], ...]
"""Captions, and rows by their columns, of which the first names the row."""

_DASH = "–"
_HEAD = 2
"""Columns that only name a group: its name, and its rows."""
ATTRIBUTES = "Attributes: entropy as a share of the most that it can be (and how many have one)"
_TEXTS = {
    **{f"distinct_{n}": f"distinct-{n}" for n in DISTINCT},
    "compression": "compression",
    "self_repetition": "self-repetition",
    "nearest": "nearest",
    "nearest_cosine": "nearest by vectors",
}
"""Figures of texts, and what they are called."""
_MORE_IS_LESS = {"compression", "self_repetition", "nearest", "nearest_cosine"}
_GROWN = {PERSONAS: "personas", **{name: f"runs of {n}" for n, name in PERSONA_NGRAMS.items()}}
_GROWN[PERSONA_NGRAMS[1]] = "words"


def at_one_size(found: Diversity, noun: str) -> Tables:
    """What texts and attributes say at the common size: a table of each, with the groupings that part the rows."""
    size = f"{found.size.tokens:,} tokens and {found.size.rows:,} {noun}"
    groups = [group for group in found.groups if group.by in (ALL[0], *_parted(found.groups, measured=True))]
    return _filled(
        (f"By {size} of each", [_line(group, noun, _texts(group.sample)) for group in groups]),
        (f"{ATTRIBUTES}, by {found.size.rows:,} {noun} of each", [
            _line(group, noun, _attributes(group.sample)) for group in groups
        ]),
    )  # fmt: skip


def of_all(found: Diversity, noun: str) -> Tables:
    """The same of all rows, of which more have smaller shares of distinct n-grams."""
    groups = [group for group in found.groups if group.by in (ALL[0], *_parted(found.groups, measured=False))]
    texts = [{"tokens": _count(group.every.get("tokens")), **_texts(group.every)} for group in groups]
    return _filled(
        (f"All {noun}: the more there are, the fewer of their n-grams are new", [
            _line(group, noun, cells) for group, cells in zip(groups, texts, strict=True)
        ]),
        (f"{ATTRIBUTES}, of all {noun}", [_line(group, noun, _attributes(group.every)) for group in groups]),
    )  # fmt: skip


def _parted(groups: Sequence[Group], *, measured: bool) -> list[str]:
    """The groupings with several groups, one of them large enough where they are to be *measured*."""
    names = dict.fromkeys(group.by for group in groups)
    own = {name: [group for group in groups if group.by == name] for name in names}
    return [name for name in names if len(own[name]) > 1 and any(group.sample or not measured for group in own[name])]


def _filled(*made: tuple[str, list[dict[str, str]]]) -> Tables:
    """Tables with the columns that anybody has a value in; those that then say nothing are left out."""
    tables = []
    for caption, rows in made:
        kept = [name for name in rows[0] if any(row.get(name, _DASH) != _DASH for row in rows)]
        if len(kept) > _HEAD:
            tables.append((caption, tuple({name: row.get(name, _DASH) for name in kept} for row in rows)))
    return tuple(tables)


def _line(group: Group, noun: str, cells: dict[str, str]) -> dict[str, str]:
    return {"group": name(group), noun: f"{group.rows:,}", **cells}


def name(group: Group | Beside) -> str:
    """What a group is called."""
    if group.by == ALL[0]:
        return "all"
    if group.name is None:
        return f"any other {label(group.by)}"
    if group.by.startswith(AXIS):
        return f"{label(group.by)}: {group.name}"
    return f"hop {group.name}" if group.by == "hop" else group.name


def label(by: str) -> str:
    """A column of groups in words."""
    return by.removeprefix(AXIS)


def _texts(figures: Figures) -> dict[str, str]:
    return {title: cell(key, figures.get(key)) for key, title in _TEXTS.items()}


def _attributes(figures: Figures) -> dict[str, str]:
    """Each attribute's evenness, with the share that has it where that isn't all; and the combinations."""
    cells = {}
    for key, value in figures.items():
        if key.startswith(ENTROPY):
            attribute = key.removeprefix(ENTROPY)
            filled = figures[f"{FILLED}{attribute}"]
            part = "" if filled is None or filled == 1 else f" ({filled:.0%})"
            cells[title(key)] = _DASH if value is None else f"{cell(key, value)}{part}"
    return cells if COMBINATIONS not in figures else {**cells, title(COMBINATIONS): _share(figures[COMBINATIONS])}


def title(figure: str) -> str:
    """A figure in words."""
    if figure.startswith((ENTROPY, FILLED)):
        kind, _, attribute = figure.partition(".")
        named = label(attribute).replace("_", " ")
        return named if kind == "entropy" else f"share with {named}"
    return _TEXTS.get(figure, figure)


def cell(figure: str, value: float | None) -> str:
    """A figure's value, with the digits that tell."""
    if value is None:
        return _DASH
    return f"{value:.2f}" if figure.startswith((ENTROPY, "compression", "self")) else f"{value:.3f}"


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"


def _count(value: float | None) -> str:
    return _DASH if value is None else f"{value:,.0f}"


def growth(counted: Sequence[Counted]) -> Tables:
    """How many different personas and n-grams there were after each of the last runs, if there were several."""
    named = {one.subject: dict(one.growth) for one in counted}
    curves = {title: named[subject] for subject, title in _GROWN.items() if subject in named}
    runs = sorted({run for curve in curves.values() for run in curve})
    rows = tuple(
        {"run": f"{run}", **{title: _count(curve.get(run)) for title, curve in curves.items()}} for run in runs
    )
    return (("Different ones of the hub after each run, counted by sketches", rows),) if len(runs) > 1 else ()


def side_by_side(found: Sequence[Beside], noun: str) -> Tables:
    """Of each group that two stores have a table of its figures here and there, and of what their difference says."""
    return tuple(
        (_caption(each, noun), tuple(_compared(one) for one in each.differences if _worth(one))) for each in found
    )


def _caption(found: Beside, noun: str) -> str:
    drawn = f"{found.here:,} {noun} drawn here and {found.there:,} there"
    return f"{name(found)}: {drawn}, by {found.size.tokens:,} tokens and {found.size.rows:,} {noun} of each"


def _worth(one: Difference) -> bool:
    """Whether anybody wants to read it: how many have an attribute is of interest where that differs."""
    return one.tells or not one.figure.startswith(FILLED)


def _compared(one: Difference) -> dict[str, str]:
    return {
        "figure": title(one.figure),
        "here": cell(one.figure, one.here),
        "there": cell(one.figure, one.there),
        "difference": f"{one.here - one.there:+.3f}",
        "95 % interval": f"{one.low:+.3f} to {one.high:+.3f}",
        "more diverse": _reading(one),
    }


def _reading(one: Difference) -> str:
    if not one.tells:
        return "no more than chance"
    if one.figure.startswith(FILLED):
        return f"({'more' if one.low > 0 else 'fewer'} here have one)"
    return "here" if (one.low > 0) != (one.figure in _MORE_IS_LESS) else "there"


def public(found: Diversity) -> dict[str, Any]:
    """The same as :func:`at_one_size` and :func:`of_all` for `--json`, as numbers; entropies are shares of the most."""
    return {
        "tokens": found.size.tokens,
        "rows": found.size.rows,
        "groups": [
            {"by": group.by, "group": group.name, "rows": group.rows, "equal_size": group.sample, "all": group.every}
            for group in found.groups
        ],
    }


def public_growth(counted: Sequence[Counted]) -> list[dict[str, Any]]:
    """How many different ones there were after each run, as numbers."""
    return [
        {"subject": one.subject, "runs": [{"run": run, "different": about} for run, about in one.growth]}
        for one in counted
        if one.subject in _GROWN
    ]


def public_side_by_side(found: Sequence[Beside]) -> list[dict[str, Any]]:
    """The same as :func:`side_by_side`, as numbers; intervals are of 95 %."""
    return [
        {
            "by": each.by,
            "group": each.name,
            "here_rows": each.here,
            "there_rows": each.there,
            "tokens": each.size.tokens,
            "rows": each.size.rows,
            "figures": {
                one.figure: {"here": one.here, "there": one.there, "low": one.low, "high": one.high, "tells": one.tells}
                for one in each.differences
            },
        }
        for each in found
    ]
