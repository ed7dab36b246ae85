"""What the tables of a store leave to ask: the pages, personas and examples that still want an answer.

Read off the tables alone, by whoever wants to know: a run that asks, a plan that counts, a correction that takes back.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from personalake.inputs import Inputs
from personalake.llm.complete import Ask
from personalake.personas import infer
from personalake.personas.expand import Asker, stage_of
from personalake.reach import Reach, rank_of
from personalake.store import Store
from personalake.synthesis import synthesize as synthesis
from personalake.synthesis.tasks import Step, Task


def stage_name(task: Task, step: Step) -> str:
    """The name of a task's step in `runs`, `rejects` and `completions`."""
    return f"synthesize.{task.task}.{task.name(step)}"


def steps_of(inputs: Inputs) -> dict[str, tuple[Task, Step]]:
    """Each task's steps by the names of their stages."""
    return {stage_name(task, step): (task, step) for task, _ in inputs.tasks for step in task.steps}


def pages_to_infer(store: Store, reach: Reach, seed: int) -> DataFrame:
    """The documents that weren't asked about yet, with their hash `rank`, and those of which some `parts` wait."""
    pages = store.read("documents").withColumn("rank", rank_of(seed, "doc_id"))
    asked = reach.asked("infer", pages["rank"])
    return _with_waiting(store, pages, asked, "infer", "doc_id")


def parents_to_expand(store: Store, reach: Reach, hop: int, seed: int) -> DataFrame:
    """The personas of the hub who weren't asked for a *hop* yet, with their hash `rank`, and those who wait."""
    hub = store.read("hub").where(F.col("hop") == hop - 1)
    parents = hub.withColumn("rank", rank_of(seed, "persona_id"))
    stage = stage_of(hop)
    return _with_waiting(store, parents, reach.asked(stage, parents["rank"]), stage, "persona_id")


def _with_waiting(store: Store, rows: DataFrame, asked: Column, stage: str, key: str) -> DataFrame:
    """Those of *rows* that weren't asked, and those whose requests had to wait: these `parts` of them, null for all."""
    fresh = rows.where(~asked).withColumn("parts", F.lit(None).cast("array<int>"))
    if not store.exists("pending"):
        return fresh
    pending = store.read("pending").where(F.col("stage") == stage).groupBy(F.col("origin_id").alias(key))
    return fresh.unionByName(
        rows.where(asked).join(pending.agg(F.sort_array(F.collect_set("sample")).alias("parts")), key)
    )


def infer_ask(pages: DataFrame, inputs: Inputs) -> Ask:
    """What the infer stage asks of *pages* (doc_id, text; of their `parts`, where they name some)."""
    settings = inputs.settings
    question = inputs.question("infer", "personas", inputs.infer_prompt.response_schema)
    shape = infer.shape(settings.infer, inputs.domains)
    requests = infer.infer_requests(pages, question, inputs.infer_prompt, settings.infer, shape, settings.seed)
    return Ask("infer", requests, question)


def expand_ask(parents: DataFrame, hop: int, inputs: Inputs) -> Ask:
    """What a hop asks of *parents* (rows of the hub)."""
    question = inputs.question("expand", "personas", inputs.expand_prompt.response_schema)
    return Ask(stage_of(hop), asker(inputs).requests(parents, question, inputs.expand_prompt), question)


def asker(inputs: Inputs) -> Asker:
    """Who makes the requests of hops under these settings, and reads their replies."""
    settings = inputs.settings
    return Asker(settings.expand, settings.infer, settings.accept, inputs.domains, settings.seed, inputs.expand_prompt)


def refused(store: Store, stages: Iterable[str]) -> DataFrame:
    """What the *stages* have refused, `stage` and `refused`: the persona or example that was asked."""
    rows = store.read("rejects").where(F.col("stage").isin(list(stages)))
    return rows.select("stage", F.substring_index("input_key", "#", 1).alias("refused")).distinct()


