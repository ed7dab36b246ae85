"""From requests to completions on Spark and Delta: crashes, budgets, several endpoints, damaged journals."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.errors import DeferredError, PersonalakeError, StopRunError, StoreError
from personalake.lease import Lease
from personalake.llm.complete import Ask, Completer
from personalake.llm.journal import SCHEMA, Journal, segments
from personalake.llm.landing import Landing
from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.llm.spent import Spent
from personalake.llm.wave import Wave
from personalake.llm.wave_plan import STOP_FILE
from personalake.settings import LlmSettings, StoreSettings
from personalake.store import Store
from tests.bench.engine_load import question, requests, worst
from tests.lake import ledger

QUESTION = question(600, [1.0, 1.0])
WORST = worst(QUESTION, 200)


@dataclass
class Desk:
    """A store, an endpoint, and completers over them, one a run."""

    spark: SparkSession
    folder: Path
    base_url: str
    runs: int = 0

    @property
    def store(self) -> Store:
        return Store(self.spark, StoreSettings.model_validate({"path": str(self.folder)})).open()

    @contextmanager
    def completer(self, budget_usd: float | None = None, **llm: Any) -> Iterator[Completer]:
        """A run's completer, under the lease."""
        self.runs += 1
        own = {"tasks": 2, "in_flight": 16, "timeout_s": 20.0, "patience_s": 0.5, **llm}
        settings = LlmSettings.model_validate(own if "endpoints" in own else {"base_url": self.base_url, **own})
        store = self.store
        with Lease(store.work, "test") as lease:
            completer = Completer(store, lease, settings, "", self.runs, budget_usd)
            completer.recover()
            yield completer

    def ask(self, count: int, budget_usd: float | None = None, salt: str = "x", **llm: Any) -> Spent:
        """One run that asks *count* requests."""
        with self.completer(budget_usd, **llm) as completer:
            rows, spent = completer.complete([self.asking(count, salt)])
            assert rows.count() == count
            return spent["load"]

    def asking(self, count: int, salt: str = "x") -> Ask:
        """So many requests of one stage."""
        return Ask("load", requests(self.spark, count, QUESTION, 200, salt), QUESTION)

    def completions(self) -> DataFrame:
        return self.store.read("completions")

    def paid(self) -> int:
        return int(self.completions().agg(F.sum("cost_microusd")).collect()[0][0] or 0)


@contextmanager
def _desk(spark: SparkSession, folder: Path, faults: dict[str, Any] | None = None, **more: Any) -> Iterator[Desk]:
    plan = plan_of({"reply": {"kind": "canned", "chars": 400}, **(faults or {})}, "test")
    with serving(OfflineSettings(flaws=0.0, faults=plan, **more)) as base_url:
        yield Desk(spark, folder, base_url)


@pytest.fixture
def desk(spark: SparkSession, tmp_path: Path) -> Iterator[Desk]:
    with _desk(spark, tmp_path) as desk:
        yield desk


def _dying(where: type, name: str, monkeypatch: pytest.MonkeyPatch, *, after: bool = False) -> None:
    """Let *name* of *where* die, before it does anything or *after* it has."""
    real = getattr(where, name)

    def dies(self: Any, *args: Any, **more: Any) -> Any:
        if after:
            real(self, *args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(where, name, dies)


@pytest.mark.parametrize(
    ("where", "name", "after"),
    [(Landing, "commit", False), (Landing, "commit", True), (Landing, "_check", False), (Wave, "land", True)],
)
def test_a_run_that_dies_around_a_commit_pays_nothing_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: type, name: str, after: bool
) -> None:
    with monkeypatch.context() as dying:
        _dying(where, name, dying, after=after)
        with pytest.raises(KeyboardInterrupt):
            desk.ask(40)
    assert ledger(desk.base_url)["requests"] >= 1
    desk.ask(40)
    told, keys = ledger(desk.base_url), desk.completions().select("request_key")
    assert (told["requests"], told["answered_again"]) == (40, 0)
    assert keys.count() == keys.distinct().count() == 40
    assert desk.paid() == told["tokens"]["total_tokens"]
    assert not (desk.store.work / "journal").files()


