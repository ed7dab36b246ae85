"""The Batch API beside the engine: one store, every key paid once, whichever way it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from personalake.llm.batched import Batched
from tests.lake import ledger
from tests.llm.test_complete import WORST, Desk, _desk

BATCH: dict[str, Any] = {"transport": "batch", "batch_poll_s": 0.02, "batch_wait_s": 60.0}


def _status(desk: Desk) -> list[str]:
    return [row["status"] for row in desk.store.read("batches").orderBy("submitted_at").collect()]


def _keys(desk: Desk) -> tuple[int, int]:
    keys = desk.completions().select("request_key")
    return keys.count(), keys.distinct().count()


@pytest.fixture
def desk(spark: SparkSession, tmp_path: Path) -> Any:
    with _desk(spark, tmp_path) as desk:
        yield desk


def test_what_waits_is_handed_in_and_collected_at_half_the_price(desk: Desk) -> None:
    spent = desk.ask(40, **BATCH, batch_rows=15)
    told = ledger(desk.base_url)
    assert _keys(desk) == (40, 40)
    assert (told["batch_rows"], told["requests"]) == (39, 1)
    assert _status(desk) == ["completed"] * 3
    assert spent.stopped is None
    live = max(row["cost_microusd"] for row in desk.completions().collect())
    assert live + 39 * live // 2 <= desk.paid() <= live + 39 * (live // 2 + 1)
    # Nothing is left to do, and nothing is asked.
    desk.ask(40, **BATCH)
    assert ledger(desk.base_url)["batch_rows"] == 39


def test_what_lies_at_the_desk_is_not_asked_online_and_a_later_run_collects_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as blind:
        blind.setattr(Batched, "collect", lambda self, spent: 29)
        spent = desk.ask(30, transport="batch", batch_wait_s=0.0)
        assert spent.stopped == "29 requests lie in batches at the provider"
        # The same question and others, online.
        more = desk.ask(30)
        assert more.sent == 0
        desk.ask(5, salt="others")
    desk.ask(30, batch_wait_s=0.0)
    told = ledger(desk.base_url)
    assert _keys(desk) == (35, 35)
    assert (told["batch_rows"], told["requests"], told["answered_again"]) == (29, 6, 0)


def test_a_batch_that_expires_half_way_is_finished_online(spark: SparkSession, tmp_path: Path) -> None:
    with _desk(spark, tmp_path, {"batch": "expired"}) as desk:
        spent = desk.ask(30, **BATCH)
        assert _status(desk) == ["expired"]
        assert spent.failed_sends > 0
        assert _keys(desk)[0] < 30
        desk.ask(30)
        assert _keys(desk) == (30, 30)
        assert ledger(desk.base_url)["answered_again"] == 0


def test_a_batch_whose_landing_was_cut_off_is_landed_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:

        def dies(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        dying.setattr("personalake.llm.batch.Desk.settle", dies)
        with pytest.raises(KeyboardInterrupt):
            desk.ask(20, **BATCH)
    desk.ask(20, **BATCH)
    assert _keys(desk) == (20, 20)
    assert ledger(desk.base_url)["batch_rows"] == 19
    assert desk.paid() == sum(row["cost_microusd"] for row in desk.completions().collect())


def test_a_budget_holds_what_may_be_handed_in(desk: Desk) -> None:
    spent = desk.ask(60, budget_usd=20 * WORST / 1e6, **BATCH)
    assert spent.stopped is not None
    assert spent.stopped.startswith("budget: ")
    assert 15 <= _keys(desk)[0] <= 20
