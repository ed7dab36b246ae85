"""One tree of errors: each says what is wrong, where, and what to do, and carries the exit code that it ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PersonalakeError(Exception):
    """Anything that ends a run with a message for a person; exit code 1."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what, self.where, self.cure = what, where, cure
        super().__init__(what, where, cure)

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        cure = f" ({self.cure})" if self.cure else ""
        return f"{where}{self.what}{cure}"


class SettingsError(PersonalakeError):
    """The settings don't hold; nothing was started and nothing was paid; exit code 2."""

    exit_code = 2


class InputError(PersonalakeError):
    """What the settings name (a file, a table, a model) can't be used; nothing was paid; exit code 2."""

    exit_code = 2


class StoreError(PersonalakeError):
    """The store can't be used: another layout, no permission, a name that isn't one; exit code 2."""

    exit_code = 2


class StopRunError(PersonalakeError):
    """The endpoint refused something that it would refuse for every row (key, model, parameter); exit code 2."""

    exit_code = 2


class NoSandboxError(PersonalakeError):
    """There is no sandbox to run a program in, so it wasn't run; exit code 2."""

    exit_code = 2


class DeferredError(PersonalakeError):
    """The rest has to wait (endpoint, quota, budget); what is done is kept, the next run goes on; exit code 3."""

    exit_code = 3


class LeaseHeldError(PersonalakeError):
    """Another run is working on this store; exit code 4."""

    exit_code = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the known name closest to *name*, or the list of them all."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(names)}"


def first_line(error: Exception) -> str:
    """The first line in which an *error* of somebody else says anything, cut to 300 characters; its type if none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