def test_replies_are_landed_while_the_tasks_still_work(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    begun = threading.Event()
    real, flush = Landing.commit, Journal.flush

    def commit(self: Landing, wave: Any, found: Any, *, sure: bool) -> dict[str, int]:
        begun.set()
        commits.append(sum(segment.rows for segment in found))
        return real(self, wave, found, sure=sure)

    def flush_and_wait(self: Journal) -> None:
        flush(self)
        if len(self.answered()) >= 40:
            assert begun.wait(60), "no commit while the task works"

    monkeypatch.setattr(Landing, "commit", commit)
    monkeypatch.setattr(Journal, "flush", flush_and_wait)
    monkeypatch.setattr("personalake.llm.wave._LOOK_EVERY_S", 0.0)
    # In the driver, so that the commits of this small session find a free place.
    desk.ask(300, run_on="driver", in_flight=2, commit_rows=40, flush_s=0.01)
    assert commits[0] >= 40, "the task had not ended: its last flush waited for this commit"
    assert sum(commits) == 300
    assert desk.completions().count() == 300


def test_a_second_attempt_at_a_part_does_not_ask_for_what_is_landed_already(desk: Desk) -> None:
    with desk.completer() as completer:
        waiting = completer._waiting(desk.store.stage(desk.asking(30).requests.withColumn("stage", F.lit("load")), "s"),
                                     {"load": QUESTION}, "w")  # fmt: skip
        wave = completer._open(waiting, 1, 1)
        completer._ask(wave, wave.plan, waiting.rows)
        wave.land()
        assert desk.completions().count() == 30
        completer._ask(wave, wave.plan, waiting.rows)
        assert wave.land() == {}
    assert ledger(desk.base_url)["requests"] == 30


def test_a_repeated_key_in_the_table_multiplies_no_row(desk: Desk) -> None:
    desk.ask(6)
    store = desk.store
    store.append("completions", store.read("completions").drop("seq").limit(3), 9)
    with desk.completer() as completer:
        rows, _ = completer.complete([desk.asking(6)])
        assert rows.count() == 6


def test_a_cut_segment_is_one_clear_line_and_nothing_is_lost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        _dying(Landing, "commit", dying)
        with pytest.raises(KeyboardInterrupt):
            desk.ask(10)
    found = segments(desk.store.work / "journal")
    whole = Path(found[-1].path).read_bytes()
    Path(found[-1].path).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="can't be read") as caught:
        desk.ask(10)
    assert found[-1].path in str(caught.value)
    Path(found[-1].path).write_bytes(whole)
    desk.ask(10)
    assert ledger(desk.base_url)["requests"] == 10


def test_a_journal_of_another_version_is_refused_and_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        _dying(Landing, "commit", dying)
        with pytest.raises(KeyboardInterrupt):
            desk.ask(10)
    path = segments(desk.store.work / "journal")[0].path
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["reasoning"]), path)
    with pytest.raises(StoreError, match="another version"):
        desk.ask(10)
    assert Path(path).exists()


def test_twenty_identical_refusals_that_open_a_stage_stop_the_run(spark: SparkSession, tmp_path: Path) -> None:
    with _desk(spark, tmp_path, {"kind": "content_filter"}) as desk:
        with pytest.raises(StopRunError, match="first 20 replies of load were all refused: content_filter"):
            desk.ask(200)
        assert ledger(desk.base_url)["requests"] == 20
        assert desk.completions().count() == 20


def test_a_refusal_that_opens_a_stage_of_good_replies_stops_nothing(spark: SparkSession, tmp_path: Path) -> None:
    with _desk(spark, tmp_path, {"rates": {"refusal": 0.5}}) as desk:
        desk.ask(60)
        told = ledger(desk.base_url)
        assert (told["requests"], told["answered_again"], desk.completions().count()) == (60, 0, 60)


def test_a_budget_holds_with_many_tasks_and_is_used_as_far_as_it_goes(spark: SparkSession, tmp_path: Path) -> None:
    with _desk(spark, tmp_path, {"latency": 2}) as desk:
        budget = 40 * WORST / 1e6
        spent = desk.ask(400, budget_usd=budget, tasks=4, in_flight=64)
        cost = ledger(desk.base_url)["tokens"]["total_tokens"]
        assert spent.stopped is not None
        assert spent.stopped.startswith("budget: ")
        assert desk.paid() == cost
        assert budget * 1e6 - WORST < cost <= budget * 1e6
        # The next run has nothing to spend, and sends nothing.
        again = desk.ask(400, budget_usd=budget)
        assert again.sent == 0
        assert ledger(desk.base_url)["tokens"]["total_tokens"] == cost


