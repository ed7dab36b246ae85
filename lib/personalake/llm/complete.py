"""From requests to completions, each paid once: freeze, ask in waves, journal, commit, recover.

1. The requests, of one stage or of several, are frozen: written down once, so that no wave computes them again.
2. Those without a completion are cut into waves by a hash of their key.
3. A wave is one `mapInArrow` over a fixed partitioning; its tasks journal every reply (`engine.py`).
4. The driver appends the journal to `completions` under a transaction name made of its segments, checks that every
   key is there, and deletes exactly those segments.

A run that was killed leaves journals behind; the next run starts with step 4 on them. There is no other recovery.
"""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.errors import DeferredError, PersonalakeError, StopRunError, StoreError
from personalake.lease import Lease
from personalake.llm.client import Endpoint
from personalake.llm.engine import STOP_FILE, TALLY_DDL, Plan, run_part, task
from personalake.llm.journal import Segment, forget_segments, segments
from personalake.llm.models import Question
from personalake.llm.outcome import cure
from personalake.llm.progress import Progress
from personalake.schemas import COMPLETIONS
from personalake.session import parallelism
from personalake.settings import LlmSettings
from personalake.store import Store
from personalake.work import Folder

_FED_ROWS = 256
_LOOK_EVERY_S = 0.5
"""How often the journal is listed while a wave runs; on an object store that is a call for each thousand segments."""

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
class Ask:
    """What one stage asks: its requests (the columns of `requests.REQUESTS`), and of whom."""

    stage: str
    requests: DataFrame
    question: Question


@dataclass(frozen=True)
class _Waiting:
    """What has no answer yet, by stage: how many requests, what they may cost at most, and the first of them."""

    rows: DataFrame
    questions: dict[str, Question]
    counts: dict[str, int]
    worst: dict[str, int]
    first: dict[str, str]


@dataclass(frozen=True)
class _Committed:
    """A wave's journal that was landed: its replies, and by stage the cost of those that came twice."""

    segments: list[Segment]
    repeated: dict[str, int]

    @property
    def replies(self) -> int:
        """How many replies it held."""
        return sum(segment.rows for segment in self.segments)


