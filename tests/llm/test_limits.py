from __future__ import annotations

import asyncio

import pytest

from personalake.llm.limits import Bucket, Limiter


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_lets_through_one_second_at_once_and_then_its_rate() -> None:
    clock = _Clock()
    bucket = Bucket(600, clock)
    assert [bucket.wait_for(1) for _ in range(10)] == [0.0] * 10
    assert bucket.wait_for(1) == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.wait_for(1) == 0.0


def test_a_draw_larger_than_the_bucket_passes_when_it_is_full_and_leaves_a_debt() -> None:
    clock = _Clock()
    bucket = Bucket(600, clock)
    assert bucket.wait_for(25) == 0.0
    assert bucket.wait_for(1) == pytest.approx(1.6)


def test_what_was_not_used_is_given_back() -> None:
    bucket = Bucket(600, _Clock())
    assert bucket.wait_for(10) == 0.0
    bucket.give_back(8)
    assert bucket.wait_for(8) == 0.0


def test_a_clock_that_jumps_back_gives_nothing_away() -> None:
    clock = _Clock()
    bucket = Bucket(600, clock)
    bucket.wait_for(10)
    clock.now -= 50
    assert bucket.wait_for(1) > 0


def _limiter(clock: _Clock, in_flight: int) -> Limiter:
    return Limiter(in_flight=in_flight, requests_per_minute=None, tokens_per_minute=None, clock=clock)


def test_no_more_than_the_window_is_in_flight() -> None:
    async def fill() -> tuple[int, bool]:
        limiter = _limiter(_Clock(), 3)
        for _ in range(3):
            await limiter.acquire(1)
        fourth = asyncio.ensure_future(limiter.acquire(1))
        await asyncio.sleep(0)
        waited = not fourth.done()
        limiter.release(reserved=1, used=1)
        await fourth
        return limiter.in_flight, waited

    assert asyncio.run(fill()) == (3, True)


def test_a_burst_of_429s_halves_the_window_once_and_successes_widen_it_again() -> None:
    clock = _Clock()
    limiter = _limiter(clock, 64)
    for _ in range(20):
        limiter.pushed_back(None)
    assert limiter.window == 32
    clock.now += 2
    limiter.pushed_back(None)
    assert limiter.window == 16
    for _ in range(16):
        limiter.succeeded()
    assert 16.9 < limiter.window < 17.1
