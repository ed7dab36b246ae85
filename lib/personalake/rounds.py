"""Synthesis in rounds: who writes next, who answers what, until each task's target is met."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Mapping
from typing import cast

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import asking
from personalake.asking import stage_name
from personalake.errors import DeferredError, StopRunError
from personalake.inputs import Inputs
from personalake.llm.complete import Ask
from personalake.runs import Run
from personalake.stage_record import StageRecord
from personalake.synthesis import synthesize as synthesis
from personalake.synthesis.tasks import Step, Task


class Rounds:
    """All tasks of a run, in rounds: each asks whatever can be asked by now, of every task and step, in one go.

    What that is is read off the tables, so a run that was cut off goes on like any other. A task never has more
    examples written than its target lacks, in the order of their hash rank: the target is made of the lowest ranks that
    hold, and a refused row costs a round, not money. All tasks share a round, because its own cost (a dozen Spark jobs,
    and the wait for its slowest reply) is the same for one task and for seven.
    """

    def __init__(self, run: Run, inputs: Inputs) -> None:
        self._run, self._inputs = run, inputs
        self._targets = {task.task: target for task, target in inputs.tasks}
        self._steps = asking.steps_of(inputs)
        self._records: dict[str, StageRecord] = {}
        self._held: Counter[str] = Counter()
        """By task, the examples that are complete or may yet be."""
        self._open: set[str] = set()
        """The answering stages that an example lacks."""
        self._round = 0

    def work(self) -> None:
        """Do the rounds, then close the stages that did something, also where the endpoint ends them early.

        1. See which examples are complete, and which lack an answer that nobody has refused.
        2. Where these are fewer than the target, choose the next personas by rank.
        3. Ask them to write, and ask for the answers that are lacking; land both; and again.
        """
        if self._run.resumes:
            self._adopt()
        self._look()
        try:
            while not any(record.counts["deferred"] for record in self._records.values()):
                began = time.monotonic()
                asks, writers = self._asks()
                if not asks:
                    break
                self._ask(asks, writers)
                for ask in asks:
                    # Shared out, so that the stages' seconds add up to the clock's.
                    self._record(ask.stage).seconds += (time.monotonic() - began) / len(asks)
        except (DeferredError, StopRunError):
            self._close()
            raise
        self._close()

    def missing(self) -> dict[str, int]:
        """By task, how many examples its target lacks that are neither complete nor may yet be."""
        self._look()
        return {name: target - self._held[name] for name, target in self._targets.items()}

    def _close(self) -> None:
        self._run.close(*(self._records[stage] for stage in self._steps if stage in self._records))

    def _record(self, stage: str) -> StageRecord:
        return self._records.setdefault(stage, StageRecord(stage, self._steps[stage][1].id))

    def _adopt(self) -> None:
        """Count what a run landed before it was cut off; its rows are in the tables, but in no row of `runs`."""
        for stage, (task, step) in self._steps.items():
            since, store = self._run.through(stage), self._run.store
            made = self._made(task, step, since).count()
            rejects = store.read("rejects", after_seq=since).where(F.col("stage") == stage)
            row = rejects.selectExpr("count(*) AS all", "count_if(contains(input_key, '#')) AS items").collect()[0]
            refused, items = int(row["all"]), int(row["items"])
            if made or refused:
                self._record(stage).add(
                    requests=made + refused,
                    answered=made + items,
                    rejected=refused - items,
                    items=made + items,
                    accepted=made,
                    item_rejects=items,
                )

    def _made(self, task: Task, step: Step, since: int) -> DataFrame:
        store = self._run.store
        if not step.answers:
            return store.read("examples", after_seq=since).where(F.col("task") == task.task)
        solutions = asking.answers_in(store, step, since)
        examples = store.read("examples").where(F.col("task") == task.task)
        return solutions.join(examples.select("example_id"), "example_id", "left_semi")

    def _asks(self) -> tuple[list[Ask], DataFrame | None]:
        """What can be asked by now, and the personas who are to write, with their `task`; null where none has to."""
        asks = []
        for stage in sorted(self._open):
            task, step = self._steps[stage]
            question = self._inputs.question_of(step)
            lacking = asking.examples_without(self._run.store, task, step)
            asks.append(Ask(stage, synthesis.later_requests(lacking, task, step, question), question))
        writers = self._writers()
        found = [] if writers is None else writers.select("task").distinct().collect()
        for name in sorted(row["task"] for row in found):
            stage, task, step = self._writing(name)
            question = self._inputs.question_of(step)
            own, seed = cast("DataFrame", writers).where(F.col("task") == name), self._inputs.settings.seed
            asks.append(Ask(stage, synthesis.first_requests(own, task, question, seed), question))
        return asks, writers

    def _writing(self, name: str) -> tuple[str, Task, Step]:
        """The stage in which the task of this *name* is written, the task and the step."""
        task = next(task for task, _ in self._inputs.tasks if task.task == name)
        return stage_name(task, task.first), task, task.first

    def _look(self) -> None:
        """See in the tables how many examples are complete or may yet be, and which stages they lack."""
        self._held.clear()
        self._open.clear()
        store = self._run.store
        if not store.exists("examples"):
            return
        found = asking.examples_by_state(store, self._inputs).groupBy("task", "complete", "lacks").count().collect()
        for row in found:
            self._open.update(row["lacks"])
            if row["complete"] or row["lacks"]:
                self._held[row["task"]] += row["count"]

    def _writers(self) -> DataFrame | None:
        """For each task as many of the next personas by rank as its target lacks; staged. Null where it lacks none."""
        store, seed, chosen = self._run.store, self._inputs.settings.seed, []
        for name, target in self._targets.items():
            missing = target - self._held[name]
            if missing <= 0:
                continue
            _, task, _ = self._writing(name)
            chosen.append(asking.next_writers(store, task, seed, missing).withColumn("task", F.lit(name)))
        if not chosen:
            return None
        return store.stage(functools.reduce(DataFrame.unionByName, chosen), f"writers-{self._round}")

    def _ask(self, asks: list[Ask], writers: DataFrame | None) -> None:
        self._round += 1
        answers, spent = self._run.completer.complete(asks)
        outcomes: dict[str, list[DataFrame]] = {}
        for ask in asks:
            task, step = self._steps[ask.stage]
            own = answers.where(F.col("stage") == ask.stage)
            about = None if step.answers else cast("DataFrame", writers).where(F.col("task") == task.task)
            table = "solutions" if step.answers else "examples"
            outcomes.setdefault(table, []).append(judged_step(own, task, step, about, self._inputs.settings.seed))
        whole = {table: functools.reduce(DataFrame.unionByName, found) for table, found in outcomes.items()}
        records = {ask.stage: self._record(ask.stage) for ask in asks}
        before = {stage: dict(record.counts) for stage, record in records.items()}
        self._run.land_outcomes(records, whole, spent)
        self._take_stock({stage: _more(before[stage], record.counts) for stage, record in records.items()})

    def _take_stock(self, came: Mapping[str, Mapping[str, int]]) -> None:
        """Follow a round's counts; only the tables say which examples a refusal ends, or which steps are open then."""
        for stage, counts in came.items():
            task, step = self._steps[stage]
            opens = any(step in task.needs(each) for each in task.later)
            if step.answers and (opens or counts["rejected"] + counts["item_rejects"]):
                return self._look()
        self._open -= set(came)
        for stage, counts in came.items():
            task, step = self._steps[stage]
            if not step.answers and counts["accepted"]:
                self._held[task.task] += counts["accepted"]
                self._open.update(stage_name(task, each) for each in task.later if not task.needs(each))
        return None


def judged_step(answers: DataFrame, task: Task, step: Step, writers: DataFrame | None, seed: int) -> DataFrame:
    """What became of each request of a step by its answer: outcome rows with their stage.

    *writers* are the personas who were asked, as `synthesize.ranked` gives them; null for a later step.
    """
    if writers is None:
        found = synthesis.accept_solutions(answers, step)
    else:
        beside = answers.join(writers.withColumnRenamed("persona_id", "origin_id"), "origin_id")
        found = synthesis.accept_examples(beside, task, seed)
    return found.withColumn("stage", F.lit(stage_name(task, step)))


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}
