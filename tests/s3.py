"""An S3 server for tests: moto's, as a child process on loopback with one bucket; and the jars that Spark needs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from personalake import jars
from personalake.session import jars_folder
from tests.cluster import HOME, Daemon, delta_jars

_STARTED = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
_REQUEST = re.compile(r'"(?:\x1b\[[\dm;]*)*([A-Z]+ /\S*) HTTP')

_SDK = "2.35.4"
"""Of AWS, as hadoop-aws 3.5.0 was built with it. The modules that it loads are 12 MB, its own dependency is 600."""


@dataclass
class Server:
    """A running server; *address* is its bucket's."""

    url: str
    address: str
    log: Path

    def received(self) -> list[str]:
        """Method and path of every request so far."""
        return _REQUEST.findall(self.log.read_text(encoding="utf-8", errors="replace"))


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """A server whose objects end with it; the environment names it meanwhile, as any store that isn't Amazon's."""
    log = folder / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as out, pytest.MonkeyPatch.context() as environ:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            environ.delenv(name, raising=False)
        settings = {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "nothing-secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in settings.items():
            environ.setenv(name, value)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            url = Daemon(process, log).said(_STARTED)
            environ.setenv("AWS_ENDPOINT_URL", url)
            urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")).close()
            yield Server(url, "s3://bucket", log)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def s3_session_conf() -> dict[str, str]:
    """What makes a local session read and write `s3a://`: jars alone, the rest is in the environment."""
    return {"spark.jars": ",".join([*delta_jars(), *map(str, _s3_jars())])}


def _s3_jars() -> list[Path]:
    """Hadoop's S3 client and those modules of AWS's SDK that it needs; fetched once, as set-up fetches Delta's."""
    (client,) = (HOME / "jars").glob("hadoop-client-api-*.jar")
    hadoop = client.stem.rpartition("-")[2]
    folder = jars_folder().resolve() / f"s3-{hadoop}-{_SDK}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as scratch:
            (_fetched(hadoop, Path(scratch)) / "jars").rename(folder)
    return sorted(folder.glob("*.jar"))


def _fetched(hadoop: str, scratch: Path) -> Path:
    wanted = [f"org.apache.hadoop:hadoop-aws:{hadoop}"]
    wanted += [f"software.amazon.awssdk:{module}:{_SDK}" for module in ("s3", "s3-transfer-manager")]
    shipped = sorted({re.sub(r"-\d.*", "", jar.name) for jar in (HOME / "jars").glob("*.jar")})
    without = ["software.amazon.awssdk:bundle", "software.amazon.awssdk:netty-nio-client", "*:wildfly-openssl"]
    without += [f"*:{name}" for name in shipped]
    program, java = scratch / "nothing.py", jars.java_home()
    program.touch()
    command = [str(HOME / "bin" / "spark-submit"), "--master", "local[1]", "--packages", ",".join(wanted)]
    command += ["--exclude-packages", ",".join(without), "--conf", f"spark.jars.ivy={scratch}"]
    command += [*jars._proxy_options(os.environ), str(program)]
    environ = {**os.environ, "SPARK_HOME": str(HOME), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        command, env={**environ, **({"JAVA_HOME": java} if java else {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return scratch
