"""`personalake try`: no Spark, the same requests as a run, and nothing that is paid twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from personalake.cli import main
from personalake.lease import Lease
from personalake.llm.offline import OfflineSettings, serving
from personalake.llm.offline.faults import FaultPlan
from personalake.work import Folder
from tests.conftest import ROOT
from tests.lake import Lake, ledger

TEXTS = (
    "A retired lighthouse keeper who repairs old sextants and teaches children in a harbour town to use them",
    "Ein Orgelbauer, der im Winter alte Pfeifen stimmt und für die Kälte im Kirchenschiff einen Heizplan rechnet",
    "A night-shift nurse who plans the ward's rota and counts every pill twice",
)


@pytest.fixture
def personas(tmp_path: Path) -> Path:
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({"persona": text}) + "\n" for text in TEXTS))
    return file


def _arguments(file: Path, folder: Path, base_url: str, *more: str) -> list[str]:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--personas", str(file)]
    return ["try", "math", *config, "--set", f"store.path={folder / 'lake'}", f"llm.base_url={base_url}", *more]


def _tried(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_trial_shows_messages_fields_verdicts_tokens_and_cost(
    personas: Path, endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _tried(capsys, *_arguments(personas, tmp_path, endpoint), "-n", "2")
    assert [each["persona"] for each in told["personas"]] == list(TEXTS[:2])
    assert (told["requests"], told["sent"], told["stand_in"]) == (4, 4, True)
    problem, solution = told["personas"][0]["turns"]
    assert TEXTS[0] in problem["messages"][1]["content"]
    assert problem["fields"] == {"problem": problem["reply"]}
    assert set(problem["checks"].values()) == {"passed"}
    assert TEXTS[0] not in json.dumps(solution["messages"])
    assert solution["fields"]["answer"] in solution["reply"]
    assert told["cost_usd"] == pytest.approx(sum(t["cost_usd"] for p in told["personas"] for t in p["turns"]))
    assert main(_arguments(personas, tmp_path, endpoint)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(word in text for word in (TEXTS[2], "✓ single_question", "stand-ins", "6 requests: 2 sent, 4 asked"))


def test_a_preview_shows_what_a_trial_would_ask_and_sends_nothing(
    personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(OfflineSettings()) as base_url:
        _, _, *arguments = _arguments(personas, tmp_path, base_url)
        shown = _tried(capsys, "tasks", "math", "--preview", "2", *arguments)
        assert ledger(base_url)["requests"] == 0
        tried = _tried(capsys, *_arguments(personas, tmp_path, base_url), "-n", "2")
    asked = [(each["persona"], each["step"], each["messages"]) for each in shown["turns"]]
    assert [(number, step) for number, step, _ in asked] == [(n, s) for n in (0, 1) for s in ("problem", "solution")]
    assert [messages for _, step, messages in asked if step == "problem"] == [
        person["turns"][0]["messages"] for person in tried["personas"]
    ]
    assert asked[1][2][-1] == {"role": "user", "content": "{{fields.problem}}"}
    assert main(["tasks", "math", "--preview", "1", *arguments]) == 0
    assert "nothing was sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["math"], "--preview is missing"),
        (["--preview", "2"], "TASK is missing"),
        (["math", "--preview", "0", "--personas", "own.jsonl"], "--preview 0 shows nothing"),
        (["maths", "--preview", "1", "--personas", "own.jsonl"], "no task file"),
    ],
)
def test_a_preview_that_lacks_something_says_what(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", *given, "--config", str(ROOT / "conf" / "local.yaml")]) == 2
    assert message in capsys.readouterr().err


def test_every_check_has_its_verdict_where_a_reply_is_refused(
    personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(OfflineSettings(flaws=1.0)) as base_url:
        told = _tried(capsys, *_arguments(personas, tmp_path, base_url))
    refused = [turn for each in told["personas"] for turn in each["turns"] if not turn["accepted"] and turn["checks"]]
    assert refused
    for turn in refused:
        assert set(turn["checks"].values()) != {"passed"}
        assert len(turn["checks"]) > 1
        assert turn["fields"] == {}


def test_the_next_run_adopts_what_was_tried_and_a_trial_what_was_run(
    personas: Path, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        arguments = _arguments(personas, tmp_path, base_url)
        tried = _tried(capsys, *arguments, "-n", "2")
        own = ["corpus.paths=[]", f"personas.paths=['{personas}']", "synthesize.tasks=[{task: math, target: 3}]"]
        lake = Lake(spark, tmp_path / "lake", base_url, own)
        done = {stage["stage"]: stage for stage in lake.run().data["stages"]}
        assert done["import"]["accepted"] == 3
        assert done["try"]["sent"] == tried["sent"] == 4
        assert done["try"]["cost_usd"] == pytest.approx(tried["cost_usd"])
        assert [done[f"synthesize.math.{step}"]["sent"] for step in ("problem", "solution")] == [1, 1]
        again = _tried(capsys, *arguments)
        assert (again["sent"], again["asked_before"]) == (0, 6)
        assert lake.run().data["stages"] == []
        assert ledger(base_url)["max_per_request"] == 1
    report = (tmp_path / "lake" / "report.html").read_text()
    assert report.count(">try<") == 1, "its cost is told, and it is no part of the funnel"
    rows = lake.rows("examples")
    assert {row["persona_id"] for row in rows} == {row["persona_id"] for row in lake.rows("hub")}
    texts = {turn["reply"] for each in again["personas"] for turn in each["turns"] if turn["step"] == "problem"}
    assert {dict(row["fields"])["problem"] for row in rows} == texts
    assert not (tmp_path / "lake" / "_work" / "journal").exists() or not list(
        (tmp_path / "lake" / "_work" / "journal").iterdir()
    )


def test_a_trial_needs_neither_spark_nor_java(personas: Path, endpoint: str, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['pyspark'] = sys.modules['py4j'] = None\n"
        "from personalake.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "lib"), "PATH": "/nonexistent", "JAVA_HOME": ""}
    command = [sys.executable, "-c", program, *_arguments(personas, tmp_path, endpoint), "-n", "1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("row", "more", "message"),
    [
        ('{"persona": "A nurse"}', ["budget_usd=0.0001"], "US dollars are spent, and this may cost"),
        ('{"persona": "A nurse"}', ["llm.api_key.env=NO_SUCH_KEY"], "the environment variable NO_SUCH_KEY isn't set"),
        ('{"persona": "A nurse"}', ["personas.columns={text: who}"], "no text in `who`; it has: persona"),
        ("no json", [], "not_json"),
        ("", [], "empty_file"),
        (None, [], "there is no such file or folder (correct `--personas`)"),
    ],
)
def test_what_cannot_be_tried_is_one_line_and_nothing_is_sent(
    row: str | None, more: list[str], message: str, endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ledger(endpoint)["requests"]
    if row is not None:
        (tmp_path / "own.jsonl").write_text(row)
    assert main(_arguments(tmp_path / "own.jsonl", tmp_path, endpoint, *more)) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.count("\n") == 1
    assert ledger(endpoint)["requests"] == before


def test_an_endpoint_that_is_down_defers_the_trial(
    personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(personas, tmp_path, "http://127.0.0.1:9/v1", "llm.max_attempts=1")
    assert main(arguments) == 3
    assert "have to wait" in capsys.readouterr().err


def test_where_a_budget_is_set_a_trial_does_not_pay_beside_a_run(
    personas: Path, endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ledger(endpoint)["requests"]
    with Lease(Folder(str(tmp_path / "lake" / "_work")), "personalake run"):
        assert main(_arguments(personas, tmp_path, endpoint, "budget_usd=1")) == 4
        assert "another run works on this store" in capsys.readouterr().err
        assert ledger(endpoint)["requests"] == before
        assert main(_arguments(personas, tmp_path, endpoint)) == 0


def test_a_send_that_may_have_been_billed_counts_against_the_budget(
    personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The endpoint takes a request and answers too late: nobody knows whether it counts."""
    more = ["llm.max_attempts=1", "llm.timeout_s=0.2", "budget_usd=0.001"]
    faults = FaultPlan(latency={"kind": "fixed", "ms": 5_000})
    with serving(OfflineSettings(faults=faults)) as late:
        assert main(_arguments(personas, tmp_path, late, *more, "-n", "1")) == 3
        first = capsys.readouterr()
        assert main(_arguments(personas, tmp_path, late, *more, "-n", "1")) == 2
        assert "US dollars are spent" in capsys.readouterr().err, first
