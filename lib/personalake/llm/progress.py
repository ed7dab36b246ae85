"""How far a paid stage is, as the names of its journal's segments tell: nothing is read, and no task has to report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from personalake.llm.journal import Segment


@dataclass(frozen=True)
class Progress:
    """Requests answered of all that these *stages* ask now, their tokens, and their cost."""

    stages: tuple[str, ...]
    total: int
    done: int = 0
    tokens: int = 0
    microusd: int = 0

    @property
    def label(self) -> str:
        """The stages in few words."""
        first, *others = self.stages
        return f"{first} and {len(others)} more" if others else first

    def plus(self, segments: Iterable[Segment]) -> Progress:
        """The progress with these *segments* in the journal."""
        done, tokens, microusd = self.done, self.tokens, self.microusd
        for segment in segments:
            done, tokens, microusd = done + segment.rows, tokens + segment.tokens, microusd + segment.microusd
        return Progress(self.stages, self.total, min(done, self.total), tokens, microusd)
