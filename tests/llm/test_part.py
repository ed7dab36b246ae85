"""What a paying task does when an endpoint misbehaves, over real HTTP and without Spark."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.llm.spent import Spent
from tests.llm.asking import SCHEMA_OF_REPLY, journaled, ledger, plan, requests, run


def _faulty(raw: dict[str, Any], **more: Any) -> OfflineSettings:
    return OfflineSettings(flaws=0.0, faults=plan_of({"reply": "canned", **raw}, "test"), **more)


def _nobody() -> str:
    """The address of a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_a_reply_that_does_not_fit_its_schema_is_asked_for_once_more_with_the_error(tmp_path: Path) -> None:
    faults = {"rates": {"invalid_json": 1.0}, "attempts": 1, "reply": "rules"}
    with serving(_faulty(faults)) as base_url:
        asked = plan(base_url, tmp_path, response_schema={"type": "string", "pattern": "never"})
        tally = run(asked, requests(6))
        told = ledger(base_url)
    # What the second reply holds isn't judged here: it was asked for, once, and both were paid.
    assert (tally["repairs"], tally["sent"], told["max_per_request"]) == (6, 12, 2)
    table = journaled(tmp_path)
    assert table["attempts"].to_pylist() == [2] * 6
    assert sum(table["cost_microusd"].to_pylist()) == told["tokens"]["total_tokens"]


def test_a_reply_that_still_does_not_fit_is_refused_and_its_text_is_kept(tmp_path: Path) -> None:
    with serving(_faulty({"rates": {"invalid_json": 1.0}})) as base_url:
        tally = run(plan(base_url, tmp_path, response_schema=SCHEMA_OF_REPLY), requests(9))
    table = journaled(tmp_path)
    assert (tally["done"], tally["rejected"], tally["deferred"]) == (9, 9, 0)
    assert set(table["error"].to_pylist()) <= {"invalid_json", "invalid_schema"}
    assert all(table["reply"].to_pylist())
    assert all(table["request_id"].to_pylist())


def test_requests_are_shared_out_by_weight(tmp_path: Path) -> None:
    with serving(_faulty({})) as one, serving(_faulty({})) as other:
        endpoints = [{"base_url": one, "weight": 3}, {"base_url": other, "weight": 1}]
        tally = run(plan("", tmp_path, llm={"endpoints": endpoints, "in_flight": 64}), requests(40))
        shares = ledger(one)["requests"], ledger(other)["requests"]
    assert tally["done"] == sum(shares) == 40
    assert shares == (30, 10)
    assert set(journaled(tmp_path)["endpoint"].to_pylist()) == {one, other}


@pytest.mark.parametrize("kind", ["nobody", "quota", "wrong_key_400", "500", "reset"])
def test_the_share_of_an_endpoint_that_fails_moves_to_the_other(kind: str, tmp_path: Path) -> None:
    with serving(_faulty({"kind": kind} if kind != "nobody" else {})) as bad, serving(_faulty({})) as good:
        endpoints = [{"base_url": bad if kind != "nobody" else _nobody()}, {"base_url": good}]
        tally = run(plan("", tmp_path, llm={"endpoints": endpoints}, max_attempts=30), requests(40))
    assert (tally["done"], tally["deferred"], tally["outcome"]) == (40, 0, None)
    closed = [told["closed"] for told in json.loads(tally["endpoints"])]
    expected = {"quota": "insufficient_quota", "wrong_key_400": "wrong_key"}.get(kind)
    assert closed == [expected, None]


def test_an_endpoint_whose_key_a_worker_lacks_is_told_and_the_other_does_all(tmp_path: Path) -> None:
    with serving(_faulty({})) as one, serving(_faulty({})) as other:
        endpoints = [{"base_url": one, "api_key": {"env": "NOT_ON_THIS_WORKER"}}, {"base_url": other}]
        tally = run(plan("", tmp_path, llm={"endpoints": endpoints}), requests(9))
        assert ledger(one)["requests"] == 0
    assert tally["done"] == 9
    spent = Spent()
    spent.take(tally)
    assert spent.warnings == {f"{one} took no more requests: no_key"}


