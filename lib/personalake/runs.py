"""The order of the stages, what each reads and lands, and the run records.

A stage reads what is new to it (`seq` above what it last finished), writes rows under the run's `seq`, and closes with
its row in `runs`. A stage that works in rounds, of which each needs what the one before has kept, gives each a `seq` of
its own, so that to whatever comes later a round is a run. Cut off anywhere, the next run starts it again from its last
finished `seq`; what it had already landed is recognised by its keys, and what it had already paid by `completions`.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import __version__, telemetry
from personalake.accept import ACCEPTED, DEFERRED, ITEM_REJECT, NONE_FOUND, REJECTED, content_id
from personalake.errors import DeferredError
from personalake.half_done import HalfDone
from personalake.llm.complete import Completer
from personalake.llm.journal import TRIED
from personalake.llm.spent import Spent
from personalake.reach import NO_RANK, Reach
from personalake.schemas import PAID_BESIDE, PENDING, RUNS
from personalake.session import at_once
from personalake.settings import Settings
from personalake.stage_record import COUNTS, StageRecord, summary
from personalake.store import Store

_REQUESTS_AS = {
    ACCEPTED: ("requests", "answered"), ITEM_REJECT: ("requests", "answered"), NONE_FOUND: ("requests", "answered"),
    REJECTED: ("requests", "rejected"), DEFERRED: ("requests", "deferred"),
}  # fmt: skip
_ITEMS_AS = {
    ACCEPTED: ("items", "accepted"), ITEM_REJECT: ("items", "item_rejects"), NONE_FOUND: ("none_found",),
    REJECTED: (), DEFERRED: (),
}  # fmt: skip
"""The counts in which a kind of outcome row appears: as a request, and as an item."""

INDEXED = {"ingest": "page", "dedup": "persona"}
"""The kind of rows that a stage compares with all that it kept before."""

_LATE = "no answer in time"


class Run:
    """One run over one store: its number, its stages so far, and how they are closed."""

    def __init__(self, store: Store, settings: Settings, completer: Callable[[int], Completer]) -> None:
        self.store, self.settings = store, settings
        self.half_done = HalfDone(store.work)
        self.reach = Reach(store)
        self.seq = 1 + self.reach.seq
        self.run_id = content_id("run", store.store_id, self.seq)
        self.completer = completer(self.seq)
        self.stages: list[StageRecord] = []
        self.warnings: list[str] = []
        self.writing_stages: frozenset[str] = frozenset()
        self.say: Callable[[str], None] = lambda _: None
        self._started = time.monotonic()
        self.started_at = dt.datetime.now(dt.timezone.utc)

    @property
    def resumes(self) -> bool:
        """Whether a run before this one was cut off."""
        return self.half_done.found

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far."""
        return time.monotonic() - self._started

    def through(self, stage: str) -> int:
        """The last `seq` that *stage* has finished with; 0 where it never ran."""
        return self.reach.through(stage)

    def look(self) -> None:
        """Read off `runs` anew how far every stage is."""
        self.reach = Reach(self.store)

    def has_news(self, stage: str, *sources: str) -> bool:
        """See :meth:`Reach.has_news`."""
        return self.reach.has_news(stage, *sources)

    def next_round(self, *stages: str) -> None:
        """Go on under a number of its own, where one of *stages* has closed under the present one."""
        if any(self.through(stage) >= self.seq for stage in stages):
            self.seq += 1
            self.completer.number(self.seq)

    def fresh(self, table: str, stage: str) -> DataFrame:
        """The rows of *table* that *stage* hasn't finished with."""
        return self.store.read(table, after_seq=self.through(stage))

    def append(self, rows: Mapping[str, DataFrame], stages: Sequence[str]) -> None:
        """Append what *stages* made to its tables, less what an earlier, cut-off try at them has landed."""
        since = min(map(self.through, stages))
        # A try that was cut off has made other blocks, and sketches under its own number, of the same rows.
        again = {"hub_keys": f"kind = '{INDEXED.get(stages[0])}'", "sketches": f"stage = '{stages[0]}'"}

        def to(table: str, made: DataFrame) -> None:
            if self.resumes and table in again:
                self.store.replace(table, made, self.seq, where=f"{again[table]} AND seq > {since}")
            elif self.resumes:
                self.store.append_new(table, made, self.seq, after_seq=since)
            else:
                self.store.append(table, made, self.seq)

        at_once(*(functools.partial(to, table, made) for table, made in rows.items()))

    def close(self, *records: StageRecord) -> None:
        """Check the identities of stages and land their rows in `runs`, in one commit.

        Raises :class:`DeferredError` where one of them has requests that have to wait.
        """
        self.bill([record for record in records if record.counts["requests"]])
        for record in records:
            record.check()
            record.seconds = record.seconds or time.monotonic() - record.began
            if record.counts["deferred"]:
                record.status = "deferred"
        # What was lost to sends without an answer lies in files until this commit has it.
        lost = self.completer.purse.lost() if records else {}
        for record in records:
            record.add(unknown_microusd=lost.pop(record.stage, 0))
        if records:
            records[0].add(unknown_microusd=sum(lost.values()))  # Of a stage that this run hasn't come to.
        self._land(*records)
        if records:
            self.completer.purse.settle()
        for record in records:
            self.reach.note(record.stage, self.seq, self.seq, record.through_rank)
            self.stages.append(record)
            self.say(summary(record))
            _trace(record)
        for record in records:
            if record.status == "deferred":
                raise DeferredError(
                    f"{record.counts['deferred']} requests of {record.stage} have to wait: {record.message or _LATE}",
                    where=self.settings.llm.address,
                    cure="run again to go on; nothing that was answered is asked again",
                )

    def adopt_tries(self) -> None:
        """Bill what `personalake try` has asked since the last run, and this run's recovery has landed."""
        rows = self.store.read("completions", after_seq=self.through(TRIED)).where(F.col("stage") == TRIED)
        counts = ("count(*) AS rows", "count_if(error IS NULL) AS good", "sum(attempts) AS sent")
        found = rows.selectExpr(*counts).collect()[0]
        number, good, sent = (int(found[name] or 0) for name in ("rows", "good", "sent"))
        if number:
            record = StageRecord(TRIED)
            record.add(requests=number, answered=good, rejected=number - good, sent=sent)
            self.close(record)

    def end(self, status: str, message: str | None = None) -> None:
        """Land the run's own row; unless it failed, nothing of it is left half done."""
        whole = StageRecord("run", status=status, message=message, started_at=self.started_at)
        whole.seconds = time.monotonic() - self._started
        for record in self.stages:
            whole.add(**{n: record.counts[n] for n in COUNTS if n in ("sent",) or n.endswith(("tokens", "_microusd"))})
        self._land(whole, settings=json.dumps(self.settings.shaping_rows(), sort_keys=True))
        if status != "failed":
            self.half_done.end()

    def _land(self, *records: StageRecord, settings: str | None = None) -> None:
        if records:
            self.store.append("runs", self.rows(records, settings=settings), self.seq)

    def rows(
        self,
        records: Iterable[StageRecord],
        *,
        run_id: str | None = None,
        through: Mapping[str, int] | None = None,
        settings: str | None = None,
    ) -> DataFrame:
        """*records* as rows of `runs`; *through* says how far their stages are, where it isn't up to this run."""
        rows = [
            {
                "run_id": run_id or self.run_id,
                "stage": record.stage,
                "status": record.status,
                "through_seq": self.seq if through is None else through[record.stage],
                # A correction deals with no row that its stage hasn't dealt with.
                "through_rank": record.through_rank if through is None else NO_RANK,
                **record.counts,
                "waste": record.waste,
                "engine": record.engine,
                "started_at": record.started_at,
                "seconds": record.seconds,
                "settings_hash": self.settings.hash,
                "settings": settings,
                "message": record.message,
                "version": __version__,
            }
            for record in records
        ]
        names = [name for name in RUNS.names if name != "seq"]
        schema = ", ".join(f"{c.name} {c.type}" for c in RUNS.columns if c.name != "seq")
        values = [tuple(row[name] for name in names) for row in rows]
        return self.store.spark.createDataFrame(values, schema)

    def land_outcomes(
        self,
        records: Mapping[str, StageRecord],
        outcomes: Mapping[str, DataFrame],
        spent: Mapping[str, Spent],
        *,
        later: Collection[str] = (),
    ) -> dict[str, DataFrame]:
        """Land the outcome rows of paid steps, and count each in its stage's record.

        *outcomes* has the rows by the table of those that were accepted, with their `stage`; the others go to
        `rejects` and `pending`. Returns the accepted rows by table; those of the tables *later* are the caller's to
        land.
        """
        landed = {table: self.store.stage(rows, f"{table}-outcomes") for table, rows in outcomes.items()}
        told = [rows.drop("item").withColumn("table", F.lit(table)) for table, rows in landed.items()]
        every = functools.reduce(DataFrame.unionByName, told)
        filled = self._count(records, every)
        for stage, own in spent.items():
            if stage not in records:
                continue  # Replies that came for another stage are billed when that closes.
            record = records[stage]
            record.add(sent=own.sent)
            for cause, cost in (("repeated", own.repeated_microusd), ("unusable", own.unusable_microusd)):
                if cost:
                    record.waste[cause] = record.waste.get(cause, 0) + cost
            record.engine = own.figures()
            record.message = own.stopped or record.message
            self.warnings += [each for each in sorted(own.warnings) if each not in self.warnings]
        made = {table: rows.where(rows["kind"] == ACCEPTED).select("item.*") for table, rows in landed.items()}
        filled -= set(later)
        if filled:
            rows = {**made, "rejects": self.rejects(every)}
            self.append({table: rows[table] for table in filled}, list(records))
        self._keep_pending(every, records)
        return made

    def _count(self, records: Mapping[str, StageRecord], rows: DataFrame) -> set[str]:
        """Count outcome rows by what became of them, and what was paid in vain by its cause.

        Returns the tables that get rows: an append of none would be a commit.
        """
        cause = F.when(rows["wasted_microusd"] > 0, F.coalesce("reason", "kind")).alias("cause")
        found = (
            rows.groupBy("table", "stage", "kind", cause)
            .agg(
                F.count("*").alias("rows"),
                F.sum(F.col("first").cast("long")).alias("requests"),
                F.sum("wasted_microusd").alias("wasted"),
            )
            .collect()
        )
        for row in found:
            record, kind = records[row["stage"]], row["kind"]
            if row["cause"] and row["wasted"]:
                record.waste[row["cause"]] = record.waste.get(row["cause"], 0) + int(row["wasted"])
            record.add(**dict.fromkeys(_REQUESTS_AS[kind], int(row["requests"] or 0)))
            record.add(**dict.fromkeys(_ITEMS_AS[kind], int(row["rows"])))
        refused = {"rejects" for row in found if row["kind"] in (REJECTED, ITEM_REJECT)}
        return refused | {row["table"] for row in found if row["kind"] == ACCEPTED}

    def bill(self, records: list[StageRecord]) -> None:
        """What the stages paid, from the rows that they paid for: accumulators and counters may count twice.

        Counted from each stage's last finished run, so that what a run paid before it was cut off is billed as well.
        """
        if not records:
            return
        names = ("prompt_tokens", "completion_tokens", "cost_microusd")
        since = {record.stage: self.through(record.stage) for record in records}
        completions = self.store.read("completions", after_seq=min(since.values()))
        sums = (
            completions.where(completions["stage"].isin(*since))
            .groupBy("stage", "seq")
            .agg(*(F.sum(name).alias(name) for name in names))
            .collect()
        )
        for record in records:
            own = [row for row in sums if row["stage"] == record.stage and row["seq"] > since[record.stage]]
            for name in names:
                record.counts[name] = sum(int(row[name] or 0) for row in own)
            record.add(cost_microusd=sum(record.waste.get(cause, 0) for cause in PAID_BESIDE))
            record.counts["wasted_microusd"] = sum(record.waste.values())

    def rejects(self, rows: DataFrame) -> DataFrame:
        """The refusals among outcome *rows* that have their `stage`: REJECTS without `seq`."""
        item = F.concat_ws("#", "origin_id", "ordinal")
        input_key = F.when(F.col("kind") == ITEM_REJECT, item).otherwise(F.col("origin_id"))
        usage = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "cost_microusd")
        whole = F.col("kind") == REJECTED
        return rows.where(F.col("kind").isin(REJECTED, ITEM_REJECT)).select(
            F.sha2(F.concat_ws("|", "stage", "request_key", input_key, "reason"), 256).alias("reject_id"),
            "stage",
            "reason",
            "detail",
            input_key.alias("input_key"),
            F.lit(None).cast("string").alias("path"),
            F.lit(None).cast("long").alias("offset"),
            "raw",
            "request_key",
            "request_id",
            *(F.when(whole, F.col(name)).alias(name) for name in usage),
        )

    def _keep_pending(self, rows: DataFrame, records: Mapping[str, StageRecord]) -> None:
        """Keep these stages' unanswered requests, and only those; no commit where nothing waited or waits."""
        stages = sorted(records)
        before = self.store.read("pending")
        kept = self.store.exists("pending") and not before.where(before["stage"].isin(stages)).isEmpty()
        if not kept and not any(record.counts["deferred"] for record in records.values()):
            return
        why = self.store.spark.createDataFrame(
            [(stage, record.step, record.message or _LATE) for stage, record in records.items()],
            "stage string, step string, reason string",
        )
        waiting = rows.where(rows["kind"] == DEFERRED).drop("reason").join(F.broadcast(why), "stage")
        named = [name for name in PENDING.names if name != "seq"]
        where = ", ".join(f"'{stage}'" for stage in stages)
        self.store.replace("pending", waiting.select(*named), self.seq, where=f"stage IN ({where})")

    def remember_prompts(self, prompts: Iterable[tuple[str, str, str, str | None]]) -> None:
        """Land those prompt versions (id, name, template, schema) that the store doesn't know yet."""
        known = {row[0] for row in self.store.read("prompts").select("prompt_id").collect()}
        new = [(*prompt, None) for prompt in {each[0]: each for each in prompts}.values() if prompt[0] not in known]
        if new:
            schema = "prompt_id string, name string, template string, response_schema string, shots string"
            self.store.append("prompts", self.store.spark.createDataFrame(new, schema), self.seq)


def _trace(record: StageRecord) -> None:
    c = record.counts
    rows = {name: c[name] for name in ("requests", "accepted", "duplicates", "item_rejects", "rejected", "deferred")}
    telemetry.ended("stage", record.started_at, stage=record.stage, status=record.status, **rows)
    paid = {name: c[name] for name in ("prompt_tokens", "completion_tokens", "cost_microusd")}
    telemetry.count(paid, stage=record.stage)
