"""How each stage is wired to the store: what it reads, what it lands, how it is counted.

A stage with nothing new to it does nothing and leaves no trace.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from personalake import __version__, personas
from personalake.corpus import ingest as corpus
from personalake.dedup import model
from personalake.dedup.deduplicate import deduplicate
from personalake.dedup.minhash import Coefficients
from personalake.errors import DeferredError, StopRunError, StoreError
from personalake.export import About, write_chat
from personalake.inputs import Inputs
from personalake.runs import Run, StageRecord
from personalake.synthesis import synthesize as synthesis
from personalake.synthesis.tasks import Step, Task
from personalake.work import absolute

_READ_BEFORE = ("documents", "sightings", "rejects")


def ingest(run: Run, inputs: Inputs) -> None:
    """Read the corpus files that were not read before: documents, sightings, rejects."""
    record, store = StageRecord("ingest"), run.store
    through = run.through("ingest")
    listed = corpus.files_frame(store.spark, inputs.files)
    files = listed.join(store.read("files_seen", until_seq=through), ["path", "size", "stamp"], "left_anti")
    unread = files.count()
    if not unread:
        return
    read = store.stage(corpus.read_pages(files, inputs.settings.corpus, unread), "ingest-read")
    known = store.read("documents", until_seq=through).select("doc_id")
    licence = F.coalesce("licence", F.lit(inputs.settings.corpus.licence))
    documents = store.stage(corpus.documents(read, known).withColumn("licence", licence), "ingest-documents")
    run.append("documents", documents, "ingest")
    # A file that has changed is read whole again; what it still holds was landed when it was first read.
    place, before = ["path", "offset"], {name: store.read(name, until_seq=through) for name in _READ_BEFORE}
    again = corpus.sightings(read, known)
    refused = corpus.rejects(read)
    if through:
        for name in ("documents", "sightings"):
            again = again.join(before[name].select(*place), place, "left_anti")
        refused = refused.join(before["rejects"].select("reject_id"), "reject_id", "left_anti")
    run.append("sightings", again, "ingest")
    run.append("rejects", refused, "ingest")
    run.append("files_seen", corpus.files_seen(read), "ingest")
    counts = corpus.files_seen(read).selectExpr("sum(pages) AS pages", "sum(refused) AS refused").collect()[0]
    kept, pages, bad = documents.count(), int(counts["pages"]), int(counts["refused"])
    record.add(items=pages + bad, accepted=kept, duplicates=pages - kept, item_rejects=bad)
    run.close(record)


def infer(run: Run, inputs: Inputs) -> None:
    """Ask who stands behind each new page, and behind those whose answer had to wait."""
    record, store, settings = StageRecord("infer"), run.store, inputs.settings
    if not run.has_news("infer", "ingest") and not store.exists("pending"):
        return
    pages = run.fresh("documents", "infer")
    if store.exists("pending"):
        pending = store.read("pending")
        waiting = pending.where(pending["stage"] == "infer").select(pending["origin_id"].alias("doc_id")).distinct()
        older = store.read("documents", until_seq=run.through("infer")).join(waiting, "doc_id", "left_semi")
        pages = pages.unionByName(older)
    if pages.isEmpty():
        return
    prompt = personas.prompt(inputs.domains)
    question = inputs.question("infer", "personas", prompt.response_schema)
    run.remember_prompts([(prompt.prompt_id, prompt.name, prompt.template, prompt.schema_json)])
    requests = personas.infer_requests(pages, question, prompt, settings.infer, settings.seed)
    answers, spent = run.completer.complete("infer", requests, question)
    columns = ("doc_id", "text", "title", "language", "url", "path", "licence")
    beside = answers.join(pages.select(*columns).withColumnRenamed("doc_id", "origin_id"), "origin_id")
    outcomes = personas.accept_personas(beside, settings.infer, inputs.domains, settings.seed)
    run.land_outcomes(record, outcomes, "personas", "", spent)
    run.close(record)


def dedup(run: Run, inputs: Inputs) -> None:
    """Compare the new personas with each other and with the hub; keep those that repeat nobody."""
    if not run.has_news("dedup", "infer"):
        return
    fresh = run.fresh("personas", "dedup")
    record, store, settings = StageRecord("dedup"), run.store, inputs.settings.dedup
    known = store.read("hub_keys", until_seq=run.through("dedup"))
    found = deduplicate(
        fresh.select("persona_id", "text", "quality"),
        known,
        settings,
        _coefficients(run, inputs),
        store.stager("dedup"),
    )
    duplicates = store.stage(found.duplicates, "dedup-duplicates")
    kept = fresh.drop("seq").join(duplicates.selectExpr("id AS persona_id"), "persona_id", "left_anti")
    run.append("hub", kept, "dedup")
    run.append("duplicates", duplicates, "dedup")
    run.append("hub_keys", found.keys, "dedup")
    items, repeats = fresh.count(), duplicates.count()
    record.add(items=items, accepted=items - repeats, duplicates=repeats)
    run.close(record)


def _coefficients(run: Run, inputs: Inputs) -> Coefficients:
    """The store's hash family: fitted once by Spark's MinHashLSH, saved, and read back by every later batch.

    Raises :class:`StoreError` where the settings ask for keys that would match none of the hub's.
    """
    settings, folder = inputs.settings.dedup, run.store.work / "minhash"
    family = {"tables": settings.tables, "threshold": settings.threshold, "recall": settings.recall}
    made = folder.read("family.json")
    if made is None:
        model.save(model.fit(run.store.spark, settings.tables, inputs.settings.seed), (folder / "model").for_spark)
        # Written last: a model that was cut off in saving is made again.
        folder.write("family.json", json.dumps(family).encode())
    elif json.loads(made) != family:
        raise StoreError(
            f"the hub's keys were made with {json.loads(made)}, the settings say {family}",
            where="dedup",
            cure="set them back, or start another store",
        )
    return model.read_coefficients(run.store.spark, (folder / "model").for_spark)


def synthesize(run: Run, inputs: Inputs) -> None:
    """Let the personas write each task's examples until its target is met, or nobody is left to ask."""
    run.remember_prompts(
        (task.prompt_id(step), task.prompt_name(step), task.template(step), None)
        for task, _ in inputs.tasks
        for step in task.steps
    )
    for task, target in inputs.tasks:
        _Synthesis(run, inputs, task, target).work()