def test_endpoints_that_all_fail_defer_the_rest_with_the_last_reason(tmp_path: Path) -> None:
    with serving(_faulty({"kind": "503"})) as one, serving(_faulty({"kind": "503"})) as other:
        endpoints = [{"base_url": one}, {"base_url": other}]
        tally = run(plan("", tmp_path, llm={"endpoints": endpoints}, max_attempts=99), requests(40))
    assert (tally["outcome"], tally["reason"], tally["done"]) == ("defer", "endpoint_down", 0)
    assert tally["deferred"] == 40
    assert "503" in tally["detail"] or "overload" in tally["detail"]


def test_every_row_ends_and_no_more_is_sent_than_replies_and_faults(tmp_path: Path) -> None:
    faults = {
        "rates": {"429": 0.2, "500": 0.05, "reset": 0.01},
        "retry_style": "retry-after-ms",
        "retry_after_s": 0.001,
    }
    with serving(_faulty(faults)) as base_url:
        asked = plan(base_url, tmp_path, llm={"in_flight": 64}, max_attempts=6, patience_s=60.0, flush_rows=256)
        tally = run(asked, requests(1_000))
        told = ledger(base_url)
    assert (tally["done"], tally["deferred"], tally["outcome"]) == (1_000, 0, None)
    assert sum(told["faults"].values()) > 200
    assert tally["sent"] == told["requests"] == 1_000 + sum(told["faults"].values())
    assert told["answered_again"] == 0


def test_a_quota_that_is_spent_defers_and_a_wrong_key_stops(tmp_path: Path) -> None:
    for kind, outcome in (("quota", "defer"), ("wrong_key_400", "stop")):
        with serving(_faulty({"kind": kind})) as base_url:
            tally = run(plan(base_url, tmp_path / kind), requests(40))
            assert ledger(base_url)["requests"] <= 8
        assert (tally["outcome"], tally["done"], tally["deferred"]) == (outcome, 0, 40)


@pytest.mark.parametrize("in_flight", [1, 8, 64])
def test_a_firewall_that_refuses_some_rows_refuses_no_others_and_stops_nothing(in_flight: int, tmp_path: Path) -> None:
    faults = {"rates": {"firewall": 0.1}, "seed": 3, "latency": 2}
    with serving(_faulty(faults)) as base_url:
        tally = run(plan(base_url, tmp_path, llm={"in_flight": in_flight}), requests(60))
        told = ledger(base_url)
    assert (tally["done"], tally["deferred"], tally["outcome"], tally["refused"]) == (60, 0, None, "forbidden")
    assert 0 < tally["rejected"] == journaled(tmp_path)["error"].to_pylist().count("forbidden") < 20
    assert told["answered_again"] == 0
    assert sum(journaled(tmp_path)["cost_microusd"].to_pylist()) == told["tokens"]["total_tokens"]


def test_a_key_that_is_revoked_half_way_stops_and_is_held_against_no_row(tmp_path: Path) -> None:
    faults = {"rates": {"wrong_key_400": 1.0}, "from_s": 0.3, "latency": 20}
    with serving(_faulty(faults)) as base_url:
        tally = run(plan(base_url, tmp_path, patience_s=30.0), requests(600))
    assert (tally["outcome"], tally["reason"], tally["rejected"]) == ("stop", "wrong_key", 0)
    assert tally["done"] + tally["deferred"] == 600


def test_an_endpoint_that_asks_for_a_day_of_patience_is_not_waited_for(tmp_path: Path) -> None:
    with serving(_faulty({"kind": "429", "retry_style": "huge"})) as base_url:
        tally = run(plan(base_url, tmp_path), requests(40))
    assert (tally["outcome"], tally["reason"], tally["deferred"]) == ("defer", "rate_limited", 40)


def test_being_rate_limited_is_no_failed_attempt(tmp_path: Path) -> None:
    faults = {"rates": {"429": 0.7}, "retry_style": "none"}
    with serving(_faulty(faults)) as base_url:
        tally = run(plan(base_url, tmp_path, max_attempts=1, patience_s=30.0), requests(20))
    assert (tally["done"], tally["deferred"]) == (20, 0)
    assert tally["rate_limited"] == tally["failed_sends"] > 10


