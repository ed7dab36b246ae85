"""The kill campaign on a real standalone cluster: executors, workers, drivers, and between journal and commit.

Audited from the outside, at the endpoint: answered twice is at most what was in flight at the kill and what one flush
interval holds; no row is lost, none is there twice. `KILLS` sets how many of each kind.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from personalake.llm.offline import OfflineEndpoint, plan_of
from personalake.work import Folder
from tests.cluster import Cluster, cluster, delta_jars, wait_until
from tests.conftest import ROOT
from tests.s3 import s3_server, s3_session_conf
from tests.test_cluster import _executor_of

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("KILLS", "20"))
REQUESTS, IN_FLIGHT, TASKS, LATENCY_MS, FLUSH_MS = 400, 16, 2, 300, 200
_BOUND = IN_FLIGHT // TASKS + IN_FLIGHT // TASKS
"""A task's requests in flight, and as many again: a flush interval is shorter than any request takes."""
_QUIET = {
    "spark.ui.enabled": "false", "spark.executor.memory": "512m", "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1", "spark.task.maxFailures": "8", "spark.worker.timeout": "10",
}  # fmt: skip


@dataclass
class Campaign:
    """The cluster, the endpoint, a store, and what was found."""

    workers: Cluster
    endpoint: OfflineEndpoint
    folder: Path
    seed: int = 0
    work: str | None = None
    conf: dict[str, str] = field(default_factory=dict)
    found: list[int] = field(default_factory=list)

    @contextmanager
    def job(self, **told: Any) -> Iterator[subprocess.Popen[str]]:
        """The job while the context lasts; its lines come through stdout."""
        conf = {**_QUIET, "spark.jars": ",".join(delta_jars()), **self.conf}
        whole = {
            "base_url": self.endpoint.base_url, "store": str(self.folder / "lake"), "log": str(self.folder / "log"),
            "master": self.workers.master_url, "requests": REQUESTS, "in_flight": IN_FLIGHT, "tasks": TASKS,
            "conf": conf, "work": self.work, **told,
        }  # fmt: skip
        environ = {
            **os.environ, "PYSPARK_PYTHON": str(self.workers.python), "PYSPARK_DRIVER_PYTHON": sys.executable,
            "PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.faults.job", json.dumps(whole)]
        with (self.folder / "errors").open("ab") as errors:
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)
        with process:
            try:
                yield process
            finally:
                process.kill()

    def errors(self) -> str:
        """The end of what the jobs have said of errors."""
        return (self.folder / "errors").read_text()[-3000:]

    def answered(self) -> int:
        """Replies that the endpoint has given."""
        return int(self.endpoint.ledger(ids=False)["statuses"].get("200", 0))

    def again(self) -> int:
        """Replies that it has given for a second time."""
        return int(self.endpoint.ledger(ids=False)["answered_again"])

    def reached(self, number: int, process: subprocess.Popen[str]) -> Callable[[], bool]:
        """Whether it has given so many, or the job has ended."""
        return lambda: self.answered() >= number or process.poll() is not None

    def audit(self, rounds: int) -> None:
        """No row lost, no row twice, and the endpoint's own sums."""
        told = self.endpoint.ledger()
        keys = DeltaTable(str(self.folder / "lake" / "completions")).to_pyarrow_dataset().to_table(["request_key"])
        names = keys.column(0).to_pylist()
        assert len(names) == len(set(names)) == rounds * REQUESTS == told["distinct_requests"]
        assert not list((self.folder / "lake").glob("_work/journal/**/*.parquet"))


@contextmanager
def _campaign(folder: Path, seed: int) -> Iterator[Campaign]:
    latency = {"kind": "uniform", "low_ms": LATENCY_MS * 0.7, "high_ms": LATENCY_MS * 1.3}
    faults = plan_of({"latency": latency, "reply": {"kind": "canned", "chars": 400}}, "faults")
    (folder / "cluster").mkdir()
    with cluster(folder / "cluster") as workers, OfflineEndpoint(flaws=0.0, faults=faults) as endpoint:
        yield Campaign(workers, endpoint, folder, seed)


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


