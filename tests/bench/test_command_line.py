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
    seconds = []
    for _ in range(_TIMES):
        began = time.monotonic()
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=False)
        seconds.append(time.monotonic() - began)
        assert done.returncode == code
    return statistics.median(seconds)


def test_help_mistakes_and_trials(tmp_path: Path, endpoint: str) -> None:
    program = ("-m", "personalake.cli")
    bare = ("Python alone", _median("-c", "pass"))
    Result("help", _median(*program, "--help"), "s", *bare, "under 0.5 s", "make bench").keep()
    mistake = _median(*program, "run", "--set", "llm.in_fligth=1", code=2)
    Result("bad_setting", mistake, "s", *bare, "under 0.5 s", "make bench").keep()
    trial = [*program, "try", "math", "--personas", "tests/data/personas.jsonl", "-n", "5"]
    paid = _median(*trial, "--set", f"llm.base_url={endpoint}", f"store.path={tmp_path / 'real'}")
    Result("try", paid, "s", *bare, "under 2 s plus the calls; all but the first ask nothing", "make bench").keep()
    fresh = statistics.median(
        _median(*trial, "--set", f"store.path={tmp_path / 'own'}", f"seed={seed}") for seed in range(2)
    )
    Result("try_embedded", fresh, "s", *bare, "the same, the embedded endpoint's start included", "make bench").keep()
