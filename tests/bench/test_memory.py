"""A million requests of 2 KB through one executor of 1 GB: what each process holds at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from personalake import jars
from personalake.llm.offline import OfflineEndpoint, plan_of
from tests.bench.results import Result
from tests.cluster import HOME
from tests.conftest import ROOT

pytestmark = pytest.mark.bench

REQUESTS = int(os.environ.get("BENCH_MEMORY_REQUESTS", "1000000"))


@contextmanager
def _watched(root: int) -> Iterator[dict[str, float]]:
    """The most MiB that each kind of process below *root* held, looked at twice a second."""
    most: dict[str, float] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for kind, mib in _held(root):
                most[kind] = max(most.get(kind, 0.0), mib)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _held(root: int) -> Iterator[tuple[str, float]]:
    command = ["ps", "-ax", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "rss=", "-o", "args="]
    rows = [line.split(None, 3) for line in subprocess.check_output(command, text=True).splitlines()]
    found = {int(row[0]): (int(row[1]), int(row[2]) / 1024, row[3]) for row in rows if len(row) == 4}
    for pid, (_, mib, args) in found.items():
        above = pid
        while above in found and above != root:
            above = found[above][0]
        kind = next((name for word, name in _KINDS if word in args), None)
        if above == root and kind:
            yield kind, mib


_KINDS = (
    ("CoarseGrainedExecutorBackend", "executor JVM"), ("pyspark.daemon", "executor's Python"),
    ("SparkSubmit", "driver JVM"), ("engine_load", "driver's Python"),
)  # fmt: skip


def test_a_million_requests_through_one_executor_of_a_gigabyte(tmp_path: Path) -> None:
    plan = plan_of({"latency": 200, "reply": {"kind": "canned", "chars": 1_000}}, "bench")
    java = jars.java_home()
    environ = {
        **os.environ, "PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}", "SPARK_HOME": str(HOME),
        **({"JAVA_HOME": java} if java else {}),
    }  # fmt: skip
    with OfflineEndpoint(flaws=0.0, faults=plan) as endpoint:
        told = {
            "base_url": endpoint.base_url, "requests": REQUESTS, "warm": 200, "in_flight": 512, "prompt_chars": 2_000,
            "store": str(tmp_path / "lake"),
            "spark": {"spark.master": "local-cluster[1,3,1024]", "spark.executor.memory": "1g",
                      "spark.driver.memory": "1g", "spark.ui.enabled": "false"},
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.bench.engine_load", json.dumps(told)]
        job = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with _watched(job.pid) as most:
            out, errors = job.communicate()
    assert job.returncode == 0, errors[-3000:]
    found = json.loads(out.strip().splitlines()[-1])
    assert found["answered"] == REQUESTS
    Result(
        "engine_memory", most["executor JVM"], "MiB", "the executor's heap", 1024.0,
        "a million requests of 2 KB in an executor of 1 GB; the driver holds no rows", "make bench ARGS='-k memory'",
        {**most, "seconds": found["seconds"], "requests": float(REQUESTS), "per_s": REQUESTS / found["seconds"]},
    ).keep()  # fmt: skip
