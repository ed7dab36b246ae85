"""`reaccept`: stored replies read again under other checks, without a request."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personalake.cli import main
from personalake.errors import InputError
from personalake.llm.offline import OfflineSettings, serving
from personalake.reaccept import reaccept
from personalake.schemas import TABLES as SCHEMAS
from tests.conftest import ROOT
from tests.lake import SMALL, TABLES, Lake, cut_after, ledger, same_rows, strict

NOBODY = "http://127.0.0.1:9/v1"
"""No endpoint: whoever asks it is deferred."""

MIXED = ("accept.min_chars=30", "accept.max_chars=102")
"""Against the checks of the `refused` store: some are accepted, some refused for another reason, some withdrawn."""


@pytest.fixture
def own(refused: Lake, tmp_path: Path) -> Lake:
    """The store of `refused`, for one test, and without an endpoint."""
    return refused.copy(tmp_path, NOBODY)


def _reaccept(lake: Lake, stage: str, *more: str) -> dict[str, dict[str, int]]:
    done = reaccept(lake.inputs(*more, stages=()), stage, say=lake.said.append, spark=lake.spark)
    return dict(done.data["reaccepted"])


def _changes(told: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in told.items() if number and name != "read"}


def _verdicts(lake: Lake) -> list[dict[str, Any]]:
    return lake.rows("verdicts")


def _identities_hold(lake: Lake, *stages: str) -> None:
    """Summed over all runs, the stages' counts are those of the tables, and what they say of themselves adds up."""
    names = ("requests", "answered", "rejected", "deferred", "items", "accepted", "item_rejects", "wasted_microusd")
    for stage in stages:
        sums = dict(zip(names, lake.sums(*names)[stage], strict=True))
        refused = [row["input_key"] for row in lake.rows("rejects") if row["stage"] == stage]
        assert sums["requests"] == sums["answered"] + sums["rejected"] + sums["deferred"], stage
        assert sums["items"] == sums["accepted"] + sums["item_rejects"], stage
        assert sums["item_rejects"] == sum("#" in key for key in refused), stage
        assert sums["rejected"] == sum("#" not in key for key in refused), stage


def _paid_in_vain(lake: Lake, stage: str, table: str) -> int:
    brought = {row["request_key"] for row in lake.rows(table)}
    return sum(
        row["cost_microusd"]
        for row in lake.rows("completions")
        if row["stage"] == stage and row["request_key"] not in brought
    )


def test_looser_checks_accept_stored_replies_without_a_request_and_the_hub_gets_them(own: Lake) -> None:
    before = own.everything()
    told = _reaccept(own, "infer")["infer"]
    short = [row for row in before["rejects"] if row["reason"] == "too_short" and row["stage"] == "infer"]
    assert _changes(told) == {"accepted": len(short), "cleared": len(short)}
    assert told["read"] == len(before["documents"])
    after = own.everything()
    assert [row for row in after["personas"] if row in before["personas"]] == before["personas"]
    new = [row for row in after["personas"] if row not in before["personas"]]
    assert {f"{row['doc_id']}#{row['ordinal']}" for row in new} == {row["input_key"] for row in short}
    assert after["rejects"] == [row for row in before["rejects"] if row not in short]
    assert after["completions"] == before["completions"]
    _identities_hold(own, "infer")
    (wasted,) = own.sums("wasted_microusd")["infer"]
    assert wasted == _paid_in_vain(own, "infer", "personas")
    own.run(stages=("dedup",))
    known = {row["persona_id"] for row in own.rows("hub")} | {
        row["id"] for row in own.rows("duplicates") if row["kind"] == "persona"
    }
    assert known == {row["persona_id"] for row in after["personas"]}
    commits = own.versions()
    assert _changes(_reaccept(own, "infer")["infer"]) == {}
    own.run(stages=("dedup",))
    assert {table for table, number in own.versions().items() if number != commits[table]} == {"runs"}


@pytest.mark.faults
def test_an_example_that_is_accepted_at_last_gets_its_answer(own: Lake) -> None:
    examples = own.rows("examples")
    told = _reaccept(own, "synthesize")
    assert _changes(told["synthesize.math.problem"]) == {"accepted": 1, "cleared": 1}
    assert _changes(told["synthesize.math.solution"]) == {"accepted": 1, "cleared": 1}
    (new,) = [row for row in own.rows("examples") if row not in examples]
    _identities_hold(own, "synthesize.math.problem", "synthesize.math.solution")
    with serving(OfflineSettings(flaws=0)) as base_url:
        own.run(f"llm.base_url={base_url}", stages=("synthesize",))
        assert ledger(base_url)["requests"] == 1
    assert new["example_id"] in {row["example_id"] for row in own.rows("solutions")}
    _identities_hold(own, "synthesize.math.problem", "synthesize.math.solution")