def test_an_allowance_is_never_passed_and_what_it_does_not_hold_is_put_off(tmp_path: Path) -> None:
    with serving(_faulty({"latency": 5})) as base_url:
        asked = plan(base_url, tmp_path, allowance_microusd=20_000, llm={"in_flight": 64})
        tally = run(asked, requests(200))
        told = ledger(base_url)
    paid = sum(journaled(tmp_path)["cost_microusd"].to_pylist())
    worst = 1024 + len(requests(1)[0].column("body")[0].as_py())
    assert paid == told["tokens"]["total_tokens"] <= 20_000
    # It goes on for as long as one more fits, and no longer.
    assert 20_000 - worst - 8 < paid
    assert (tally["outcome"], tally["reason"]) == ("defer", "budget")
    assert tally["done"] + tally["deferred"] == 200


def test_sends_of_which_nobody_knows_whether_they_are_billed_count_at_their_worst(tmp_path: Path) -> None:
    with serving(_faulty({"rates": {"cut": 1.0}, "attempts": 1})) as base_url:
        tally = run(plan(base_url, tmp_path, allowance_microusd=10_000_000, patience_s=30.0), requests(10))
        told = ledger(base_url)
    known = sum(journaled(tmp_path)["cost_microusd"].to_pylist())
    assert tally["done"] == 10
    assert known < told["tokens"]["total_tokens"] <= known + tally["unknown_microusd"]


def test_a_reply_that_is_too_large_is_refused_without_being_read(tmp_path: Path) -> None:
    with serving(_faulty({"kind": "big_body"})) as base_url:
        tally = run(plan(base_url, tmp_path, llm={"max_reply_bytes": 100_000}), requests(3))
    assert (tally["done"], tally["rejected"], tally["refused"]) == (3, 3, "too_large")
    assert tally["unknown_microusd"] > 0


def test_a_body_that_dribbles_ends_at_the_time_limit(tmp_path: Path) -> None:
    with serving(_faulty({"rates": {"slow_body": 1.0}, "attempts": 1, "slow_ms": 20_000})) as base_url:
        tally = run(plan(base_url, tmp_path, llm={"timeout_s": 0.3}), requests(2))
    assert (tally["done"], tally["failed_sends"]) == (2, 2)


@pytest.mark.parametrize("kind", ["cut", "garbage", "html", "reset", "error_in_200", "529", "500"])
def test_what_passes_is_tried_again(kind: str, tmp_path: Path) -> None:
    with serving(_faulty({"rates": {kind: 1.0}, "attempts": 2})) as base_url:
        tally = run(plan(base_url, tmp_path, patience_s=30.0), requests(5))
    assert (tally["done"], tally["rejected"], tally["sent"], tally["failed_sends"]) == (5, 0, 15, 10)


@pytest.mark.parametrize("kind", ["refusal", "content_filter", "empty_length", "tool_call"])
def test_what_stays_refused_is_journaled_once_with_its_reason(kind: str, tmp_path: Path) -> None:
    with serving(_faulty({"kind": kind})) as base_url:
        tally = run(plan(base_url, tmp_path), requests(5))
    reason = {"empty_length": "length"}.get(kind, kind)
    assert (tally["done"], tally["rejected"], tally["sent"], tally["refused"]) == (5, 5, 5, reason)
    assert journaled(tmp_path)["error"].to_pylist() == [reason] * 5


def test_a_key_file_that_changes_is_read_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    with serving(_faulty({"latency": 20}, api_keys=("old", "new"))) as base_url:
        asked = plan(base_url, tmp_path / "wave", llm={"api_key": {"file": str(key)}, "in_flight": 1}, flush_s=0.02)

        def slowly() -> Any:
            for number, batch in enumerate(requests(40)[0].slice(n, 1) for n in range(40)):
                if number == 20:
                    key.write_text("new ")
                yield batch

        tally = run(asked, slowly())
    assert tally["done"] == 40


def test_no_log_line_holds_a_prompt_a_reply_or_a_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", "sk-canary-0123456789")
    faults = {"rates": {"429": 0.2, "500": 0.1, "reset": 0.1, "cut": 0.1}, "retry_style": "none"}
    caplog.set_level(logging.DEBUG)
    with serving(_faulty(faults)) as base_url:
        asked = plan(base_url, tmp_path, llm={"api_key": {"env": "CANARY_KEY"}}, max_attempts=30, patience_s=30.0)
        assert run(asked, requests(20))["done"] == 20
    lines = "\n".join([caplog.text, *(str(record.args) for record in caplog.records)])
    for secret in ("canary", "bridge number", journaled(tmp_path)["reply"][0].as_py()[:20]):
        assert secret not in lines
