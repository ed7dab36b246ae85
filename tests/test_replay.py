"""`rejects --replay`: what was refused is asked again, once, and no money gets lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from personalake.cli import main
from personalake.errors import InputError
from personalake.llm.offline import OfflineSettings, serving
from personalake.replay import replay
from personalake.shown import Shown
from tests.conftest import ROOT
from tests.lake import SMALL, TABLES, Lake, cut_after, ledger, same_rows


@pytest.fixture
def mended() -> Iterator[str]:
    """An endpoint that refuses nothing, for one test, which counts what it receives."""
    with serving(OfflineSettings(flaws=0)) as base_url:
        yield base_url


def _replay(lake: Lake, *more: str, where: str | None = None, stage: str | None = None) -> Shown:
    return replay(lake.inputs(*more, stages=()), where, stage, say=lake.said.append, spark=lake.spark)


def _paid(lake: Lake) -> int:
    return sum(row["cost_microusd"] for row in lake.rows("completions"))


def _asked_of(lake: Lake, stage: str) -> list[dict[str, Any]]:
    return [row for row in lake.rows("rejects") if row["stage"] == stage]


def _refusals(lake: Lake, reason: str) -> list[dict[str, Any]]:
    """The pages that were refused for *reason*, of which there is at least one."""
    found = [row for row in _asked_of(lake, "infer") if row["reason"] == reason]
    assert found
    return found


def test_all_that_can_be_is_asked_again_and_the_rest_is_counted_by_why_not(
    refused: Lake, mended: str, tmp_path: Path
) -> None:
    own, paid = refused.copy(tmp_path, mended), _paid(refused)
    before = own.everything()
    done = _replay(own)
    after = own.everything()
    assert done.data["replayed"] == len(before["rejects"]) - len(after["rejects"]) > 0
    # Which those are, said by the tables: pages that nobody was asked about, pages that brought personas all the same,
    # and the personas that the target has no room for.
    served = {row["doc_id"] for row in before["personas"]}
    of_pages = _asked_of(refused, "infer")
    kept_out = [row for row in of_pages if row["input_key"].split("#")[0] in served]
    left = {
        "never_asked": len(_asked_of(refused, "ingest")),
        "accepted": len(kept_out),
        "target_met": len(_asked_of(refused, "synthesize.math.problem")),
    }
    assert min(left.values()) > 0
    assert done.data["left"] == left
    assert sum(left.values()) == len(after["rejects"])
    asked = len(of_pages) - len(kept_out) + len(_asked_of(refused, "synthesize.math.solution"))
    solved = len(before["examples"])
    received = ledger(mended)
    assert (received["requests"], received["max_per_request"]) == (asked, 1)
    for table in ("personas", "examples", "solutions"):
        assert [row for row in after[table] if row in before[table]] == before[table], table
    # The pages that brought nothing have personas now, and the examples without an answer have one.
    assert {row["doc_id"] for row in after["documents"]} == {row["doc_id"] for row in after["personas"]}
    assert len(after["solutions"]) == len(after["examples"])
    # What the refused replies cost is where it was, and so are the sums of the runs.
    aside = [row for row in after["completions"] if row["error"] == "replayed"]
    assert sum(row["cost_microusd"] for row in aside) == round(done.data["set_aside_usd"] * 1e6) > 0
    assert all(row["reply"] is None and row["reasoning"] is None for row in aside)
    # A reply's cost is rounded up to whole millionths.
    assert 0 <= _paid(own) - paid - received["cost_usd"] * 1e6 < received["requests"]
    assert _paid(own) == sum(cost for (cost,) in own.sums("cost_microusd").values())
    assert after["pending"] == []
    assert not (own.folder / "_work" / "open-run").exists()
    # To the sums over all runs it is as if each page and example had been asked once.
    sums = own.sums("requests", "answered", "rejected", "accepted", "item_rejects")
    assert sums["infer"] == [19, 19, 0, len(after["personas"]), len(_asked_of(own, "infer"))]
    assert sums["synthesize.math.solution"] == [solved, solved, 0, solved, 0]
    again = _replay(own)
    assert again.data["replayed"] == 0
    assert "nothing is asked again" in again.text
    assert ledger(mended)["requests"] == asked
    own.run(stages=("dedup",))
    known = {row["persona_id"] for row in own.rows("hub")} | {
        row["id"] for row in own.rows("duplicates") if row["kind"] == "persona"
    }
    assert known == {row["persona_id"] for row in after["personas"]}


def test_a_persona_is_asked_to_write_again_where_the_target_has_room_the_lowest_rank_first(
    refused: Lake, mended: str, tmp_path: Path
) -> None:
    own, stage = refused.copy(tmp_path, mended), "synthesize.math.problem"
    ranks = [row["rank"] for row in own.rows("examples")]
    number = len(_asked_of(own, stage))
    done = _replay(own, "synthesize.tasks=[{task: math, target: 4}]", stage=stage)
    assert (done.data["replayed"], done.data["left"]) == (1, {"target_met": number - 1})
    new = [row["rank"] for row in own.rows("examples") if row["rank"] not in ranks]
    assert len(new) == 1
    left = {row["input_key"].split("#")[0] for row in _asked_of(own, stage)}
    assert len(left) == number - 1
    assert new[0] < max(ranks)


@pytest.mark.faults
def test_a_replay_cut_off_after_every_commit_ends_with_the_same_rows_and_pays_nothing_twice(
    refused: Lake, mended: str, tmp_path: Path
) -> None:
    whole, cut = refused.copy(tmp_path / "whole", mended), refused.copy(tmp_path / "cut", mended)
    _replay(whole, where="reason = 'refusal'", stage="infer")
    first, paid, died = ledger(mended), _paid(refused), 0
    # The plan has four commits, which are made again by the run after the cut: 1 to 4, and what is behind them.
    for saves in count(1):
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, saves)
            try:
                _replay(cut, where="reason = 'refusal'", stage="infer")
                break
            except KeyboardInterrupt:
                died += 1
        assert _paid(cut) >= paid
    told = _replay(cut, where="reason = 'refusal'", stage="infer").data
    assert died >= 5
    assert told["replayed"] == 0
    same_rows(whole, cut, [*TABLES, "verdicts"])
    assert whole.sums("requests", "answered", "rejected", "accepted", "cost_microusd") == cut.sums(
        "requests", "answered", "rejected", "accepted", "cost_microusd"
    )
    assert ledger(mended)["requests"] == 2 * first["requests"], "each store asked once, whatever was cut off"
    assert _paid(cut) == _paid(whole)
    assert 0 <= _paid(whole) - paid - first["cost_usd"] * 1e6 < first["requests"]


def test_another_run_carries_a_replay_out_that_was_cut_off_and_asks_what_it_would_have_asked(
    refused: Lake, mended: str, tmp_path: Path
) -> None:
    own = refused.copy(tmp_path, mended)
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            _replay(own, stage="infer", where="reason = 'refusal'")
    own.run(stages=("dedup",))
    assert any("which was cut off, is carried out" in line for line in own.said)
    assert not [row for row in own.rows("rejects") if row["reason"] == "refusal" and row["stage"] == "infer"]
    own.run(stages=("infer",))
    assert ledger(mended)["requests"] == len(_refusals(refused, "refusal"))
    assert not (own.folder / "_work" / "open-run").exists()


def test_nothing_is_replayed_beside_a_run_that_was_cut_off(refused: Lake, mended: str, tmp_path: Path) -> None:
    own = refused.copy(tmp_path, mended)
    (own.folder / "_work" / "open-run").write_text("")
    before = own.versions()
    with pytest.raises(InputError, match="let `personalake run` end it first"):
        _replay(own)
    assert own.versions() == before


def test_mistakes_in_the_command_are_one_line_each_and_exit_with_2(
    refused: Lake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", *SMALL]

    def told(*arguments: str) -> str:
        assert main(["rejects", "--replay", *config, *arguments]) == 2
        said = capfd.readouterr().err
        return next(line for line in said.splitlines() if line.startswith("personalake rejects"))

    assert "there is no store yet" in told("--set", f"store.path={tmp_path / 'none'}")
    own = refused.copy(tmp_path, "http://127.0.0.1:9/v1")
    before = own.versions()
    misspelt = told("--stage", "synthesize.math.problems", "--set", f"store.path={own.folder}")
    assert "did you mean 'synthesize.math.problem'?" in misspelt
    assert "`nope`" in told("--where", "nope = 1", "--set", f"store.path={own.folder}")
    assert own.versions() == before
    assert not (own.folder / "_work" / "open-run").exists()


def test_the_command_prints_what_it_did_in_one_line_or_as_json(
    refused: Lake, mended: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = refused.copy(tmp_path, mended)
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", *SMALL, f"store.path={own.folder}"]
    config += [f"llm.base_url={mended}"]
    assert (
        main(["rejects", "--replay", "--stage", "infer", "--where", "reason = 'content_filter'", *config, "--json"])
        == 0
    )
    data = json.loads(capfd.readouterr().out)
    number = len(_refusals(refused, "content_filter"))
    assert (data["replayed"], data["left"], data["asks"]) == (number, {}, ["infer"])
    assert [stage["stage"] for stage in data["stages"]] == ["infer"]
