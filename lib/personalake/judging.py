"""New personas before the judge: each is asked about once, its score is kept, and low ones stay out of the hub."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.inputs import Inputs
from personalake.llm.complete import Ask
from personalake.llm.models import Question
from personalake.personas import judge
from personalake.personas.judge import CHECK
from personalake.prompts import Prompt
from personalake.runs import Run
from personalake.schemas import REJECTS
from personalake.settings import JudgeSettings
from personalake.stage_record import StageRecord
from personalake.store import Store

LOW = "judged_low"
_OF_REJECTS = tuple(column for column in REJECTS.columns if column.name != "seq")


def question(inputs: Inputs, prompt: Prompt) -> Question:
    """What the judge is asked."""
    return inputs.question("judge", "verdict", prompt.response_schema)


def version(model: Question, prompt: Prompt) -> str:
    """The judge's version: another model or prompt judges anew."""
    return f"{model.label} {prompt.prompt_id[:16]}"


def judge_personas(run: Run, inputs: Inputs, personas: DataFrame) -> None:
    """Have those of *personas* judged that a model wrote and this judge hasn't seen; raises :class:`DeferredError`."""
    settings = inputs.settings.accept.judge
    if settings is None:
        return
    made = judge.prompt(settings)
    model = question(inputs, made)
    seen = _verdicts(run.store, settings, inputs).select("persona_id")
    told = run.store.read("rejects").where(F.col("stage") == CHECK).select(F.col("input_key").alias("persona_id"))
    new = personas.where("request_key IS NOT NULL").join(seen.unionByName(told), "persona_id", "left_anti")
    if new.isEmpty():
        return
    record = StageRecord(CHECK)
    run.remember_prompts([(made.prompt_id, made.name, made.template, made.schema_json)])
    requests = judge.judge_requests(new, model, made, inputs.settings.seed)
    answers, spent = run.completer.complete([Ask(CHECK, requests, model)])
    read = judge.accept_scores(answers, version(model, made), settings.min_score).withColumn("stage", F.lit(CHECK))
    run.land_outcomes({CHECK: record}, {"verdicts": read}, spent)
    run.close(record)


def _verdicts(store: Store, settings: JudgeSettings, inputs: Inputs) -> DataFrame:
    made = judge.prompt(settings)
    named = version(question(inputs, made), made)
    rows = store.read("verdicts").where((F.col("check") == CHECK) & (F.col("version") == named))
    return rows.select(F.col("subject_id").alias("persona_id"), "score", F.col("evidence").alias("why"))


def without_low(store: Store, inputs: Inputs, personas: DataFrame) -> tuple[DataFrame, DataFrame | None]:
    """*personas* without those that today's judge finds too low, and rows of `rejects` for these; null without a judge.

    Who has no score, since the endpoint refused the request or the persona isn't a model's, passes.
    """
    settings = inputs.settings.accept.judge
    if settings is None:
        return personas, None
    low = _verdicts(store, settings, inputs).where(F.col("score") < settings.min_score)
    refused = personas.join(low, "persona_id")
    return personas.join(low, "persona_id", "left_anti"), _rejects(refused)


def _rejects(low: DataFrame) -> DataFrame:
    known = {
        "reject_id": F.sha2(F.concat_ws("|", F.lit("dedup"), "persona_id", F.lit(LOW)), 256),
        "stage": F.lit("dedup"),
        "reason": F.lit(LOW),
        "detail": F.concat_ws(": ", F.format_string("score %.0f of 5", "score"), "why"),
        "input_key": F.col("persona_id"),
        "raw": F.col("text"),
    }
    return low.select(*(known.get(c.name, F.lit(None)).cast(c.type).alias(c.name) for c in _OF_REJECTS))
