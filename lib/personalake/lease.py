"""One run per store: claims beside each other in a folder, and what makes a dead holder's give way.

pyarrow can't create an object only where there is none, so no file is won here. Instead:

1. A contender writes a claim under a name of its own, and lists all claims after that.
2. It holds the lease where it sees its own claim and no other living one, and its claim stays until the end.
3. Else it gives up if another holds the lease. Of several that started at once, the one whose claim has the first name
   stays and looks again; the others withdraw theirs, and come back if the first one goes.

Two can't both hold: one of their claims was written first and stayed, and the other's listing came after that. All that
this asks for are listings that show what was written before they began, as disks and today's object stores promise. A
claim never changes, because a file that is replaced may be missing from a listing of that moment; the sign of life is a
second file, `<claim>.beat`, which the holder rewrites, and which means nothing without a claim.

Ages are differences between times that the store itself put on its files, a contender's new claim being its "now": the
machines' clocks may be wrong, and may jump.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from personalake.errors import LeaseHeldError, StoreError
from personalake.work import Folder

_EXPIRES_S, _BEAT_S = 120.0, 15.0
_PATIENCE_S, _PAUSE_S = 10.0, 0.2
_LISTINGS = 3
_YARN = re.compile(r"container_(?:e\d+_)?(\d+_\d+)_(\d+)_\d+\Z")

_ours: set[str] = set()
"""The names under which this process contends or holds; another claim that names this process is a leftover."""


@dataclass(frozen=True)
class _Claim:
    """A claim as a listing showed it; the times are the store's, in nanoseconds."""

    name: str
    written: int
    beaten: int | None

    @property
    def order(self) -> tuple[bool, str]:
        """Holders come first, then who came first."""
        return self.beaten is None, self.name


