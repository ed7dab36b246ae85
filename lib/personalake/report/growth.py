"""The geometry of a growth curve: a line over the runs, and the area below it, down to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1000, 100
"""Units of a curve's view box."""


@dataclass(frozen=True)
class Curve:
    """SVG paths of a growth curve's line, and of the area below it."""

    line: str
    area: str


def curve(points: Sequence[tuple[int, float]]) -> Curve:
    """Return the curve through *points*, which lie evenly along the width; its highest value reaches the top."""
    top = max((value for _, value in points), default=0) or 1
    step = WIDTH / max(1, len(points) - 1)
    placed = [(number * step, HEIGHT * (1 - max(0.0, value) / top)) for number, (_, value) in enumerate(points)]
    line = "L".join(f"{x:.2f} {y:.2f}" for x, y in placed)
    area = f"M0 {HEIGHT}L{line}L{placed[-1][0]:.2f} {HEIGHT}Z" if placed else ""
    return Curve(f"M{line}" if placed else "", area)
