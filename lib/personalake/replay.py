"""`personalake rejects --replay`: what was refused is asked again, and what the refused replies cost stays counted.

Rejects leave their table, their replies no longer answer the requests, and the counts of their stages go back; then the
stages run, and ask what has no answer. A reply of which another part was accepted is left alone: `reaccept` is for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake import amend
from personalake.amend import Change, Prepared
from personalake.asking import expand_ask, infer_ask, stage_name
from personalake.errors import InputError, first_line
from personalake.inputs import Inputs
from personalake.llm.progress import Progress
from personalake.personas.expand import HOPS, hop_of
from personalake.pipeline import execute
from personalake.rounds import Rounds
from personalake.runs import Run
from personalake.schemas import PENDING
from personalake.shown import Shown
from personalake.stage_record import StageRecord
from personalake.synthesis import synthesize as synthesis

STAGES = ("infer", "expand", "synthesize")
"""The stages that can be asked again."""
_GROWS = ("infer", "expand")
"""Those that are told by `pending` whom to ask again; the steps of tasks look at whole tables."""

_LEFT = {
    "never_asked": "never asked for (ingest, import)",
    "other_stage": "of a stage that these settings don't have",
    "accepted": "beside something that was accepted (`personalake reaccept` reads them again)",
    "target_met": "of tasks whose targets are met without them",
}
"""Why rejects are left as they are."""

_WHERE = ["stage", "origin_id"]


def replay(
    inputs: Inputs,
    where: str | None,
    stage: str | None,
    *,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] = lambda _: None,
    spark: SparkSession | None = None,
    verbose: bool = False,
) -> Shown:
    """Ask again for the rejects that fulfil *where* (SQL), of *stage* or of any; see :func:`pipeline.execute`.

    Raises :class:`InputError` for a stage that asks nothing and a condition that is no SQL, and where another run was
    cut off.
    """
    named = None if stage is None else amend.asking_stages(inputs, stage)
    first = functools.partial(prepare, inputs=inputs, where=where, names=named)
    command = "rejects --replay"
    return execute(
        inputs, STAGES, say=say, progress=progress, spark=spark, verbose=verbose, prepare=first, command=command
    )


def prepare(run: Run, *, inputs: Inputs, where: str | None, names: tuple[str, ...] | None) -> Prepared:
    """Make the rejects that fulfil *where*, of the stages *names* or of all, askable again; returns what has to run.

    A replay that was cut off goes on with its stages, and takes no more rejects.
    """
    left_over, told = tuple(name for name in STAGES if name in run.half_done.stages), run.half_done.replay
    if told and left_over:
        return Prepared(left_over, told, f"a replay that was cut off went on: {_said(told)}")
    amend.refuse_half_done(run)
    rejects = run.store.read("rejects")
    matched = _matching(rejects, where)
    if names is not None:
        matched = matched.where(F.col("stage").isin(*names))
    rows = run.store.stage(_sorted(run, inputs, rejects, matched), "replay-sorted")
    rows = run.store.stage(_within_targets(run, inputs, rows), "replay")
    left = _left(rows)
    again = rows.where("why IS NULL")
    cost, number = _cost(run, again)
    asking = {row["stage"].split(".")[0] for row in again.select("stage").distinct().collect()}
    stages = tuple(name for name in STAGES if name in asking)
    told = {"replayed": number, "left": left, "set_aside_usd": cost / 1e6, "asks": list(stages)}
    if stages:
        records = _records(again)
        through = {name: run.through(name) for name in records}
        amend.plan(run, "rejects --replay", _changes(run, inputs, again, stages), records, through, told)
        amend.carry_out(run, own=True)
    run.say(_said(told))
    return Prepared(stages, told, _said(told))


def _matching(rejects: DataFrame, where: str | None) -> DataFrame:
    try:
        found = rejects.where(where) if where else rejects
        found.schema  # noqa: B018 (a Connect server says only now what is wrong with it)
    except (AnalysisException, ParseException) as error:
        what, cure = f"--where {where!r}: {first_line(error)}", f"columns: {', '.join(rejects.columns)}"
        raise InputError(what, cure=cure) from error
    return found


def _sorted(run: Run, inputs: Inputs, rejects: DataFrame, matched: DataFrame) -> DataFrame:
    """The matched rejects and those that have to go with them, each with `why` it is left; null where it goes.

    An origin (page, persona, example) is asked whole: its other refusals in the stage go with it, and those of origins
    that asked the very same.
    """
    mine = rejects.where("request_key IS NOT NULL").select("reject_id", "stage", _origin(), "request_key", "input_key")
    asked = matched.where("request_key IS NOT NULL").select("stage", _origin()).distinct()
    keys = mine.join(asked, _WHERE, "left_semi").select("request_key").distinct()
    origins = mine.join(keys, "request_key", "left_semi").select(*_WHERE).distinct()
    closure = mine.join(origins, _WHERE, "left_semi")
    accepted = _accepted(run, inputs)
    blocked = (
        closure.join(accepted.select(*_WHERE), _WHERE, "left_semi")
        .unionByName(closure.join(accepted.select("request_key"), "request_key", "left_semi"))
        .select(*_WHERE, F.lit(True).alias("blocked"))
        .distinct()
    )
    other = ~F.col("stage").isin(*amend.asking_stages(inputs, None))
    why = F.when(other, "other_stage").when(F.col("blocked"), "accepted")
    ids = matched.select("reject_id", F.lit(True).alias("matched")).distinct()
    judged = closure.join(blocked, _WHERE, "left").join(ids, "reject_id", "left").withColumn("why", why)
    columns = ("reject_id", *_WHERE, "request_key", "input_key", "matched", "why")
    unasked = matched.where("request_key IS NULL").select("reject_id", "stage", _origin(), "request_key", "input_key")
    never = unasked.withColumn("matched", F.lit(True)).withColumn("why", F.lit("never_asked"))
    return judged.select(*columns).unionByName(never.select(*columns))


def _within_targets(run: Run, inputs: Inputs, rows: DataFrame) -> DataFrame:
    """*rows* without those personas who would not be asked to write, because their task lacks fewer examples.

    Examples that wait for an answer again count as there; of the others those of lowest rank are asked, as always.
    """
    again = rows.where("why IS NULL").select(*_WHERE).distinct()
    reopened = again.join(_steps(run, inputs).where("answers"), "stage").groupBy("task")
    held = {row["task"]: row["held"] for row in reopened.agg(F.count_distinct("origin_id").alias("held")).collect()}
    missing, chosen = Rounds(run, inputs).missing(), []
    for task, _ in inputs.tasks:
        stage = stage_name(task, task.first)
        writers = again.where(F.col("stage") == stage).withColumnRenamed("origin_id", "persona_id")
        ranked = synthesis.ranked(run.store.read("hub").join(writers, "persona_id"), task, inputs.settings.seed)
        room = max(0, missing[task.task] - held.get(task.task, 0))
        chosen.append(ranked.orderBy("rank").limit(room).selectExpr(f"'{stage}' AS stage", "persona_id AS origin_id"))
    if not chosen:
        return rows
    asked = functools.reduce(DataFrame.unionByName, chosen).withColumn("asked", F.lit(True))
    writing = [stage_name(task, task.first) for task, _ in inputs.tasks]
    beyond = F.col("why").isNull() & F.col("stage").isin(writing) & F.col("asked").isNull()
    why = F.when(beyond, "target_met").otherwise(F.col("why"))
    return rows.join(asked, _WHERE, "left").withColumn("why", why).drop("asked")


def _steps(run: Run, inputs: Inputs) -> DataFrame:
    steps = [(t.task, s.id, s.role, s.answers, stage_name(t, s)) for t, _ in inputs.tasks for s in t.steps]
    ddl = "task string, step string, solver string, answers boolean, stage string"
    return F.broadcast(run.store.spark.createDataFrame(steps, ddl))


def _accepted(run: Run, inputs: Inputs) -> DataFrame:
    """What was accepted, by stage, origin and request."""
    store, named = run.store, _steps(run, inputs)
    examples, writing = store.read("examples"), named.where("NOT answers").drop("step", "solver")
    columns = ("stage", "origin_id", "request_key")
    parts = (
        store.read("personas").selectExpr("'infer' AS stage", "doc_id AS origin_id", "request_key"),
        store.read("personas").selectExpr(f"concat('{HOPS}', hop) AS stage", "parent_id AS origin_id", "request_key"),
        examples.join(writing, "task").withColumnRenamed("persona_id", "origin_id").select(*columns),
        store.read("solutions")
        .join(examples.select("example_id", "task"), "example_id")
        .join(named, ["task", "step", "solver"])
        .withColumnRenamed("example_id", "origin_id")
        .select(*columns),
    )
    return functools.reduce(DataFrame.unionByName, parts).where("request_key IS NOT NULL")


def _origin() -> Column:
    """What a reject was made from, without its place in the reply."""
    return F.substring_index("input_key", "#", 1).alias("origin_id")


def _left(rows: DataFrame) -> dict[str, int]:
    found = rows.where("matched AND why IS NOT NULL").groupBy("why").count().collect()
    counts = {row["why"]: int(row["count"]) for row in found}
    return {why: counts[why] for why in _LEFT if why in counts}


def _cost(run: Run, again: DataFrame) -> tuple[int, int]:
    """What the replies to the requests that are asked *again* have cost, and how many rejects that takes away."""
    keys = again.select("request_key").distinct()
    mine = run.store.read("completions").join(keys, "request_key", "left_semi")
    paid = mine.selectExpr("coalesce(sum(cost_microusd), 0) AS paid").collect()[0]["paid"]
    return int(paid), again.count()


def _changes(run: Run, inputs: Inputs, again: DataFrame, stages: tuple[str, ...]) -> list[Change]:
    changes = [
        Change("completions", "set aside", again.select("request_key").distinct()),
        Change("rejects", "delete", again.select("reject_id").distinct()),
    ]
    asks = [row[0] for row in again.select("stage").distinct().collect() if row[0].split(".")[0] in _GROWS]
    if asks:
        waiting = (_waiting(run, inputs, again, stage) for stage in sorted(asks))
        changes.insert(0, Change("pending", "append", functools.reduce(DataFrame.unionByName, waiting)))
    return changes


def _waiting(run: Run, inputs: Inputs, again: DataFrame, stage: str) -> DataFrame:
    """The requests of pages or parents that are asked *again*, as today's settings make them: rows of `pending`."""
    key, table = ("doc_id", "documents") if stage == "infer" else ("persona_id", "hub")
    own = again.where(F.col("stage") == stage)
    rows = run.store.read(table).join(own.select(F.col("origin_id").alias(key)).distinct(), key, "left_semi")
    requests = (infer_ask(rows, inputs) if stage == "infer" else expand_ask(rows, hop_of(stage), inputs)).requests
    if inputs.settings.infer.long_pages == "parts" and stage == "infer":
        # Parts of a page that brought nobody aren't refused: they were answered, and would be counted twice.
        requests = requests.join(own.select("request_key").distinct(), "request_key", "left_semi")
    named = {"stage": F.lit(stage), "step": F.lit(""), "reason": F.lit("replayed")}
    return requests.withColumns(named).select(*(name for name in PENDING.names if name != "seq"))


