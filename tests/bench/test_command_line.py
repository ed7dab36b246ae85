"""What a person waits for at the prompt: `--help`, a misspelt setting, and a trial of a task."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.results import Result
from tests.conftest import ROOT

pytestmark = pytest.mark.bench

_TIMES = 5


def _median(*command: str, code: int = 0) -> float:
    """Median seconds of *command*; ``{n}`` in it is the number of the try, so that no two ask the same."""
    seconds = []
    for number in range(_TIMES):
        numbered = [part.replace("{n}", str(number)) for part in command]
        began = time.monotonic()
        done = subprocess.run([sys.executable, *numbered], cwd=ROOT, capture_output=True, check=False)
        seconds.append(time.monotonic() - began)
        assert done.returncode == code
    return statistics.median(seconds)


def test_help_mistakes_and_trials(tmp_path: Path, endpoint: str) -> None:
    program = ("-m", "personalake.cli")
    bare = ("Python alone", _median("-c", "pass"))
    Result("help", _median(*program, "--help"), "s", *bare, "under 0.5 s", "make bench").keep()
    mistake = _median(*program, "run", "--set", "llm.in_fligth=1", code=2)
    Result("bad_setting", mistake, "s", *bare, "under 0.5 s", "make bench").keep()
    trial = [*program, "try", "math", "--personas", "tests/data/personas.jsonl", "-n", "5", "--set", "seed={n}"]
    goal = "under 2 s plus two rounds of calls"
    paid = _median(*trial, f"llm.base_url={endpoint}", f"store.path={tmp_path / 'one'}")
    Result("try", paid, "s", *bare, goal, "make bench").keep()
    embedded = _median(*trial, f"store.path={tmp_path / 'other'}")
    Result("try_embedded", embedded, "s", *bare, f"{goal}, the embedded endpoint's start included", "make bench").keep()