class Lease:
    """The store's lease, held while the context lasts; raises :class:`LeaseHeldError` where another run has it.

    A claim names host, process, its start, and application, so that a process of this machine that is dead gives way at
    once, and so does an earlier attempt at the same YARN application; anybody else after *expires_s* seconds without a
    sign of life.
    """

    def __init__(
        self, work: Folder, application: str, *, expires_s: float = _EXPIRES_S, beat_s: float = _BEAT_S
    ) -> None:
        self._work, self._claims = work, work / "lease"
        self._expires_s, self._beat_s = expires_s, beat_s
        self._name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"  # The first who came is the first to be heard.
        self._claimed, self._lost, self._beaten = False, False, 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._mine: dict[str, Any] = {
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "application": application,
            "attempt": _attempt(),
        }

    def __enter__(self) -> Lease:
        self._work.make()
        _ours.add(self._name)
        try:
            self._contend(time.monotonic() + _PATIENCE_S)
            self._claims.write(f"{self._name}.beat", b"")
        except BaseException:
            self._withdraw()
            raise
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join(self._beat_s)  # What it writes after this stays behind.
        self._withdraw()

    def check(self) -> None:
        """Raise :class:`LeaseHeldError` where the lease is lost: called before each wave and commit.

        A process that is stopped right after this, for longer than the expiry, works on without the lease. No lease can
        prevent that; it is harmless, since what it commits is refused or the same: Delta knows the `txnAppId` of what
        has landed, and keys that have landed are looked for.
        """
        self._lost = self._lost or self._silent() or not self._stands(self._name)
        if self._lost:
            raise LeaseHeldError(
                "this run lost its lease", where=self._work.address, cure="run again once the other ended"
            )

    def _contend(self, until: float) -> None:
        while rival := self._rival():
            if rival.beaten is not None or time.monotonic() > until:
                raise self._held(rival)
            if rival.name < self._name:
                self._claimed = False
                self._claims.delete_file(f"{self._name}.json")
                while self._stands(rival.name) and not (self._claims / f"{rival.name}.beat").exists():
                    if time.monotonic() > until:
                        raise self._held(rival)
                    self._pause()
            self._pause()

    def _pause(self) -> None:
        self._ended.wait(random.uniform(0.1, 1) * _PAUSE_S)

    def _rival(self) -> _Claim | None:
        """Claim the lease; returns the first of the others' living claims, and null where the lease is ours."""
        for _ in range(_LISTINGS):
            if not self._claimed:
                self._beaten = time.monotonic()
                self._claims.write(f"{self._name}.json", json.dumps({**self._mine, "since": time.time()}).encode())
                self._claimed = True
            found = self._listed()
            if mine := found.pop(self._name, None):
                break
            self._claimed = False  # We were stopped for so long that another took us for dead.
        else:
            raise StoreError(
                "the file system doesn't list what was just written",
                where=self._claims.address,
                cure="choose another folder for store.work",
            )
        for claim in sorted(found.values(), key=lambda claim: claim.order):
            owner = self._owner(claim)
            if owner is None:
                continue  # Withdrawn meanwhile.
            if not self._dead(claim, owner, mine.written):
                return claim
            self._claims.delete_file(f"{claim.name}.json")
            self._claims.delete_file(f"{claim.name}.beat")
        return None

    def _listed(self) -> dict[str, _Claim]:
        files = {str(info.base_name): int(info.mtime_ns or 0) for info in self._claims.files()}
        names = [name.removesuffix(".json") for name in files if name.endswith(".json")]
        return {name: _Claim(name, files[f"{name}.json"], files.get(f"{name}.beat")) for name in names}

    def _dead(self, claim: _Claim, owner: dict[str, Any], now: int) -> bool:
        attempt, mine = owner.get("attempt"), self._mine["attempt"]
        if attempt and mine and attempt[0] == mine[0] and attempt[1] < mine[1]:
            return True  # YARN starts an attempt when the one before has ended.
        if owner.get("machine") == self._mine["machine"]:
            if owner.get("pid") == self._mine["pid"] and owner.get("born") == self._mine["born"]:
                return claim.name not in _ours
            # Alive counts as held however long it is silent: it may be stopped, and pay when it goes on.
            return _born(int(owner.get("pid", 0))) != owner.get("born")
        # Asked for again: a beat that is being replaced may be missing from the listing.
        beaten = (self._claims / f"{claim.name}.beat").written() or claim.beaten or 0
        # Both ways: a time far ahead of the store's "now" was put there before its clock was set right.
        return abs(now - max(claim.written, beaten)) > self._expires_s * 1e9

    def _owner(self, claim: _Claim) -> dict[str, Any] | None:
        """What the claim says of its owner; null where it is gone, nothing where it can't be read."""
        content = self._claims.read(f"{claim.name}.json")
        if content is None:
            return None
        try:
            parsed = json.loads(content)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def _held(self, rival: _Claim) -> LeaseHeldError:
        owner = self._owner(rival) or {}
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(owner.get("since", 0)))
        return LeaseHeldError(
            f"another run works on this store: {owner.get('application')}, process {owner.get('pid')} "
            f"on {owner.get('host')}, since {since}",
            where=self._work.address,
            cure="wait for it, or end it",
        )

    def _stands(self, name: str) -> bool:
        return (self._claims / f"{name}.json").exists()

    def _silent(self) -> bool:
        """Whether others may take us for dead soon: a beat earlier than they do."""
        return time.monotonic() - self._beaten > self._expires_s - self._beat_s

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_s):
            began = time.monotonic()
            with contextlib.suppress(StoreError):  # The next may come through; if none does, check() says so.
                self._claims.write(f"{self._name}.beat", b"")
                if self._silent():
                    self._lost = True  # It came too late: another may have taken the lease before it.
                    return
                self._beaten = began

    def _withdraw(self) -> None:
        # Not worth an error of its own, which would hide the run's: what stays behind expires.
        with contextlib.suppress(StoreError):
            self._claims.delete_file(f"{self._name}.json")
            self._claims.delete_file(f"{self._name}.beat")
        _ours.discard(self._name)


def _machine() -> str:
    """What tells this machine, and on it this container, from others: there are many called `localhost`."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _attempt() -> tuple[str, int] | None:
    """The YARN application whose driver this is, and which attempt at it; null elsewhere."""
    found = _YARN.match(os.environ.get("CONTAINER_ID", ""))
    return (found[1], int(found[2])) if found else None


def _born(pid: int) -> str | None:
    """When process *pid* started, in the kernel's own count, so that a number used again isn't taken for the holder.

    Null where there is no such process; a constant where the system doesn't tell (macOS), and then the number decides.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    except OSError:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "unknown"
    return None if fields[0] in "ZX" else fields[19]  # Ended, and nobody has asked how.
