"""From requests to completions, each paid once: freeze, ask in waves, journal, commit, recover.

1. The stage's requests are frozen: written down once, so that no wave computes their lineage again.
2. Those without a completion are cut into waves by a hash of their key.
3. A wave is one `mapInArrow` over a fixed partitioning; its tasks journal every reply (`engine.py`).
4. The driver appends the journal to `completions` under a transaction name made of its segments, checks that every
   key is there, and deletes exactly those segments.

A run that was killed leaves journals behind; the next run starts with step 4 on them. There is no other recovery.
"""

from __future__ import annotations

import hashlib
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.errors import DeferredError, PersonalakeError, StopRunError, StoreError
from personalake.lease import Lease
from personalake.llm.client import Endpoint
from personalake.llm.engine import STOP_FILE, TALLY_DDL, Plan, run_part, task
from personalake.llm.journal import segments
from personalake.llm.models import Question
from personalake.schemas import COMPLETIONS
from personalake.session import parallelism
from personalake.settings import LlmSettings
from personalake.store import Store
from personalake.work import Folder

_REPLY = ["request_key", "answered_at"]
_JOURNALED = tuple(name for name in COMPLETIONS.names if name != "seq")


@dataclass
class Spent:
    """What a stage of this run sent, and why it stopped early, if it did."""

    sent: int = 0
    rate_limited: int = 0
    failed_sends: int = 0
    most_in_flight: int = 0
    busy_ms: int = 0
    reserved_microusd: int = 0
    repeated_microusd: int = 0
    stopped: str | None = None

    def figures(self) -> dict[str, float]:
        """The engine's figures, as `runs.engine` keeps them."""
        return {
            "rate_limited": float(self.rate_limited),
            "failed_sends": float(self.failed_sends),
            "most_in_flight": float(self.most_in_flight),
            "busy_seconds": self.busy_ms / 1000,
        }


@dataclass(frozen=True)
class _Stage:
    """What a paid stage has to do: its name, its question, how many requests wait and what they may cost at most."""

    name: str
    question: Question
    total: int
    worst: int
    first: str


