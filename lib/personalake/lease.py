"""One run per store: a file that only one process can create, and what makes a dead holder's give way."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from personalake.errors import LeaseHeldError, StoreError
from personalake.work import Folder, is_local, reason

_FILE = "lease.json"
_EXPIRES_S, _BEAT_S = 120.0, 15.0


class Lease:
    """The store's lease, held while the context lasts; raises :class:`LeaseHeldError` where another run has it.

    It names host, process, its start, and application, so that a dead holder on this host gives way at once, and any
    other 120 seconds after its last sign of life.
    """

    def __init__(self, work: Folder, application: str) -> None:
        self._work, self._application = work, application
        self._ended = threading.Event()
        self._mine = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "application": application,
        }

    def __enter__(self) -> Lease:
        self._work.make()
        while not self._create():
            holder = self._holder()
            if holder is not None and not self._dead(holder):
                since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder.get("since", 0)))
                raise LeaseHeldError(
                    f"another run works on this store: {holder.get('application')}, process {holder.get('pid')} "
                    f"on {holder.get('host')}, since {since}",
                    where=self._work.address,
                    cure="wait for it, or end it",
                )
            self._work.delete_file(_FILE)
        threading.Thread(target=self._beat, name="lease", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._is_mine(self._holder()):
            self._work.delete_file(_FILE)

    def check(self) -> None:
        """Raise :class:`LeaseHeldError` where the lease was taken from us: called before each wave and commit."""
        if not self._is_mine(self._holder()):
            raise LeaseHeldError(
                "this run lost its lease", where=self._work.address, cure="run again once the other ended"
            )

    def _create(self) -> bool:
        content = json.dumps({**self._mine, "since": time.time(), "seen": time.time()}).encode()
        if not is_local(self._work.address):
            # pyarrow.fs has no create-if-absent: the look before the write narrows the race, and every check() after
            # it finds the loser out before anything is paid or committed.
            if self._holder() is not None:
                return False
            self._work.write(_FILE, content)
            return True
        beside = Path(self._work.path) / f".{_FILE}.{os.getpid()}"
        try:
            beside.write_bytes(content)
            os.link(beside, Path(self._work.path) / _FILE)  # Whole or not at all, and never over another's.
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreError(f"{_FILE} cannot be written: {reason(error)}", where=self._work.address) from error
        finally:
            beside.unlink(missing_ok=True)
        return True

    def _holder(self) -> dict[str, Any] | None:
        content = self._work.read(_FILE)
        if content is None:
            return None
        try:
            parsed = json.loads(content)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def _is_mine(self, holder: dict[str, Any] | None) -> bool:
        return holder is not None and all(holder.get(name) == value for name, value in self._mine.items())

    def _dead(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") == self._mine["host"]:
            return _born(int(holder.get("pid", 0))) != holder.get("born")
        return time.time() - float(holder.get("seen", 0)) > _EXPIRES_S

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            holder = self._holder()
            if holder is None or not self._is_mine(holder):
                return  # Lost: check() says so at the next step.
            self._work.write(_FILE, json.dumps({**holder, "seen": time.time()}).encode())


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
    return fields[19]
