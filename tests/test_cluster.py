"""The same job on a standalone cluster, and through Spark Connect: the same rows, no trace of the key, and kills."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from personalake.llm.offline import OfflineSettings, plan_of, serving
from tests.cluster import WEB_UI, Cluster, cluster, wait_until, wheel
from tests.conftest import ROOT
from tests.lake import WHOLE, Lake, ledger, same_rows

CANARY = "sk-canary-7d1f0c9e5b"
REFRESH = str(ROOT / "jobs" / "refresh.py")


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and two workers; only the workers know the endpoint's key."""
    with cluster(tmp_path_factory.mktemp("cluster"), {"CANARY_KEY": CANARY}) as running:
        yield running


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(wheel(tmp_path_factory.mktemp("dist")))


def _options(*overrides: str) -> list[str]:
    return ["--config", str(ROOT / "conf" / "local.yaml"), "--set", *WHOLE, *overrides]


class _Watch:
    """What a stranger on these machines can read while a job runs: web pages and the processes' arguments."""

    def __init__(self, pages: list[str]) -> None:
        self.pages, self.read = pages, {page: "" for page in pages}
        self.arguments = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            self.arguments += "".join(args for _, _, args in _processes())
            for page in self.pages:
                try:
                    with urllib.request.urlopen(page, timeout=10) as response:
                        self.read[page] += response.read().decode()
                except (urllib.error.URLError, OSError):
                    continue  # The driver's pages are there only while it runs.


def _files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            yield path, gzip.decompress(content) if path.suffix == ".gz" else content


def test_a_job_submitted_to_a_cluster_brings_the_same_rows_and_leaves_no_trace_of_the_key(
    lake: Lake, workers: Cluster, package: str, tmp_path: Path
) -> None:
    (tmp_path / "events").mkdir()
    conf = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": str(tmp_path / "events"),
        "spark.eventLog.compress": "false",
        "spark.ui.enabled": "true",
        "spark.ui.port": "4941",
    }
    ui = "http://127.0.0.1:4941"
    pages = [f"{ui}/{name}/" for name in ("environment", "executors", "jobs", "SQL")] + [f"{workers.web_ui}/"]
    pages += [worker.said(WEB_UI) for worker in workers.workers]
    with serving(OfflineSettings(api_keys=(CANARY,))) as base_url, _Watch(pages) as watch:
        options = _options(f"store.path={tmp_path / 'lake'}", f"llm.base_url={base_url}", "llm.api_key.env=CANARY_KEY")
        command = workers.submit("--py-files", package, REFRESH, *options, conf=conf)
        done = subprocess.run(
            command, env=workers.submitter(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        received = ledger(base_url)
    assert received["max_per_request"] == 1
    same_rows(lake, Lake(lake.spark, tmp_path / "lake", base_url, WHOLE))
    assert all(watch.read[page] for page in pages), "a page was never read"
    assert CANARY not in "".join(watch.read.values()) + watch.arguments + done.stdout + done.stderr
    files = {path: content for folder in (tmp_path, workers.folder) for path, content in _files(folder)}
    assert any("events" in path.parts for path in files)
    assert [path for path, content in files.items() if CANARY.encode() in content] == []
    stored = lake.spark.read.format("delta").load(str(tmp_path / "lake" / "completions")).collect()
    assert CANARY not in str(stored)


def test_the_line_runs_through_spark_connect_over_named_tables(
    lake: Lake, spark: SparkSession, workers: Cluster, tmp_path: Path
) -> None:
    warehouse = {"spark.sql.warehouse.dir": str(tmp_path / "warehouse")}
    with workers.connect_server(warehouse) as server, serving(OfflineSettings()) as base_url:
        named = f"store={{catalog: spark_catalog, schema: hub_of_tests, work: '{tmp_path / 'work'}'}}"
        options = _options(named, f"llm.base_url={base_url}", f"spark={{spark.remote: '{server}'}}")
        program = [sys.executable, "-m", "personalake.cli", "run"]
        # Neither Java nor Spark's home: this process is a client and nothing more.
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("JAVA", "SPARK", "PYSPARK"))}
        environ = {**bare, "PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(ROOT / "lib")}

        def run(*more: str) -> subprocess.CompletedProcess[str]:
            command = [*program, *options, *more]
            return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)

        # A key that the endpoint doesn't know: what it says of it comes back from a worker as this job's error.
        with serving(OfflineSettings(api_keys=("another",))) as strict:
            refused = run(f"llm.base_url={strict}", "llm.api_key.env=CANARY_KEY")
            assert ledger(strict)["cost_usd"] == 0
        assert refused.returncode == 2
        assert "wrong_key" in refused.stderr
        told = [refused.stdout, refused.stderr, *(text.decode("latin-1") for _, text in _files(tmp_path))]
        told += [text.decode("latin-1") for _, text in _files(workers.folder)]
        assert not any(CANARY in text for text in told)
        done = run()
        assert done.returncode == 0, done.stderr[-3000:]
        assert ledger(base_url)["max_per_request"] == 1
    same_rows(lake, Lake(spark, tmp_path / "warehouse" / "hub_of_tests.db", base_url, WHOLE))
    assert (tmp_path / "work" / "dedup" / "minhash-128-0" / "model").exists()


