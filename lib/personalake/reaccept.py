"""`personalake reaccept --stage S`: stored replies read again under today's checks and settings, and nothing paid.

Requests are built as a run builds them; those whose reply is stored are judged as a run judges them. What is accepted
now is appended, and goes on like any new row; refusals that don't hold any more are deleted, new ones added. A row that
was accepted and would be refused now stays, and gets a verdict that says so: rows are written once and judged later.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake import amend
from personalake.accept import ACCEPTED, ITEM_REJECT, NONE_FOUND, REJECTED
from personalake.amend import Change, Prepared
from personalake.asking import answers_in, expand_ask, infer_ask, seen_by, stage_name, steps_of
from personalake.errors import InputError
from personalake.growth import judged_pages, judged_parents
from personalake.inputs import Inputs
from personalake.llm.landing import once
from personalake.llm.progress import Progress
from personalake.personas.expand import hop_of
from personalake.pipeline import execute
from personalake.reach import rank_of
from personalake.rounds import judged_step
from personalake.runs import Run
from personalake.schemas import TABLES, VERDICTS
from personalake.session import at_once
from personalake.shown import Shown
from personalake.stage_record import StageRecord
from personalake.synthesis import synthesize as synthesis
from personalake.synthesis.tasks import Step, Task

CHECK = "accept"
"""The check of the verdicts; those of an answer are an example's by its id, so their step follows: `accept.solution`"""

_REQUEST = ["stage", "request_key", "origin_id"]
_ITEM = [*_REQUEST, "ordinal"]
_SUBJECT = ["subject_id", "check", "sample"]
_TOLD = {
    "accepted": "newly accepted",
    "cleared": "refusals taken back",
    "refused": "newly refused",
    "withdrawn": "accepted once and refused now (see `verdicts`)",
    "restored": "accepted again",
    "not_asked": "not asked under these settings",
}
"""What a person is told of a stage, by its name in `--json`."""


class _Stage(NamedTuple):
    """A stage: its table, its requests, the outcome rows of those with a reply, and the rows that the table has."""

    table: str
    asked: DataFrame
    outcomes: DataFrame
    rows: DataFrame


@dataclass(frozen=True)
class _Found:
    """What changes: rows to append by table, rejects that come and go, verdicts; and what is counted differently."""

    accepted: Mapping[str, DataFrame]
    came: DataFrame
    gone: DataFrame
    verdicts: DataFrame
    requests: DataFrame


def reaccept(
    inputs: Inputs,
    stage: str,
    *,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] = lambda _: None,
    spark: SparkSession | None = None,
    verbose: bool = False,
) -> Shown:
    """Read the stored replies of *stage* again, or of all steps for `synthesize`; see :func:`pipeline.execute`.

    Raises :class:`InputError` for a stage that asks nothing or has no stored reply, and where a run was cut off.
    """
    first = functools.partial(prepare, inputs=inputs, names=amend.asking_stages(inputs, stage))
    return execute(
        inputs, (), say=say, progress=progress, spark=spark, verbose=verbose, prepare=first, command="reaccept"
    )


def prepare(run: Run, *, inputs: Inputs, names: tuple[str, ...]) -> Prepared:
    """Read the stored replies of the stages *names* again and make what that changes; no stage has to run."""
    amend.refuse_half_done(run)
    every = [_staged(run, made, number) for number, made in enumerate(_stages(run, inputs, names))]
    asked, read = (
        _numbers(frames) for frames in zip(*((e.asked, e.outcomes.where("first")) for e in every), strict=True)
    )
    if not read:
        raise InputError(
            f"no reply of {', '.join(names)} is stored under these settings",
            where=run.store.address,
            cure="`personalake run` asks; another model or prompt asks another question",
        )
    found = _found(run, every)
    records, counts = _records(found)
    if records:
        _correct(run, inputs, found, records)
    told = {}
    for name in names:
        own = [*counts[name].items(), ("not_asked", asked[name] - read[name])]
        told[name] = {what: sum(n for part, n in own if part.startswith(what)) for what in _TOLD} | {"read": read[name]}
    return Prepared((), {"reaccepted": told}, "\n".join(_line(name, each) for name, each in told.items()))


