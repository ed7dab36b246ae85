"""Tasks of several steps: each is asked once those that it sees are answered, and sees what it may see alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from personalake import asking
from personalake.llm.offline import OfflineSettings, serving
from personalake.synthesis.synthesize import later_requests
from tests.conftest import ROOT
from tests.lake import SMALL, Lake, cut_after, ledger, same_rows

WRITTEN = ("examples", "solutions", "completions", "rejects", "prompts", "pending")
CHAINS = "synthesize.tasks=[{task: dialogue, target: 3}, {task: tool, target: 3}]"


@pytest.fixture(scope="module")
def chained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A store with three dialogues and three tools."""
    with serving(OfflineSettings(flaws=0)) as base_url:
        lake = Lake(spark, tmp_path_factory.mktemp("chained") / "lake", base_url, [*SMALL, CHAINS])
        lake.run()
    return lake


def _bodies(lake: Lake, name: str) -> list[str]:
    """What the requests of a step of `dialogue` said to the model: those that brought what the store has."""
    inputs = lake.inputs(stages=())
    task, step = asking.steps_of(inputs)[f"synthesize.dialogue.{name}"]
    examples = lake.store.read("examples").where("task = 'dialogue'")
    seen = asking.seen_by(lake.store, task, step, examples)
    requests = {
        row["request_key"]: row["body"] for row in later_requests(seen, task, step, inputs.question_of(step)).collect()
    }
    assert set(requests) == {row["request_key"] for row in lake.rows("solutions") if row["step"] == name}
    return list(requests.values())


def test_every_example_has_all_its_fields_and_the_counts_add_up(chained: Lake) -> None:
    examples = {row["example_id"]: row for row in chained.rows("examples")}
    steps: dict[str, set[str]] = {}
    for row in chained.rows("solutions"):
        steps.setdefault(row["example_id"], set()).add(row["step"])
    assert {example: examples[example]["task"] for example in steps} == {e: r["task"] for e, r in examples.items()}
    wanted = {"dialogue": {"reply", "follow_up", "second_reply"}, "tool": {"code"}}
    assert all(found == wanted[examples[example]["task"]] for example, found in steps.items())
    sums = chained.sums("requests", "answered", "rejected", "deferred", "items", "accepted", "item_rejects")
    for stage in ("dialogue.opening", "dialogue.reply", "dialogue.follow_up", "dialogue.second_reply", "tool.code"):
        counts = sums[f"synthesize.{stage}"]
        assert counts[0] == sum(counts[1:4])
        assert counts[4] == sum(counts[5:])
        assert counts[5] == 3


def test_replies_in_parts_bring_a_field_a_part(chained: Lake) -> None:
    tools = [dict(row["fields"]) for row in chained.rows("examples") if row["task"] == "tool"]
    assert all({"name", "description", "parameters", "returns", "example"} == set(fields) for fields in tools)
    assert all(isinstance(json.loads(fields["parameters"]), list) for fields in tools)
    codes = [dict(row["fields"]) for row in chained.rows("solutions") if row["step"] == "code"]
    assert {frozenset(fields) for fields in codes} == {frozenset({"code", "tests"})}
    names = {fields["name"] for fields in tools}
    assert all(any(fields["code"].startswith(f"def {name}(") for name in names) for fields in codes)


def test_who_asked_is_shown_to_who_asks_again_and_never_to_who_answers(chained: Lake) -> None:
    texts = {row["persona_id"]: row["text"] for row in chained.rows("hub")}
    asked = [texts[row["persona_id"]] for row in chained.rows("examples") if row["task"] == "dialogue"]
    assert len(asked) == 3
    assert all(any(text in body for text in asked) for body in _bodies(chained, "follow_up"))
    for step in ("reply", "second_reply"):
        bodies = _bodies(chained, step)
        assert len(bodies) == 3
        assert not [text for text in texts.values() for body in bodies if text in body]


