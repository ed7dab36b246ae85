"""The engine against Little's law, against bare clients, and against an endpoint's hard limits.

Side by side in one run: the endpoint, the bare clients and the engine share this machine's cores.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from personalake import jars
from personalake.llm.offline import OfflineEndpoint, plan_of
from tests.bench.results import Result
from tests.conftest import ROOT

pytestmark = pytest.mark.bench

_COMMAND = "make bench ARGS='-k engine'"
_MINUTES = float(os.environ.get("BENCH_MINUTES", "10"))


def canned_endpoint(latency: object, chars: int = 2_000, **limits: Any) -> OfflineEndpoint:
    """An endpoint whose replies have so many characters, after so much latency."""
    faults = plan_of({"latency": latency, "reply": {"kind": "canned", "chars": chars}}, "bench")
    return OfflineEndpoint(flaws=0.0, faults=faults, limits=limits or None)


def _python(*arguments: str) -> dict[str, Any]:
    java = jars.java_home()
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'lib'}{os.pathsep}{ROOT}", **({"JAVA_HOME": java} if java else {})}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _engine(endpoint: OfflineEndpoint, **told: Any) -> dict[str, Any]:
    return _python("-m", "tests.bench.engine_load", json.dumps({"base_url": endpoint.base_url, **told}))


def bare_clients(endpoint: OfflineEndpoint, count: int, in_flight: int, processes: int = 2) -> list[dict[str, Any]]:
    """What so many processes of the SDK's leanest path take for *count* requests each."""
    with ThreadPoolExecutor(processes) as pool:
        command = ("-m", "tests.bench.bare_client", endpoint.base_url, str(count), str(in_flight))
        return [job.result() for job in [pool.submit(_python, *command) for _ in range(processes)]]


def test_one_second_of_latency_and_128_in_flight_a_task() -> None:
    count, in_flight = 20_000, 128
    with canned_endpoint(1_000) as endpoint:
        bare = bare_clients(endpoint, count // 2, in_flight)
    with canned_endpoint(1_000) as endpoint:
        found = _engine(endpoint, requests=count, in_flight=2 * in_flight)
    ideal = count / (2 * in_flight)
    assert found["answered"] == count
    Result(
        "engine_latency_1s", ideal / found["seconds"], "of Little's law", "two bare processes",
        ideal / max(each["seconds"] for each in bare), ">= 0.95", _COMMAND,
        {"seconds": found["seconds"], "busy": found["busy_seconds"], "ideal": ideal},
    ).keep()  # fmt: skip


def test_a_heavy_tail_of_latencies() -> None:
    count, in_flight, median_s, sigma = 200_000, 64, 0.15, 0.99
    with canned_endpoint({"kind": "lognormal", "median_ms": 1000 * median_s, "sigma": sigma}) as endpoint:
        found = _engine(endpoint, requests=count, in_flight=2 * in_flight)
    ideal = count * median_s * math.exp(sigma**2 / 2) / (2 * in_flight)
    assert found["answered"] == count
    Result(
        "engine_heavy_tail", ideal / found["seconds"], "of Little's law", "the ideal", 1.0, ">= 0.90", _COMMAND,
        {"seconds": found["seconds"], "busy": found["busy_seconds"], "ideal": ideal, "p50_ms": found["latency_p50_ms"],
         "p99_ms": found["latency_p99_ms"]},
    ).keep()  # fmt: skip


def test_as_fast_as_the_cores_go() -> None:
    count, in_flight = 60_000, 512
    with canned_endpoint(500) as endpoint:
        bare = bare_clients(endpoint, count // 2, in_flight)
    with canned_endpoint(500) as endpoint:
        found = _engine(endpoint, requests=count, in_flight=2 * in_flight)
    assert found["answered"] == count
    cpu, bare_cpu = 1000 * found["cpu_seconds"] / count, sum(each["cpu_ms"] for each in bare) / len(bare)
    rate, bare_rate = count / found["seconds"], count / max(each["seconds"] for each in bare)
    Result(
        "engine_cpu", cpu, "ms a request", "two bare processes", bare_cpu, "<= 1.2 times", _COMMAND,
        {"busy": found["busy_seconds"], "seconds": found["seconds"]},
    ).keep()  # fmt: skip
    Result(
        "engine_rate", rate, "requests/s", "two bare processes", bare_rate, ">= 0.85 times", _COMMAND,
        {"while busy": count / found["busy_seconds"], "ideal": 2 * in_flight / 0.5},
    ).keep()  # fmt: skip


@pytest.mark.parametrize(("tasks", "halved"), [(2, False), (8, False), (16, False), (8, True)])
def test_hard_limits(tasks: int, halved: bool) -> None:
    """3,000 requests and 500,000 tokens a minute, both enforced by the second; a request reserves 150 tokens."""
    rpm, tpm = 3_000, 500_000
    seconds = 60 * _MINUTES
    count = int(rpm / 60 * seconds * (0.75 if halved else 1.0))
    with canned_endpoint(400, chars=200, rpm=rpm, tpm=tpm) as endpoint:
        timer = threading.Timer(seconds / 2 + 20, lambda: endpoint.set_limits(rpm=rpm // 2, tpm=tpm // 2))
        timer.daemon = True
        if halved:
            timer.start()
        found = _engine(
            endpoint, requests=count, tasks=tasks, slots=16, in_flight=256, warm=200, max_tokens=110, prompt_chars=160,
            llm={"requests_per_minute": rpm, "tokens_per_minute": tpm},
        )  # fmt: skip
        timer.cancel()
        told = endpoint.ledger(ids=False)
    refused = told["statuses"].get("429", 0) / told["requests"]
    used = max(each["admitted"] / each["allowed"] for each in told["allowance"].values())
    assert found["answered"] == count
    Result(
        f"engine_limits_{tasks}_tasks{'_halved' if halved else ''}", used, "of the allowance", "all of it", 1.0,
        ">= 0.95 used, <= 0.01 answered 429", _COMMAND,
        {"answered 429": refused, "seconds": found["seconds"], "ideal seconds": count / rpm * 60},
    ).keep()  # fmt: skip