def _numbers(frames: Iterable[DataFrame]) -> Counter[str]:
    rows = functools.reduce(DataFrame.unionByName, (frame.select("stage") for frame in frames))
    return Counter({row["stage"]: int(row["count"]) for row in rows.groupBy("stage").count().collect()})


def _correct(run: Run, inputs: Inputs, found: _Found, records: dict[str, StageRecord]) -> None:
    changes = [Change(table, "append", rows.drop("stage")) for table, rows in found.accepted.items()]
    changes += [
        Change("rejects", "delete", found.gone.select("reject_id").distinct()),
        Change("rejects", "append", found.came),
        Change("verdicts", "append", found.verdicts.drop("stage")),
    ]
    # New pages and parents are told from those that were asked by how far a stage is; steps look at whole tables.
    steps = steps_of(inputs)
    through = {name: run.seq if name in steps else run.through(name) for name in records}
    run.bill([record for name, record in records.items() if name in steps])
    amend.plan(run, "reaccept", changes, records, through)
    amend.carry_out(run, own=True)


def _stages(run: Run, inputs: Inputs, names: tuple[str, ...]) -> Iterator[_Stage]:
    """Each stage, not computed yet: the requests of all whom it has dealt with, and what their replies bring today."""
    steps = steps_of(inputs)
    for name in names:
        yield _step(run, inputs, *steps[name]) if name in steps else _grown(run, inputs, name)


def _grown(run: Run, inputs: Inputs, name: str) -> _Stage:
    """The pages, or the personas of a hop; those that the stage hasn't come to, or who wait, are its own affair."""
    store, seed = run.store, inputs.settings.seed
    waiting = store.read("pending").where(F.col("stage") == name).select("origin_id").distinct()
    columns = ("request_key", "ordinal", "persona_id AS subject_id", f"'{CHECK}' AS check", "0 AS sample")
    if name == "infer":
        table, key, made = store.read("documents"), "doc_id", store.read("personas").where("doc_id IS NOT NULL")
    else:
        hop = hop_of(name)
        table, key = store.read("hub").where(F.col("hop") == hop - 1), "persona_id"
        made = store.read("personas").where((F.col("hop") == hop) & F.col("parent_id").isNotNull())
    origins = table.where(run.reach.asked(name, rank_of(seed, key)))
    origins = origins.join(waiting.withColumnRenamed("origin_id", key), key, "left_anti")
    requests = (infer_ask(origins, inputs) if name == "infer" else expand_ask(origins, hop_of(name), inputs)).requests
    asked, answers = _answers(run, requests, name)
    if name == "infer":
        outcomes, origin = judged_pages(answers, origins, inputs), "doc_id"
    else:
        outcomes, origin = judged_parents(answers, origins, name, inputs), "parent_id"
    rows = made.selectExpr(f"'{name}' AS stage", f"{origin} AS origin_id", *columns)
    return _Stage("personas", asked, outcomes, rows)


def _step(run: Run, inputs: Inputs, task: Task, step: Step) -> _Stage:
    store, name, seed = run.store, stage_name(task, step), inputs.settings.seed
    refused = store.read("rejects").where(F.col("stage") == name)
    tried, question = (
        refused.select(F.substring_index("input_key", "#", 1).alias("origin_id")),
        inputs.question_of(step),
    )
    examples = store.read("examples").where(F.col("task") == task.task)
    if step.answers:
        rows = answers_in(store, step)
        rows = rows.join(examples.select("example_id"), "example_id", "left_semi").withColumn(
            "ordinal", F.col("sample")
        )
        ids, check = ("example_id AS origin_id", "example_id AS subject_id"), f"{CHECK}.{task.name(step)}"
        origins = tried.unionByName(rows.selectExpr(ids[0])).withColumnRenamed("origin_id", "example_id")
        writers, about = None, seen_by(store, task, step, examples.join(origins, "example_id", "left_semi"))
        requests = synthesis.later_requests(about, task, step, question)
    else:
        rows, check = examples.withColumn("sample", F.lit(0)), CHECK
        ids = ("persona_id AS origin_id", "example_id AS subject_id")
        origins = tried.unionByName(rows.selectExpr(ids[0])).withColumnRenamed("origin_id", "persona_id")
        writers = synthesis.ranked(store.read("hub").join(origins, "persona_id", "left_semi"), task, seed)
        requests = synthesis.first_requests(writers, task, question, seed)
    asked, answers = _answers(run, requests, name)
    outcomes = judged_step(answers, task, step, writers, seed)
    mine = rows.selectExpr(f"'{name}' AS stage", "request_key", *ids, "ordinal", f"'{check}' AS check", "sample")
    return _Stage("solutions" if step.answers else "examples", asked, outcomes, mine)