def test_a_dialogue_is_exported_with_its_turns_in_their_order(chained: Lake) -> None:
    examples = {row["example_id"]: dict(row["fields"]) for row in chained.rows("examples")}
    said = {(row["example_id"], row["step"]): row["text"] for row in chained.rows("solutions")}
    lines = (chained.folder / "export" / "dialogue" / "train-00000-of-00001.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 3
    for row in rows:
        name = row["example_id"]
        turns = [examples[name]["opening"], *(said[name, step] for step in ("reply", "follow_up", "second_reply"))]
        roles = ["user", "assistant"] * 2
        assert row["messages"] == [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]


def test_a_chain_that_is_cut_off_goes_on_with_the_same_rows_and_pays_nothing_twice(
    chained: Lake, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(OfflineSettings(flaws=0)) as base_url:
        other = Lake(spark, tmp_path / "lake", base_url, chained.overrides)
        other.run(stages=("ingest", "infer", "dedup"))
        with monkeypatch.context() as patched:
            cut_after(patched, 7)
            with pytest.raises(KeyboardInterrupt):
                other.run(stages=("synthesize",))
        assert other.rows("examples")
        assert not [row for row in other.rows("solutions") if row["step"] == "second_reply"]
        other.run(stages=("synthesize",))
        assert ledger(base_url)["max_per_request"] == 1
        assert "nothing new" in other.run(stages=("synthesize",)).text
    same_rows(chained, other, WRITTEN)


_SOLVERS = (("solver_cot", 0), ("solver_cot", 1), ("solver_other", 0))


def test_several_roles_answer_a_step_each_as_often_as_it_is_told(spark: SparkSession, tmp_path: Path) -> None:
    task: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "tasks" / "math.yaml").read_text())
    solution = task["steps"][1]
    del solution["role"]
    solution |= {"roles": {"solver_cot": 2, "solver_other": 1}}
    task["verify"] = {"step": "solution", "kinds": 2}
    (tmp_path / "math.yaml").write_text(yaml.safe_dump(task))
    with serving(OfflineSettings(flaws=0)) as base_url:
        tasks = f"synthesize.tasks=[{{task: '{tmp_path / 'math.yaml'}', target: 3}}]"
        other = "llm.roles={solver_cot: {temperature: 0.7}, solver_other: {temperature: 0.2}}"
        lake = Lake(spark, tmp_path / "lake", base_url, [*SMALL, tasks, other])
        lake.run(stages=("ingest", "infer", "dedup", "synthesize", "export"))
        solvers = Counter((row["example_id"], row["solver"]) for row in lake.rows("solutions"))
        assert sorted(Counter(solvers.values()).items()) == [(1, 3), (2, 3)]
        sums = lake.sums("requests", "accepted")
        assert sums["synthesize.math.solution.solver_cot"] == [6, 6]
        assert sums["synthesize.math.solution.solver_other"] == [3, 3]
        assert sum(1 for row in lake.rows("prompts") if row["name"] == "math/solution") == 1
        answers = {(row["example_id"], row["solver"], row["sample"]): row["answer"] for row in lake.rows("solutions")}
        verdicts = {row["subject_id"]: row for row in lake.rows("verdicts")}
        assert set(verdicts) == {example for example, _, _ in answers}
        lines = (lake.folder / "export" / "math" / "train-00000-of-00001.jsonl").read_text().splitlines()
        exported = {row["example_id"]: row["verified"] for row in map(json.loads, lines)}
        for example, verdict in verdicts.items():
            first, *others = (answers[example, solver, sample] for solver, sample in _SOLVERS)
            # Of one model and one prompt, however many roles and answers: two kinds never agree.
            assert (verdict["passed"], exported[example]) == (False, False)
            if first in others:
                assert "solver_cot#0" in json.loads(verdict["evidence"])["agree"]
        assert "nothing new" in lake.run(stages=("synthesize", "export")).text
        # Whose first answer is gone is exported with the next that there is.
        inputs = lake.inputs(stages=())
        task_, step = asking.steps_of(inputs)["synthesize.math.solution.solver_cot"]
        steps = [each for each in task_.later if each.id == step.id]
        alone = asking.first_answers(lake.store, steps[::-1]).collect()
        assert {row["example_id"]: row["answer"] for row in alone} == {
            example: answers[example, "solver_other", 0] for example, _, _ in answers
        }