@pytest.mark.parametrize("what", ["executor", "worker"])
def test_executors_and_workers_killed_at_random_moments(what: str, tmp_path: Path) -> None:
    """One driver, a round of requests for each kill; the round has to end by itself."""
    draw = random.Random(f"{what} 1")
    with _campaign(tmp_path, 1) as campaign:
        workers = campaign.workers
        with campaign.job(rounds=KILLS) as job:
            lines = _lines(job)
            assert next(lines).startswith("ready")
            for number in range(KILLS):
                before, start = campaign.again(), campaign.answered()
                wait_until(campaign.reached(start + draw.randint(5, REQUESTS - 40), job), "answers", 120)
                worker = draw.choice([w for w in workers.workers if w.process.poll() is None])
                if what == "executor":
                    executor = wait_until(functools.partial(_executor_of, worker.process.pid), "an executor")
                    os.kill(executor, signal.SIGKILL)
                else:
                    # Its executor goes on as an orphan for a moment: both are gone in a machine that is lost.
                    executor = _executor_of(worker.process.pid)
                    worker.process.kill()
                    if executor:
                        os.kill(executor, signal.SIGKILL)
                    workers.workers.remove(worker)
                    workers.add_worker()
                told = json.loads(next(lines, "null") or "null")
                assert told, campaign.errors()
                assert (told["round"], told["stopped"]) == (number, None)
                campaign.found.append(campaign.again() - before)
                assert campaign.found[-1] <= _BOUND, campaign.found
            assert job.wait(120) == 0
        campaign.audit(KILLS)
    _report(what, campaign)


@pytest.mark.parametrize("what", ["driver", "before", "after"])
def test_drivers_killed_at_random_moments_and_around_a_commit(what: str, tmp_path: Path) -> None:
    """A driver for each kill, and another that does the round to its end."""
    draw = random.Random(f"{what} 1")
    with _campaign(tmp_path, 1) as campaign:
        for number in range(KILLS):
            before, start = campaign.again(), campaign.answered()
            with campaign.job(rounds=number + 1, die=None if what == "driver" else what) as job:
                if what == "driver":
                    wait_until(campaign.reached(start + draw.randint(1, REQUESTS - 5), job), "answers", 600)
                    job.kill()
                assert job.wait(600) == -signal.SIGKILL, campaign.errors()
            with campaign.job(rounds=number + 1) as again:
                assert again.wait(600) == 0, campaign.errors()
            campaign.found.append(campaign.again() - before)
            # With the driver both tasks end.
            assert campaign.found[-1] <= (TASKS * _BOUND if what == "driver" else 0), campaign.found
        campaign.audit(KILLS)
    _report(what, campaign)


def test_the_same_with_journals_and_lease_on_an_object_store(tmp_path: Path) -> None:
    """An executor, then the driver, a fifth as often; Delta's tables stay local, journals and lease are on S3."""
    draw, kills = random.Random("s3 1"), max(1, KILLS // 5)
    with s3_server(tmp_path) as server, _campaign(tmp_path, 1) as campaign:
        campaign.work, campaign.conf = f"{server.address}/faults", s3_session_conf()
        for number in range(kills):
            before, start = campaign.again(), campaign.answered()
            with campaign.job(rounds=number + 1) as job:
                wait_until(campaign.reached(start + draw.randint(5, REQUESTS // 2), job), "answers", 240)
                worker = draw.choice(campaign.workers.workers)
                executor = wait_until(functools.partial(_executor_of, worker.process.pid), "an executor")
                os.kill(executor, signal.SIGKILL)
                more = draw.randint(REQUESTS // 2 + 50, REQUESTS - 20)
                wait_until(campaign.reached(start + more, job), "answers", 240)
                job.kill()
            with campaign.job(rounds=number + 1) as again:
                assert again.wait(300) == 0, campaign.errors()
            campaign.found.append(campaign.again() - before)
            # A write takes longer there: up to two flush intervals may be lost.
            assert campaign.found[-1] <= (1 + TASKS) * 2 * _BOUND, campaign.found
        campaign.audit(kills)
        assert not [f for f in Folder(campaign.work).files() if str(f.path).endswith(".parquet")]
    _report("s3", campaign)


def _report(what: str, campaign: Campaign) -> None:
    found = campaign.found
    print(f"\n{what}: {len(found)} kills, answered twice in all {sum(found)}, at most {max(found)}: {found}")  # noqa: T201
