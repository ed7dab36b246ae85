"""`personalake plan`: its arithmetic without Spark, and against what the run that follows really asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from personalake.asking import infer_ask
from personalake.cli import main
from personalake.errors import DeferredError
from personalake.lease import Lease
from personalake.llm.models import Price
from personalake.plan import plan
from personalake.planning.arithmetic import (
    Figure,
    Known,
    Limits,
    Measures,
    Need,
    Replies,
    at_least,
    best,
    microusd,
    task_need,
    weakest,
)
from personalake.planning.specs import specs
from personalake.work import Folder
from tests.conftest import ROOT
from tests.lake import CORPUS, Lake, ledger

ONE_FILE = [f"corpus.paths=['{CORPUS / 'pages.jsonl'}']", "synthesize.tasks=[{task: math, target: 4}]"]
ALL, HALF = Figure(1.0, "measured", 100), Figure(0.5, "measured", 100)


def test_every_shipped_task_can_be_planned(spark: SparkSession, endpoint: str, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (ROOT / "conf" / "tasks").glob("*.yaml"))
    tasks = ", ".join(f"{{task: {name}, target: 5}}" for name in names)
    inputs = Lake(spark, tmp_path / "lake", endpoint).inputs(f"synthesize.tasks=[{tasks}]", stages=())
    found = specs(inputs)
    assert {stage.split(".")[1] for stage in found if stage.startswith("synthesize.")} == set(names)


def test_of_two_figures_the_one_on_more_rows_counts_and_of_equals_the_first() -> None:
    own, pilot = Figure(1.0, "own", 10), Figure(2.0, "pilot", 20)
    assert best([Figure(0.0), own, pilot]) == pilot
    assert best([own, Figure(3.0, "other", 10)]) == own
    assert weakest(own, pilot, Figure(0.0)).basis == "assumed"


def test_a_store_with_more_replies_wins_over_its_pilot_and_both_over_what_is_assumed() -> None:
    assumed = Replies(0, 0, 400, 400, 800, 0, 1, 0)
    own = Measures(replies={"infer": Replies(9, 700, 210, 200, 300, 0, 1, 0)})
    pilot = Measures(replies={"infer": Replies(20, 700, 220, 200, 300, 0, 1, 0)}, pilot=20)
    assert Known([own, pilot]).replies("infer", assumed)[1] == Figure(220, "pilot of 20 pages", 20)
    assert Known([own]).replies("infer", assumed)[1] == Figure(210, "measured on 9 replies", 9)
    assert Known([own, pilot]).replies("other", assumed)[1] == Figure(400)


def test_a_share_that_a_few_rows_tell_may_be_much_lower() -> None:
    assert at_least(Figure(1.0, "measured", 3)) < 0.5 < at_least(Figure(1.0, "measured", 30))
    assert at_least(Figure(0.0, "measured", 30)) == 0
    assert at_least(Figure(0.9)) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("shares", "complete", "waiting", "available", "writing", "answering", "examples"),
    [
        ((ALL, ALL), 0, 0, 100, 10, 10, 10),
        ((HALF, HALF), 0, 0, 100, 40, 20, 10),
        ((ALL, ALL), 4, 2, 100, 4, 6, 10),
        ((ALL, ALL), 10, 0, 100, 0, 0, 10),
        ((ALL, HALF), 0, 0, 6, 6, 6, 3),
        ((Figure(0.0, "measured", 100), ALL), 0, 0, 7, 7, 0, 0),
    ],
)
def test_a_target_takes_as_many_requests_as_its_shares_say_and_no_more_than_there_are_personas(
    shares: tuple[Figure, Figure],
    complete: int,
    waiting: int,
    available: int,
    writing: float,
    answering: float,
    examples: float,
) -> None:
    need = task_need(10, complete, waiting, Need(available, available), shares[0], shares[1:])
    assert (need.writing.expected, need.answering.expected) == (writing, answering)
    assert need.examples == pytest.approx(examples)
    assert need.writing.expected <= need.writing.worst <= available
    assert need.answering.expected <= need.answering.worst


def test_the_limit_that_takes_longest_binds() -> None:
    assert Limits(10, None, None).seconds(100, 1e6, 2.0) == (20, "10 in flight")
    assert Limits(10, 60, None).seconds(100, 1e6, 2.0) == (100, "60 requests/min")
    assert Limits(10, 60, 1000).seconds(100, 1e6, 2.0) == (60_000, "1,000 tokens/min")
    assert Limits(10, None, None).seconds(1, 1e6, 2.0) == (2.0, "one reply's time")
    assert Limits(10, None, None).seconds(0, 0, 2.0)[0] == 0


def test_a_batch_costs_half_and_a_model_without_a_price_nobody_knows_what() -> None:
    price = Price(input=1.0, output=4.0, as_of="2026-01-01")
    assert microusd(price, 1000, 0.0, 500) == 3000
    assert microusd(price.for_batch(), 1000, 0.0, 500) == 1500
    assert microusd(None, 1000, 0.0, 500) is None


def _planned(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> dict[str, Any]:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={folder / 'lake'}"]
    assert main(["plan", *config, *ONE_FILE, *more, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_before_the_first_run_all_is_assumed_and_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = _planned(capsys, tmp_path, "budget_usd=0.0001")
    assert {figure["basis"] for figure in told["figures"]} == {"assumed"}
    assert told["unread_files"] == {"jsonl": {"files": 1, "bytes": (CORPUS / "pages.jsonl").stat().st_size}}
    assert [stage["stage"] for stage in told["stages"]] == [
        "infer", "expand.1", "synthesize.math.problem", "synthesize.math.solution",
    ]  # fmt: skip
    assert all(0 < stage["cost_usd"] < stage["worst_usd"] for stage in told["stages"])
    assert (told["budget"]["expected_fits"], told["budget"]["worst_fits"]) == (False, False)
    assert not (tmp_path / "lake").exists(), "nothing is written"
    batch = _planned(capsys, tmp_path, "llm.transport=batch")
    assert batch["totals"]["cost_usd"] == pytest.approx(told["totals"]["cost_usd"] / 2, rel=0.01)
    assert batch["totals"]["worst_usd"] == pytest.approx(told["totals"]["worst_usd"] / 2, rel=0.01)


def test_a_delta_table_is_not_counted_and_the_plan_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in/table/_delta_log").mkdir(parents=True)
    told = _planned(capsys, tmp_path, f"corpus.paths=[{tmp_path / 'in'}]", "corpus.tables=[main.web.pages]")
    assert any(note.startswith("2 Delta table(s) of the corpus") for note in told["notes"])


def test_a_model_without_a_price_is_named_and_its_cost_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _planned(capsys, tmp_path, "llm.model=stranger", "llm.base_url=http://127.0.0.1:9/v1", "budget_usd=1")
    assert told["totals"]["cost_usd"] is told["totals"]["worst_usd"] is told["budget"]["expected_fits"] is None
    assert any("'stranger'" in note and "no price" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        (["plan"], ["corpus.paths=[]"], "names anything to read"),
        (["plan"], ["corpus.paths=[/no/such/folder]"], "there is no such file or folder"),
        (["pilot", "-n", "5"], ["corpus.paths=[]"], "names anything to read"),
        (["pilot", "-n", "0"], [], "-n 0 reads no page"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    command: list[str], more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={tmp_path / 'lake'}"]
    assert main([*command, *config, *more]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_what_is_counted_is_what_the_run_then_asks_and_a_plan_sends_and_commits_nothing(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    lake = Lake(spark, tmp_path / "lake", endpoint, ONE_FILE)
    lake.run(stages=("ingest",))
    versions, sent = lake.versions(), ledger(endpoint)["requests"]
    with Lease(Folder(str(lake.folder / "_work")), "a run"):
        planned = plan(lake.inputs()).data
    assert (lake.versions(), ledger(endpoint)["requests"]) == (versions, sent)
    infer = planned["stages"][0]
    requests = infer_ask(lake.store.read("documents"), lake.inputs()).requests
    built = requests.agg(F.count("*"), F.sum("worst_microusd"), F.sum("est_tokens")).collect()[0]
    assert (infer["requests"], infer["requests_basis"], infer["already_answered"]) == (built[0], "exact", 0)
    assert infer["worst_usd"] == pytest.approx(built[1] / 1e6)
    most = lake.inputs().settings.llm.role("infer").max_tokens
    assert infer["prompt_tokens"] == built[2] - most * built[0]
    with pytest.raises(DeferredError):
        lake.run("budget_usd=0.003", "llm.wave_rows=5", stages=("infer",))
    answered = len(lake.rows("completions"))
    again = plan(lake.inputs("budget_usd=0.004")).data
    assert again["stages"][0]["requests"] == infer["requests"] - answered
    assert again["budget"]["spent_usd"] == pytest.approx(
        sum(r["cost_microusd"] for r in lake.rows("completions")) / 1e6
    )
    assert again["budget"]["worst_fits"] is False
    done = lake.run(stages=("infer",)).data["stages"]
    assert [stage["sent"] for stage in done] == [again["stages"][0]["requests"]]
    assert plan(lake.inputs()).data["stages"][0]["requests"] == 0


def test_a_store_that_has_run_plans_a_larger_target_from_its_own_figures(lake: Lake) -> None:
    versions, sent = lake.versions(), ledger(lake.base_url)["requests"]
    inputs = lake.inputs("synthesize.tasks=[{task: math, target: 9}, {task: instruction, target: 5}]")
    shown = plan(inputs)
    assert (lake.versions(), ledger(lake.base_url)["requests"]) == (versions, sent)
    stages = {stage["stage"]: stage for stage in shown.data["stages"]}
    assert stages["infer"]["requests"] == stages["synthesize.instruction.request"]["requests"] == 0
    assert stages["synthesize.math.problem"]["requests"] in (4, 5)
    assert stages["synthesize.math.solution"]["requests"] == 4
    replies = [row for row in lake.rows("completions") if row["stage"] == "infer"]
    assert stages["infer"]["output_basis"] == f"measured on {len(replies)} replies"
    mean = sum(row["completion_tokens"] for row in replies) / len(replies)
    assert stages["infer"]["reply_tokens"]["mean"] == pytest.approx(mean)
    personas, pages = sum(row["hop"] == 0 for row in lake.rows("personas")), len(lake.rows("documents"))
    told = {figure["figure"]: figure for figure in shown.data["figures"]}
    assert told["personas accepted an answered page"]["value"] == pytest.approx(personas / pages)
    cost = sum(row["cost_microusd"] for row in replies) / personas / 1e6
    assert shown.data["accepted"][0]["usd_each"] == pytest.approx(cost, rel=0.02)
    assert all(len(line) <= 110 for line in shown.text.splitlines()[1:12])


def test_pages_that_the_store_has_are_told_and_left_out_before_they_are_paid_for(lake: Lake, tmp_path: Path) -> None:
    texts = [row["text"] for row in lake.rows("documents")]
    new = [" ".join(reversed(text.split())) for text in texts[:30]]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts[:40], *new]))
    versions = lake.versions()
    shown = plan(lake.inputs(f"corpus.paths=['{CORPUS}', '{tmp_path / 'more.jsonl'}']"))
    assert lake.versions() == versions
    told = shown.data["new_crawl"]
    assert (told["files"], told["bytes_read"]) == (1, told["bytes"])
    assert told["same"]["low"] <= 40 / told["pages"] <= told["same"]["high"]
    assert shown.data["stages"][0]["requests"] == pytest.approx(told["pages"] - 40, abs=2)
    assert shown.data["stages"][0]["requests_basis"] == f"sketches, on {told['pages']} pages of them"
    assert "in the store word for word: about 5" in shown.text
    assert plan(lake.inputs()).data["new_crawl"] is None
