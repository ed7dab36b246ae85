"""The funnel's geometry: one bar per stage and unit, all on one scale, with ribbons from what one kept to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from personalake.report.facts import StageFacts

RIBBON_WIDTH, RIBBON_HEIGHT = 1000, 100
"""Units of a ribbon's view box."""


@dataclass(frozen=True)
class Part:
    """A stretch of a bar: its kind (as the style sheet names it), name, count, and place in per cent."""

    kind: str
    name: str
    count: int
    start: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One bar: *unit* is "request", "item" or "row", *note* says what one is, *ribbon* is an SVG path or empty."""

    label: str
    unit: str
    note: str
    total: int
    parts: tuple[Part, ...]
    ribbon: str = ""


def bars(stages: Iterable[StageFacts]) -> list[Bar]:
    """Return the bars in order, a stage that asks an endpoint giving two: its requests, then the items in the answers.

    Widths are true to the counts, over all bars. A ribbon joins a bar to the one above it if its rows come from there.
    """
    drafts: list[tuple[Bar, bool]] = []
    above = ""
    for stage in stages:
        joined = bool(drafts) and stage.source in ("", above)
        note = "" if joined or not stage.source else f", taken from {stage.source}"
        drafts += [(bar, joined or place > 0) for place, bar in enumerate(_of_stage(stage, note))]
        above = stage.label
    scale = max((bar.total for bar, _ in drafts), default=0) or 1
    placed: list[Bar] = []
    for bar, joined in drafts:
        parts = _place(bar.parts, scale)
        ribbon = _ribbon(placed[-1].parts[0].width, 100 * bar.total / scale) if joined else ""
        placed.append(Bar(bar.label, bar.unit, bar.note, bar.total, parts, ribbon))
    return placed


def _of_stage(stage: StageFacts, note: str) -> list[Bar]:
    results: tuple[Part, ...] = (
        Part("kept", "kept", stage.kept),
        Part("repeat", "repeats", stage.duplicates),
        Part("dropped", "dropped", stage.item_rejects),
    )
    if not stage.asks:
        results = (*results, Part("waiting", "waiting", stage.deferred))
        return [Bar(stage.label, "row", f"{stage.row}{note}", _total(stage.items, results), results)]
    asked = (
        Part("kept", "answered with items", max(0, stage.answered - stage.none_found)),
        Part("nothing", "answered: none found", stage.none_found),
        Part("dropped", "no usable answer", stage.rejected),
        Part("waiting", "waiting", stage.deferred),
    )
    return [
        Bar(stage.label, "request", f"{stage.row}{note}", _total(stage.requests, asked), asked),
        Bar(stage.label, "item", stage.item, _total(stage.items, results), results),
    ]


def _total(stated: int, parts: tuple[Part, ...]) -> int:
    # Figures that don't add up must still be drawn, so that a reader sees by how much.
    return max(stated, sum(part.count for part in parts))


def _place(parts: tuple[Part, ...], scale: int) -> tuple[Part, ...]:
    placed, start = [], 0.0
    for part in parts:
        width = 100 * part.count / scale
        placed.append(Part(part.kind, part.name, part.count, start, width))
        start += width
    return tuple(placed)


def _ribbon(top: float, bottom: float) -> str:
    above, below, middle = top / 100 * RIBBON_WIDTH, bottom / 100 * RIBBON_WIDTH, RIBBON_HEIGHT / 2
    curve = f"C{above:.2f} {middle:g} {below:.2f} {middle:g} {below:.2f} {RIBBON_HEIGHT}"
    return f"M0 0H{above:.2f}{curve}H0Z"