def stage_name(task: Task, step: Step) -> str:
    """The name of a task's step in `runs`, `rejects` and `completions`."""
    return f"synthesize.{task.task}.{step.id}"


class _Synthesis:
    """One task in one run: rounds of writing and answering, each round as many as are missing.

    Rounds follow the hash rank, so the target is made of the lowest ranks that hold, and nobody is asked for more than
    is missing: a refused row costs a round, not money.
    """

    def __init__(self, run: Run, inputs: Inputs, task: Task, target: int) -> None:
        self._run, self._inputs, self._task, self._target = run, inputs, task, target
        self._records: dict[str, StageRecord] = {}

    def work(self) -> None:
        """Do the rounds, then close the stages that did something, also where the endpoint ends them early.

        1. Count the examples that are complete; find those that a cut-off or deferred run left without an answer.
        2. Get these answered.
        3. While the target isn't met: let the next personas by rank write, get what they wrote answered.
        """
        if self._run.resumes:
            self._adopt()
        complete, lacking = self._standing()
        try:
            if lacking:
                complete += self._answer(self._lacking())
            while complete < self._target and not self._waits():
                written = self._write(self._target - complete)
                if written is None:
                    break
                complete += self._answer(written)
        except (DeferredError, StopRunError):
            self._run.close(*self._records.values())
            raise
        self._run.close(*self._records.values())

    def _waits(self) -> bool:
        return any(record.counts["deferred"] for record in self._records.values())

    def _record(self, step: Step) -> StageRecord:
        stage = stage_name(self._task, step)
        return self._records.setdefault(stage, StageRecord(stage))

    def _adopt(self) -> None:
        """Count what a run landed before it was cut off; its rows are in the tables, but in no row of `runs`."""
        for step in self._task.steps:
            stage = stage_name(self._task, step)
            since, store = self._run.through(stage), self._run.store
            made = self._made(step, since).count()
            rejects = store.read("rejects", after_seq=since).where(F.col("stage") == stage)
            row = rejects.selectExpr("count(*) AS all", "count_if(contains(input_key, '#')) AS items").collect()[0]
            refused, items = int(row["all"]), int(row["items"])
            if made or refused:
                self._record(step).add(
                    requests=made + refused,
                    answered=made + items,
                    rejected=refused - items,
                    items=made + items,
                    accepted=made,
                    item_rejects=items,
                )

    def _made(self, step: Step, since: int) -> DataFrame:
        store = self._run.store
        if not step.answers:
            return store.read("examples", after_seq=since).where(F.col("task") == self._task.task)
        solutions = store.read("solutions", after_seq=since).where(F.col("step") == step.id)
        return solutions.join(self._examples().select("example_id"), "example_id", "left_semi")

    def _examples(self) -> DataFrame:
        return self._run.store.read("examples").where(F.col("task") == self._task.task)

    def _refused(self, step: Step) -> DataFrame:
        """The input keys (persona or example) that a step has refused, the place in the reply cut off."""
        refused = self._run.store.read("rejects").where(F.col("stage") == stage_name(self._task, step))
        return refused.select(F.substring_index("input_key", "#", 1).alias("refused"))

    def _stood(self) -> DataFrame:
        """The task's examples with, for each answering step, whether it was answered or refused."""
        examples = self._examples().select("example_id")
        for step in self._task.answering:
            solutions = self._run.store.read("solutions").where(F.col("step") == step.id)
            answered = solutions.select("example_id").distinct().withColumn(f"{step.id}_answered", F.lit(True))
            refused = self._refused(step).select(F.col("refused").alias("example_id")).distinct()
            examples = examples.join(answered, "example_id", "left").join(
                refused.withColumn(f"{step.id}_refused", F.lit(True)), "example_id", "left"
            )
        return examples

    def _standing(self) -> tuple[int, int]:
        """How many examples are complete, and how many lack an answer that nobody has refused yet."""
        if not self._run.store.exists("examples"):
            return 0, 0
        counts = self._stood().agg(
            F.count_if(self._is_complete()).alias("complete"), F.count_if(self._is_lacking()).alias("lacking")
        )
        row = counts.collect()[0]
        return int(row["complete"]), int(row["lacking"])

    def _is_complete(self) -> Column:
        return functools.reduce(Column.__and__, [F.col(f"{s.id}_answered").isNotNull() for s in self._task.answering])

    def _is_lacking(self) -> Column:
        return functools.reduce(Column.__or__, [self._is_open(step) for step in self._task.answering])

    def _is_open(self, step: Step) -> Column:
        return F.col(f"{step.id}_answered").isNull() & F.col(f"{step.id}_refused").isNull()

    def _lacking(self) -> DataFrame:
        """The examples that lack an answer, with what :meth:`_stood` knows of their steps."""
        lacking = self._stood().where(self._is_lacking())
        return self._run.store.stage(self._examples().join(lacking, "example_id"), f"{self._task.task}-lacking")

    def _write(self, missing: int) -> DataFrame | None:
        """Ask the next personas by rank for the writing step; returns what they wrote, null where nobody is left."""
        task, seed, step = self._task, self._inputs.settings.seed, self._task.writing[0]
        store = self._run.store
        tried = self._examples().select("persona_id")
        tried = tried.unionByName(self._refused(step).withColumnRenamed("refused", "persona_id"))
        chosen = synthesis.candidates(store.read("hub"), tried, task, seed, missing)
        writers = store.stage(chosen, f"{task.task}-writers")
        if writers.isEmpty():
            return None
        question, stage = self._inputs.question(step.role), stage_name(task, step)
        requests = synthesis.writing_requests(writers, task, question, seed)
        answers, spent = self._run.completer.complete(stage, requests, question)
        beside = answers.join(writers.withColumnRenamed("persona_id", "origin_id"), "origin_id")
        outcomes = synthesis.accept_examples(beside, task, seed)
        return self._run.land_outcomes(self._record(step), outcomes, "examples", step.id, spent)

    def _answer(self, examples: DataFrame) -> int:
        """Ask every answering step about those *examples* that lack it; returns how many of them are complete now."""
        done = []
        for step in self._task.answering:
            known = f"{step.id}_answered" in examples.columns
            before = examples.where(F.col(f"{step.id}_answered")) if known else examples.limit(0)
            question, stage = self._inputs.question(step.role), stage_name(self._task, step)
            lacking = examples.where(self._is_open(step)) if known else examples
            requests = synthesis.answering_requests(lacking, self._task, step, question)
            answers, spent = self._run.completer.complete(stage, requests, question)
            outcomes = synthesis.accept_solutions(answers, step)
            accepted = self._run.land_outcomes(self._record(step), outcomes, "solutions", step.id, spent)
            done.append(accepted.select("example_id").unionByName(before.select("example_id")).distinct())
        both = functools.reduce(lambda one, other: one.join(other, "example_id", "left_semi"), done)
        return both.count()


