"""The command, over small stores of its own: what it prints, compares and refuses."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from personalake.cli import main
from personalake.dedup.sketches import persona_sketches
from personalake.dedup.vectors import kept
from personalake.settings import StoreSettings
from personalake.store import Store
from tests.conftest import ROOT

ROWS = 34
WORDS = [f"word{n}" for n in range(300)]


def text(chance: random.Random, number: int = 300) -> str:
    return "Someone who " + " ".join(chance.choices(WORDS[:number], k=12))


def store(spark: SparkSession, folder: Path, words: int = 300, runs: int = 1) -> Store:
    """A store of two hops from two files and 34 examples of a task, whose texts have so many different words.

    Of each run the hub has 68 personas; those of the last one are in `personas`, too.
    """
    made = Store(spark, StoreSettings.model_validate({"path": str(folder)})).open()
    chance = random.Random(f"{words}")
    for seq in range(1, runs + 1):
        personas = [
            {
                "persona_id": f"{seq}-{n}",
                "text": text(chance, words),
                "text_hash": f"{chance.getrandbits(256):064x}",
                "hop": n % 2,
                "ordinal": 0,
                "domain": f"d{n % 5}",
                "root_doc_id": f"page{n // 2}",
                "source": "pages.jsonl" if n % 3 else "crawl.warc",
                "model": "small-writer-8b",
            }
            for n in range(2 * ROWS)
        ]
        append(made, "hub", personas, seq)
        sketches = persona_sketches(made.read("hub").where(f"seq = {seq}"))
        made.append("sketches", sketches.selectExpr("*", "'dedup' AS stage"), seq)
    examples = [
        {
            "example_id": f"e{n}", "task": "math", "persona_id": f"1-{n}", "ordinal": 0, "rank": f"{n}",
            "mode": "zero_shot", "variation": {"topic": "rates" if n % 2 else "algebra"},
            "fields": {"problem": text(chance, words)}, "model": "offline-rules",
        }
        for n in range(ROWS)
    ]  # fmt: skip
    append(made, "examples", examples, runs)
    append(made, "personas", personas, runs)
    return made


def append(made: Store, name: str, rows: Sequence[dict[str, Any]], seq: int) -> None:
    schema = made.read(name).drop("seq").schema
    values = [tuple(row.get(field.name) for field in schema.fields) for row in rows]
    made.append(name, made.spark.createDataFrame(values, schema), seq)


@pytest.fixture(scope="module")
def stores(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """One that has grown in two runs, one whose texts have few words, and an empty one."""
    folder = tmp_path_factory.mktemp("diversity")
    made = {"varied": store(spark, folder / "varied", runs=2), "poor": store(spark, folder / "poor", words=20)}
    return {**made, "empty": Store(spark, StoreSettings.model_validate({"path": str(folder / "empty")})).open()}


def told(one: Store, capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={one.settings.path}"]
    assert main(["diversity", *config, *arguments]) == code
    printed = capfd.readouterr()
    return printed.err if code else printed.out


def test_the_hub_is_measured_by_hop_and_source(stores: dict[str, Store], capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(stores["varied"], capfd, "--json"))
    groups = {(group["by"], group["group"]): group for group in found["groups"]}
    rows = {key: group["rows"] for key, group in groups.items()}
    assert rows == {
        ("all", ""): 4 * ROWS, ("hop", "0"): 2 * ROWS, ("hop", "1"): 2 * ROWS,
        ("source", "pages.jsonl"): 90, ("source", "crawl.warc"): 46,
    }  # fmt: skip
    assert (found["tokens"], found["rows"]) == (14 * 46, 46)
    whole = groups["all", ""]
    assert whole["all"]["tokens"] == 14 * 4 * ROWS
    assert 0 < whole["all"]["distinct_1"] < whole["equal_size"]["distinct_1"] < 1
    assert whole["all"]["entropy.domain"] == pytest.approx(1, abs=0.01)
    assert whole["all"]["filled.occupation"] == 0


def test_the_text_names_groups_growth_and_what_the_figures_mean(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str]
) -> None:
    printed = told(stores["varied"], capfd)
    for line in ("By 644 tokens and 46 personas of each", "hop 0", "crawl.warc", "after each run", "self-repetition:"):
        assert line in printed
    assert "stand-ins" not in printed


def test_the_growth_is_that_of_the_texts_of_each_run(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str]
) -> None:
    found = {each["subject"]: each["runs"] for each in json.loads(told(stores["varied"], capfd, "--json"))["growth"]}
    hub = stores["varied"].read("hub").collect()
    for run in (1, 2):
        words = {word for row in hub if row["seq"] <= run for word in row["text"].lower().split()}
        about = {each["run"]: each["different"] for each in found["persona_words"]}
        assert about[run] == pytest.approx(len(words), rel=0.02)
    assert [round(each["different"] / ROWS) for each in found["personas"]] == [2, 4]


def test_one_grouping_alone_is_told_where_it_is_asked_for(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(told(stores["varied"], capfd, "--of", "personas", "--by", "domain", "--json"))
    assert [group["group"] for group in found["groups"]] == ["", "d0", "d1", "d2", "d3", "d4"]


def test_examples_are_measured_by_task_and_by_what_was_drawn(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str]
) -> None:
    printed = told(stores["varied"], capfd, "--of", "examples", "--by", "variation")
    assert "topic: algebra" in printed
    assert "stand-ins" in printed
    found = json.loads(told(stores["varied"], capfd, "--of", "examples", "--json"))
    assert [(group["by"], group["group"], group["rows"]) for group in found["groups"]] == [
        ("all", "", ROWS), ("task", "math", ROWS), ("model", "offline-rules", ROWS),
    ]  # fmt: skip
    assert found["groups"][0]["all"]["entropy.vary_topic"] == pytest.approx(1)


def test_a_store_of_few_words_is_told_from_one_of_many(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str]
) -> None:
    varied, poor = stores["varied"], stores["poor"]
    found = json.loads(told(varied, capfd, "--against", str(poor.settings.path), "--by", "hop", "--json"))
    assert [(group["by"], group["group"]) for group in found["groups"]] == [("all", ""), ("hop", "0"), ("hop", "1")]
    for group in found["groups"]:
        figures = group["figures"]
        assert figures["distinct_1"]["low"] > 0
        assert figures["nearest"]["high"] < 0
        assert not figures["entropy.domain"]["tells"]
    printed = told(varied, capfd, "--against", str(poor.settings.path), "--of", "examples", "--by", "task")
    lines = [line.split() for line in printed.splitlines()]
    assert [line[-1] for line in lines if line[:1] == ["distinct-1"]] == ["here"]
    assert [line[-1] for line in lines if line[:1] == ["compression"]] == ["here"]


def test_vectors_are_measured_where_the_hub_has_them(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = store(spark, tmp_path)
    rows = one.read("hub").select("persona_id").collect()
    values = np.random.default_rng(1).standard_normal((len(rows), 8))
    vectors = [
        {"persona_id": row["persona_id"], "model": "small", "dimensions": 8, "vector": vector}
        for row, vector in zip(rows, kept(values), strict=True)
    ]
    append(one, "hub_vectors", vectors, 1)
    found = json.loads(told(one, capfd, "--set", "dedup.embedding.model=small", "--json"))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = unit @ unit.T - 3 * np.eye(len(unit))
    assert found["groups"][0]["all"]["nearest_cosine"] == pytest.approx(cosines.max(axis=1).mean(), abs=1e-3)
    assert json.loads(told(one, capfd, "--json"))["groups"][0]["all"]["nearest_cosine"] is None


def test_a_store_without_personas_says_that_there_are_none(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(told(stores["empty"], capfd, "--json"))
    assert [(group["by"], group["rows"]) for group in found["groups"]] == [("all", 0)]
    assert "no personas yet" in told(stores["empty"], capfd)
    assert "no examples yet" in told(stores["empty"], capfd, "--of", "examples")


def test_what_cannot_be_measured_is_one_line_with_its_cure(
    stores: dict[str, Store], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mistakes = {
        ("--by", "task"): "--by task doesn't go with --of hub (hub can be grouped by hop, source,",
        ("--of", "examples", "--by", "hop"): "(examples can be grouped by task, model,",
        ("--against", str(tmp_path / "nowhere")): "nowhere: there is no store (give the folder",
        ("--against", str(stores["empty"].settings.path)): "no group of 30 personas in common (run both further",
    }
    for arguments, said in mistakes.items():
        printed = told(stores["varied"], capfd, *arguments, code=2)
        assert said in printed
        assert printed.count("\n") == 1


def test_nothing_is_written(stores: dict[str, Store], capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(str(stores["varied"].settings.path))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for arguments in itertools.product(([], ["--against", str(stores["poor"].settings.path)]), (["--by", "hop"],)):
        told(stores["varied"], capfd, *itertools.chain(*arguments))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