def test_what_was_accepted_and_would_be_refused_stays_and_gets_a_verdict_until_it_would_not(
    own: Lake, tmp_path: Path
) -> None:
    tables = own.everything()
    hard = strict(tmp_path / "hard", problem="length: 2..3", solution="length: 2..3")
    loose = strict(tmp_path / "loose", problem="length: 200..2000", solution="length: 130..2000")
    told = _reaccept(own, "synthesize", *hard)
    counts = {
        "synthesize.math.problem": len(tables["examples"]),
        "synthesize.math.solution": len(tables["solutions"]),
    }
    short = Counter(row["stage"] for row in tables["rejects"] if row["reason"] == "too_short")
    refused_anew = {
        stage: {"refused": short[stage], "cleared": short[stage]} if short[stage] else {} for stage in counts
    }
    assert any(refused_anew.values())
    assert {s: _changes(n) for s, n in told.items()} == {s: {**refused_anew[s], "withdrawn": counts[s]} for s in counts}
    for table in ("personas", "examples", "solutions", "completions"):
        assert own.rows(table) == tables[table], table
    said = {(row["check"], row["subject_id"], row["passed"], row["evidence"]) for row in _verdicts(own)}
    assert said == {("accept", row["example_id"], False, "too_long") for row in tables["examples"]} | {
        ("accept.solution", row["example_id"], False, "too_long") for row in tables["solutions"]
    }
    _identities_hold(own, *counts)
    told = _reaccept(own, "synthesize", *loose)
    assert {s: _changes(n) for s, n in told.items()} == {s: {**refused_anew[s], "restored": counts[s]} for s in counts}
    assert own.everything() == tables
    newest: dict[tuple[str, str], Any] = {}
    for row in sorted(_verdicts(own), key=lambda row: row["version"]):
        newest[row["check"], row["subject_id"]] = row["passed"]
    assert set(newest.values()) == {True}
    rows = own.store.read("verdicts").select(*SCHEMAS["verdicts"].key)
    assert rows.count() == rows.distinct().count() == 2 * len(newest)


@pytest.mark.faults
def test_cut_off_after_every_commit_it_is_carried_out_by_the_next_run(refused: Lake, own: Lake, tmp_path: Path) -> None:
    """Checks that make every kind of change make five commits; each run after a cut makes them from the first again."""
    whole = refused.copy(tmp_path / "whole", NOBODY)
    told = _reaccept(whole, "infer", *MIXED)["infer"]
    assert all(told[name] for name in ("accepted", "cleared", "refused", "withdrawn"))
    _identities_hold(whole, "infer")
    again: Callable[[], object] = functools.partial(own.run, stages=("ingest",))
    runs: list[Callable[[], object]] = [functools.partial(_reaccept, own, "infer", *MIXED), *(4 * [again])]
    for saves, run in enumerate(runs, 1):
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, saves)
            with pytest.raises(KeyboardInterrupt):
                run()
    own.run(stages=("ingest",))
    same_rows(whole, own, [*TABLES, "verdicts"])
    names = ("requests", "answered", "rejected", "items", "accepted", "item_rejects", "wasted_microusd")
    assert own.sums(*names) == whole.sums(*names)
    assert _changes(_reaccept(own, "infer", *MIXED)["infer"]) == {}


def test_replies_to_another_prompt_are_counted_and_left(own: Lake, tmp_path: Path) -> None:
    file = tmp_path / "own" / "math.yaml"
    changed = strict(file.parent)
    file.write_text(file.read_text().replace("You solve math problems", "You solve every math problem"))
    told = _reaccept(own, "synthesize", *changed)
    assert told["synthesize.math.solution"]["read"] == 0
    refused = (row["input_key"] for row in own.rows("rejects") if row["stage"] == "synthesize.math.solution")
    tried = {row["example_id"] for row in own.rows("solutions")} | {key.split("#")[0] for key in refused}
    assert _changes(told["synthesize.math.solution"]) == {"not_asked": len(tried)}
    with pytest.raises(InputError, match="is stored under these settings"):
        _reaccept(own, "synthesize.math.solution", *changed)


def test_mistakes_in_the_command_are_one_line_each_and_exit_with_2(
    own: Lake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", *SMALL, f"llm.base_url={NOBODY}"]

    def told(stage: str, folder: Path) -> str:
        assert main(["reaccept", *config, f"store.path={folder}", "--stage", stage]) == 2
        said = capfd.readouterr().err
        return next(line for line in said.splitlines() if line.startswith("personalake reaccept"))

    before = own.versions()
    assert "no stage 'infr' asks anything (did you mean 'infer'?)" in told("infr", own.folder)
    assert "no stage 'dedup' asks anything" in told("dedup", own.folder)
    assert "there is no store yet" in told("infer", tmp_path / "none")
    (own.folder / "_work" / "open-run").write_text('{"stages": ["infer"]}')
    assert "infer may be half done (let `personalake run` end it first)" in told("infer", own.folder)
    assert own.versions() == before
    (own.folder / "_work" / "open-run").unlink()
    assert main(["reaccept", *config, f"store.path={own.folder}", "--stage", "infer", "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["reaccepted"]["infer"]["accepted"] > 0
    assert data["stages"] == []
