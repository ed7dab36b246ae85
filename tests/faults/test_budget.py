"""A budget under the heaviest load and through crashes: what the endpoint bills never passes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

from personalake import jars
from personalake.llm.offline import OfflineEndpoint, plan_of
from tests.cluster import wait_until
from tests.conftest import ROOT

pytestmark = pytest.mark.faults

TASKS, IN_FLIGHT, REQUESTS, BUDGET_USD = 16, 512, 40_000, 6.0


def _job(endpoint: OfflineEndpoint, folder: Path, in_flight: int) -> subprocess.Popen[str]:
    told = {
        "base_url": endpoint.base_url, "store": str(folder / "lake"), "log": str(folder / "log"),
        "master": f"local[{TASKS + 1}]", "requests": REQUESTS, "in_flight": in_flight, "tasks": TASKS,
        "budget_usd": BUDGET_USD, "conf": {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4"},
    }  # fmt: skip
    java = jars.java_home()
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}", **({"JAVA_HOME": java} if java else {})}
    command = [sys.executable, "-m", "tests.faults.job", json.dumps(told)]
    with (folder / "errors").open("ab") as errors:
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)


@pytest.mark.parametrize("in_flight", [TASKS * IN_FLIGHT, TASKS * 8])
def test_what_is_billed_never_passes_the_budget(in_flight: int, tmp_path: Path) -> None:
    latency = {"kind": "lognormal", "median_ms": 400, "sigma": 0.7}
    plan = plan_of({"latency": latency, "reply": {"kind": "canned", "chars": 400}, "rates": {"cut": 0.02}}, "faults")
    draw = random.Random(in_flight)
    with OfflineEndpoint(flaws=0.0, faults=plan) as endpoint:

        def billed() -> int:
            # A token costs a millionth of a dollar here, whatever the endpoint's own price.
            return int(endpoint.ledger(ids=False)["tokens"]["total_tokens"])

        with _job(endpoint, tmp_path, in_flight) as job:
            mark = draw.randint(100_000, 500_000)
            wait_until(lambda: billed() > mark or job.poll() is not None, "a bill", 300)
            job.send_signal(signal.SIGKILL)
        at_kill = billed()
        with _job(endpoint, tmp_path, in_flight) as again:
            told, _ = again.communicate(timeout=500)
            assert again.returncode == 0, (tmp_path / "errors").read_text()[-3000:]
        whole = json.loads(told.strip().splitlines()[-1])
        assert whole["stopped"].startswith("budget: ")
        assert at_kill < billed() <= BUDGET_USD * 1e6
    costs = DeltaTable(str(tmp_path / "lake" / "completions")).to_pyarrow_dataset().to_table(["cost_microusd"])
    paid = sum(costs.column(0).to_pylist())
    print(f"\n{in_flight} in flight: {paid / 1e6:.2f} of {BUDGET_USD} US dollars are known to be spent")  # noqa: T201