def test_only_the_session_module_knows_of_the_jvm() -> None:
    for file in sorted((ROOT / "lib").rglob("*.py")):
        text = file.read_text()
        if file.name != "session.py":
            for word in ("sparkContext", "_jvm", "_jsc", "py4j", "DeltaTable.for", "delta.tables", ".rdd"):
                assert word not in text, f"{word} in {file}"


def _processes() -> list[tuple[int, int, str]]:
    command = ["ps", "-ax", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [(int(row[0]), int(row[1]), row[2]) for row in rows if len(row) == 3]


def _executor_of(worker: int) -> int | None:
    return next((pid for pid, parent, args in _processes() if parent == worker and "ExecutorBackend" in args), None)


@pytest.mark.faults
def test_kill_9_of_an_executor_a_worker_and_the_driver_loses_nothing_and_pays_for_little_twice(
    lake: Lake, spark: SparkSession, workers: Cluster, package: str, tmp_path: Path
) -> None:
    """In flight are 2 requests a task; in a flush interval, which is shorter than any request takes, 2 more may end."""
    in_flight = 4
    with serving(OfflineSettings(faults=plan_of({"latency": 400}, "test"))) as base_url:
        slow = [f"llm.base_url={base_url}", f"llm.in_flight={in_flight}", "llm.tasks=2", "llm.flush_s=0.2"]
        options = _options(f"store.path={tmp_path / 'lake'}", *slow, "synthesize.tasks=[]")
        command = workers.submit("--py-files", package, REFRESH, *options)
        log = tmp_path / "first.log"
        with log.open("wb") as out:
            first = subprocess.Popen(command, env=workers.submitter(), cwd=tmp_path, stdout=out, stderr=out)

        def answered(number: int) -> Callable[[], bool]:
            def reached() -> bool:
                assert first.poll() is None, log.read_text()[-3000:]
                return int(ledger(base_url)["statuses"].get("200", 0)) >= number

            return reached

        try:
            wait_until(answered(8), "8 answers")
            executor = wait_until(lambda: _executor_of(workers.workers[0].process.pid), "an executor")
            os.kill(executor, signal.SIGKILL)
            wait_until(answered(24), "24 answers")
            workers.workers[1].process.kill()
            wait_until(answered(40), "40 answers")
        finally:
            first.kill()
            first.wait()
        workers.add_worker()
        workers.wait_for_workers(2)
        again = subprocess.run(
            command, env=workers.submitter(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert again.returncode == 0, again.stderr[-3000:]
        received = ledger(base_url)
    # An executor and a worker have one of the two tasks each; with the driver both end.
    assert received["answered_again"] <= (0.5 + 0.5 + 1) * (in_flight + in_flight)
    killed = Lake(spark, tmp_path / "lake", base_url, WHOLE)
    same_rows(lake, killed, ("documents", "sightings", "personas", "hub", "duplicates"))
    for table in ("completions", "rejects"):
        undisturbed = [row for row in lake.rows(table) if row["stage"] in ("ingest", "infer")]
        assert killed.rows(table) == undisturbed, table
