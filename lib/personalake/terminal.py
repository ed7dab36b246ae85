"""What a person sees while a command works: lines, and a bar for what is being paid for right now.

On a terminal the bar stays at the bottom and is redrawn; anywhere else (a log, a scheduler) it is a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from personalake.llm.progress import Progress

_LINE_EVERY_S = 10.0
_RATE_OVER_S = 15.0
_MILLION, _TEN_THOUSAND = 1_000_000, 10_000


class Terminal:
    """Standard error, for people; use as a context manager, so that the bar is gone before anything else is said."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._bar = _bar(self._stream) if self._stream.isatty() else None
        self._pace: _Pace | None = None
        self._line_at = 0.0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._pace = None
        if self._bar is not None:
            self._bar.stop()
            for task in self._bar.task_ids:
                self._bar.remove_task(task)

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        self.close()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def progress(self, now: Progress) -> None:
        """Show how far a paid stage is."""
        if self._pace is None or self._pace.stages != now.stages:
            self.close()
            self._pace = _Pace(now.stages)
            self._line_at = self._clock() + _LINE_EVERY_S
        figures = self._pace.figures(now, self._clock())
        if self._bar is not None:
            self._draw(now, figures)
        elif self._clock() >= self._line_at:
            self._line_at = self._clock() + _LINE_EVERY_S
            self._stream.write(f"{now.label:<30} {now.done:,} of {now.total:,} · {figures}\n")
            self._stream.flush()

    def _draw(self, now: Progress, figures: str) -> None:
        if self._bar is None:
            return
        if not self._bar.task_ids:
            self._bar.add_task(now.label, total=now.total, figures="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=now.done, figures=figures)


class _Pace:
    """How fast a stage goes: over the last seconds, so that it follows a limit that sets in."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self.stages = stages
        self._seen: deque[tuple[float, int]] = deque()

    def figures(self, now: Progress, at: float) -> str:
        """Requests a second, tokens, cost and the time left, as words."""
        self._seen.append((at, now.done))
        while len(self._seen) > 2 and at - self._seen[0][0] > _RATE_OVER_S:  # noqa: PLR2004 (two make a rate)
            self._seen.popleft()
        (then, before), seconds = self._seen[0], at - self._seen[0][0]
        rate = (now.done - before) / seconds if at > then else 0.0
        left = _clock_time((now.total - now.done) / rate) if rate else "?"
        return f"{rate:,.1f}/s · {_short(now.tokens)} tokens · ${now.microusd / 1e6:.4f} · {left} left"


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        """The requests answered, of all."""
        return Text(f"{int(task.completed):,}/{int(task.total or 0):,}")


def _bar(stream: TextIO) -> Bar:
    console = Console(file=stream, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), _Count())
    return Bar(*columns, TextColumn("{task.fields[figures]}", markup=False), console=console, transient=True)


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(number: int) -> str:
    if number >= _MILLION:
        return f"{number / 1e6:,.1f}M"
    return f"{number / 1e3:,.0f}k" if number >= _TEN_THOUSAND else f"{number:,}"
