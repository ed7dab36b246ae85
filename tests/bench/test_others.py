"""The load of `engine_cpu` through other tools, each installed into an environment of its own where it installs.

One process each, as their documents start them; the engine's own figures for this load: `engine_cpu`, `engine_rate`.
"""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path

import pytest

from tests.bench.others import TOOLS
from tests.bench.results import Result
from tests.bench.test_engine import bare_clients, canned_endpoint

pytestmark = pytest.mark.bench

_COMMAND = "make bench ARGS='-k others'"
_COUNT, _IN_FLIGHT, _LATENCY_MS, _MOST_S = 4_096, 512, 500, 180
_PACKAGES = {
    "curator": "bespokelabs-curator",
    "distilabel": "distilabel[openai] requests beautifulsoup4",
    "daft": "daft[openai]",
}


def _installed(tool: str, folder: Path) -> Path:
    """The Python of a new environment with *tool*; skips the test where it can't be had."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = _PACKAGES.get(tool, tool).split()
    command = [str(python), "-m", "pip", "install", "-q", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{packages[0]} does not install here: {done.stderr.strip().splitlines()[-1]}")
    return python


@pytest.mark.parametrize("tool", TOOLS)
def test_other_tools_under_the_load_of_the_engine(tool: str, tmp_path: Path) -> None:
    python = _installed(tool, tmp_path / "venv")
    with canned_endpoint(_LATENCY_MS) as endpoint:
        (bare,) = bare_clients(endpoint, _COUNT, _IN_FLIGHT, processes=1)
    with canned_endpoint(_LATENCY_MS) as endpoint:
        command = [str(python), "others.py", tool, endpoint.base_url, str(_COUNT), str(_IN_FLIGHT)]
        try:
            done = subprocess.run(
                command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=_MOST_S
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{tool} had not ended after {_MOST_S} s")
        version = subprocess.run(
            [python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
        )
    if done.returncode:
        pytest.skip(f"{tool} does not run here: {(done.stderr.strip().splitlines() or ['no word'])[-1][:300]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    package = _PACKAGES.get(tool, tool).partition("[")[0]
    number = next(each["version"] for each in json.loads(version.stdout) if each["name"] == package)
    Result(
        f"other_{tool}", told["cpu_ms"], f"ms a request, {package} {number}", "one bare process", bare["cpu_ms"],
        "no goal: to compare with", _COMMAND,
        {"answered": told["answered"], "of the ideal": _COUNT * _LATENCY_MS / 1000 / _IN_FLIGHT / told["seconds"],
         "bare, of the ideal": _COUNT * _LATENCY_MS / 1000 / _IN_FLIGHT / bare["seconds"]},
    ).keep()  # fmt: skip
