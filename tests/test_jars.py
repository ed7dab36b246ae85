from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from personalake import jars
from personalake.errors import PersonalakeError

DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"


@pytest.fixture
def spark_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pyspark whose spark-submit is a script of the test's own, and a Delta that asks for one package."""
    home = tmp_path / "pyspark"
    (home / "bin").mkdir(parents=True)
    (home / "jars").mkdir()
    (home / "jars" / "hadoop-client-api-3.5.0.jar").touch()
    (home / "__init__.py").touch()
    pyspark = pytest.importorskip("pyspark")
    monkeypatch.setattr(pyspark, "__file__", str(home / "__init__.py"))
    monkeypatch.setattr(jars, "packages", lambda: [DELTA])
    return home


def submits(home: Path, script: str) -> None:
    submit = home / "bin" / "spark-submit"
    submit.write_text(f'#!/bin/sh\necho "$@" >>"{home}/calls"\n{script}\n', encoding="utf-8")
    submit.chmod(0o755)


def ivy_that_brings(*names: str) -> str:
    """A script that does what Ivy does with the folder that spark.jars.ivy names."""
    made = "\n".join(f'touch "$ivy/jars/{name}"' for name in names)
    return f'ivy=$(echo "$@" | sed "s/.*spark.jars.ivy=\\([^ ]*\\).*/\\1/")\nmkdir -p "$ivy/jars"\n{made}'


def test_fetched_jars_lie_flat_and_are_found(spark_home: Path, tmp_path: Path) -> None:
    submits(spark_home, ivy_that_brings("delta-spark.jar", "delta-storage.jar"))
    folder = tmp_path / "jars"
    fetched = jars.fetch(folder)
    assert fetched == jars.found(folder) == [folder / "delta-spark.jar", folder / "delta-storage.jar"]
    assert not list(folder.glob(".fetch-*"))


def test_a_second_fetch_starts_nothing(spark_home: Path, tmp_path: Path) -> None:
    submits(spark_home, ivy_that_brings("delta-spark.jar"))
    assert jars.fetch(tmp_path / "jars") == jars.fetch(tmp_path / "jars")
    assert len((spark_home / "calls").read_text(encoding="utf-8").splitlines()) == 1


def test_what_spark_ships_is_left_out(spark_home: Path, tmp_path: Path) -> None:
    submits(spark_home, ivy_that_brings("delta-spark.jar"))
    jars.fetch(tmp_path / "jars")
    call = (spark_home / "calls").read_text(encoding="utf-8")
    assert f"--packages {DELTA} --exclude-packages *:hadoop-client-api " in call


def test_a_fetch_that_fails_says_why_and_leaves_no_jar(spark_home: Path, tmp_path: Path) -> None:
    unresolved = "unresolved dependency: io.delta#delta-spark_4.2_2.13;4.4.0: not found"
    submits(spark_home, f"{ivy_that_brings('delta-storage.jar')}\necho noise\necho '{unresolved}'\nexit 1")
    folder = tmp_path / "jars"
    with pytest.raises(PersonalakeError, match="unresolved dependency: io"):
        jars.fetch(folder)
    assert [path.name for path in folder.iterdir()] == ["fetch.log"]
    assert jars.found(folder) == []


def test_jars_of_other_versions_are_not_found_and_are_replaced(
    spark_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jars"
    submits(spark_home, ivy_that_brings("delta-old.jar"))
    jars.fetch(folder)
    monkeypatch.setattr(jars, "packages", lambda: ["io.delta:delta-spark_4.1_2.13:4.1.0"])
    assert jars.found(folder) == []
    submits(spark_home, ivy_that_brings("delta-new.jar"))
    assert jars.fetch(folder) == [folder / "delta-new.jar"]
    assert not (folder / "delta-old.jar").exists()


def test_a_folder_that_lost_a_jar_counts_as_empty(spark_home: Path, tmp_path: Path) -> None:
    submits(spark_home, ivy_that_brings("delta-spark.jar", "delta-storage.jar"))
    jars.fetch(tmp_path / "jars")[0].unlink()
    assert jars.found(tmp_path / "jars") == []


def test_scratch_of_a_killed_fetch_goes_and_a_younger_one_stays(spark_home: Path, tmp_path: Path) -> None:
    submits(spark_home, ivy_that_brings("delta-spark.jar"))
    killed, at_work = tmp_path / "jars" / ".fetch-killed", tmp_path / "jars" / ".fetch-at-work"
    killed.mkdir(parents=True)
    at_work.mkdir()
    os.utime(killed, (0, 0))
    jars.fetch(tmp_path / "jars")
    assert (killed.exists(), at_work.exists()) == (False, True)


def test_a_proxy_of_the_environment_is_passed_on_to_the_jvm(
    spark_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.example:3128")
    submits(spark_home, ivy_that_brings("delta-spark.jar"))
    jars.fetch(tmp_path / "jars")
    call = (spark_home / "calls").read_text(encoding="utf-8")
    assert "-Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=3128" in call
    assert "secret" not in call


def test_the_name_of_the_artifact_comes_from_deltas_own_helper() -> None:
    pytest.importorskip("delta")
    (package,) = jars.packages()
    assert package.startswith("io.delta:delta-spark_")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(None, "chosen", id="no JAVA_HOME"),
        pytest.param("/passed/over", "chosen", id="the JAVA_HOME that set-up passed over"),
        pytest.param("/changed/since", None, id="another JAVA_HOME"),
    ],
)
def test_the_java_of_set_up_holds_until_java_home_changes(
    now: str | None, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "chosen" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    (tmp_path / "java_home").write_text(f"{tmp_path / 'chosen'}\n/passed/over\n", encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = jars.java_home({} if now is None else {"JAVA_HOME": now})
    assert found == (str(tmp_path / expected) if expected else None)


def test_a_recorded_java_that_has_gone_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "java_home").write_text("/gone\n\n", encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert jars.java_home({}) is None


def test_the_command_fails_with_one_line_that_names_the_log(
    spark_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submits(spark_home, "echo 'java: not found'; exit 127")
    assert jars.main([str(tmp_path / "jars")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "java: not found" in line
    assert "fetch.log" in line
