"""Requests through the engine in a Spark session of its own: from frozen requests to committed completions.

`python -m tests.bench.engine_load '{"base_url": ..., "requests": 20000, ...}'` prints one JSON object. A process of its
own, so that each load has the master that it asks for.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.lease import Lease
from personalake.llm.complete import Ask, Completer
from personalake.llm.models import Question
from personalake.session import open_session
from personalake.settings import LlmSettings, RoleSettings, StoreSettings
from personalake.store import Store

DEFAULTS: dict[str, Any] = {
    "requests": 20_000, "warm": 500, "tasks": 2, "slots": 3, "in_flight": 256, "prompt_chars": 1_500, "llm": {},
    "max_tokens": 600, "budget_usd": None, "spark": {}, "store": None, "price": [1.0, 1.0],
}  # fmt: skip


def question(max_tokens: int, price: list[float]) -> Question:
    """What the load asks, of a model that never works its rules."""
    role = RoleSettings.model_validate({"model": "offline-canned", "max_tokens": max_tokens})
    about = {"input": price[0], "output": price[1], "as_of": "never"}
    return Question.model_validate({"label": "offline-canned", "role": role, "abilities": {"price": about}})


def requests(spark: SparkSession, count: int, asked: Question, chars: int, salt: str) -> DataFrame:
    """*count* requests of *chars* characters, made by Spark itself: the driver holds none."""
    body = json.dumps(asked.body([{"role": "user", "content": "@"}]), sort_keys=True, separators=(",", ":"))
    before, after = body.split("@")
    number = F.col("id").cast("string")
    text = F.rpad(F.concat(F.lit(f"{salt} "), number, F.lit(" ")), chars, "a word or two ")
    whole = F.concat(F.lit(before), text, F.lit(after))
    return spark.range(count).select(
        F.sha2(whole, 256).alias("request_key"),
        number.alias("origin_id"),
        F.lit(0).alias("sample"),
        F.lit("load").alias("prompt_id"),
        whole.alias("body"),
        F.lit(chars // 4 + asked.role.max_tokens).cast("long").alias("est_tokens"),
        F.lit(worst(asked, chars)).cast("long").alias("worst_microusd"),
    )


def worst(asked: Question, chars: int) -> int:
    """The most that one of :func:`requests` can cost."""
    return asked.worst_microusd(
        json.dumps(asked.body([{"role": "user", "content": "x" * chars}]), separators=(",", ":"))
    )


class _Timed(Completer):
    """A completer that times its waves: from frozen requests to committed completions."""

    seconds = 0.0

    def _run_waves(self, waiting: Any, spent: Any) -> bool:
        began = time.monotonic()
        try:
            return super()._run_waves(waiting, spent)
        finally:
            self.seconds += time.monotonic() - began


def load(told: dict[str, Any]) -> dict[str, Any]:
    """Run the load that *told* describes; returns its figures."""
    folder = Path(told["store"] or tempfile.mkdtemp(prefix="engine-load-"))
    folder.mkdir(parents=True, exist_ok=True)
    conf = {
        "spark.master": f"local[{told['slots']}]",
        "spark.sql.shuffle.partitions": str(told["slots"]),
        **told["spark"],
    }
    spark = open_session(conf, log=folder / "spark.log")
    settings = LlmSettings.model_validate(
        {"base_url": told["base_url"], "tasks": told["tasks"], "in_flight": told["in_flight"], **told["llm"]}
    )
    store = Store(spark, StoreSettings.model_validate({"path": str(folder)})).open()
    asked = question(told["max_tokens"], told["price"])
    with Lease(store.work, "engine load") as lease:
        completer = _Timed(store, lease, settings, "", 1, told["budget_usd"])
        if told["warm"]:
            warm = requests(spark, told["warm"], asked, told["prompt_chars"], "warm")
            completer.complete([Ask("load", warm, asked)])[0].count()
        completer.seconds = 0.0
        # What the endpoint counts is the load alone.
        urllib.request.urlopen(told["base_url"].removesuffix("v1") + "ledger/reset", data=b"").close()
        rows = requests(spark, told["requests"], asked, told["prompt_chars"], "load")
        rows, spent = completer.complete([Ask("load", rows, asked)])
        seconds, own = completer.seconds, spent["load"]
        answered = rows.where("answered_at IS NOT NULL").count()
    most_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spark.stop()
    return {
        "seconds": seconds, "answered": answered, "sent": own.sent, "stopped": own.stopped,
        "driver_mib": most_kib / 1024, **own.figures(),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(load({**DEFAULTS, **json.loads(sys.argv[1])})))  # noqa: T201 (what the caller reads)
