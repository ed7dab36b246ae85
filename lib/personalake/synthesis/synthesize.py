"""A task over the hub: who writes next, what is asked, and the examples and answers that are accepted.

Source: arXiv 2406.20094, section 3 (zero-shot: the persona alone shapes the prompt).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.accept import Reading, Refusal, content_id, outcomes, row_by_row
from personalake.llm.models import Question
from personalake.llm.requests import REQUESTS, REQUESTS_DDL, request
from personalake.prompts.render import draw, messages, step_values
from personalake.schemas import EXAMPLES, SOLUTIONS
from personalake.synthesis import checks
from personalake.synthesis.extract import final_answer, reply_text
from personalake.synthesis.replies import fields_of
from personalake.synthesis.tasks import Step, Task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MODE = "zero_shot"
_FIRST = 0
"""Number of the one example that a persona writes for a task."""

_SAMPLE_DIGITS = 7
"""Hex digits of an id that a sample's number has room for."""
_WRITER = ("persona_id", "text", "language", "root_doc_id", "url", "source", "licence", "rank")


def candidates(hub: DataFrame, tried: DataFrame, task: Task, seed: int, most: int) -> DataFrame:
    """The *most* personas of lowest hash rank that *tried* (persona_id) doesn't have.

    The rank orders the whole hub once and for all, so that a target means the same rows whatever came back first.
    """
    return ranked(hub.join(tried, "persona_id", "left_anti"), task, seed).orderBy("rank").limit(most)


def ranked(hub: DataFrame, task: Task, seed: int) -> DataFrame:
    """Personas as the task's writers, with the hash `rank` that each has for it."""
    from pyspark.sql import functions as F  # noqa: PLC0415 (Spark's usual name; the kernels run without Spark)

    rank = F.sha2(F.concat_ws("\x1f", F.lit("rank"), F.lit(str(seed)), F.lit(task.task), "persona_id"), 256)
    return hub.withColumn("rank", rank).select(*_WRITER)


def example_id(task: str, persona_id: str) -> str:
    """The id of the example that a persona writes for a task."""
    return content_id("example", task, persona_id, _FIRST)


def variation_of(writer: Mapping[str, Any], task: Task, seed: int) -> dict[str, str]:
    """What is drawn on the axes of *task* for the example of one of :func:`candidates`."""
    return draw(task.vary, seed, example_id(task.task, writer["persona_id"]))


def first_request(writer: Mapping[str, Any], task: Task, question: Question, seed: int) -> dict[str, Any]:
    """The request to one of :func:`candidates` for the task's first step: a row of the engine's requests."""
    step, persona_id = task.first, writer["persona_id"]
    values = step_values(
        variation_of(writer, task, seed), task.language_for(writer["language"]), persona=writer["text"]
    )
    # Without a persona many ask the very same: each for an answer of its own, or what repeats is our own economy.
    sample = int(persona_id[:_SAMPLE_DIGITS], 16) if task.source == "none" else 0
    return request(question, messages(step, values), persona_id, task.prompt_id(step), sample)


def later_request(
    example: Mapping[str, Any], task: Task, step: Step, question: Question, sample: int
) -> dict[str, Any]:
    """The request for one answer to an example: a row, as above.

    An example has `example_id, fields, variation, language`, the fields being all that *step* may name, and `persona`,
    null where it may not see who wrote.
    """
    fields, persona = dict(example["fields"]), example["persona"] if step.persona else None
    values = step_values(dict(example["variation"]), example["language"], persona=persona, fields=fields)
    said = messages(step, values, step.dialogue)
    return request(question, said, example["example_id"], task.prompt_id(step), sample)


