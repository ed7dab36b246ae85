"""What a command brought: an object for `--json`, and the same in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shown:
    """What a command prints: *data* with `--json`, else *text*."""

    data: dict[str, Any]
    text: str


def plain(text: str) -> str:
    """*text* fit for a terminal: a model's or a page's control characters (escape sequences) become spaces."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