def export(run: Run, inputs: Inputs) -> None:
    """Write each task's examples as chat files, where any were added since; a refused licence is told, not fatal here.

    Raises :class:`InputError` only where `export` is the stage that was asked for (see :func:`execute`).
    """
    settings = inputs.settings
    root = Path(settings.export.path or absolute(f"{settings.store.path or settings.store.work_path}/export"))
    exported: list[StageRecord] = []
    for task, target in inputs.tasks:
        folder, stage = root / task.task, f"export.{task.task}"
        news = any(run.has_news(stage, stage_name(task, step)) for step in task.steps)
        if not news and (folder.exists() or not run.store.exists("solutions")):
            continue
        rows = _chosen(run, task, target)
        record = StageRecord(stage)
        about = About(
            task=task.task,
            description=task.description,
            prompts={task.prompt_name(step): task.prompt_id(step) for step in task.steps},
            cost_microusd=_paid_for(run, task),
            version=__version__,
        )
        iterator = (row.asDict(recursive=True) for row in rows.toLocalIterator())
        facts = write_chat(
            iterator, folder, about, prompt=task.export.sft[0], accept_licence=settings.export.accept_licence
        )
        record.add(items=facts.rows + facts.skipped, accepted=facts.rows, item_rejects=facts.skipped)
        record.message = str(folder)
        exported.append(record)
    run.close(*exported)


