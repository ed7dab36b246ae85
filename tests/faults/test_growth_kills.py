"""A run with hops whose process is killed again and again: the same rows, and hardly a request answered twice."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from personalake.llm.offline import OfflineSettings, plan_of, serving
from tests.cluster import wait_until
from tests.lake import Lake, ledger, same_rows
from tests.test_cli import _command, _environment

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("KILLS", "20"))
_IN_FLIGHT = 8
_GROWN = ("completions", "personas", "hub", "duplicates", "hub_keys", "rejects", "pending", "examples", "solutions")


def _run(folder: Path, base_url: str) -> subprocess.Popen[str]:
    """A run whose lines go into the file `said` of *folder*."""
    settings = [f"llm.base_url={base_url}", f"llm.in_flight={_IN_FLIGHT}", "llm.flush_s=0.2"]
    command = _command(folder, *settings, "expand={hops: 3, fan_out: 1}", "corpus.licence=CC0-1.0")
    folder.mkdir(exist_ok=True)
    with (folder / "said").open("w") as said:
        return subprocess.Popen(command, env=_environment(), stderr=said, text=True, start_new_session=True)


def _end(folder: Path, base_url: str) -> None:
    """Run to the end."""
    assert _run(folder, base_url).wait(300) == 0, (folder / "said").read_text()


def _due(process: subprocess.Popen[str], said: Path, lines: int, base_url: str, answers: int) -> bool:
    """Whether it has said so much, or been answered so often, or ended."""
    told = len(said.read_text().splitlines())
    return process.poll() is not None or told >= lines or ledger(base_url)["requests"] >= answers


def test_a_run_with_hops_that_is_killed_again_and_again_ends_with_the_same_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    draw = random.Random(1)
    slow = OfflineSettings(faults=plan_of({"latency": 150}, "test"))
    with serving(slow) as base_url, serving(slow) as other_url:
        _end(tmp_path / "whole", base_url)
        killed = 0
        for number in range(KILLS):
            before = ledger(other_url)
            process = _run(tmp_path / "cut", other_url)
            # Amid a stage's requests, or when something was just said: between stages.
            answers, lines = before["requests"] + draw.randint(1, 25), 100 if number % 2 else draw.randint(1, 9)

            wait_until(
                functools.partial(_due, process, tmp_path / "cut" / "said", lines, other_url, answers),
                "answers or lines",
                180,
            )
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
            killed += 1
        _end(tmp_path / "cut", other_url)
        told = ledger(other_url)
        assert told["answered_again"] <= killed * 2 * _IN_FLIGHT
        assert told["distinct_requests"] == ledger(base_url)["distinct_requests"]
    same_rows(
        Lake(spark, tmp_path / "whole" / "lake", base_url), Lake(spark, tmp_path / "cut" / "lake", base_url), _GROWN
    )
    assert killed >= min(KILLS, 5)
    print(f"\n{killed} kills, {told['answered_again']} of {told['distinct_requests']} requests answered twice")  # noqa: T201 (for whoever ran it)
