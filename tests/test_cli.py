"""The command line as a user meets it: processes, exit codes, one line a mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from personalake.cli import main
from personalake.lease import Lease
from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.work import Folder
from tests.conftest import ROOT
from tests.lake import CORPUS, ledger


def _command(folder: Path, *more: str, command: str = "run") -> list[str]:
    program = [sys.executable, "-m", "personalake.cli", command, "--config", str(ROOT / "conf" / "local.yaml")]
    small = "synthesize.tasks=[{task: math, target: 3}, {task: instruction, target: 3}]"
    paths = [f"store.path={folder / 'lake'}", f"corpus.paths=['{CORPUS / 'pages.jsonl'}']", small]
    return [*program, "--set", *paths, *more]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)]), "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "llm.in_fligth=3"], "unknown setting `llm.in_fligth` (did you mean 'in_flight'?)"),
        (["--set", "llm.in_flight=many"], "`llm.in_flight`: input should be a valid integer"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such settings file"),
        (["--set", "corpus.paths=[nowhere]"], "nowhere"),
        (["--set", "corpus.paths=[]"], "corpus.paths"),
        (["--set", "llm.api_key.env=NO_SUCH_KEY"], "the environment variable NO_SUCH_KEY isn't set"),
        (["--set", "synthesize.tasks=[{task: nothing, target: 1}]"], "no task file"),
        (["--set", "store={catalog: 'a`b', schema: s, work: w}"], "is no name of a catalog or schema"),
        (["--set", "store={catalog: c, schema: '../s', work: w}"], "is no name of a catalog or schema"),
        (["--set", "store.path=a'b"], "can't be a folder of tables"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line_exit_code_2_and_nothing_is_made(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(ROOT)
    lake = tmp_path / "lake"
    own = [] if any("store" in argument for argument in arguments) else ["--set", f"store.path={lake}"]
    assert main(["run", *own, *arguments]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not lake.exists()


def test_an_empty_corpus_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus").mkdir()
    config = str(ROOT / "conf" / "local.yaml")
    arguments = [
        "--config",
        config,
        "--set",
        f"store.path={tmp_path / 'lake'}",
        f"corpus.paths=['{tmp_path / 'corpus'}']",
    ]
    assert main(["run", *arguments]) == 2
    assert str(tmp_path / "corpus") in capsys.readouterr().err


def test_a_store_of_another_layout_is_refused(tmp_path: Path) -> None:
    work = tmp_path / "lake" / "_work"
    work.mkdir(parents=True)
    (work / "store.json").write_text('{"layout": 999, "store_id": "x"}')
    done = subprocess.run(_command(tmp_path), env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "layout 999" in done.stderr
    assert sorted(path.name for path in (tmp_path / "lake").iterdir()) == ["_work"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    arguments = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={tmp_path / 'file' / 'lake'}"]
    assert main(["ingest", *arguments, f"corpus.paths=['{CORPUS}']"]) == 2
    assert "cannot be created" in capsys.readouterr().err


def test_a_second_run_on_the_same_store_ends_at_once_and_names_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lease(Folder(str(tmp_path / "lake" / "_work")), "the first run"):
        arguments = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={tmp_path / 'lake'}"]
        assert main(["ingest", *arguments, f"corpus.paths=['{CORPUS}']"]) == 4
    assert "the first run" in capsys.readouterr().err


def test_help_and_mistakes_answer_without_importing_spark(tmp_path: Path) -> None:
    program = "import sys; from personalake.cli import main\ntry:\n main(sys.argv[1:])\nexcept SystemExit:\n pass\n"
    program += "sys.exit('pyspark' in sys.modules)"
    for arguments in (["--help"], ["run", "--set", "nonsense.x=1", "--config", str(ROOT / "conf" / "local.yaml")]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=_environment(),
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0


def test_tasks_are_listed_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["tasks", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["tasks"]
    shipped = ["dialogue", "instruction", "knowledge", "logic", "math", "math_alone", "npc", "tool"]
    assert [task["task"] for task in listed] == shipped


@pytest.mark.faults
def test_ctrl_c_in_a_paid_stage_saves_what_is_under_way_and_the_next_run_asks_for_the_rest_alone(
    tmp_path: Path,
) -> None:
    slow = OfflineSettings(faults=plan_of({"latency": 400}, "test"))
    with serving(slow) as base_url:
        command = _command(tmp_path, f"llm.base_url={base_url}", "llm.in_flight=2", "llm.tasks=2")
        first = subprocess.Popen(command, env=_environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert first.stderr is not None
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(first.stderr or ()))
        reader.start()
        while ledger(base_url)["requests"] < 4:
            assert first.poll() is None, said
            threading.Event().wait(0.05)
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(120) == 130
        reader.join()
        first.stderr.close()
        asked = ledger(base_url)["requests"]
        assert 4 <= asked < 19
        assert any("interrupted" in line for line in said)
        second = subprocess.run(
            [*_command(tmp_path, f"llm.base_url={base_url}"), "--json"],
            env=_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert second.returncode == 0, second.stderr
        received = ledger(base_url)
    stages = {stage["stage"]: stage for stage in json.loads(second.stdout)["stages"]}
    assert received["max_per_request"] == 1
    assert stages["infer"]["requests"] == 19
    assert stages["infer"]["sent"] == 19 - asked


@pytest.mark.faults
def test_the_embedded_endpoint_serves_a_whole_run_and_ends_with_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [*_command(tmp_path), "--json"], env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {stage["status"] for stage in told["stages"]} == {"done"}
    assert Path(told["report"]).exists()
    assert "WARN" not in done.stderr
    assert "Ivy" not in done.stderr
    files = [path for path in (tmp_path / "lake" / "_work").rglob("*") if path.is_file()]
    assert {path.name for path in files if "dedup" not in path.parts} == {"spark.log", "store.json"}