def first_requests(writers: DataFrame, task: Task, question: Question, seed: int) -> DataFrame:
    """One request a persona for the task's first step: :func:`candidates` in, the engine's request columns out."""

    def each(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield first_request(row, task, question, seed)

    return writers.mapInArrow(_mapped(each), REQUESTS_DDL)


def later_requests(examples: DataFrame, task: Task, step: Step, question: Question) -> DataFrame:
    """One request an example and sample for a later step: examples as :func:`later_request` wants them in."""

    def each(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for sample in range(step.samples):
            yield later_request(row, task, step, question, sample)

    needed = examples.select("example_id", "fields", "variation", "language", "persona")
    return needed.mapInArrow(_mapped(each), REQUESTS_DDL)


def _mapped(
    each: Callable[[Mapping[str, Any]], Iterator[dict[str, Any]]],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [made for row in batch.to_pylist() for made in each(row)]
            yield pa.RecordBatch.from_pylist(rows, schema=REQUESTS)

    return body


def accept_examples(answers: DataFrame, task: Task, seed: int) -> DataFrame:
    """Judge the first step's replies: answers beside :func:`candidates` in, outcome rows with `examples` out."""
    return outcomes(answers, row_by_row(functools.partial(read_example, task=task, seed=seed)), EXAMPLES)


def accept_solutions(answers: DataFrame, step: Step) -> DataFrame:
    """Judge a later step's replies: answers in, outcome rows with `solutions` out."""
    return outcomes(answers, row_by_row(functools.partial(read_solution, step=step)), SOLUTIONS)


def context(answer: Mapping[str, Any], step: Step) -> checks.Context:
    """What a reply to *step* is held against: its instructions, and for the first step the persona."""
    return checks.Context("" if step.answers else answer["text"], step.instructions)


def verdicts(answer: Mapping[str, Any], step: Step) -> Iterator[tuple[str, str | None]]:
    """What each check of *step* says of a reply, in order: the check, and null or why it refuses."""
    fields = fields_of(answer["reply"], step)
    if isinstance(fields, Refusal):
        yield f"reply: {step.reply}", fields.reason
        return
    for name, text in fields.items():
        beside = f"{name} " if len(fields) > 1 else ""
        for check, reason in checks.verdicts(step.checks, text, context(answer, step)):
            yield f"{beside}{check}", reason


def _read(answer: Mapping[str, Any], step: Step) -> dict[str, str] | Refusal:
    """The fields of a reply that hold, or why one of them doesn't."""
    fields = fields_of(answer["reply"], step)
    if isinstance(fields, Refusal):
        return fields
    for name, text in fields.items():
        if reason := checks.run(step.checks, text, context(answer, step)):
            return Refusal(reason, f"`{name}`" if len(fields) > 1 else None, reply_text(answer["reply"]))
    return fields


def read_example(answer: Mapping[str, Any], task: Task, seed: int) -> Reading:
    """Read a reply to the first step (a writer, its request and completion) into an example or a refusal."""
    fields = _read(answer, task.first)
    if isinstance(fields, Refusal):
        return Reading(items=[(_FIRST, fields)])
    name = example_id(task.task, answer["origin_id"])
    row = {
        "example_id": name,
        "task": task.task,
        "persona_id": answer["origin_id"],
        "root_doc_id": answer["root_doc_id"],
        "ordinal": _FIRST,
        "rank": answer["rank"],
        "mode": _MODE,
        "variation": list(draw(task.vary, seed, name).items()),
        "fields": list(fields.items()),
        "language": task.language_for(answer["language"]),
        **{column: answer[column] for column in ("request_key", "prompt_id", "model", "url", "source", "licence")},
    }
    return Reading(items=[(_FIRST, row)])


def read_solution(answer: Mapping[str, Any], step: Step) -> Reading:
    """Read a reply to a later step (its request and completion) into a solution or a refusal."""
    fields = _read(answer, step)
    if isinstance(fields, Refusal):
        return Reading(items=[(answer["sample"], fields)])
    text = reply_text(answer["reply"])
    row = {
        "example_id": answer["origin_id"],
        "step": step.id,
        "solver": step.role,
        "sample": answer["sample"],
        "text": text,
        "fields": None if step.reply == "text" else list(fields.items()),
        "answer": final_answer(text, step.extract.answer if step.extract else None),
        **{column: answer[column] for column in ("finish_reason", "request_key", "prompt_id", "model")},
    }
    return Reading(items=[(answer["sample"], row)])
