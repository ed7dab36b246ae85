"""The bar on a terminal, and the lines everywhere else."""

from __future__ import annotations

import io
from itertools import count

from personalake.llm.journal import Segment
from personalake.llm.progress import Progress
from personalake.terminal import Terminal


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def _at(done: int, stages: tuple[str, ...] = ("infer",)) -> Progress:
    return Progress(stages, total=1_000, done=done, tokens=done * 1_000, microusd=done * 100)


def test_a_log_gets_a_line_every_ten_seconds_with_pace_cost_and_what_is_left() -> None:
    stream, clock = io.StringIO(), count()
    terminal = Terminal(stream, clock=lambda: float(next(clock)))
    for step in range(12):
        terminal.progress(_at(step * 10))
    lines = stream.getvalue().splitlines()
    assert 1 <= len(lines) <= 4
    assert lines[0].startswith("infer ")
    assert "of 1,000 · " in lines[0]
    assert all(word in lines[0] for word in ("/s", "tokens", "$", "left"))


def test_a_terminal_gets_a_bar_which_is_gone_before_a_line_is_said() -> None:
    screen = _Screen()
    with Terminal(screen) as terminal:
        terminal.progress(_at(250))
        terminal.progress(_at(500))
        terminal.say("infer 1,000 requests")
        terminal.progress(_at(10, ("synthesize.math.problem", "synthesize.math.solution")))
    shown = screen.getvalue()
    assert "500/1,000" in shown
    assert "synthesize.math.problem and 1 more" in shown
    assert shown.index("500/1,000") < shown.index("infer 1,000 requests\n")


def test_progress_is_read_off_the_names_of_segments() -> None:
    names = ["w/part=0/attempt=0/000000-20-900-12.parquet", "w/part=1/attempt=0/000000-5-100-3.parquet", "w/stop"]
    found = [segment for segment in map(Segment.of, names) if segment]
    now = Progress(("infer",), total=30).plus(found)
    assert (now.done, now.tokens, now.microusd, now.label) == (25, 1_000, 15, "infer")