def _answers(run: Run, requests: DataFrame, stage: str) -> tuple[DataFrame, DataFrame]:
    """The *requests*, and those that have a reply with it beside them."""
    asked = run.store.stage(requests.withColumn("stage", F.lit(stage)), f"asked-{stage}")
    return asked, once(run.store, asked).where("answered_at IS NOT NULL")


def _staged(run: Run, made: _Stage, number: int) -> _Stage:
    outcomes = run.store.stage(made.outcomes, f"outcomes-{number}")
    seen = outcomes.select(*_REQUEST).distinct()
    rows = made.rows.join(seen, _REQUEST, "left_semi").select(*_ITEM, *_SUBJECT)
    return made._replace(outcomes=outcomes, rows=rows)


def _found(run: Run, every: list[_Stage]) -> _Found:
    """Compare what the replies bring today with what the tables have of them."""
    store = run.store
    now = functools.reduce(DataFrame.unionByName, (each.outcomes.drop("item") for each in every))
    rows = store.stage(functools.reduce(DataFrame.unionByName, (each.rows for each in every)), "rows-before")
    stages = [row[0] for row in now.select("stage").distinct().collect()]
    refused = store.read("rejects").where(F.col("stage").isin(stages))
    origin = refused.withColumn("origin_id", F.substring_index("input_key", "#", 1))
    before = store.stage(origin.join(now.select(*_REQUEST).distinct(), _REQUEST, "left_semi"), "rejects-before")
    # What has a row already isn't refused, but gets a verdict.
    whole = now.where(F.col("kind") == REJECTED).join(rows, _REQUEST, "left_anti")
    items = now.where(F.col("kind") == ITEM_REJECT).join(rows, _ITEM, "left_anti")
    after = store.stage(run.rejects(whole.unionByName(items)), "rejects-after")
    accepted: dict[str, DataFrame] = {}
    for each in every:
        new = each.outcomes.where(F.col("kind") == ACCEPTED).join(rows, _ITEM, "left_anti").select("stage", "item.*")
        key = list(TABLES[each.table].key)
        fresh = new.join(store.read(each.table).select(*key), key, "left_anti")
        accepted[each.table] = accepted[each.table].unionByName(fresh) if each.table in accepted else fresh
    made = {
        "came": after.join(refused.select("reject_id"), "reject_id", "left_anti"),
        "gone": before.join(after.select("reject_id"), "reject_id", "left_anti"),
        "verdicts": _verdicts(run, now, rows),
        "requests": _requests(now, rows, before),
        **accepted,
    }
    kept = at_once(*(functools.partial(store.stage, frame, f"found-{name}") for name, frame in made.items()))
    found = dict(zip(made, kept, strict=True))
    return _Found({table: found.pop(table) for table in accepted}, **found)


def _verdicts(run: Run, now: DataFrame, rows: DataFrame) -> DataFrame:
    """What today's checks say of the *rows* that were accepted, where that isn't what was said of them last."""
    items = now.where(F.col("kind").isin(ACCEPTED, ITEM_REJECT)).selectExpr(*_ITEM, "kind", "reason")
    whole = now.where(F.col("kind") == REJECTED).selectExpr(*_REQUEST, "reason AS whole")
    passed = F.coalesce(F.col("kind") == ACCEPTED, F.lit(False))
    judged = (
        rows.join(items, _ITEM, "left")
        .join(whole, _REQUEST, "left")
        .withColumn("passed", passed)
        .withColumn("evidence", F.when(~passed, F.coalesce("reason", "whole", F.lit("not_in_reply"))))
    )
    said = F.max_by(F.struct("passed", "evidence"), "version").alias("said")
    last = run.store.read("verdicts").groupBy(*_SUBJECT).agg(said)
    before = F.coalesce(F.col("said.passed"), F.lit(True))
    changed = (F.col("passed") != before) | ~F.col("evidence").eqNullSafe(F.col("said.evidence"))
    # Later versions count: each is the number of the run that judged.
    columns = {"version": F.lit(f"{run.seq:06d}"), "score": F.lit(None).cast("double")}
    new = judged.join(last, _SUBJECT, "left").where(changed).withColumns(columns)
    return new.select("stage", *(name for name in VERDICTS.names if name != "seq"))


