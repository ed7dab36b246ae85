"""Overload without 429s: requests wait for a turn, and beyond the queue they meet a 503 or nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from personalake.llm.offline import CHAT_MODEL, OfflineSettings, serving
from personalake.llm.offline.capacity import Capacity
from tests.llm.offline.asking import QUESTION, Reply, admin, ask


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "never came true"


@contextmanager
def busy(url: str, pool: ThreadPoolExecutor, waiting: int = 0) -> Iterator[list[Future[Reply]]]:
    """One request that holds the only turn until its client goes, and so many that wait behind it."""
    address = urlsplit(url)
    holder = http.client.HTTPConnection(str(address.hostname), address.port)
    headers = {"Authorization": "Bearer any", "X-Fault": '{"kind": "hang"}'}
    body = json.dumps({"model": CHAT_MODEL, "messages": QUESTION})
    holder.request("POST", "/v1/chat/completions", body, headers)
    until(lambda: admin(url, "limits")["serving"] == 1)
    waiters = [pool.submit(ask, url, f"w{number}") for number in range(waiting)]
    until(lambda: admin(url, "limits")["waiting"] == waiting)
    try:
        yield waiters
    finally:
        holder.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def served(**settings: Any) -> Any:
    return serving(OfflineSettings(flaws=0, capacity=1, **settings))


def test_who_finds_no_turn_waits_and_is_answered_in_the_end(pool: ThreadPoolExecutor) -> None:
    with served() as url:
        with busy(url, pool, waiting=3) as waiters:
            assert not any(waiter.done() for waiter in waiters)
        assert [waiter.result().status for waiter in waiters] == [200, 200, 200]
        limits = admin(url, "limits")
        assert (limits["serving"], limits["waiting"], limits["max_waiting"]) == (0, 0, 3)
        assert admin(url, "ledger")["max_in_flight"] == 4


def test_beyond_the_queue_there_is_a_503_at_once(pool: ThreadPoolExecutor) -> None:
    with served(queue=1) as url, busy(url, pool, waiting=1):
        assert ask(url, "late").status == 503


def test_beyond_the_queue_there_may_be_silence(pool: ThreadPoolExecutor) -> None:
    with served(queue=0, queue_full="hang") as url, busy(url, pool):
        with pytest.raises(TimeoutError):
            ask(url, "late", timeout=0.05)
        until(lambda: admin(url, "ledger")["statuses"].get("client_gone") == 1)
        assert admin(url, "ledger")["billed_unseen"]["replies"] == 0


def test_a_client_that_gives_up_in_the_queue_is_neither_served_nor_billed(pool: ThreadPoolExecutor) -> None:
    with served() as url, busy(url, pool):
        with pytest.raises(TimeoutError):
            ask(url, "impatient", timeout=0.05)
        until(lambda: admin(url, "limits")["waiting"] == 0)
        assert admin(url, "ledger")["tokens"]["total_tokens"] == 0


def test_more_capacity_lets_those_who_wait_go_on_at_once(pool: ThreadPoolExecutor) -> None:
    with served() as url, busy(url, pool, waiting=2) as waiters:
        admin(url, "limits", {"capacity": 3})
        assert [waiter.result().status for waiter in waiters] == [200, 200]


def test_a_turn_that_comes_as_its_client_goes_is_passed_on() -> None:
    async def both_at_once() -> Capacity:
        capacity = Capacity(OfflineSettings(capacity=1))
        await capacity.enter()
        gone, stays = (asyncio.ensure_future(capacity.enter()) for _ in range(2))
        await asyncio.sleep(0)
        capacity.leave()
        gone.cancel()
        await stays
        return capacity

    capacity = asyncio.run(both_at_once())
    assert (capacity.serving, capacity.waiting) == (1, 0)
