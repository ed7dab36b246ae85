"""A job that may be killed at any moment: rounds of requests through the engine into one store.

`python -m tests.faults.job '{"base_url": ..., "store": ..., "master": ..., "rounds": 3}'`. A round that is complete
already asks nothing; so the same command, run again after a kill, goes on. `die` names the point at which the driver
ends itself: `before` or `after` the append of a commit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from personalake.lease import Lease
from personalake.llm.complete import Ask, Completer
from personalake.session import open_session, parallelism
from personalake.settings import LlmSettings, StoreSettings
from personalake.store import Store
from tests.bench.engine_load import question, requests

DEFAULTS: dict[str, Any] = {
    "rounds": 1, "requests": 400, "in_flight": 16, "tasks": 2, "die": None, "budget_usd": None, "llm": {}, "conf": {},
    "work": None,
}  # fmt: skip


def main(told: dict[str, Any]) -> None:
    """Do the rounds that *told* describes, and say after each what it has sent."""
    Path(told["log"]).parent.mkdir(parents=True, exist_ok=True)
    spark = open_session({"spark.master": told["master"], **told["conf"]}, log=Path(told["log"]))
    address = {"path": told["store"], "work": told["work"]}
    store = Store(spark, StoreSettings.model_validate(address)).open()
    llm = {
        "base_url": told["base_url"], "in_flight": told["in_flight"], "tasks": told["tasks"], "flush_s": 0.2,
        "patience_s": 60.0, **told["llm"],
    }  # fmt: skip
    settings, asked = LlmSettings.model_validate(llm), question(600, [1.0, 1.0])
    if told["die"]:
        _die(told["die"])
    _say(f"ready {parallelism(spark)}")
    with Lease(store.work, "faults") as lease:
        for number in range(told["rounds"]):
            seq = 1 + int(store.read("completions").selectExpr("coalesce(max(seq), 0) AS s").collect()[0]["s"])
            completer = Completer(store, lease, settings, "", seq, told["budget_usd"])
            found = completer.recover()
            rows = requests(spark, told["requests"], asked, 300, f"round {number}")
            _, spent = completer.complete([Ask("load", rows, asked)])
            own = spent["load"]
            store.clear_staged()
            _say(json.dumps({"round": number, "sent": own.sent, "recovered": found, "stopped": own.stopped}))
    spark.stop()


def _die(point: str) -> None:
    real = Store.append

    def append(self: Store, name: str, *args: Any, **more: Any) -> None:
        if name == "completions" and point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, name, *args, **more)
        if name == "completions" and point == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    Store.append = append  # type: ignore[method-assign]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main({**DEFAULTS, **json.loads(sys.argv[1])})
