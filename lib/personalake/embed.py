"""The vectors of personas: asked of the endpoint, each text once and for all, or made by a model on the workers.

A text that gets none, since the endpoint refuses it or sends what is no direction, is in `rejects`; its persona is
compared by its tokens alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.accept import Read, Reading, Refusal, outcomes, row_by_row
from personalake.dedup.survivors import Stage
from personalake.dedup.vectors import NoVectorError, of_reply
from personalake.errors import DeferredError, InputError, SettingsError, StopRunError, StoreError
from personalake.inputs import Inputs
from personalake.llm.client import Endpoint
from personalake.llm.complete import Ask
from personalake.llm.embeddings import PATH, embedding_request, embedding_requests
from personalake.llm.engine import answer
from personalake.llm.journal import Journal, replies, segments
from personalake.llm.models import Question
from personalake.llm.offline import OfflineEndpoint
from personalake.llm.outcome import cure
from personalake.llm.wave_plan import Plan
from personalake.runs import Run
from personalake.schemas import HUB_VECTORS
from personalake.settings import EmbeddingSettings, RoleSettings, Settings
from personalake.stage_record import StageRecord
from personalake.work import Folder

STAGE = "embed"
_ANEW = "`personalake dedup --rebuild` asks for all of them anew; or set it back"


def question(inputs: Inputs) -> Question:
    """What is asked of the embedding model that the settings name."""
    embedding = inputs.settings.dedup.embedding
    if embedding is None or embedding.model is None:
        raise ValueError("no embedding model is asked")
    role = RoleSettings.model_validate({"model": embedding.model, "extra_body": embedding.extra_body})
    return Question(
        label=embedding.model,
        # A vector has no tokens.
        role=role.model_copy(update={"max_tokens": 0}),
        abilities=inputs.models.of(embedding.model),
        extra_body=inputs.settings.llm.extra_body,
        path=PATH,
        inputs=embedding.inputs,
        endpoint=embedding.endpoint,
    )


def vectors(
    run: Run, inputs: Inputs, texts: DataFrame, dimensions: int | None, record: StageRecord, stage: Stage
) -> DataFrame:
    """The vectors (id, rank, vector) of *texts* (id, rank, text), all of one dimension, for those that have one.

    What was asked is counted in *record*, which is the caller's to close. Raises :class:`DeferredError` where some have
    to wait, and :class:`StoreError` where vectors are of two dimensions, or of others than the *dimensions* known.
    """
    embedding = inputs.settings.dedup.embedding
    if embedding is None:
        raise ValueError("no embedding is set")
    found = _made(texts, embedding) if embedding.path else _asked(run, inputs, texts, record)
    found = stage(found.join(texts.select("id", "rank"), "id").select("id", "rank", "vector"), "vectors")
    width = F.octet_length("vector")
    widths = found.agg(F.min(width).alias("least"), F.max(width).alias("most")).collect()[0]
    found_in = {size // 2 for size in widths if size is not None}
    if len(found_in) > 1:
        raise StoreError(
            f"{embedding.name} gave vectors of {min(found_in)} and of {max(found_in)} dimensions",
            where="dedup.embedding",
            cure="what they are compared with must be of one: name a model of which all are",
        )
    if dimensions is not None and found_in - {dimensions}:
        raise StoreError(
            f"{embedding.name} gave vectors of {found_in.pop()} dimensions, those that are kept have {dimensions}",
            where="dedup.embedding",
            cure=_ANEW,
        )
    return found


def _asked(run: Run, inputs: Inputs, texts: DataFrame, record: StageRecord) -> DataFrame:
    began, model = time.monotonic(), question(inputs)
    refused = run.store.read("rejects").where(F.col("stage") == STAGE)
    # What was refused once is on record, and would be again.
    known = refused.select("request_key", F.col("input_key").alias("origin_id"))
    requests = embedding_requests(texts, model).join(known, ["request_key", "origin_id"], "left_anti")
    answers, spent = run.completer.complete([Ask(STAGE, requests, model)])
    read = outcomes(answers, _reader(str(model.role.model)), HUB_VECTORS).withColumn("stage", F.lit(STAGE))
    found = run.land_outcomes({STAGE: record}, {"hub_vectors": read}, spent, later=["hub_vectors"])["hub_vectors"]
    record.seconds += time.monotonic() - began
    if record.counts["deferred"]:
        run.close(record)
    return found.selectExpr("persona_id AS id", "vector")


def _reader(model: str) -> Read:
    def read(answer: Mapping[str, Any]) -> Reading:
        try:
            vector = of_reply(answer["reply"])
        except NoVectorError as error:
            return Reading(Refusal(error.reason, str(error)))
        row = {"persona_id": answer["origin_id"], "model": model, "dimensions": len(vector) // 2, "vector": vector}
        return Reading(items=[(0, row)])

    return row_by_row(read)


def _made(texts: DataFrame, embedding: EmbeddingSettings) -> DataFrame:
    from personalake.dedup.local_model import encoder  # noqa: PLC0415 (only where it is wanted)

    return texts.select("id", "text").mapInArrow(encoder(str(embedding.path)), "id string, vector binary")


@dataclass(frozen=True)
class Wanted:
    """The vector of a text that is looked for, as vectors are kept; and what it took, where an endpoint was asked."""

    vector: bytes
    tokens: int | None = None
    microusd: int = 0


def wanted_vector(inputs: Inputs, text: str, left: int | None) -> Wanted:
    """The vector of *text* by the model that the settings name, made here or asked for with one request.

    No table gets to know of it. *left* is what the store's budget holds yet, in millionths of a dollar; null without
    one. Raises :class:`SettingsError` where it doesn't hold the request, :class:`InputError` where the text gets no
    vector, :class:`StopRunError` or :class:`DeferredError` where the endpoint refuses or doesn't answer.
    """
    embedding = inputs.settings.dedup.embedding
    if embedding is None:
        raise ValueError("no embedding is set")
    if embedding.path:
        from personalake.dedup.local_model import encoder  # noqa: PLC0415 (only where it is wanted)

        row = pa.RecordBatch.from_pydict({"id": [""], "text": [text]})
        return Wanted(next(encoder(embedding.path)(iter([row]))).column("vector")[0].as_py())
    model = question(inputs)
    request = embedding_request("", text, model)
    _check_budget(model, request["worst_microusd"], left)
    row = _answered(inputs, model, {**request, "stage": STAGE})
    if row["error"] is not None:
        raise InputError(f"the text gets no vector: {row['error']}: {row['error_detail']}", where=str(model.role.model))
    try:
        return Wanted(of_reply(row["reply"]), row["prompt_tokens"], row["cost_microusd"])
    except NoVectorError as error:
        raise InputError(f"the text gets no vector: {error}", where=str(model.role.model)) from error


def _answered(inputs: Inputs, model: Question, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """What comes of one request: a row of a journal that nobody lands."""
    llm, own = inputs.settings.llm, model.endpoint
    with ExitStack() as stack:
        url = ""
        if llm.offline and own is None:
            url = stack.enter_context(OfflineEndpoint.of(inputs.settings.offline)).base_url
        folder = Folder(stack.enter_context(tempfile.TemporaryDirectory(prefix="personalake-")))
        endpoints = Endpoint.all_of(llm, url, () if own is None else [own])
        plan = Plan.of(llm, endpoints, folder, {STAGE: model}, 1).alone("0", 1)
        tally = answer([pa.RecordBatch.from_pylist([request])], plan, Journal(folder, "0", "0"))[0]
        found = [row for segment in segments(folder) for row in replies(segment.path, folder).to_pylist()]
    where, said = ", ".join(each.name for each in endpoints), f"{tally['reason']}: {tally['detail']}"
    if tally["outcome"] == "stop":
        raise StopRunError(said, where=where, cure=cure(tally["reason"]))
    if not found:
        raise DeferredError(said, where=where, cure="ask again when the endpoint answers")
    return dict(found[0])


def _check_budget(model: Question, worst: int, left: int | None) -> None:
    if left is None:
        return
    if model.abilities.price is None:
        what = f"a budget is set, and the model {model.role.model!r} has no price"
        raise SettingsError(what, where="budget_usd", cure="add its price to models.yaml")
    if worst > left:
        what = f"{max(left, 0) / 1e6:.6f} US dollars of it are left, and this may cost {worst / 1e6:.6f}"
        raise SettingsError(what, where="budget_usd", cure="a larger budget, or --by words")


def check_local_model(settings: Settings) -> None:
    """Raise :class:`SettingsError` where a model on the workers is named that can't be used here."""
    embedding = settings.dedup.embedding
    if embedding is None or embedding.path is None:
        return
    where = "dedup.embedding.path"
    if not Path(embedding.path).is_dir():
        raise SettingsError(f"no folder {embedding.path}", where=where, cure="put the model there: none is downloaded")
    if find_spec("sentence_transformers") is None:
        cure = "pip install 'personalake[embeddings]' here and on every worker, or name a `model` of the endpoint"
        raise SettingsError("sentence-transformers isn't installed", where=where, cure=cure)


def rows(vectors: DataFrame, model: str) -> DataFrame:
    """Vectors (id, vector) as rows of `hub_vectors`."""
    dimensions = (F.octet_length("vector") / 2).cast("int").alias("dimensions")
    return vectors.select(F.col("id").alias("persona_id"), F.lit(model).alias("model"), dimensions, "vector")


def known_dimensions(known: DataFrame, settings: Settings) -> int | None:
    """The dimension of the vectors *known*, null where there are none.

    Raises :class:`StoreError` where they are of another model than *settings* name.
    """
    embedding = settings.dedup.embedding
    name = "" if embedding is None else embedding.name
    made = known.groupBy("model").agg(F.max("dimensions").alias("dimensions")).collect()
    others = sorted(row["model"] for row in made if row["model"] != name)
    if others:
        what = f"personas were compared by vectors of {others[0]!r} so far, the settings say {name!r}"
        raise StoreError(what, where="dedup.embedding", cure=_ANEW)
    return int(made[0]["dimensions"]) if made else None
