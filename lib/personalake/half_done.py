"""The mark that a run leaves while it works: which stages are half done if nobody takes it away again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from personalake.inputs import STAGES
from personalake.work import Folder

_FILE = "open-run"


class HalfDone:
    """The stages of a store that a run before this one may have left half done.

    The mark is written before a run's first row and deleted behind its last one. A run that doesn't come to a stage
    leaves the mark on it: whoever comes to it next has to tell what was landed there from what is new.
    """

    def __init__(self, work: Folder) -> None:
        self._work = work
        content = work.read(_FILE)
        self.found = content is not None
        """Whether a run was cut off; without it no append needs to look for what is there."""
        told = _read(content or b"")
        self.stages = frozenset(told.get("stages", STAGES) if self.found else ()) - {"report"}
        self.replay: dict[str, Any] | None = told.get("replay")
        """What the replay that was cut off has said of itself; null where it was no replay."""
        self.finished: set[str] = set()
        """The stages that this run has come to the end of."""
        self._begun: frozenset[str] = frozenset()

    def begin(self, stages: Iterable[str], replay: dict[str, Any] | None = None) -> None:
        """Mark *stages*, which this run begins; *replay* is what a replay says of itself."""
        self._begun, self.replay = self._begun.union(stages) - {"report"}, replay or self.replay
        self._write(self.stages | self._begun)

    def take_over(self, stages: Iterable[str], replay: dict[str, Any]) -> None:
        """Mark *stages*, which a replay that was cut off before it came to them has begun."""
        self.found, self.stages, self.replay = True, self.stages.union(stages), replay
        self._write(self.stages | self._begun)

    def end(self) -> None:
        """Take the mark off the finished stages, and off those that only this run has begun."""
        left = self.stages - self.finished
        if left:
            self._write(left)
        elif self._begun or self.found:
            self._work.delete_file(_FILE)

    def _write(self, stages: frozenset[str]) -> None:
        self._work.write(_FILE, json.dumps({"stages": sorted(stages), "replay": self.replay}).encode())


def _read(content: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(content))
    except ValueError:
        return {}  # Empty, as older versions wrote it, or cut: any stage may be half done.
