"""Where a store stands before the next run: what that would ask, and what the tasks have; counted, not collected."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.asking import (
    examples_by_state,
    examples_without,
    expand_ask,
    infer_ask,
    next_writers,
    pages_to_infer,
    parents_to_expand,
    refused,
    stage_name,
    steps_of,
)
from personalake.corpus import ingest as corpus
from personalake.corpus.files import DELTA, UNSUPPORTED
from personalake.inputs import Inputs
from personalake.personas.expand import stage_of
from personalake.planning.measured import Money, kind_column, kind_of, known_keys, money
from personalake.planning.overlap import NewCrawl, new_crawl
from personalake.reach import Reach
from personalake.store import Store
from personalake.synthesis import synthesize as synthesis


class Asked(NamedTuple):
    """The requests that a stage could send now, built as a run builds them: how many, and what they are like.

    *known* have an answer already, or wait for one in a batch; all else is of the others. *prompt* is in estimated
    tokens, *worst* in millionths of a dollar.
    """

    requests: int = 0
    known: int = 0
    prompt: int = 0
    worst: int = 0
    size: int = 0


class TaskState(NamedTuple):
    """A task's examples: complete ones, those that lack an answer, and the personas who were asked."""

    complete: int = 0
    waiting: int = 0
    tried: int = 0


@dataclass(frozen=True)
class Standing:
    """Where a store stands."""

    asked: Mapping[str, Asked] = field(default_factory=dict)
    piloted: int = 0
    """Pages among those asked about that only a pilot has read."""
    fresh_personas: int = 0
    hub: int = 0
    embedded: int = 0
    """Personas of the hub that have a vector of the model that the settings name."""
    tasks: Mapping[str, TaskState] = field(default_factory=dict)
    unread: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By kind of file: how many no run has read, and their bytes."""
    money: Money = field(default_factory=lambda: Money(0, 0, 0))
    crawl: NewCrawl | None = None
    """What the unread files of pages hold, where the store has sketches to compare them with."""


def empty(inputs: Inputs, journaled_microusd: int) -> Standing:
    """Where a store stands that nobody has filled, but perhaps `try` its journal; needs no Spark."""
    unread: dict[str, tuple[int, int]] = {}
    listed = [(file, False) for file in inputs.files] + [(file, True) for file in inputs.persona_files]
    for file, own in listed:
        kind = kind_of(file, own)
        files, size = unread.get(kind, (0, 0))
        unread[kind] = files + 1, size + file.size
    return Standing(unread=unread, money=Money(0, journaled_microusd, 0))


def standing(store: Store, inputs: Inputs, pilot: Store | None) -> Standing:
    """Where *store* stands; *pilot* is the store of its last pilot, which may have read pages that it hasn't."""
    reach, tasks, seed = Reach(store), _task_states(store, inputs), inputs.settings.seed
    pages = pages_to_infer(store, reach, seed).select("doc_id", "text", "parts")
    more = None if pilot is None else _pilot_pages(store, pilot, inputs)
    piloted = 0 if more is None else more.count()
    whole = pages if more is None else pages.unionByName(more, allowMissingColumns=True)
    hops = range(1, inputs.settings.expand.hops + 1)
    parents = {hop: parents_to_expand(store, reach, hop, seed) for hop in hops}
    parts = {
        "infer": infer_ask(whole, inputs).requests,
        **{stage_of(hop): expand_ask(rows, hop, inputs).requests for hop, rows in parents.items()},
        **dict(_task_requests(store, inputs, tasks)),
    }
    count = pages.count() + piloted + sum(target for _, target in inputs.tasks)
    return Standing(
        asked=_asked(store, parts, inputs, count),
        piloted=piloted,
        fresh_personas=store.read("personas", after_seq=reach.through("dedup")).count(),
        hub=store.read("hub").count(),
        embedded=_embedded(store, inputs),
        tasks=tasks,
        unread=_unread(store, inputs),
        money=money(store),
        crawl=_crawl(store, inputs),
    )


def _pilot_pages(store: Store, pilot: Store, inputs: Inputs) -> DataFrame:
    """Pages that a pilot has read from the corpus's files, and no run yet."""
    read = pilot.read("documents").select("doc_id", "text", "path")
    listed = corpus.files_frame(store.spark, inputs.files).select("path")
    own = read.join(F.broadcast(listed), "path", "left_semi").select("doc_id", "text")
    return own.join(store.read("documents").select("doc_id"), "doc_id", "left_anti")


