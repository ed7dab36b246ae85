"""What a plan's ``reply`` field orders: the rules' texts, or canned ones of a wanted size for load tests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...errors import SettingsError, nearest

REPLY_KINDS = ("rules", "canned")
MOST_CHARS = 10_000_000
_FIELDS = ("kind", "chars", "completion_tokens")
_EXAMPLE = 'e.g. "canned" or {"kind": "canned", "chars": 2000, "completion_tokens": 500}'


@dataclass(frozen=True)
class Canned:
    """Size of a canned reply; *completion_tokens* is what its usage says (None: a token for every 4 characters)."""

    chars: int = 2_000
    completion_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the settings as :func:`reply_of` reads them."""
        return {"kind": "canned", **asdict(self)}


def reply_of(raw: object, where: str) -> Canned | None:
    """Return what a ``reply`` field describes: None for the rules; raises SettingsError that names what is wrong."""
    if raw is None or isinstance(raw, str):
        raw = {"kind": raw or "rules"}
    if not isinstance(raw, dict) or raw.get("kind") not in REPLY_KINDS:
        raise SettingsError("reply is neither 'rules' nor 'canned'", where=where, cure=_EXAMPLE)
    for name in raw:
        if name not in _FIELDS:
            raise SettingsError(f"unknown field reply.{name}", where=where, cure=nearest(str(name), _FIELDS))
    if raw["kind"] == "rules":
        return None
    chars, tokens = raw.get("chars", Canned.chars), raw.get("completion_tokens")
    if type(chars) is not int or not 1 <= chars <= MOST_CHARS:
        raise SettingsError(f"reply.chars is {chars!r}", where=where, cure=f"a whole number from 1 to {MOST_CHARS:,}")
    if tokens is not None and (type(tokens) is not int or tokens < 0):
        raise SettingsError(f"reply.completion_tokens is {tokens!r}", where=where, cure="a whole number or null")
    return Canned(chars, tokens)
