"""The stages that pay, and what one of their requests is taken for where none can be built from a row yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from personalake import embed, judging
from personalake.asking import asker, stage_name
from personalake.inputs import Inputs
from personalake.llm.embeddings import embedding_request
from personalake.llm.models import Question
from personalake.llm.requests import request
from personalake.personas import judge
from personalake.personas.expand import stage_of
from personalake.personas.judge import CHECK
from personalake.planning import arithmetic
from personalake.planning.arithmetic import Replies
from personalake.prompts.render import draw
from personalake.synthesis.synthesize import first_request, later_request
from personalake.synthesis.tasks import Task

_WIDEST = "語"
"""A character of three bytes, as most have that take more than one: a longest text is made of it."""
_TOKEN_CHARS = 4
_PERSONA_CHARS = 200


@dataclass(frozen=True)
class Spec:
    """A stage that pays: whom it asks, and what its requests and replies are assumed to be like.

    *prompt* is a usual one's, in estimated tokens; *worst* (millionths of a dollar) and *size* (bytes) the longest's.
    """

    stage: str
    question: Question
    prompt: int
    worst: int
    size: int
    reply: Replies


def questions(inputs: Inputs) -> dict[str, Question]:
    """By stage, what is asked of which model."""
    steps = {stage_name(task, step): inputs.question_of(step) for task, _ in inputs.tasks for step in task.steps}
    vectors = {embed.STAGE: embed.question(inputs)} if inputs.settings.dedup.asks else {}
    grow = {"infer": inputs.question("infer", "personas", inputs.infer_prompt.response_schema)}
    hop = inputs.question("expand", "personas", inputs.expand_prompt.response_schema)
    grow |= {stage_of(n): hop for n in range(1, inputs.settings.expand.hops + 1)}
    if inputs.settings.accept.judge is not None:
        grow[CHECK] = judging.question(inputs, judge.prompt(inputs.settings.accept.judge))
    return {**grow, **vectors, **steps}


def specs(inputs: Inputs) -> dict[str, Spec]:
    """The stages that pay, in their order."""
    asked = questions(inputs)
    found = [_infer(inputs, asked["infer"])]
    hops = range(1, inputs.settings.expand.hops + 1)
    found += [_hop(inputs, stage_of(hop), asked[stage_of(hop)]) for hop in hops]
    if CHECK in asked:
        found.append(_judge(inputs, asked[CHECK]))
    if embed.STAGE in asked:
        found.append(_embed(inputs, asked[embed.STAGE]))
    for task, _ in inputs.tasks:
        found += _steps(inputs, task, asked)
    return {spec.stage: spec for spec in found}


def _infer(inputs: Inputs, question: Question) -> Spec:
    prompt, settings = inputs.infer_prompt, inputs.settings.infer

    def asks(page: str) -> dict[str, Any]:
        system = {"role": "system", "content": prompt.system}
        return request(question, [system, {"role": "user", "content": prompt.user + page}], "", "")

    most = settings.max_page_chars
    output = arithmetic.TOKENS_OF_PERSONA * settings.personas_per_page
    return _spec(
        inputs, "infer", question, asks("x" * round(most * arithmetic.PAGE_OF_MOST)), asks(_WIDEST * most), output
    )


def _hop(inputs: Inputs, stage: str, question: Question) -> Spec:
    def asks(text: str) -> dict[str, Any]:
        parent = {"persona_id": "", "text": text, "language": "en"}
        return asker(inputs).request(parent, question, inputs.expand_prompt)

    output = arithmetic.TOKENS_OF_PERSONA * inputs.settings.expand.fan_out
    longest = asks(_WIDEST * inputs.settings.accept.max_chars)
    return _spec(inputs, stage, question, asks("x" * _PERSONA_CHARS), longest, output)


def _judge(inputs: Inputs, question: Question) -> Spec:
    settings = inputs.settings.accept.judge
    if settings is None:
        raise ValueError("no judge is set")
    made, seed = judge.prompt(settings), inputs.settings.seed
    usual, longest = (
        judge.judge_request({"persona_id": "", "text": text}, question, made, seed)
        for text in ("x" * _PERSONA_CHARS, _WIDEST * inputs.settings.accept.max_chars)
    )
    return _spec(inputs, CHECK, question, usual, longest, arithmetic.TOKENS_OF_VERDICT)


def _embed(inputs: Inputs, question: Question) -> Spec:
    usual, longest = (
        embedding_request("", text, question)
        for text in ("x" * _PERSONA_CHARS, _WIDEST * inputs.settings.accept.max_chars)
    )
    return _spec(inputs, embed.STAGE, question, usual, longest, 0.0)


def _steps(inputs: Inputs, task: Task, asked: Mapping[str, Question]) -> Iterator[Spec]:
    seed, first = inputs.settings.seed, task.first
    written = asked[stage_name(task, first)].role.max_tokens * _TOKEN_CHARS
    for step in task.steps:
        question = asked[stage_name(task, step)]

        def asks(text: str, step: Any = step, question: Question = question) -> dict[str, Any]:  # noqa: ANN401
            if not step.answers:
                writer = {"persona_id": "0" * 64, "text": text, "language": "en"}
                return first_request(writer, task, question, seed)
            variation = list(draw(task.vary, seed, "").items())
            # A reply's fields share its length.
            seen = [each for each in task.steps if each.id in step.sees]
            fields = [(field, text[: len(text) // len(each.fields)]) for each in seen for field in each.fields]
            example = {"example_id": "", "fields": fields, "variation": variation, "language": "en", "persona": text}
            return later_request(example, task, step, question, 0)

        usual, longest = (
            ("x" * round(written * arithmetic.REPLY_OF_MOST), "x" * written)
            if step.answers
            else ("x" * _PERSONA_CHARS, _WIDEST * inputs.settings.accept.max_chars)
        )
        output = question.role.max_tokens * arithmetic.REPLY_OF_MOST
        yield _spec(inputs, stage_name(task, step), question, asks(usual), asks(longest), output)


def _spec(
    inputs: Inputs, stage: str, question: Question, usual: dict[str, Any], longest: dict[str, Any], output: float
) -> Spec:
    most, output = question.role.max_tokens, min(output, float(question.role.max_tokens))
    offline = inputs.settings.llm.offline
    latency = inputs.settings.offline.latency_ms / 1000 if offline else arithmetic.latency_s(output)
    # An estimate reserves the whole reply: what is left is the prompt.
    prompt = usual["est_tokens"] - most
    size = len(longest["body"].encode("utf-8", "surrogatepass"))
    reply = Replies(0, 0.0, output, output, float(most), 0.0, latency, 0.0)
    return Spec(stage, question, prompt, longest["worst_microusd"], size, reply)
