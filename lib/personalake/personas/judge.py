"""A judge of personas: what a model is asked of each, and the score that it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.accept import Reading, Refusal, outcomes, row_by_row
from personalake.llm.models import Question
from personalake.llm.requests import REQUESTS, REQUESTS_DDL, request
from personalake.llm.structured import read_json
from personalake.personas.asked import mark_of
from personalake.prompts import Prompt, shipped
from personalake.prompts.render import inert, messages
from personalake.schemas import VERDICTS
from personalake.settings import JudgeSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CHECK = "judge"
"""The stage, and the check of its verdicts."""
SCORES = (1, 2, 3, 4, 5)
_KNOWN = {"persona": ("text", "mark")}
_NEEDED = (("persona", "text"), ("persona", "mark"))
_EVIDENCE_CHARS = 300


def prompt(settings: JudgeSettings) -> Prompt:
    """The judge's prompt with the schema of its reply; raises :class:`InputError` for a file that can't be used."""
    properties = {"reason": {"type": "string"}, "score": {"type": "integer", "enum": list(SCORES)}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return shipped("judge", schema, settings.prompt, _KNOWN, _NEEDED)


def judge_requests(personas: DataFrame, question: Question, prompt: Prompt, seed: int) -> DataFrame:
    """One request a persona: (persona_id, text) in, the engine's request columns out."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [judge_request(row, question, prompt, seed) for row in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, schema=REQUESTS)

    return personas.select("persona_id", "text").mapInArrow(body, REQUESTS_DDL)


def judge_request(persona: Mapping[str, Any], question: Question, prompt: Prompt, seed: int) -> dict[str, Any]:
    """The request that judges one persona: a row of the engine's requests."""
    text = inert(persona["text"])
    values = {"persona": {"mark": mark_of(persona["persona_id"], seed, text), "text": text}}
    return request(question, messages(prompt, values), persona["persona_id"], prompt.prompt_id)


def accept_scores(answers: DataFrame, version: str, min_score: int) -> DataFrame:
    """Read the replies: answers (requests and completions) in, outcome rows with rows of `verdicts` out."""

    def read(answer: Mapping[str, Any]) -> Reading:
        return read_score(answer, version, min_score)

    return outcomes(answers, row_by_row(read), VERDICTS)


def read_score(answer: Mapping[str, Any], version: str, min_score: int) -> Reading:
    """Read one reply into a verdict, or why there is none."""
    raw = answer["reply"][:_EVIDENCE_CHARS]
    try:
        told = read_json(answer["reply"])
    except ValueError as error:
        return Reading(Refusal("invalid_json", str(error), raw))
    score = told.get("score") if isinstance(told, dict) else None
    if isinstance(score, bool) or score not in SCORES:
        return Reading(Refusal("schema", "no `score` of 1 to 5", raw))
    verdict = {
        "subject_id": answer["origin_id"],
        "check": CHECK,
        "version": version,
        "sample": answer["sample"],
        "score": float(score),
        "passed": score >= min_score,
        "evidence": str(told.get("reason") or "")[:_EVIDENCE_CHARS],
    }
    return Reading(items=[(0, verdict)])
