"""What the tables of a store leave to ask: the pages, personas and examples that still want an answer.

Read off the tables alone, by whoever wants to know: a run that asks, a plan that counts, a correction that takes back.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import personas
from personalake.inputs import Inputs
from personalake.llm.complete import Ask
from personalake.store import Store
from personalake.synthesis import synthesize as synthesis
from personalake.synthesis.tasks import Step, Task


def stage_name(task: Task, step: Step) -> str:
    """The name of a task's step in `runs`, `rejects` and `completions`."""
    return f"synthesize.{task.task}.{step.id}"


def steps_of(inputs: Inputs) -> dict[str, tuple[Task, Step]]:
    """Each task's steps by the names of their stages."""
    return {stage_name(task, step): (task, step) for task, _ in inputs.tasks for step in task.steps}


def pages_to_infer(store: Store, through: int) -> DataFrame:
    """The documents of runs after *through*, and those whose answer had to wait."""
    pages = store.read("documents", after_seq=through)
    if not store.exists("pending"):
        return pages
    waiting = store.read("pending").where("stage = 'infer'").select(F.col("origin_id").alias("doc_id")).distinct()
    return pages.unionByName(store.read("documents", until_seq=through).join(waiting, "doc_id", "left_semi"))


def infer_ask(pages: DataFrame, inputs: Inputs) -> Ask:
    """What the infer stage asks of *pages* (doc_id, text)."""
    settings, prompt = inputs.settings, personas.prompt(inputs.domains)
    question = inputs.question("infer", "personas", prompt.response_schema)
    requests = personas.infer_requests(pages, question, prompt, settings.infer, settings.seed)
    return Ask("infer", requests, question)


def refused(store: Store, stages: Iterable[str]) -> DataFrame:
    """What the *stages* have refused, `stage` and `refused`: the persona or example that was asked."""
    rows = store.read("rejects").where(F.col("stage").isin(list(stages)))
    return rows.select("stage", F.substring_index("input_key", "#", 1).alias("refused")).distinct()


def examples_by_state(store: Store, inputs: Inputs) -> DataFrame:
    """Each example (task, example_id): whether it is `complete`, and the stages whose answer it `lacks`.

    An answer that was refused isn't lacking: an example of which nothing lacks, and which isn't complete, is lost.
    """
    steps = steps_of(inputs)
    answering = [(task.task, step.id, name) for name, (task, step) in steps.items() if step.answers]
    named = store.spark.createDataFrame(answering, "task string, step string, stage string")
    answered = store.read("solutions").select("example_id", "step", F.lit(True).alias("answered")).distinct()
    no = refused(store, steps).select("stage", F.col("refused").alias("example_id"), F.lit(True).alias("no"))
    lacks = F.collect_set(F.when(F.coalesce("answered", "no").isNull(), F.col("stage")))
    return (
        store.read("examples")
        .select("example_id", "task")
        .join(F.broadcast(named), "task")
        .join(answered, ["example_id", "step"], "left")
        .join(no, ["example_id", "stage"], "left")
        .groupBy("task", "example_id")
        .agg(F.every(F.col("answered").isNotNull()).alias("complete"), F.array_sort(lacks).alias("lacks"))
    )


def examples_without(store: Store, task: Task, step: Step) -> DataFrame:
    """The examples of *task* without an answer in *step* that nobody has refused."""
    answered = store.read("solutions").where(F.col("step") == step.id).select("example_id")
    no = refused(store, [stage_name(task, step)]).select(F.col("refused").alias("example_id"))
    examples = store.read("examples").where(F.col("task") == task.task)
    return examples.join(answered.unionByName(no), "example_id", "left_anti")


def next_writers(store: Store, task: Task, seed: int, most: int) -> DataFrame:
    """The *most* personas of lowest rank who weren't asked to write for *task* yet."""
    tried = store.read("examples").where(F.col("task") == task.task).select("persona_id")
    no = refused(store, [stage_name(task, task.writing[0])]).select(F.col("refused").alias("persona_id"))
    return synthesis.candidates(store.read("hub"), tried.unionByName(no), task, seed, most)
