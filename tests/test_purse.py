"""What a store has cost, as its tables say, where nobody knows of every send whether it was billed."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.llm.purse import Purse
from personalake.store_files import paid_microusd
from tests.lake import WHOLE, Lake, ledger


def test_sends_that_were_cut_count_once_against_the_budget_and_are_no_cost(spark: SparkSession, tmp_path: Path) -> None:
    faults = plan_of({"rates": {"cut": 1.0}, "attempts": 1}, "test")
    with serving(OfflineSettings(flaws=0.0, faults=faults)) as base_url:
        lake = Lake(spark, tmp_path, base_url, WHOLE)
        lake.run("budget_usd=5", stages=("ingest", "infer"))
        billed = ledger(base_url)["cost_usd"] * 1e6
    store = lake.store
    runs = {row["stage"]: row for row in store.read("runs").collect()}
    costs = sum(row["cost_microusd"] for row in store.read("completions").collect())
    unknown = runs["infer"]["unknown_microusd"]
    assert runs["infer"]["cost_microusd"] == costs
    # The endpoint has billed each reply twice, of which we saw one; the other counts at its worst.
    assert costs < billed <= costs + unknown
    assert Purse(store, 5.0).paid == paid_microusd(store.settings) == costs + unknown
    assert not (store.work / "lost").files()
