"""The options of `personalake hub`: which there are, and which go together. `hub_view` does what they ask for."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from personalake.errors import SettingsError

if TYPE_CHECKING:
    from personalake.settings import Settings

_LIMIT = 20
_ID_CHARS, _FEWEST = 64, 8
WORDS, VECTOR = "words", "vector"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of `hub`."""
    command.add_argument("--where", metavar="SQL", help="condition on the table's columns")
    command.add_argument("--limit", type=int, metavar="N", help=f"rows shown (default {_LIMIT})")
    command.add_argument("--like", metavar="TEXT", help="those most like this text")
    command.add_argument(
        "--by", choices=(WORDS, VECTOR), help="like it by common words (the default), or by its vector (may pay)"
    )
    command.add_argument("--sample", type=int, metavar="N", help="so many drawn by the hash of their id")
    command.add_argument("--seed", type=int, metavar="S", help="another seed draws others (default 0)")
    command.add_argument("--lineage", metavar="ID", help="the way from this persona back to its page")


@dataclass(frozen=True)
class Look:
    """What is asked of the hub."""

    where: str | None
    limit: int
    like: str | None
    by: str
    sample: int | None
    seed: int
    lineage: str | None

    @classmethod
    def of(cls, arguments: argparse.Namespace, settings: Settings) -> Look:
        """The options as they were given; raises :class:`SettingsError` for those that don't go together."""
        given = {name: getattr(arguments, name) for name in ("where", "limit", "like", "by", "sample", "seed")}
        _check_together({name for name, value in given.items() if value is not None}, arguments.lineage)
        for name in ("limit", "sample"):
            if given[name] is not None and given[name] < 1:
                raise SettingsError(f"--{name} {given[name]} shows nothing", cure="give 1 or more")
        by = given["by"] or WORDS
        if by == VECTOR and settings.dedup.embedding is None:
            cure = "name the model that made the hub's vectors: --set dedup.embedding.model=NAME"
            raise SettingsError("no model makes the text's vector", where="dedup.embedding", cure=cure)
        if given["like"] is not None and not given["like"].strip():
            raise SettingsError("--like is empty", cure="give it a text")
        seed, limit = given["seed"] or 0, given["limit"] or _LIMIT
        return cls(given["where"], limit, given["like"], by, given["sample"], seed, _id(arguments.lineage))


def _check_together(given: set[str], lineage: str | None) -> None:
    if lineage is not None and given:
        what = f"--lineage shows one persona's way, and takes no --{min(given)}"
        raise SettingsError(what, cure="give one of the two")
    for name, other in (("by", "like"), ("seed", "sample")):
        if name in given and other not in given:
            raise SettingsError(f"--{name} goes with --{other}", cure=f"add --{other}, or leave --{name} out")
    for name, other in (("sample", "like"), ("sample", "limit")):
        if {name, other} <= given:
            raise SettingsError(f"--{name} and --{other} don't go together", cure="give one of the two")


def _id(given: str | None) -> str | None:
    if given is None:
        return None
    if not re.fullmatch(f"[0-9a-fA-F]{{{_FEWEST},{_ID_CHARS}}}", given):
        what = f"--lineage {given!r} is no persona's id"
        raise SettingsError(what, cure=f"give it, or its first {_FEWEST} hexadecimal digits or more")
    return given.lower()