def examples_by_state(store: Store, inputs: Inputs) -> DataFrame:
    """Each example (task, example_id): whether it is `complete`, and the stages that it `lacks` and can be asked in.

    A step can be asked once those that it sees are answered. An answer that was refused isn't lacking: an example of
    which nothing lacks, and which isn't complete, is lost. Of a step that several roles answer one is enough.
    """
    steps = steps_of(inputs)
    later = [
        (task.task, step.id, step.role, name, [each.id for each in task.needs(step)])
        for name, (task, step) in steps.items()
        if step.answers
    ]
    ddl = "task string, step string, solver string, stage string, needs array<string>"
    named = store.spark.createDataFrame(later, ddl)
    answered = store.read("solutions").select("example_id", "step", "solver", F.lit(True).alias("answered")).distinct()
    no = refused(store, steps).select("stage", F.col("refused").alias("example_id"), F.lit(True).alias("no"))
    open_ = F.collect_list(F.when(F.coalesce("answered", "no").isNull(), F.struct("stage", "needs")))
    done, every = F.collect_set(F.when(F.col("answered"), F.col("step"))), F.collect_set("step")
    askable = F.filter("open", lambda one: F.size(F.array_except(one["needs"], F.col("done"))) == 0)
    return (
        store.read("examples")
        .select("example_id", "task")
        .join(F.broadcast(named), "task")
        .join(answered, ["example_id", "step", "solver"], "left")
        .join(no, ["example_id", "stage"], "left")
        .groupBy("task", "example_id")
        .agg(open_.alias("open"), done.alias("done"), every.alias("every"))
        .withColumn("lacks", F.array_sort(F.transform(askable, lambda one: one["stage"])))
        .withColumn("complete", (F.size("open") == 0) & (F.size("done") == F.size("every")))
        .select("task", "example_id", "complete", "lacks")
    )


def answers_in(store: Store, step: Step, after_seq: int = 0) -> DataFrame:
    """The rows of `solutions` that *step* has brought, of whichever task."""
    rows = store.read("solutions", after_seq=after_seq)
    return rows.where((F.col("step") == step.id) & (F.col("solver") == step.role))


def first_answers(store: Store, steps: Sequence[Step]) -> DataFrame:
    """Of each example and step the answer that counts: of the first of *steps* with that id, and of its lowest sample.

    Columns: example_id, step, solver, sample, text, fields, answer, model. Where one was refused, the next one counts.
    """
    named = (answers_in(store, step).withColumn("place", F.lit(place)) for place, step in enumerate(steps))
    told = functools.reduce(DataFrame.unionByName, named)
    answer = F.struct("solver", "sample", "text", "fields", "answer", "model")
    first = F.min_by(answer, F.struct("place", "sample")).alias("first")
    return told.groupBy("example_id", "step").agg(first).select("example_id", "step", "first.*")


def examples_without(store: Store, task: Task, step: Step) -> DataFrame:
    """The examples of *task* that *step* can be asked of, and lacks an answer to that nobody has refused."""
    answered = answers_in(store, step).select("example_id")
    no = refused(store, [stage_name(task, step)]).select(F.col("refused").alias("example_id"))
    examples = store.read("examples").where(F.col("task") == task.task)
    return seen_by(store, task, step, examples.join(answered.unionByName(no), "example_id", "left_anti"))


def seen_by(store: Store, task: Task, step: Step, examples: DataFrame) -> DataFrame:
    """*examples* with all the `fields` that *step* may name, and the `persona`; without those that lack one of them."""
    examples = with_answers(store, task.needs(step), examples)
    if step.persona:
        texts = store.read("hub").select("persona_id", F.col("text").alias("persona"))
        return examples.join(texts, "persona_id")
    return examples.withColumn("persona", F.lit(None).cast("string"))


def with_answers(store: Store, steps: Sequence[Step], examples: DataFrame) -> DataFrame:
    """*examples* whose `fields` have those of :func:`first_answers` in *steps*, too; without those that lack one."""
    if not steps:
        return examples
    told = first_answers(store, steps)
    fields = F.coalesce("fields", F.create_map("step", "text"))
    each = told.select("example_id", F.map_entries(fields).alias("entries"))
    brought = F.map_from_entries(F.flatten(F.collect_list("entries"))).alias("brought")
    whole = each.groupBy("example_id").agg(brought, F.count("*").alias("answers"))
    found = examples.join(whole.where(F.col("answers") == len({step.id for step in steps})), "example_id")
    return found.withColumn("fields", F.map_concat("fields", "brought")).drop("brought", "answers")


def next_writers(store: Store, task: Task, seed: int, most: int) -> DataFrame:
    """The *most* personas of lowest rank who weren't asked to write for *task* yet."""
    tried = store.read("examples").where(F.col("task") == task.task).select("persona_id")
    no = refused(store, [stage_name(task, task.first)]).select(F.col("refused").alias("persona_id"))
    return synthesis.candidates(store.read("hub"), tried.unionByName(no), task, seed, most)
