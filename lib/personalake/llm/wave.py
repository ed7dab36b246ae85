"""A wave while it runs: its tasks aside, its journal watched, landed as it grows, and saved on Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from personalake.lease import Lease
from personalake.llm.journal import Segment, segments
from personalake.llm.landing import Landing, one_attempt_each
from personalake.llm.wave_plan import STOP_FILE, Plan
from personalake.work import Folder

_LOOK_EVERY_S = 0.5
"""How often the journal is listed, or a tenth of the time if that takes longer (a call for each thousand segments)."""
_COMMIT_EVERY_S, _COMMIT_ROWS = 20.0, 1_000


class Wave:
    """One wave of the driver's: what its tasks returned, what is in its journal, what of that is landed."""

    def __init__(
        self,
        plan: Plan,
        folder: Folder,
        landing: Landing,
        lease: Lease,
        commit_rows: int,
        watch: Callable[[Wave], None],
    ) -> None:
        self.plan, self.folder = plan, folder
        self.found: list[Segment] = []
        self.tallies: list[dict[str, Any]] = []
        self.saved = False
        """Whether a Ctrl-C has ended the wave as it should: nothing is under way any more, and all is counted."""
        self._landing, self._lease, self._commit_rows, self._watch = landing, lease, commit_rows, watch
        self._landed: set[str] = set()
        self._repeated: dict[str, int] = {}
        self._commit: _Aside | None = None
        self._began = self._committed_at = time.monotonic()

    def run(self, work: Callable[[], list[dict[str, Any]]], say: Callable[[str], None]) -> None:
        """Run *work*, which returns the tasks' tallies, aside; so Ctrl-C can ask them to save what is under way.

        Raises what *work* raises; and KeyboardInterrupt, with :attr:`saved` set once everything that came is journaled.
        """
        job, interrupted, look_at = _Aside(work), False, time.monotonic() + _LOOK_EVERY_S
        while not job.ended(0.2):
            try:
                if time.monotonic() >= look_at:
                    began = time.monotonic()
                    self._look()
                    look_at = time.monotonic() + max(_LOOK_EVERY_S, 10 * (time.monotonic() - began))
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                self.folder.write(STOP_FILE, b"")
                say("stopping: saving the replies that are under way (Ctrl-C again to leave them)")
        self.tallies.extend(job.result())
        if interrupted:
            self.saved = True
            raise KeyboardInterrupt

    def _look(self) -> None:
        self.found[:] = segments(self.folder)
        self._watch(self)
        if self._commit is not None and self._commit.ended(0):
            self._take(self._commit.result())
            self._commit = None
        if self._commit is None and self._due(sum(segment.rows for segment in self._new())):
            self._begin_commit()

    def _due(self, rows: int) -> bool:
        """Whether to land *rows* while the tasks work: enough of them, or some and long enough ago.

        The pause grows with the wave, so that its end has little to land and a long one doesn't cut the table to bits.
        """
        now = time.monotonic()
        pause = max(_COMMIT_EVERY_S, 0.05 * (now - self._began))
        return rows >= self._commit_rows or (rows >= _COMMIT_ROWS and now - self._committed_at >= pause)

    def _new(self) -> list[Segment]:
        return [segment for segment in self.found if segment.path not in self._landed]

    def _begin_commit(self) -> None:
        """Land what is there, while the tasks go on; its segments stay until the wave's end."""
        self._lease.check()
        self._committed_at = time.monotonic()
        new, sure = self._new(), one_attempt_each(self.found)
        self._landed.update(segment.path for segment in new)
        self._commit = _Aside(lambda: self._landing.commit(self.folder, new, sure=sure))

    def land(self) -> dict[str, int]:
        """Land what isn't yet; returns by stage what replies cost that came twice."""
        if self._commit is not None:
            self._commit.wait()
            self._take(self._commit.result())
            self._commit = None
        self._lease.check()
        self.found[:] = segments(self.folder)
        new = self._new()
        self._take(self._landing.commit(self.folder, new, sure=one_attempt_each(self.found)))
        self._landed.update(segment.path for segment in new)
        return self._repeated

    def _take(self, repeated: dict[str, int]) -> None:
        for stage, cost in repeated.items():
            self._repeated[stage] = self._repeated.get(stage, 0) + cost


class _Aside:
    """A call in a thread of its own, its result or error kept for the one that asks."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        # Not Thread.join: a Ctrl-C inside it makes Python before 3.13 take the thread for ended.
        self._finished = threading.Event()
        threading.Thread(target=self._run, name="wave", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # Carried to the thread that asks, and raised there.
            self._error = error
        finally:
            self._finished.set()

    def ended(self, seconds: float) -> bool:
        """Wait so long; whether it has ended."""
        return self._finished.wait(seconds)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._finished.wait()

    def result(self) -> Any:  # noqa: ANN401 (the call's own)
        """What the call returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result
