"""An S3 server for tests: moto's, as a child process on loopback with one bucket."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import Daemon

_STARTED = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
_REQUEST = re.compile(r'"(?:\x1b\[[\dm;]*)*([A-Z]+ /\S*) HTTP')


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
