"""`personalake pilot`: a small run of everything, whose answers are the store's, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from personalake import pilot as module
from personalake.errors import LeaseHeldError
from personalake.lease import Lease
from personalake.llm.offline import OfflineSettings, serving
from personalake.pilot import pilot
from personalake.plan import plan
from personalake.shown import Shown
from tests.lake import CORPUS, Lake, cut_after, ledger

SMALL = [f"corpus.paths=['{CORPUS / 'pages.jsonl'}']", "synthesize.tasks=[{task: math, target: 2}]"]


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> Iterator[Lake]:
    """A store that nobody has run yet, and an endpoint of its own."""
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        yield Lake(spark, tmp_path / "lake", base_url, SMALL)


def _pilot(lake: Lake, pages: int, *more: str) -> Shown:
    return pilot(lake.inputs(*more), pages, say=lake.said.append, spark=lake.spark)


def _paid_once(lake: Lake) -> dict[str, Any]:
    told = ledger(lake.base_url)
    assert (told["max_per_request"], told["answered_again"], told["billed_again"]) == (1, 0, 0)
    return told


def test_a_pilot_measures_for_the_plan_and_the_run_asks_none_of_its_requests_again(small: Lake) -> None:
    told = _pilot(small, 5)
    assert (told.data["pages"], told.data["deferred"]) == (5, None)
    assert {stage["stage"]: stage["requests"] for stage in told.data["stages"]} == {
        "infer": 5, "synthesize.math.problem": 2, "synthesize.math.solution": 2,
    }  # fmt: skip
    paid = _paid_once(small)
    assert paid["requests"] == 9
    assert told.data["cost_usd"] == pytest.approx(paid["cost_usd"], abs=1e-5)
    assert "personalake plan" in told.text
    assert not (small.folder / "runs").exists(), "the store's own tables are left alone"

    planned = plan(small.inputs()).data
    assert _paid_once(small)["requests"] == 9
    assert planned["stages"][0]["already_answered"] == 5
    assert planned["stages"][0]["output_basis"] == "pilot of 5 pages"
    assert planned["budget"]["spent_usd"] == pytest.approx(told.data["cost_usd"])

    stages = {stage["stage"]: stage for stage in small.run().data["stages"]}
    assert stages["try"]["sent"] == 9
    assert stages["infer"]["sent"] == stages["infer"]["requests"] - 5
    whole = _paid_once(small)
    assert sum(stage["cost_usd"] for stage in stages.values()) == pytest.approx(whole["cost_usd"], abs=1e-4)

    again = _pilot(small, 6)
    assert again.data["stages"][0]["requests"] == 6
    assert _paid_once(small)["requests"] == whole["requests"] + _asked_newly(again)
    assert plan(small.inputs()).data["stages"][0]["output_basis"].startswith("measured on")


def _asked_newly(told: Shown) -> int:
    """What a second pilot had to ask: its own two examples, where the store has none of these personas."""
    return int(sum(stage["requests"] for stage in told.data["stages"]) - told.data["borrowed"])


@pytest.mark.faults
def test_a_pilot_is_the_same_whatever_it_is_asked_for_again(small: Lake) -> None:
    first, before = _pilot(small, 4).data, ledger(small.base_url)["requests"]
    second = _pilot(small, 4).data
    assert ledger(small.base_url)["requests"] == before, "the answers are in the store's journal"
    assert {**first, "borrowed": 0} == {**second, "borrowed": 0}
    assert second["borrowed"] == before


@pytest.mark.faults
def test_a_pilot_spends_no_more_than_the_store_s_budget_leaves_and_a_larger_one_goes_on(small: Lake) -> None:
    told = _pilot(small, 5, "budget_usd=0.0022")
    assert "budget" in told.data["deferred"]
    paid = _paid_once(small)
    assert 0 < paid["cost_usd"] <= 0.0022
    after = _pilot(small, 5, "budget_usd=0.0022")
    assert "budget" in after.data["deferred"]
    assert _paid_once(small)["cost_usd"] <= 0.0022
    assert _pilot(small, 5, "budget_usd=1").data["deferred"] is None
    assert _paid_once(small)["requests"] == 9


def _kill(lake: Lake, saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pilot that ends after so many commits and can do nothing more."""

    def gone(_: object) -> None:
        raise RuntimeError("the process is gone")

    with monkeypatch.context() as patch:
        cut_after(patch, saves)
        patch.setattr(module._Pilot, "_hand_over", gone)
        with pytest.raises(RuntimeError, match="gone"):
            _pilot(lake, 5)


@pytest.mark.parametrize("saves", [5, 12])
@pytest.mark.faults
def test_a_pilot_that_is_killed_pays_nothing_twice(small: Lake, saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _kill(small, saves, monkeypatch)
    assert any("cut off" in note for note in plan(small.inputs()).data["notes"])
    told = _pilot(small, 5)
    assert told.data["deferred"] is None
    assert _paid_once(small)["requests"] == 9
    assert plan(small.inputs()).data["stages"][0]["already_answered"] == 5


def test_what_a_killed_pilot_has_paid_for_the_next_run_takes_over(small: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    _kill(small, 5, monkeypatch)
    assert _paid_once(small)["requests"] == 5
    stages = {stage["stage"]: stage for stage in small.run(stages=("ingest", "infer")).data["stages"]}
    assert (stages["try"]["sent"], stages["infer"]["sent"]) == (5, len(small.rows("documents")) - 5)
    assert _paid_once(small)["requests"] == len(small.rows("documents"))
    assert not any("cut off" in note for note in plan(small.inputs()).data["notes"])


def test_where_a_budget_is_set_a_pilot_does_not_pay_beside_a_run(small: Lake) -> None:
    with Lease(small.store.work, "personalake run"), pytest.raises(LeaseHeldError, match="personalake run"):
        _pilot(small, 5, "budget_usd=1")
    assert ledger(small.base_url)["requests"] == 0


def test_a_pilot_that_is_interrupted_leaves_its_answers_to_the_run(
    small: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            _pilot(small, 5)
    before = _paid_once(small)["requests"]
    assert before == 5
    small.run(stages=("ingest", "infer"))
    assert _paid_once(small)["requests"] == len(small.rows("documents"))


def test_documents_of_the_store_are_drawn_by_hash_and_not_read_again(small: Lake) -> None:
    small.run(stages=("ingest",))
    told = _pilot(small, 3)
    assert told.data["pages"] == 3
    pilot_lake = Lake(small.spark, small.folder / "_work" / "pilot", small.base_url, SMALL)
    assert not (pilot_lake.folder / "files_seen").exists()
    ids = {row["doc_id"] for row in pilot_lake.rows("documents")}
    assert ids < {row["doc_id"] for row in small.rows("documents")}
    assert plan(small.inputs()).data["stages"][0]["already_answered"] == 3
