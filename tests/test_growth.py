"""The hub grows: hops of persona-to-persona, each compared before the next is paid for, and a target that ends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from personalake.llm.offline import OfflineSettings, serving
from personalake.reaccept import reaccept
from personalake.rebuild import rebuild
from personalake.replay import replay
from tests.lake import CORPUS, Lake, cut_after, ledger, partitions, same_rows

GROW = ("ingest", "infer", "dedup", "expand")
PAGES = [f"corpus.paths=['{CORPUS / 'pages.jsonl'}']", "corpus.licence=CC0-1.0", "synthesize.tasks=[]"]
GROWN = ("prompts", "completions", "personas", "hub", "duplicates", "hub_keys", "rejects", "pending")


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(OfflineSettings()) as address:
        yield address


@pytest.fixture(scope="module")
def grown(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, base_url: str) -> Lake:
    """Two hops, one persona asked of each."""
    lake = Lake(spark, tmp_path_factory.mktemp("grown") / "lake", base_url, [*PAGES, "expand={hops: 2, fan_out: 1}"])
    lake.run(stages=GROW)
    return lake


def test_each_hop_asks_everybody_whom_the_one_before_has_kept_once_and_its_counts_add_up(grown: Lake) -> None:
    hub, personas = grown.rows("hub"), grown.rows("personas")
    counts = grown.sums(
        "requests", "answered", "rejected", "deferred", "items", "accepted", "duplicates", "item_rejects"
    )
    kept = Counter(row["hop"] for row in hub)
    assert set(kept) == {0, 1, 2}
    for hop in (1, 2):
        asks, compares = counts[f"expand.{hop}"], counts[f"dedup.{hop}"]
        assert asks[0] == kept[hop - 1] == sum(asks[1:4])
        assert asks[4] == sum(asks[5:])
        assert asks[5] == sum(row["hop"] == hop for row in personas) == compares[4]
        assert compares[5] == kept[hop]
    assert len({row["persona_id"] for row in personas}) == len(personas)


def test_everybody_knows_the_way_back_to_the_page(grown: Lake) -> None:
    personas = {row["persona_id"]: row for row in grown.rows("personas")}
    pages = {row["doc_id"]: row for row in grown.rows("documents")}
    for row in personas.values():
        at, hop = row, row["hop"]
        while at["parent_id"]:
            assert at["doc_id"] is None
            assert personas[at["parent_id"]]["hop"] == at["hop"] - 1
            at, hop = personas[at["parent_id"]], hop - 1
        assert hop == 0
        assert at["doc_id"] == row["root_doc_id"]
        assert row["licence"] == pages[row["root_doc_id"]]["licence"]
        assert row["url"] == pages[row["root_doc_id"]]["url"]


def test_a_second_run_asks_nobody_and_another_hop_only_the_last_one(grown: Lake, tmp_path: Path) -> None:
    with serving(OfflineSettings()) as base_url:
        own = grown.copy(tmp_path, base_url)
        assert "nothing new" in own.run(stages=GROW).text
        own.run("expand={hops: 3, fan_out: 1}", stages=GROW)
        last = [row for row in own.rows("hub") if row["hop"] == 2]
        assert ledger(base_url)["statuses"]["200"] == len(last)


def test_the_hub_is_the_same_in_any_partitioning(grown: Lake, spark: SparkSession, tmp_path: Path) -> None:
    with partitions(spark, 5):
        other = Lake(spark, tmp_path / "lake", grown.base_url, [*grown.overrides, "llm.tasks=3"])
        other.run(stages=GROW)
    same_rows(grown, other, ("personas", "hub", "duplicates", "rejects"))


@pytest.mark.parametrize("saves", [16, 22])
def test_a_run_that_is_cut_off_amid_the_hops_goes_on_with_the_same_rows_and_pays_nothing_twice(
    grown: Lake, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    with serving(OfflineSettings()) as base_url:
        other = Lake(spark, tmp_path / "lake", base_url, grown.overrides)
        with monkeypatch.context() as patched:
            cut_after(patched, saves)
            with pytest.raises(KeyboardInterrupt):
                other.run(stages=GROW)
        other.run(stages=GROW)
        assert ledger(base_url)["max_per_request"] == 1
    same_rows(grown, other, GROWN)


def test_a_target_is_met_by_less_than_a_wave_too_many_and_by_the_lowest_ranks(
    spark: SparkSession, tmp_path: Path, base_url: str
) -> None:
    own = Lake(spark, tmp_path / "lake", base_url, [*PAGES, "expand={hops: 2, fan_out: 2}", "llm.wave_rows=4"])
    own.run("hub.target=12", stages=GROW)
    first = own.rows("hub")
    assert 12 <= len(first) < 12 + 4 * 3
    assert any("of 12 personas" in line for line in own.said)
    asked = {row["doc_id"] for row in first if row["doc_id"]}
    assert "nothing new" in own.run("hub.target=12", stages=GROW).text
    own.run("hub.target=20", stages=GROW)
    more = own.rows("hub")
    assert len(more) >= 20
    assert {row["persona_id"] for row in first} <= {row["persona_id"] for row in more}
    assert asked < {row["doc_id"] for row in more if row["doc_id"]}


def test_a_hop_that_brings_too_little_ends_the_expansion_until_there_is_somebody_new(
    spark: SparkSession, tmp_path: Path, base_url: str
) -> None:
    hops = "expand={hops: 2, fan_out: 1, min_new: 2}"
    own = Lake(spark, tmp_path / "lake", base_url, [*PAGES, hops])
    own.run(stages=GROW)
    assert {row["hop"] for row in own.rows("hub")} == {0, 1}
    assert any("nobody further is asked" in line for line in own.said)
    assert "nothing new" in own.run(stages=GROW).text
    own.run("expand={hops: 2, fan_out: 1, min_new: 0}", stages=GROW)
    assert {row["hop"] for row in own.rows("hub")} == {0, 1, 2}


def test_a_judge_scores_everybody_once_and_keeps_those_of_low_scores_out(spark: SparkSession, tmp_path: Path) -> None:
    with serving(OfflineSettings()) as base_url:
        own = Lake(spark, tmp_path / "lake", base_url, [*PAGES, "expand.hops=0", "accept.judge={min_score: 3}"])
        own.run(stages=GROW)
        personas, hub, verdicts = own.rows("personas"), own.rows("hub"), own.rows("verdicts")
        scores = {row["subject_id"]: row["score"] for row in verdicts}
        assert set(scores) == {row["persona_id"] for row in personas}
        low = {persona for persona, score in scores.items() if score < 3}
        assert low
        assert low.isdisjoint(row["persona_id"] for row in hub)
        refused = {row["input_key"] for row in own.rows("rejects") if row["reason"] == "judged_low"}
        assert refused == low
        counts = own.sums("items", "accepted", "duplicates", "item_rejects")["dedup"]
        assert counts == [len(personas), len(hub), counts[2], len(low)]
        asked = ledger(base_url)["statuses"]["200"]
        assert "nothing new" in own.run(stages=GROW).text
        lenient = own.inputs("accept.judge={min_score: 1}", stages=())
        rebuild(lenient, say=own.said.append, spark=spark)
        assert ledger(base_url)["statuses"]["200"] == asked
    assert low <= {row["persona_id"] for row in own.rows("hub")} | {row["id"] for row in own.rows("duplicates")}
    assert not [row for row in own.rows("rejects") if row["reason"] == "judged_low"]


def test_replies_of_a_hop_are_read_again_under_todays_checks(grown: Lake, tmp_path: Path) -> None:
    own = grown.copy(tmp_path, "http://127.0.0.1:9/v1")
    told = reaccept(own.inputs("accept.min_chars=120", stages=()), "expand", say=own.said.append, spark=own.spark).data
    short = Counter(f"expand.{row['hop']}" for row in grown.rows("personas") if row["hop"] and len(row["text"]) < 120)
    assert {stage: each["withdrawn"] for stage, each in told["reaccepted"].items() if each["withdrawn"]} == short
    again = reaccept(own.inputs(stages=()), "expand.1", say=own.said.append, spark=own.spark).data["reaccepted"]
    assert again["expand.1"]["restored"] == short["expand.1"]


def test_what_a_hop_refused_is_asked_again_and_nothing_else(grown: Lake, tmp_path: Path) -> None:
    with serving(OfflineSettings()) as base_url:
        own = grown.copy(tmp_path, base_url)
        own.overrides = [*own.overrides, "llm.roles.expand={temperature: 0.8}"]
        refused = [row for row in grown.rows("rejects") if row["stage"] == "expand.1"]
        told = replay(own.inputs(stages=()), None, "expand.1", say=own.said.append, spark=own.spark).data
        assert told["replayed"] == len(refused) > 0
        assert ledger(base_url)["statuses"]["200"] >= len({row["request_key"] for row in refused})
    counts = own.sums("requests", "answered", "rejected", "deferred")["expand.1"]
    assert counts[0] == sum(counts[1:]) == sum(row["hop"] == 0 for row in own.rows("hub"))