def _chosen(run: Run, task: Task, target: int) -> DataFrame:
    """The examples that count towards the target, lowest ranks first, with the answer that is exported."""
    store, answer = run.store, task.step(task.export.sft[1])
    examples, solutions, hub = store.read("examples"), store.read("solutions"), store.read("hub")
    answered = solutions.where((solutions["step"] == answer.id) & (solutions["sample"] == 0)).selectExpr(
        "example_id", "text", "answer", "model AS answer_model", "sample"
    )
    chosen = examples.where(examples["task"] == task.task).join(answered, "example_id").orderBy("rank").limit(target)
    persona = hub.selectExpr("persona_id", "text AS persona")
    columns = (
        "task", "example_id", "sample", "persona", "fields", "text", "answer", "model", "answer_model", "language",
        "licence", "source", "url",
    )  # fmt: skip
    return chosen.join(persona, "persona_id", "left").select(*columns)


def _paid_for(run: Run, task: Task) -> int:
    runs = run.store.read("runs")
    paid = runs.where(runs["stage"].startswith(f"synthesize.{task.task}."))
    return int(paid.selectExpr("coalesce(sum(cost_microusd), 0) AS paid").collect()[0]["paid"])


WIRED: dict[str, Callable[[Run, Inputs], None]] = {
    "ingest": ingest, "infer": infer, "dedup": dedup, "synthesize": synthesize, "export": export,
}  # fmt: skip
"""Each stage that works on the store, by its name."""