def test_a_budget_counts_what_a_crash_may_have_cost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        _dying(Wave, "run", dying)  # Killed with everything in flight: nobody knows what was answered.
        with pytest.raises(KeyboardInterrupt):
            desk.ask(10, budget_usd=1.0)
    with desk.completer(budget_usd=1.0) as completer:
        assert completer.purse.lost() == {"load": 10 * WORST}
        assert completer.purse.paid == 10 * WORST
        # So does the next run that looks, with a row in `runs` or without.
        assert Completer(desk.store, completer._lease, completer._settings, "", 3, 1.0).purse.paid == 10 * WORST
        completer.purse.settle()  # As a stage does whose row in `runs` has it.
        assert completer.purse.lost() == {}


def test_no_price_and_a_budget_is_refused_before_anything_is_sent(desk: Desk) -> None:
    free = QUESTION.model_copy(update={"abilities": QUESTION.abilities.model_copy(update={"price": None})})
    with desk.completer(budget_usd=1.0) as completer, pytest.raises(PersonalakeError, match="no price"):
        completer.complete([Ask("load", requests(desk.spark, 3, free, 200, "x"), free)])
    assert ledger(desk.base_url)["requests"] == 0


def test_one_endpoint_of_two_that_refuses_the_key_is_told_and_the_other_does_all(
    spark: SparkSession, tmp_path: Path
) -> None:
    with _desk(spark, tmp_path, api_keys=("right",)) as bad, _desk(spark, tmp_path) as desk:
        endpoints = [{"base_url": bad.base_url}, {"base_url": desk.base_url}]
        spent = desk.ask(20, endpoints=endpoints)
        assert desk.completions().count() == 20
        assert spent.warnings == {f"{bad.base_url} took no more requests: wrong_key"}
        assert f"latency_p95_ms {desk.base_url}" in spent.figures()


def test_an_endpoint_that_goes_down_defers_the_rest_and_the_next_run_goes_on(
    spark: SparkSession, tmp_path: Path
) -> None:
    with _desk(spark, tmp_path, {"kind": "503"}) as desk, pytest.raises(DeferredError, match=r"endpoint_down|overload"):
        desk.ask(20)
    with _desk(spark, tmp_path) as desk:
        desk.runs = 1
        desk.ask(20)
        assert desk.completions().count() == ledger(desk.base_url)["requests"] == 20


def test_a_stop_from_outside_saves_what_is_under_way_and_lands_it(spark: SparkSession, tmp_path: Path) -> None:
    with _desk(spark, tmp_path, {"latency": 30}) as desk:
        with desk.completer(in_flight=2, flush_s=0.05) as completer:

            def stop(told: Any) -> None:
                if told.done >= 4:
                    for name in (desk.store.work / "journal").folders():
                        (desk.store.work / "journal" / name).write(STOP_FILE, b"")

            completer.progress = stop
            _, spent = completer.complete([desk.asking(400)])
        assert spent["load"].stopped == "interrupted: stopped by the user"
        assert 4 <= desk.completions().count() == ledger(desk.base_url)["requests"] < 400


def test_ctrl_c_lands_what_came_and_leaves_nothing_in_doubt(spark: SparkSession, tmp_path: Path) -> None:
    with _desk(spark, tmp_path, {"latency": 30}) as desk:
        with desk.completer(budget_usd=1.0, in_flight=2, flush_s=0.05) as completer:

            def interrupt(told: Any) -> None:
                if told.done >= 4:
                    completer.progress = lambda _: None
                    raise KeyboardInterrupt  # As Python's own handler does, in the thread that watches the wave.

            completer.progress = interrupt
            with pytest.raises(KeyboardInterrupt):
                completer.complete([desk.asking(400)])
        billed = ledger(desk.base_url)
        assert 4 <= desk.completions().count() == billed["requests"] < 400
        assert desk.paid() == billed["tokens"]["total_tokens"]
        assert not (desk.store.work / "journal").files()
        with desk.completer(budget_usd=1.0) as completer:
            # Every send was answered: the budget has lost nothing but what that cost.
            assert completer.purse.paid == desk.paid()


def test_prompts_that_begin_alike_follow_each_other(desk: Desk) -> None:
    # One in flight and one part: the order of arrival is the order in which the part was sorted.
    desk.ask(30, tasks=1, in_flight=1)
    asked = requests(desk.spark, 30, QUESTION, 200, "x").orderBy("body").select("request_key").collect()
    first, *rest = ledger(desk.base_url)["by_client_request_id"]
    assert rest == [row[0] for row in asked if row[0] != first], "one was asked ahead of all, alone"


def test_segments_have_the_columns_that_completions_have() -> None:
    from personalake.schemas import COMPLETIONS  # noqa: PLC0415 (one use)

    assert SCHEMA.names == [name for name in COMPLETIONS.names if name != "seq"]
