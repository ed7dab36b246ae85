"""The first ten minutes: what a first and a second run of the bundled corpus take, and where the time goes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench.results import Result
from tests.conftest import ROOT

pytestmark = pytest.mark.bench

_BARE = """
import sys
from personalake.session import HURRIED, open_session
from pathlib import Path
spark = open_session(HURRIED, log=Path(sys.argv[1]) / "spark.log")
spark.range(1).write.format("delta").save(sys.argv[1] + "/one")
spark.stop()
"""


def _timed(*command: str) -> tuple[float, str]:
    began = time.monotonic()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    return time.monotonic() - began, done.stdout


def _run(store: Path) -> tuple[float, dict[str, Any]]:
    config = ("--config", "conf/local.yaml", "--set", f"store.path={store}", "--json")
    seconds, told = _timed("-m", "personalake.cli", "run", *config)
    return seconds, json.loads(told)


def test_a_first_run_on_the_bundled_pages(tmp_path: Path) -> None:
    bare, _ = _timed("-c", _BARE, str(tmp_path))
    first, told = _run(tmp_path / "lake")
    second, nothing = _run(tmp_path / "lake")
    assert nothing["stages"] == []
    with_spark = ("a Spark session that starts, writes one row to Delta and stops", bare)
    seconds = {stage["stage"]: stage["seconds"] for stage in told["stages"]}
    requests = float(sum(stage["sent"] for stage in told["stages"]))
    command = "make bench"
    Result(
        "first_run", first, "s", *with_spark, "under 120 s on two cores", command, {**seconds, "requests": requests}
    ).keep()
    Result("second_run", second, "s", *with_spark, "the session and little more", command).keep()
