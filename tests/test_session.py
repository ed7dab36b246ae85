"""What a session sends to workers, and whose settings win."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from personalake import session
from personalake.errors import InputError
from tests.conftest import ROOT


def test_the_package_that_is_sent_has_every_file_and_can_be_imported_on_its_own(tmp_path: Path) -> None:
    sent = session._zipped()
    package = ROOT / "lib" / "personalake"
    files = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    with zipfile.ZipFile(sent) as archive:
        assert set(archive.namelist()) == {name for name in files if "__pycache__" not in name}
    program = "from personalake.personas import words; words.name_words(); print(words.__file__)"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(sent)!r}); {program}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert told.startswith(str(sent))


def test_a_server_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="no Spark Connect server answers"):
        session.open_session({"spark.remote": "sc://127.0.0.1:1/;token=secret"})


def test_the_same_files_make_the_same_package() -> None:
    first = session._zipped()
    session._zipped.cache_clear()
    second = session._zipped()
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_tasks_run_here_in_a_local_session_and_not_through_a_server(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.tasks_run_here({}, spark)
    assert session.parallelism(spark) == 2
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    assert session.tasks_run_here({}, None)
    assert not session.tasks_run_here({"spark.remote": "sc://host"}, None)
    assert not session.tasks_run_here({"spark.master": "spark://host:7077"}, None)
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert not session.tasks_run_here({}, None)


KILLED = """
import os, signal, sys
from pathlib import Path
from personalake.errors import PersonalakeError
from personalake.session import explained, session_for
log = Path(sys.argv[1])
try:
    with session_for({}, log=log, hurried=True) as spark, explained(log, "run again"):
        os.kill(int(spark._jvm.java.lang.ProcessHandle.current().pid()), signal.SIGKILL)
        spark.range(1).count()
except PersonalakeError as error:
    print(error)
"""


def test_that_java_has_gone_is_one_line_and_the_session_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "spark.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines() == [
        f"in full in {tmp_path / 'spark.log'}: Spark's Java process has ended; perhaps it needs more "
        "`spark.driver.memory` (run again)"
    ]
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