def _records(again: DataFrame) -> dict[str, StageRecord]:
    """What takes the refusals back out of their stages' counts: they are counted anew when they are asked again."""
    item = F.contains("input_key", F.lit("#"))
    request = F.when(item, F.struct("request_key", "origin_id"))
    found = again.groupBy("stage").agg(
        F.count_if(~item).alias("whole"), F.count_if(item).alias("items"), F.count_distinct(request).alias("requests")
    )
    records: dict[str, StageRecord] = {}
    for row in found.collect():
        whole, items, answered = int(row["whole"]), int(row["items"]), int(row["requests"])
        record = StageRecord(row["stage"], message=f"{whole + items} refusals taken back: they are asked again")
        record.add(requests=-whole - answered, rejected=-whole, answered=-answered, items=-items, item_rejects=-items)
        records[record.stage] = record
    return records


def _said(told: Mapping[str, Any]) -> str:
    left = sum(told["left"].values())
    again = f"{told['replayed']:,} rejects are asked again, ${told['set_aside_usd']:.4f} for their replies set aside"
    if not left:
        return again if told["replayed"] else "no reject matches: nothing is asked again"
    why = ", ".join(f"{number:,} {_LEFT[name]}" for name, number in told["left"].items())
    return f"{again}; {left:,} left: {why}" if told["replayed"] else f"nothing is asked again; {left:,} left: {why}"