def _requests(now: DataFrame, rows: DataFrame, before: DataFrame) -> DataFrame:
    """By stage: what was paid in vain by its cause, and answers that brought nothing; before (negative), and after."""
    first = now.where("first").select(*_REQUEST, "kind", "reason", "wasted_microusd", "cost_microusd")
    idle = first.join(rows, _REQUEST, "left_anti")  # Of what has a row, nothing was in vain, then and now.
    place = F.coalesce(F.try_element_at(F.split("input_key", "#"), F.lit(2)).cast("int"), F.lit(0))
    refused = before.groupBy(*_REQUEST).agg(F.min_by("reason", place).alias("cause"))
    then = idle.join(refused, _REQUEST, "left").selectExpr(
        "stage", f"coalesce(cause, '{NONE_FOUND}') AS cause", "-cost_microusd AS cost", "-1 AS number"
    )
    today = idle.selectExpr("stage", "coalesce(reason, kind) AS cause", "wasted_microusd AS cost", "1 AS number")
    both = then.unionByName(today).groupBy("stage", "cause")
    none = F.when(F.col("cause") == NONE_FOUND, F.col("number"))
    return both.agg(F.sum("cost").alias("cost"), F.coalesce(F.sum(none), F.lit(0)).alias("none_found"))


def _records(found: _Found) -> tuple[dict[str, StageRecord], dict[str, Counter[str]]]:
    """By stage, what corrects its counts, and how many rows of each kind change; stages without a change have none."""
    item = F.contains("input_key", F.lit("#"))
    parts = {
        **{f"accepted in {table}": new for table, new in found.accepted.items()},
        "refused items": found.came.where(item),
        "refused replies": found.came.where(~item),
        "cleared items": found.gone.where(item),
        "cleared replies": found.gone.where(~item),
        "withdrawn rows": found.verdicts.where("NOT passed"),
        "restored rows": found.verdicts.where("passed"),
    }
    named = (rows.select("stage", F.lit(what).alias("what")) for what, rows in parts.items())
    counted = functools.reduce(DataFrame.unionByName, named).groupBy("stage", "what").count().collect()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in counted:
        counts[row["stage"]][row["what"]] = int(row["count"])
    records = {stage: _record(stage, own) for stage, own in counts.items()}
    for row in found.requests.where("cost <> 0 OR none_found <> 0").collect():
        if row["stage"] in records:
            records[row["stage"]].add(none_found=int(row["none_found"]), wasted_microusd=int(row["cost"] or 0))
            records[row["stage"]].waste[row["cause"]] = int(row["cost"] or 0)
    return records, counts


def _record(stage: str, own: Counter[str]) -> StageRecord:
    record = StageRecord(stage, message="stored replies were read again")
    accepted = sum(number for what, number in own.items() if what.startswith("accepted"))
    items = own["refused items"] - own["cleared items"]
    whole = own["refused replies"] - own["cleared replies"]
    record.add(rejected=whole, answered=-whole, items=accepted + items, accepted=accepted, item_rejects=items)
    return record


def _line(stage: str, told: Mapping[str, Any]) -> str:
    said = [f"{told[what]:,} {words}" for what, words in _TOLD.items() if told[what]]
    nothing = not any(told[what] for what in _TOLD if what != "not_asked")
    parts = [f"{told['read']:,} replies read again", *said, *(["nothing changes"] if nothing else [])]
    return f"{stage:<30} {' · '.join(parts)}"
