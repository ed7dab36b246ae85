"""The ledger as an auditor reads it: answers and bills by request, unseen bills, how much of a limit was used."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from personalake.llm.offline import OfflineEndpoint, plan_of
from personalake.llm.offline.ledger import Bill, Ledger
from personalake.llm.offline.timeline import MOST_INTERVALS, Timeline
from tests.llm.offline.asking import admin, ask


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url(served: str) -> str:
    admin(served, "ledger/reset", {})
    return served


def ended(url: str, status: str) -> None:
    """Wait until a request has ended so."""
    deadline = time.monotonic() + 5
    while status not in admin(url, "ledger?ids=0")["statuses"]:
        assert time.monotonic() < deadline, f"no request ended as {status}"


def test_answers_are_told_from_arrivals(url: str) -> None:
    ask(url, "a", {"kind": "500", "attempts": 1})
    ask(url, "a", {"kind": "500", "attempts": 1})
    ask(url, "b", {"kind": "500"})
    ledger = admin(url, "ledger")
    assert ledger["by_client_request_id"] == {"a": 2, "b": 1}
    assert ledger["answered_by_client_request_id"] == {"a": 1}
    assert (ledger["answered_again"], ledger["billed_again"]) == (0, 0)


@pytest.mark.parametrize("kind", ["garbage", "error_in_200"])
def test_a_200_without_an_answer_in_it_is_none(url: str, kind: str) -> None:
    assert ask(url, "a", {"kind": kind}).status == 200
    ledger = admin(url, "ledger")
    assert ledger["statuses"] == {kind: 1}
    assert ledger["answered_by_client_request_id"] == {}
    assert (ledger["cost_usd"] > 0) == (kind == "garbage")


def test_a_client_that_goes_before_its_reply_is_billed_all_the_same(url: str) -> None:
    with pytest.raises(TimeoutError):
        ask(url, "gone", {"latency": 60_000}, timeout=0.05)
    ended(url, "client_gone")
    ledger = admin(url, "ledger")
    assert ledger["billed_unseen"]["replies"] == 1
    assert ledger["billed_unseen"]["cost_usd"] == ledger["cost_usd"] > 0
    assert ledger["billed_unseen"]["completion_tokens"] == ledger["tokens"]["completion_tokens"] > 0
    ask(url, "gone")
    assert admin(url, "ledger")["billed_again_by_client_request_id"] == {"gone": 2}


@pytest.mark.parametrize(("kind", "replies"), [("cut", 1), ("hang", 0), ("reset", 0)])
def test_a_reply_that_breaks_off_is_billed_and_one_that_never_began_is_not(url: str, kind: str, replies: int) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(url, "a", {"kind": kind}, timeout=0.05)
    ended(url, {"hang": "client_gone"}.get(kind, kind))
    assert admin(url, "ledger")["billed_unseen"]["replies"] == replies


def test_admissions_and_429s_show_over_time_beside_the_limit(url: str) -> None:
    try:
        admin(url, "limits", {"rpm": 2, "tpm": 0, "limit_window": "minute"})
        assert [ask(url).status for _ in range(3)] == [200, 200, 429]
        ledger = admin(url, "ledger")
    finally:
        admin(url, "limits", {"rpm": 0})
    line = ledger["over_time"]
    sums = {name: sum(line[name]) for name in ("requests", "answered", "admitted_requests", "status_429")}
    assert sums == {"requests": 3, "answered": 2, "admitted_requests": 2, "status_429": 1}
    assert sum(line["admitted_tokens"]) == ledger["allowance"]["tokens"]["admitted"] > 0
    assert ledger["allowance"]["requests"]["admitted"] == 2
    assert [change["rpm"] for change in ledger["limits"]][-1] == 2
    assert len({len(series) for name, series in line.items() if name != "interval_s"}) == 1


def test_the_allowance_is_what_the_limits_gave_while_requests_came() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    ledger.set_limits(600, 0)
    clock.now += 100
    for second in range(61):
        if second == 30:
            ledger.set_limits(300, 0)
        ledger.arrived("/v1/chat/completions", str(second))
        ledger.admitted(7)
        clock.now += 1
    allowance = ledger.to_json(ids=False)["allowance"]
    assert allowance["requests"] == {"allowed": pytest.approx(300 + 150), "admitted": 61}
    assert allowance["tokens"] == {"allowed": None, "admitted": 61 * 7}


def test_limits_outlive_a_reset_and_counts_do_not() -> None:
    ledger = Ledger(Clock())
    ledger.set_limits(60, 0)
    ledger.arrived("/v1/embeddings", "a")
    ledger.billed(Bill("a", "live", 3, 4, 5))
    ledger.reset()
    report = ledger.to_json()
    assert report["limits"] == [{"at_s": 0, "rpm": 60, "tpm": 0}]
    assert (report["requests"], report["tokens"]["total_tokens"], report["in_flight"]) == (0, 0, 1)


@pytest.mark.parametrize("keys", [0, 1, 45_000])
def test_in_pieces_the_report_is_the_same_json(keys: int) -> None:
    ledger = Ledger(Clock())
    for number in range(keys):
        ledger.arrived("/v1/chat/completions", f'"key" {number}')
        ledger.left(200 if number % 3 else 500, f'"key" {number}')
    pieces = list(ledger.pieces())
    assert json.loads(b"".join(pieces)) == json.loads(json.dumps(ledger.to_json()))
    assert max(map(len, pieces)) < 1_000_000


def test_a_long_time_line_loses_resolution_and_no_count() -> None:
    line = Timeline(("requests",), ("peak",))
    for second in range(5 * MOST_INTERVALS):
        line.add(second, "requests")
        line.peak(second, "peak", second % 100)
    report = line.to_json()
    assert report["interval_s"] == 8.0
    requests, peaks = report["requests"], report["peak"]
    assert isinstance(requests, list)
    assert isinstance(peaks, list)
    assert len(requests) == len(peaks) <= MOST_INTERVALS
    assert sum(requests) == 5 * MOST_INTERVALS
    assert max(peaks) == 99


def test_a_child_endpoint_takes_limits_and_plans_and_shows_its_ledger() -> None:
    limits = {"rpm": 2, "limit_window": "minute", "refund": True, "queue": None, "capacity": 4}
    with OfflineEndpoint(faults=plan_of({"reply": "canned"}), limits=limits) as endpoint:
        statuses = [ask(endpoint.base_url, str(number)).status for number in range(3)]
        endpoint.set_limits(rpm=4)
        statuses.append(ask(endpoint.base_url, "3").status)
        assert statuses == [200, 200, 429, 200]
        assert endpoint.ledger(ids=False)["allowance"]["requests"]["admitted"] == 3
        endpoint.reset_ledger()
        assert endpoint.ledger()["requests"] == 0