def _unread(store: Store, inputs: Inputs) -> dict[str, tuple[int, int]]:
    listed = [[file for file in each if file.format != DELTA] for each in (inputs.files, inputs.persona_files)]
    files = [corpus.files_frame(store.spark, each) for each in listed]
    every = files[0].withColumn("own", F.lit(False)).unionByName(files[1].withColumn("own", F.lit(True)))
    new = every.join(store.read("files_seen").select("path", "size", "stamp"), ["path", "size", "stamp"], "left_anti")
    found = new.groupBy(kind_column(F.col("own")).alias("kind")).agg(F.count("*").alias("files"), F.sum("size"))
    return {row["kind"]: (int(row["files"]), int(row["sum(size)"])) for row in found.collect()}


def _embedded(store: Store, inputs: Inputs) -> int:
    embedding = inputs.settings.dedup.embedding
    return 0 if embedding is None else store.read("hub_vectors").where(F.col("model") == embedding.name).count()


def _crawl(store: Store, inputs: Inputs) -> NewCrawl | None:
    """What the files of pages hold that no run has read, beside what the store's sketches know."""
    if not inputs.files or not store.exists("sketches"):
        return None
    key = ["path", "size", "stamp"]
    listed = corpus.files_frame(store.spark, inputs.files).select(*key)
    seen = {tuple(row) for row in listed.join(store.read("files_seen").select(*key), key, "left_semi").collect()}
    readable = (file for file in inputs.files if file.format not in (UNSUPPORTED, DELTA))
    new = [file for file in readable if (file.path, file.size, file.stamp) not in seen]
    settings = inputs.settings
    return new_crawl(store.read("sketches"), new, settings.corpus, settings.seed) if new else None


def _task_states(store: Store, inputs: Inputs) -> dict[str, TaskState]:
    """What `rounds.Rounds` would find in the tables when it begins."""
    if not inputs.tasks or not store.exists("examples"):
        return {}
    found = (
        examples_by_state(store, inputs)
        .groupBy("task")
        .agg(
            F.count_if("complete").alias("complete"),
            F.count_if(F.size("lacks") > 0).alias("open"),
            F.count("*").alias("tried"),
        )
        .collect()
    )
    states = {row["task"]: TaskState(int(row["complete"]), int(row["open"]), int(row["tried"])) for row in found}
    writing = {stage_name(task, task.first): task.task for task, _ in inputs.tasks}
    for row in refused(store, writing).groupBy("stage").count().collect():
        state = states.get(writing[row["stage"]], TaskState())
        states[writing[row["stage"]]] = state._replace(tried=state.tried + int(row["count"]))
    return states


def _task_requests(store: Store, inputs: Inputs, states: Mapping[str, TaskState]) -> Iterator[tuple[str, DataFrame]]:
    """What the first round of synthesis would ask, of the personas and examples that are there."""
    for task, target in inputs.tasks:
        state = states.get(task.task, TaskState())
        first, missing = task.first, target - state.complete - state.waiting
        stage = stage_name(task, first)
        if missing > 0 and store.exists("hub"):
            seed = inputs.settings.seed
            writers = next_writers(store, task, seed, missing)
            yield stage, synthesis.first_requests(writers, task, inputs.question_of(first), seed)
        for step in task.later if state.waiting else ():
            lacking, question = examples_without(store, task, step), inputs.question_of(step)
            yield stage_name(task, step), synthesis.later_requests(lacking, task, step, question)


def _asked(store: Store, parts: Mapping[str, DataFrame], inputs: Inputs, count: int) -> dict[str, Asked]:
    sizes = ("est_tokens", "worst_microusd", "size")
    named = [
        rows.withColumn("size", F.octet_length("body").cast("long")).select(
            "request_key", F.lit(stage).alias("stage"), *sizes
        )
        for stage, rows in parts.items()
    ]
    every = functools.reduce(DataFrame.unionByName, named)
    once = every.groupBy("request_key").agg(*(F.min(name).alias(name) for name in ("stage", *sizes)))
    known = known_keys(store, once.select("request_key"), count).withColumn("known", F.lit(True))
    new = F.col("known").isNull()
    found = (
        once.join(known, "request_key", "left")
        .groupBy("stage")
        .agg(
            F.count_if(new).alias("new"),
            F.count_if("known").alias("known"),
            *(F.coalesce(F.sum(F.when(new, F.col(name))), F.lit(0)).alias(name) for name in sizes),
        )
        .collect()
    )
    hops = range(1, inputs.settings.expand.hops + 1)
    steps = {stage: step.role for stage, (_, step) in steps_of(inputs).items()}
    roles = {"infer": "infer", **{stage_of(hop): "expand" for hop in hops}, **steps}
    return {
        row["stage"]: _told(row.asDict(), inputs.settings.llm.role(roles[row["stage"]]).max_tokens) for row in found
    }


def _told(row: Mapping[str, int], most: int) -> Asked:
    # An estimate reserves the whole reply: what is left is the prompt.
    prompt = row["est_tokens"] - most * row["new"]
    return Asked(row["new"], row["known"], prompt, row["worst_microusd"], row["size"])
