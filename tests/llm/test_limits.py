"""What a task may do at an endpoint, by a clock that the tests move."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.llm.limits import Bucket, Lane, seconds_of
from personalake.llm.outcome import Kind, Outcome, Usage
from personalake.llm.window import Window

GOOD = Outcome(Kind.ANSWERED, reply="yes", usage=Usage(prompt=5, completion=5))
LIMITED = Outcome(Kind.RETRY, "rate_limited", rate_limited=True)
DOWN = Outcome(Kind.RETRY, "connection")


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_lets_through_one_second_at_once_and_then_its_rate() -> None:
    clock = _Clock()
    bucket = Bucket(600, clock)
    for _ in range(10):
        assert bucket.wait_for(1) == 0.0
        bucket.draw(1)
    assert bucket.wait_for(1) == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.wait_for(1) == 0.0


def test_a_draw_larger_than_the_bucket_passes_when_it_is_full_and_leaves_a_debt() -> None:
    bucket = Bucket(600, _Clock())
    assert bucket.wait_for(25) == 0.0
    bucket.draw(25)
    assert bucket.wait_for(1) == pytest.approx(1.6)


def test_a_clock_that_jumps_back_gives_nothing_away() -> None:
    clock = _Clock()
    bucket = Bucket(600, clock)
    bucket.draw(10)
    clock.now -= 50
    assert bucket.wait_for(1) > 0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), max_size=60), st.integers(60, 6_000))
def test_no_more_than_its_rate_and_one_second_gets_through_a_bucket(
    steps: list[tuple[float, int]], per_minute: int
) -> None:
    clock = _Clock()
    bucket, began, drawn = Bucket(per_minute, clock), clock.now, 0
    for pause, amount in steps:
        clock.now += pause
        if bucket.wait_for(amount) == 0.0:
            bucket.draw(amount)
            drawn += amount
    rate = per_minute / 60
    # The last draw may be larger than the bucket; it is a debt that the next one waits for.
    assert drawn <= rate * (clock.now - began) + max(rate, 1.0) + 40 + 1e-6


def _lane(clock: _Clock, **changes: Any) -> Lane:
    fields: dict[str, Any] = {"in_flight": 8, "requests_per_minute": None, "tokens_per_minute": None, "tasks": 1}
    return Lane(**{**fields, **changes}, clock=clock)


def _came(lane: Lane, outcome: Outcome = GOOD, headers: dict[str, str] | None = None, reserved: float = 10.0) -> None:
    lane.came(outcome, headers or {}, reserved, 1.0)


def test_no_more_than_the_window_is_in_flight() -> None:
    lane = _lane(_Clock(), in_flight=3)
    for _ in range(3):
        assert lane.wait(1) == 0.0
        lane.take(1)
    assert lane.wait(1) == math.inf
    _came(lane)
    assert lane.wait(1) == 0.0


def test_a_task_takes_its_share_of_a_limit_and_not_all_of_it() -> None:
    clock = _Clock()
    lane = _lane(clock, in_flight=1000, requests_per_minute=6_000, tasks=4)
    sent = 0
    while lane.wait(1) == 0.0:
        lane.take(1)
        sent += 1
    assert sent == pytest.approx(6_000 / 60 / 4 * 0.98, abs=1)
    assert lane.wait(1) == pytest.approx(1 / (25 * 0.98), abs=0.05)


def test_tokens_that_were_not_used_are_given_back_until_the_endpoint_counts_what_was_asked_for() -> None:
    lane = _lane(_Clock(), in_flight=1000, tokens_per_minute=60_000)
    lane.take(980)
    assert lane.wait(500) > 0
    _came(lane, reserved=980)
    assert lane.wait(500) == 0.0
    lane.take(980)
    _came(lane, Outcome(Kind.RETRY, "rate_limited", "Limit 60000 tokens per min", rate_limited=True))
    lane.take(0)
    _came(lane, reserved=980)
    assert lane.wait(500) > 0


def test_push_backs_of_one_burst_halve_the_window_once() -> None:
    clock = _Clock()
    lane = _lane(clock)
    for _ in range(6):
        lane.take(1)
    for _ in range(5):
        _came(lane, LIMITED)
    assert lane.window.size == 4
    clock.now += 5
    _came(lane, LIMITED)
    assert lane.window.size == 2


def test_the_endpoint_says_how_long_nothing_may_go() -> None:
    clock = _Clock()
    lane = _lane(clock)
    lane.take(1)
    _came(lane, Outcome(Kind.RETRY, "rate_limited", rate_limited=True, retry_after_s=7.0))
    assert lane.wait(1) == pytest.approx(7.0)
    clock.now += 7
    assert lane.wait(1) == 0.0


def test_a_limit_that_the_headers_lower_is_followed_at_once_and_so_is_its_return() -> None:
    clock = _Clock()
    lane = _lane(clock, in_flight=1000, requests_per_minute=6_000)

    def headers(limit: int) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(limit), "x-ratelimit-remaining-requests": "50",
            "x-ratelimit-reset-requests": "500ms",
        }  # fmt: skip

    def rate() -> float:
        bucket = lane._requests.bucket
        assert bucket is not None
        return bucket._rate

    for limit, expected in ((6_000, 100), (3_000, 50), (12_000, 100)):
        lane.take(1)
        _came(lane, headers=headers(limit))
        assert rate() == pytest.approx(expected * 0.98)


def test_a_limit_of_the_headers_counts_where_the_settings_name_none() -> None:
    lane = _lane(_Clock(), in_flight=1000)
    told = {"limit": "600", "remaining": "599", "reset": "6ms"}
    lane.take(1)
    _came(lane, headers={f"x-ratelimit-{name}-requests": value for name, value in told.items()})
    sent = 0
    while lane.wait(1) == 0.0:
        lane.take(1)
        sent += 1
    assert sent == pytest.approx(600 / 60, abs=1)


def test_a_limit_of_requests_a_day_is_not_taken_for_one_a_minute() -> None:
    lane = _lane(_Clock(), in_flight=1000, requests_per_minute=60_000)
    told = {"limit": "1000", "remaining": "990", "reset": "14m24s"}
    lane.take(1)
    _came(lane, headers={f"x-ratelimit-{name}-requests": value for name, value in told.items()})
    assert lane._requests.bucket is not None
    assert lane._requests.bucket._rate == pytest.approx(1000 * 0.98)


def test_a_task_borrows_what_the_others_leave_and_gives_it_back_when_it_gets_scarce() -> None:
    clock = _Clock()
    lane = _lane(clock, in_flight=1000, requests_per_minute=600, tasks=4)

    def hear(remaining: int) -> float:
        while lane.wait(1) == 0.0:
            lane.take(1)
        told = {"limit": "600", "remaining": str(remaining), "reset": "10ms"}
        clock.now += 1.0
        _came(lane, headers={f"x-ratelimit-{name}-requests": value for name, value in told.items()})
        return lane._requests.scale

    for _ in range(60):
        hear(590)
    assert lane._requests.scale == 4.0
    assert hear(30) < 4.0


def test_an_endpoint_that_only_fails_is_left_alone_and_then_probed_with_one_send() -> None:
    clock = _Clock()
    lane = _lane(clock)
    for _ in range(8):
        lane.take(1)
        _came(lane, DOWN)
    assert lane.wait(1) == pytest.approx(1.0)
    clock.now += 1.0
    assert lane.wait(1) == 0.0
    lane.take(1)
    assert lane.wait(1) == math.inf
    _came(lane, DOWN)
    assert lane.wait(1) == pytest.approx(2.0)
    clock.now += 2.0
    lane.take(1)
    _came(lane)
    assert lane.window.size == 2
    assert lane.silent_s() == 0.0


def test_silence_counts_from_the_first_failure_to_the_next_time_that_a_send_may_go() -> None:
    clock = _Clock()
    lane = _lane(clock)
    lane.take(1)
    _came(lane, Outcome(Kind.RETRY, "rate_limited", rate_limited=True, retry_after_s=86_400.0))
    assert lane.silent_s() == pytest.approx(86_400)


def _round(window: Window, seconds: float) -> None:
    for _ in range(max(16, round(window.size)) + round(window.size)):
        window.replied(seconds)


def test_an_endpoint_that_queues_gets_a_narrower_window() -> None:
    window = Window.of(64)
    _round(window, 1.0)
    # Twenty at once is all that it can do: with more in flight, each waits for its turn.
    for _ in range(1_000):
        window.replied(max(1.0, window.size / 20 * 4))
    assert window.size < 40


def test_replies_that_are_slow_by_themselves_keep_their_window() -> None:
    window = Window.of(64)
    _round(window, 1.0)
    for _ in range(2_000):
        window.replied(5.0)
    assert window.size == 64


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6ms", 0.006), ("8.64s", 8.64), ("1m2.5s", 62.5), ("2h3m", 7_380.0), ("1d", 86_400.0), ("12", 12.0), ("", None),
     ("soon", None), ("-3", None), ("nan", None), ("3x", None), ("ms", None)],
)  # fmt: skip
def test_durations_of_headers_are_read_and_nonsense_is_not(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))
