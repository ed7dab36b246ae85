"""A standalone Spark cluster of several processes on loopback, from pip's pyspark, and what is submitted to it.

Its workers run a Python environment of their own, which has the libraries and not `personalake`: the package can only
get there with what was submitted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyspark

from personalake import jars
from personalake.session import jars_folder
from tests.conftest import ROOT

HOME = Path(pyspark.__file__).parent
_START_S = 120.0
_MASTER = re.compile(r"Starting Spark master at (spark://\S+)")
_CONNECT = re.compile(r"Spark Connect server started at: \S+:(\d+)")
WEB_UI = re.compile(r"Bound (?:Master|Worker)WebUI to \S+, and started at (http://\S+)")
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_FRUGAL = {
    "spark.ui.enabled": "false",
    "spark.executor.memory": "512m",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def wait_until(holds: Callable[[], Any], what: str, seconds: float = _START_S) -> Any:
    """Wait until *holds* returns something true, and return it; fails with *what* did not come."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        threading.Event().wait(0.05)
    return found


@dataclass
class Daemon:
    """A master or worker: a process whose output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self, pattern: re.Pattern[str]) -> str:
        """The first group of *pattern* in its log, once it is there."""

        def look() -> str | None:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            match = pattern.search(self.log.read_text())
            return match[1] if match else None

        return str(wait_until(look, f"{pattern.pattern} in {self.log}"))


@dataclass
class Cluster:
    """A master and its workers, one core each; everything below *folder*."""

    folder: Path
    environ: Mapping[str, str]
    """What the workers have in their environment beyond this process's."""
    master_url: str = ""
    web_ui: str = ""
    workers: list[Daemon] = field(default_factory=list)
    _daemons: list[Daemon] = field(default_factory=list)

    @property
    def python(self) -> Path:
        """The cluster's own Python."""
        return self.folder / "python" / "bin" / "python"

    def start(self, workers: int = 2) -> None:
        """Start all and wait until the workers have registered."""
        _environment(self.folder / "python")
        master = self._daemon("master", "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        self.master_url, self.web_ui = master.said(_MASTER), master.said(WEB_UI)
        for _ in range(workers):
            self.add_worker()
        self.wait_for_workers(workers)

    def add_worker(self) -> None:
        """Start one more worker."""
        name = f"worker-{len(self._daemons)}"
        work = str(self.folder / name)
        options = ("--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", work)
        self.workers.append(self._daemon(name, "worker.Worker", *options, self.master_url, environ=self.environ))

    def wait_for_workers(self, number: int) -> None:
        """Wait until exactly that many workers are alive, as the master sees it."""
        wait_until(lambda: self.alive() == number, f"{number} workers")

    def alive(self) -> int:
        """How many workers the master counts as alive."""
        with urllib.request.urlopen(f"{self.web_ui}/json/") as page:
            return int(json.load(page)["aliveworkers"])

    def _daemon(self, name: str, what: str, *options: str, environ: Mapping[str, str] | None = None) -> Daemon:
        command = [str(HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{what}", *options]
        return self._run(name, command, environ or {})

    def _run(self, name: str, command: list[str], environ: Mapping[str, str]) -> Daemon:
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env={**_environ(), **environ}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        daemon = Daemon(process, log)
        self._daemons.append(daemon)
        return daemon

    def stop(self) -> None:
        """End every daemon that was started here."""
        for daemon in reversed(self._daemons):
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()

    def submit(self, *arguments: str, conf: Mapping[str, str] | None = None) -> list[str]:
        """The command that submits *arguments* (a program and its options)."""
        options = {**DELTA, **_FRUGAL, **(conf or {})}
        command = [str(HOME / "bin" / "spark-submit"), "--master", self.master_url, "--jars", ",".join(delta_jars())]
        for key, value in options.items():
            command += ["--conf", f"{key}={value}"]
        return [*command, *arguments]

    @contextmanager
    def connect_server(self, conf: Mapping[str, str] | None = None) -> Iterator[str]:
        """A Spark Connect server, as an application of this cluster: all its cores are its; gives ``sc://...``."""
        options = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": "0",
            **(conf or {}),
        }
        command = self.submit("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", conf=options)
        # Spark gives this class the memory of a daemon, not that of a driver.
        environ = {"SPARK_DAEMON_MEMORY": "1g", "PYSPARK_PYTHON": str(self.python)}
        server = self._run("connect", [*command, "spark-internal"], environ)
        try:
            yield f"sc://127.0.0.1:{server.said(_CONNECT)}"
        finally:
            server.process.kill()
            server.process.wait()

    def submitter(self) -> dict[str, str]:
        """The environment of a submitter: driver and workers run the cluster's Python."""
        return {**_environ(), "PYSPARK_PYTHON": str(self.python), "PYSPARK_DRIVER_PYTHON": str(self.python)}


@contextmanager
def cluster(folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A running cluster of a master and two workers, ended with the context."""
    found = Cluster(folder, environ or {})
    try:
        found.start()
        yield found
    finally:
        found.stop()


def delta_jars() -> list[str]:
    """Delta's jars, as set-up fetched them."""
    return [str(jar) for jar in jars.found(jars_folder())]


def wheel(folder: Path) -> Path:
    """Build the project's wheel into *folder*."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def _environ() -> dict[str, str]:
    without = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SPARK_REMOTE")}
    java = jars.java_home()
    return {
        **without,
        **({"JAVA_HOME": java} if java else {}),
        "SPARK_HOME": str(HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }


def _environment(folder: Path) -> None:
    """A Python with this one's libraries, but without what is installed in place (`personalake`): `.pth` files of a
    folder that a `.pth` file adds are not read."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