class Completer:
    """Everything paid goes through here: one per run."""

    def __init__(
        self, store: Store, lease: Lease, settings: LlmSettings, base_url: str, seq: int, budget_usd: float | None
    ) -> None:
        self._store, self._lease, self._settings, self._seq = store, lease, settings, seq
        self._endpoint = Endpoint.of(settings, base_url)
        self._budget = None if budget_usd is None else round(budget_usd * 1_000_000)
        self._journals = store.work / "journal"
        self._nonce, self._wave = uuid.uuid4().hex[:8], 0
        self._answered: set[str] = set()
        self.say: Callable[[str], None] = lambda _: None

    def recover(self) -> int:
        """Commit what ended runs left in their journals; returns the replies found."""
        return sum(self._commit(wave, Spent()) for wave in self._journals.folders())

    def complete(self, stage: str, requests: DataFrame, question: Question) -> tuple[DataFrame, Spent]:
        """Get every request of *requests* (the columns of `requests.REQUESTS`) answered.

        Returns the requests with the columns of their completion beside them (null where it has to wait) and what was
        spent. Raises :class:`StopRunError` for what would be said of every row, :class:`DeferredError` where the
        endpoint can't be reached at all; both before the stage has paid.
        """
        asks = self._store.stage(requests, f"{stage}-asks")
        waiting = self._store.stage(self._unanswered(asks), f"{stage}-waiting")
        spent = Spent()
        size = waiting.selectExpr(
            "count(*) AS total", "coalesce(sum(worst_microusd), 0) AS worst", "min(request_key) AS first"
        ).collect()[0]
        if size["total"]:
            self._run_waves(
                _Stage(stage, question, int(size["total"]), int(size["worst"]), size["first"]), waiting, spent
            )
        completions = self._store.read("completions").drop("stage", "seq")
        return asks.join(completions, "request_key", "left"), spent

    def _unanswered(self, asks: DataFrame) -> DataFrame:
        keys = asks.select("request_key").distinct()
        # Only the keys that are asked for leave the scan: an anti join against all completions would sort them all.
        known = self._store.read("completions").select("request_key").join(keys, "request_key", "left_semi")
        one_each = asks.groupBy("request_key").agg(
            *(F.min(name).alias(name) for name in ("body", "est_tokens", "worst_microusd"))
        )
        return one_each.join(known, "request_key", "left_anti")

    def _run_waves(self, stage: _Stage, waiting: DataFrame, spent: Spent) -> None:
        self._check_price(stage.question)
        count = self._waves(stage.total, stage.worst)
        numbered = waiting.withColumn("wave", F.pmod(F.xxhash64("request_key"), F.lit(count)))
        for number in range(count):
            if spent.stopped or not self._affords(stage.worst // count, spent):
                return
            self._lease.check()
            # The nonce keeps a wave of this process apart from the same wave of one that died: Delta must not take
            # the second's journal for the first's, which it has landed.
            self._wave += 1
            wave = f"{stage.name}-{self._seq:06d}-{self._wave:04d}-{self._nonce}"
            plan = self._plan(wave, stage)
            rows = numbered.where(F.col("wave") == number)
            tallies: list[dict[str, Any]] = []
            if number == 0 and stage.name not in self._answered:
                tallies = self._preflight(plan, waiting, stage)
                rows = rows.where(F.col("request_key") != stage.first)
            if stage.total > len(tallies):
                tallies += self._run_wave(plan, rows, self._tasks())
            self._end_wave(wave, tallies, spent)

    def _preflight(self, plan: Plan, waiting: DataFrame, stage: _Stage) -> list[dict[str, Any]]:
        """Ask one of the requests alone: a wrong key or model is found out once and not by all that are in flight."""
        alone = plan.model_copy(update={"part": "first", "in_flight": 1, "max_attempts": min(3, plan.max_attempts)})
        tallies = self._run_wave(alone, waiting.where(F.col("request_key") == stage.first), 1)
        said = next((tally for tally in tallies if tally["reason"]), None)
        if said is None:
            self._answered.add(stage.name)
            return tallies
        message, where = f"{said['reason']}: {said['detail']}", self._settings.base_url
        if said["outcome"] == "stop":
            raise StopRunError(message, where=where, cure=_cure(said["reason"]))
        raise DeferredError(
            message, where=where, cure="nothing was paid in this stage; run again when the endpoint answers"
        )

    def _run_wave(self, plan: Plan, rows: DataFrame, tasks: int) -> list[dict[str, Any]]:
        columns = rows.select("request_key", "body", "est_tokens")
        if self._settings.run_on == "driver":
            part, attempt = plan.part or "driver", uuid.uuid4().hex[:8]
            return self._interruptible(
                plan, lambda: pa.Table.from_batches(run_part(_fed(columns), plan, part, attempt)).to_pylist()
            )
        # A number is given, so that AQE leaves the partitions alone: the same rows in the same part at every attempt.
        spread = columns.repartition(tasks, "request_key").mapInArrow(task(plan), TALLY_DDL)
        return self._interruptible(plan, lambda: [row.asDict() for row in spread.collect()])

    def _interruptible(self, plan: Plan, run: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Run the wave aside, so that Ctrl-C can ask its tasks to save what is under way and end."""
        box: dict[str, Any] = {}
        # Not Thread.join: a Ctrl-C inside it makes Python before 3.13 take the thread for ended.
        finished = threading.Event()

        def target() -> None:
            try:
                box["rows"] = run()
            except BaseException as error:  # Carried to the thread that waits, and raised there.
                box["error"] = error
            finally:
                finished.set()

        threading.Thread(target=target, name="wave", daemon=True).start()
        interrupted = False
        while not finished.is_set():
            try:
                finished.wait(0.2)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                Folder(plan.wave).write(STOP_FILE, b"")
                self.say("stopping: saving the replies that are under way (Ctrl-C again to leave them)")
        if "error" in box:
            raise box["error"]
        rows: list[dict[str, Any]] = box["rows"]
        if interrupted:
            self._commit(plan.wave.rsplit("/", 1)[-1], Spent())
            raise KeyboardInterrupt
        return rows

    def _end_wave(self, wave: str, tallies: list[dict[str, Any]], spent: Spent) -> None:
        for tally in tallies:
            spent.sent += tally["sent"]
            spent.rate_limited += tally["rate_limited"]
            spent.failed_sends += tally["failed_sends"]
            spent.most_in_flight += tally["most_in_flight"]
            spent.busy_ms = max(spent.busy_ms, tally["busy_ms"])
        self._lease.check()
        self._commit(wave, spent)
        for tally in tallies:
            said = f"{tally['reason']}: {tally['detail']}"
            if tally["outcome"] == "stop":
                raise StopRunError(said, where=self._settings.base_url, cure=_cure(tally["reason"]))
            if tally["outcome"] == "defer":
                spent.stopped = said

    def _commit(self, wave: str, spent: Spent) -> int:
        """Land a wave's journal in `completions`, once, and delete the segments that were landed.

        A wave of this process asked for keys that had no completion, each in one part; so, with one attempt a part,
        nothing can be there twice. Otherwise the earliest reply of a key stays: later stages may have read it.
        """
        folder = self._journals / wave
        found = segments(folder)
        if found:
            paths = [f"{folder.for_spark}/{s.path[len(folder.path) + 1 :]}" for s in found]
            schema = self._store.read("completions").drop("seq").schema
            rows = self._store.spark.read.schema(schema).parquet(*paths)
            attempts = {s.path.rsplit("/", 1)[0] for s in found}
            parts = {attempt.rsplit("/", 1)[0] for attempt in attempts}
            sure = wave.endswith(self._nonce) and len(attempts) == len(parts)
            digest = hashlib.sha256("\n".join(s.path for s in found).encode()).hexdigest()[:16]
            fresh = rows if sure else self._unknown(rows)
            self._store.append("completions", fresh, self._seq, txn=f"{wave}/{digest}")
            spent.repeated_microusd += self._check_landed(rows, sum(s.rows for s in found))
        folder.delete()
        return sum(s.rows for s in found)

    def _unknown(self, rows: DataFrame) -> DataFrame:
        """The earliest of the journaled replies to each key, of those keys that have no completion."""
        keys = rows.select("request_key").distinct()
        known = self._store.read("completions").select("request_key").join(keys, "request_key", "left_semi")
        earliest = F.min_by(F.struct(*_JOURNALED), "answered_at").alias("row")
        one = rows.groupBy("request_key").agg(earliest).select("row.*")
        return one.join(known, "request_key", "left_anti")

    def _check_landed(self, rows: DataFrame, count: int) -> int:
        """Raise :class:`StoreError` unless every key is in the table; returns the cost of replies that came twice."""
        landed = self._store.read("completions").select("request_key", "answered_at")
        # The usual case in one pass, without a shuffle: each journaled reply is there, itself.
        if landed.join(F.broadcast(rows.select("request_key", "answered_at")), _REPLY, "left_semi").count() == count:
            return 0
        there = landed.withColumnRenamed("answered_at", "landed_at")
        found = (
            rows.join(there, "request_key", "left")
            .selectExpr(
                "count_if(landed_at IS NULL) AS missing",
                "coalesce(sum(cost_microusd) FILTER (WHERE landed_at != answered_at), 0) AS repeated",
            )
            .collect()[0]
        )
        if found["missing"]:
            raise StoreError(
                "replies of a wave did not reach the table; their journal was kept",
                where="completions",
                cure="run again; if it repeats, report it with the version of delta-spark",
            )
        return int(found["repeated"])

    def _plan(self, wave: str, stage: _Stage) -> Plan:
        settings, tasks = self._settings, self._tasks()
        share = 1.0 / tasks
        return Plan(
            wave=(self._journals / wave).address,
            stage=stage.name,
            label=stage.question.label,
            endpoint=self._endpoint,
            endpoint_name=settings.base_url,
            price=stage.question.abilities.price,
            in_flight=max(1, settings.in_flight // tasks),
            requests_per_minute=settings.requests_per_minute and settings.requests_per_minute * share,
            tokens_per_minute=settings.tokens_per_minute and settings.tokens_per_minute * share,
            max_attempts=settings.max_attempts,
            flush_s=settings.flush_s,
            flush_rows=settings.flush_rows,
        )

    def _tasks(self) -> int:
        if self._settings.run_on == "driver":
            return 1
        return min(self._settings.tasks or parallelism(self._store.spark), self._settings.in_flight)

    def _waves(self, total: int, worst: int) -> int:
        by_rows = math.ceil(total / self._settings.wave_rows)
        if self._budget is None or worst == 0:
            return by_rows
        # Each wave reserves its worst cost, so it must be a small part of what is left.
        left = max(1, self._budget - self._paid())
        return max(by_rows, min(total, math.ceil(worst / max(1, left // 4))))

    def _affords(self, wave_worst: int, spent: Spent) -> bool:
        if self._budget is None:
            return True
        paid = self._paid()
        if paid + wave_worst > self._budget:
            spent.stopped = (
                f"budget: {paid / 1e6:.4f} of {self._budget / 1e6:.4f} US dollars are spent, "
                f"and the next wave may cost {wave_worst / 1e6:.4f}"
            )
            return False
        spent.reserved_microusd += wave_worst
        return True

    def _paid(self) -> int:
        total = (
            self._store.read("completions").selectExpr("coalesce(sum(cost_microusd), 0) AS paid").collect()[0]["paid"]
        )
        repeated = self._store.read("runs").selectExpr("coalesce(sum(waste['repeated']), 0) AS r").collect()[0]["r"]
        return int(total) + int(repeated)

    def _check_price(self, question: Question) -> None:
        if self._budget is not None and question.abilities.price is None:
            raise PersonalakeError(
                f"a budget is set, and the model {question.role.model!r} has no price",
                where="budget_usd",
                cure="add its price to models.yaml",
            )


def _fed(columns: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows as Arrow batches, a partition at a time, for a driver that calls by itself."""
    for row in columns.toLocalIterator(prefetchPartitions=True):
        yield pa.RecordBatch.from_pylist([row.asDict()])


def _cure(reason: str) -> str:
    return {
        "no_key": "make the key known to every worker, or set llm.run_on=driver",
        "wrong_key": "set llm.api_key.env to the variable that holds the right key",
        "forbidden": "the key may not use this model or project",
        "unknown_model": "set llm.model to one that the endpoint offers; llm.base_url often ends in /v1",
    }.get(reason, "the endpoint refuses this parameter: see conf/models.yaml for what a model can be asked")
