"""Answers of several kinds of solver held against each other: what agrees is verified, the rest is flagged, and kept.

One model's many answers share its errors, so a vote counts kinds of solver: another model, or another prompt, such as
one for a program instead of a chain of thought. Two roles that ask one model the same are one kind, whatever they are
called.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.asking import answers_in, stage_name
from personalake.inputs import Inputs
from personalake.runs import Run
from personalake.schemas import VERDICTS
from personalake.stage_record import StageRecord
from personalake.store import Store
from personalake.synthesis.answers.same import Same
from personalake.synthesis.tasks import Task

CHECK = "verified"
_COLUMNS = tuple(column for column in VERDICTS.columns if column.name != "seq")
_JUDGED = pa.schema(
    [("subject_id", pa.string()), ("score", pa.float64()), ("passed", pa.bool_()), ("evidence", pa.string())]
)


def verify(run: Run, inputs: Inputs) -> None:
    """Judge the examples whose answers are new: rows of `verdicts`, of which the latest of an example counts."""
    records = []
    for task, _ in inputs.tasks:
        record = _verify(run, task) if task.verify is not None else None
        records += [record] if record is not None else []
    run.close(*records)


def _verify(run: Run, task: Task) -> StageRecord | None:
    stage, steps = f"verify.{task.task}", task.verified
    if not run.has_news(stage, *(stage_name(task, step) for step in steps)):
        return None
    record, store = StageRecord(stage), run.store
    answers = functools.reduce(DataFrame.unionByName, (answers_in(store, step) for step in steps))
    mine = store.read("examples").where(F.col("task") == task.task).select("example_id")
    new = answers.where(F.col("seq") > run.through(stage)).select("example_id").distinct()
    told = answers.join(mine, "example_id", "left_semi").join(new, "example_id", "left_semi")
    each = F.array_sort(F.collect_list(F.struct("solver", "sample", "answer", "model", "prompt_id"))).alias("answers")
    judged = store.stage(judge(told.groupBy("example_id").agg(each), task.verify.kinds if task.verify else 1), stage)
    known = {"check": F.lit(CHECK), "version": F.lit(f"{run.seq:06d}"), "sample": F.lit(0)}
    rows = judged.withColumns(known).join(store.read("verdicts"), list(VERDICTS.key), "left_anti")
    store.append("verdicts", rows.select(*(F.col(c.name).cast(c.type) for c in _COLUMNS)), run.seq)
    count = judged.selectExpr("count(*) AS all", "count_if(passed) AS passed").collect()[0]
    record.add(items=int(count["all"]), accepted=int(count["all"]))
    record.said = f"{int(count['all']):,} in, {int(count['passed']):,} verified"
    return record


def judge(answers: DataFrame, kinds: int) -> DataFrame:
    """Judge examples (example_id, and an array of their answers) by whether so many *kinds* of solver agree."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with Same() as same:
            for batch in batches:
                rows = [judged(row, kinds, same) for row in batch.to_pylist()]
                yield pa.RecordBatch.from_pylist(rows, schema=_JUDGED)

    return answers.mapInArrow(body, "subject_id string, score double, passed boolean, evidence string")


def judged(example: Mapping[str, Any], kinds: int, same: Same) -> dict[str, Any]:
    """The verdict on one example: the class of answers that most kinds of solver, then most of them, agree on.

    `score` is its share of all answers, and `evidence` names it, who is in it, and what couldn't be compared.
    """
    answers = example["answers"]
    found = same.agree([each["answer"] for each in answers])
    classes = [[answers[index] for index in members] for members in found.classes]
    best = max(classes, key=lambda each: (len(_kinds(each)), len(each)), default=[])
    evidence = {
        "answer": best[0]["answer"] if best else None,
        "agree": [f"{each['solver']}#{each['sample']}" for each in best],
        "of": len(answers),
        "undecided": sorted({*found.undecided}),
    }
    return {
        "subject_id": example["example_id"],
        "score": len(best) / len(answers),
        "passed": len(_kinds(best)) >= kinds,
        "evidence": json.dumps(evidence, ensure_ascii=False),
    }


def _kinds(answers: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(each["model"], each["prompt_id"]) for each in answers}


def with_verdicts(store: Store, task: Task, rows: DataFrame) -> DataFrame:
    """*rows* (example_id, solver, sample) with `verified`: whether that answer is one that several kinds agree on.

    Null where the task isn't verified, or the example not yet.
    """
    if task.verify is None:
        return rows.withColumn("verified", F.lit(None).cast("boolean"))
    verdicts = store.read("verdicts").where(F.col("check") == CHECK)
    last = F.max_by(F.struct("passed", "evidence"), "version").alias("said")
    said = verdicts.groupBy(F.col("subject_id").alias("example_id")).agg(last)
    agrees = F.from_json("said.evidence", "agree array<string>")["agree"]
    within = F.col("said.passed") & F.array_contains(agrees, F.concat_ws("#", "solver", "sample"))
    return rows.join(said, "example_id", "left").withColumn("verified", within).drop("said")