class Completer:
    """Everything paid goes through here: one per run."""

    def __init__(
        self, store: Store, lease: Lease, settings: LlmSettings, base_url: str, seq: int, budget_usd: float | None
    ) -> None:
        self._store, self._lease, self._settings, self._seq = store, lease, settings, seq
        self._endpoint = Endpoint.of(settings, base_url)
        self._budget = None if budget_usd is None else round(budget_usd * 1_000_000)
        self._journals = store.work / "journal"
        self._nonce, self._wave, self._calls = uuid.uuid4().hex[:8], 0, 0
        self._answered: set[str] = set()
        self.say: Callable[[str], None] = lambda _: None
        self.progress: Callable[[Progress], None] = lambda _: None
        self._so_far = Progress((), 0)

    def recover(self) -> int:
        """Commit what ended runs left in their journals; returns the replies found."""
        return sum(self._commit(wave).replies for wave in self._journals.folders())

    def complete(self, asks: Sequence[Ask]) -> tuple[DataFrame, dict[str, Spent]]:
        """Get every request of *asks* answered, those of all stages in the same waves.

        Returns the requests, with their stage and the columns of their completion beside them (null where it has to
        wait), and what each stage spent. Raises :class:`StopRunError` for what would be said of every row of a stage,
        :class:`DeferredError` where the endpoint can't be reached at all; both before anything but these first
        requests was sent.
        """
        self._calls += 1
        named = [ask.requests.withColumn("stage", F.lit(ask.stage)) for ask in asks]
        asked = self._store.stage(functools.reduce(DataFrame.unionByName, named), f"asked-{self._calls}")
        spent = {ask.stage: Spent() for ask in asks}
        waiting = self._waiting(asked, {ask.stage: ask.question for ask in asks})
        if waiting.counts:
            self._run_waves(waiting, spent)
        completions = self._store.read("completions").drop("stage", "seq")
        return asked.join(completions, "request_key", "left"), spent

    def _waiting(self, asked: DataFrame, questions: dict[str, Question]) -> _Waiting:
        """The distinct requests of *asked* without a completion, frozen: no wave computes them again."""
        keys = asked.select("request_key").distinct()
        # Only the keys that are asked for leave the scan: an anti join against all completions would sort them all.
        known = self._store.read("completions").select("request_key").join(keys, "request_key", "left_semi")
        one_each = asked.groupBy("request_key").agg(
            *(F.min(name).alias(name) for name in ("stage", "body", "est_tokens", "worst_microusd"))
        )
        rows = self._store.stage(one_each.join(known, "request_key", "left_anti"), f"waiting-{self._calls}")
        sums = rows.groupBy("stage").agg(
            F.count("*").alias("rows"), F.sum("worst_microusd").alias("worst"), F.min("request_key").alias("first")
        )
        found = {row["stage"]: row for row in sums.collect()}
        return _Waiting(
            rows,
            {stage: questions[stage] for stage in sorted(found)},
            {stage: int(row["rows"]) for stage, row in found.items()},
            {stage: int(row["worst"]) for stage, row in found.items()},
            {stage: row["first"] for stage, row in found.items()},
        )

    def _run_waves(self, waiting: _Waiting, spent: dict[str, Spent]) -> None:
        self._check_prices(waiting)
        self._so_far = Progress(tuple(waiting.questions), sum(waiting.counts.values()))
        total, worst = sum(waiting.counts.values()), sum(waiting.worst.values())
        count = self._waves(total, worst)
        first = [key for stage, key in waiting.first.items() if stage not in self._answered]
        rest = waiting.rows.where(~F.col("request_key").isin(first)) if first else waiting.rows
        numbered = rest.withColumn("wave", F.pmod(F.xxhash64("request_key"), F.lit(count)))
        for number in range(count):
            if any(each.stopped for each in spent.values()) or not self._affords(waiting.worst, count, spent):
                return
            self._lease.check()
            # The nonce keeps a wave of this process apart from the same wave of one that died: Delta must not take
            # the second's journal for the first's, which it has landed.
            self._wave += 1
            plan = self._plan(f"{self._seq:06d}-{self._wave:04d}-{self._nonce}", waiting.questions)
            tallies = self._preflight(plan, waiting.rows, first) if first and number == 0 else []
            if total > len(first):
                tallies += self._run_wave(plan, numbered.where(F.col("wave") == number), self._tasks)
            self._end_wave(plan, tallies, spent)

    def _preflight(self, plan: Plan, rows: DataFrame, first: list[str]) -> list[dict[str, Any]]:
        """Ask one request of each stage alone: a wrong key or model is found out once, not by all in flight."""
        alone = plan.model_copy(
            update={"part": "first", "in_flight": len(first), "max_attempts": min(3, plan.max_attempts)}
        )
        tallies = self._run_wave(alone, rows.where(F.col("request_key").isin(first)), 1)
        said = sorted((t for t in tallies if t["reason"]), key=lambda tally: tally["outcome"] != "stop")
        if not said:
            self._answered.update(plan.stages)
            return tallies
        message, where = f"{said[0]['reason']}: {said[0]['detail']}", self._settings.base_url
        if said[0]["outcome"] == "stop":
            raise StopRunError(message, where=where, cure=cure(said[0]["reason"]))
        raise DeferredError(
            message, where=where, cure="nothing was paid in this stage; run again when the endpoint answers"
        )

    def _run_wave(self, plan: Plan, rows: DataFrame, tasks: int) -> list[dict[str, Any]]:
        columns = rows.select("request_key", "stage", "body", "est_tokens")
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
        interrupted, look_at = False, time.monotonic() + _LOOK_EVERY_S
        while not finished.is_set():
            try:
                finished.wait(0.2)
                if time.monotonic() >= look_at:
                    self.progress(self._so_far.plus(segments(Folder(plan.wave))))
                    look_at = time.monotonic() + _LOOK_EVERY_S
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
            self._commit(plan.wave.rsplit("/", 1)[-1])
            raise KeyboardInterrupt
        return rows

    def _end_wave(self, plan: Plan, tallies: list[dict[str, Any]], spent: dict[str, Spent]) -> None:
        in_flight: Counter[str] = Counter()
        for tally in tallies:
            own = spent[tally["stage"]]
            own.sent += tally["sent"]
            own.rate_limited += tally["rate_limited"]
            own.failed_sends += tally["failed_sends"]
            own.busy_ms = max(own.busy_ms, tally["busy_ms"])
            in_flight[tally["stage"]] += tally["most_in_flight"]
            own.most_in_flight = max(own.most_in_flight, in_flight[tally["stage"]])
        self._lease.check()
        committed = self._commit(plan.wave.rsplit("/", 1)[-1])
        self._so_far = self._so_far.plus(committed.segments)
        for stage, repeated in committed.repeated.items():
            spent.setdefault(stage, Spent()).repeated_microusd += repeated
        for tally in tallies:
            said = f"{tally['reason']}: {tally['detail']}"
            if tally["outcome"] == "stop":
                raise StopRunError(said, where=self._settings.base_url, cure=cure(tally["reason"]))
            if tally["outcome"] == "defer":
                spent[tally["stage"]].stopped = said

    def _commit(self, wave: str) -> _Committed:
        """Land a wave's journal in `completions`, once, and delete the segments that were landed.

        A wave of this process asked for keys that had no completion, each in one part; so, with one attempt a part,
        nothing can be there twice. Otherwise the earliest reply of a key stays: later stages may have read it.
        """
        folder = self._journals / wave
        found, repeated = segments(folder), dict[str, int]()
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
            repeated = self._check_landed(rows, sum(s.rows for s in found))
        forget_segments(folder, found)
        return _Committed(found, repeated)

    def _unknown(self, rows: DataFrame) -> DataFrame:
        """The earliest of the journaled replies to each key, of those keys that have no completion."""
        keys = rows.select("request_key").distinct()
        known = self._store.read("completions").select("request_key").join(keys, "request_key", "left_semi")
        earliest = F.min_by(F.struct(*_JOURNALED), "answered_at").alias("row")
        one = rows.groupBy("request_key").agg(earliest).select("row.*")
        return one.join(known, "request_key", "left_anti")

    def _check_landed(self, rows: DataFrame, count: int) -> dict[str, int]:
        """Raise :class:`StoreError` unless every key is in the table; returns what repeated replies cost, by stage."""
        landed = self._store.read("completions").select("request_key", "answered_at")
        # The usual case in one pass, without a shuffle: each journaled reply is there, itself.
        if landed.join(F.broadcast(rows.select("request_key", "answered_at")), _REPLY, "left_semi").count() == count:
            return {}
        there = landed.withColumnRenamed("answered_at", "landed_at")
        found = (
            rows.join(there, "request_key", "left")
            .groupBy("stage")
            .agg(
                F.count_if(F.col("landed_at").isNull()).alias("missing"),
                F.sum(F.when(F.col("landed_at") != F.col("answered_at"), F.col("cost_microusd"))).alias("repeated"),
            )
            .collect()
        )
        if any(row["missing"] for row in found):
            raise StoreError(
                "replies of a wave did not reach the table; their journal was kept",
                where="completions",
                cure="run again; if it repeats, report it with the version of delta-spark",
            )
        return {row["stage"]: int(row["repeated"]) for row in found if row["repeated"]}

    def _plan(self, wave: str, questions: dict[str, Question]) -> Plan:
        return Plan.of(self._settings, self._endpoint, self._journals / wave, questions, self._tasks)

    @functools.cached_property
    def _tasks(self) -> int:
        # Once: a Connect server has to be asked by a job.
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

    def _affords(self, worst: dict[str, int], waves: int, spent: dict[str, Spent]) -> bool:
        """Whether the budget holds one more of *waves*; reserves its worst cost, or says to all its stages why not."""
        if self._budget is None:
            return True
        paid, wave_worst = self._paid(), sum(worst.values()) // waves
        if paid + wave_worst > self._budget:
            for stage in worst:
                spent[stage].stopped = (
                    f"budget: {paid / 1e6:.4f} of {self._budget / 1e6:.4f} US dollars are spent, "
                    f"and the next wave may cost {wave_worst / 1e6:.4f}"
                )
            return False
        for stage, most in worst.items():
            spent[stage].reserved_microusd += most // waves
        return True

    def _paid(self) -> int:
        total = (
            self._store.read("completions").selectExpr("coalesce(sum(cost_microusd), 0) AS paid").collect()[0]["paid"]
        )
        repeated = self._store.read("runs").selectExpr("coalesce(sum(waste['repeated']), 0) AS r").collect()[0]["r"]
        return int(total) + int(repeated)

    def _check_prices(self, waiting: _Waiting) -> None:
        for question in waiting.questions.values():
            if self._budget is not None and question.abilities.price is None:
                raise PersonalakeError(
                    f"a budget is set, and the model {question.role.model!r} has no price",
                    where="budget_usd",
                    cure="add its price to models.yaml",
                )


def _fed(columns: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows as Arrow batches, a partition in memory at a time, for a driver that calls by itself."""
    rows = columns.toLocalIterator(prefetchPartitions=True)
    while batch := [row.asDict() for row in islice(rows, _FED_ROWS)]:
        yield pa.RecordBatch.from_pylist(batch)
