"""A part of a wave for tests: its plan, its requests, one attempt at it, and what came of that."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from personalake.llm.client import Endpoint
from personalake.llm.engine import run_part
from personalake.llm.journal import SCHEMA, segments
from personalake.llm.models import Price, Question, canonical
from personalake.llm.wave_plan import Plan
from personalake.settings import LlmSettings, RoleSettings
from personalake.work import Folder

PRICE = Price(input=1, cached_input=None, output=1, as_of="2026-01-01")
SCHEMA_OF_REPLY: dict[str, Any] = {
    "type": "object",
    "properties": {"personas": {"type": "array", "items": {"type": "object"}}},
    "required": ["personas"],
    "additionalProperties": False,
}


def plan(base_url: str, wave: Path, **changes: Any) -> Plan:
    """The plan of one task that asks the endpoint at *base_url*, or those in `llm.endpoints`."""
    own = {"timeout_s": 5.0, "in_flight": 8, "patience_s": 0.5, **changes.pop("llm", {})}
    settings = LlmSettings.model_validate(own if "endpoints" in own else {"base_url": base_url, **own})
    asked: dict[str, Any] = {"label": "offline-rules", "price": PRICE, "max_tokens": 1024, "path": "/chat/completions"}
    fields: dict[str, Any] = {
        "wave": str(wave),
        "tasks": 1,
        "stages": {"infer": {**asked, "response_schema": changes.pop("response_schema", None)}},
        "endpoints": Endpoint.all_of(settings, base_url),
        "max_attempts": 4,
        "patience_s": settings.patience_s,
        "backoff_s": 0.001,
        "flush_s": 60.0,
        "flush_rows": 5,
    }
    return Plan.model_validate({**fields, **changes})


def requests(count: int, model: str = "offline-rules", schema: dict[str, Any] | None = None) -> list[pa.RecordBatch]:
    """So many different requests."""
    role = RoleSettings.model_validate({"model": model})
    about = {"label": model, "role": role, "abilities": {}, "schema_name": "reply", "response_schema": schema}
    question = Question.model_validate(about)
    rows = []
    for number in range(count):
        body = question.body([{"role": "user", "content": f"Tell me about bridge number {number}."}])
        asked = {"request_key": question.key(body, 0), "stage": "infer", "body": canonical(body).decode()}
        rows.append({**asked, "est_tokens": 1100})
    return [pa.RecordBatch.from_pylist(rows)] if rows else []


def run(plan: Plan, batches: list[pa.RecordBatch], attempt: str = "a0") -> dict[str, Any]:
    """One attempt at the part; returns its only tally."""
    (row,) = [r for batch in run_part(batches, plan, "00000", attempt) for r in batch.to_pylist()]
    return dict(row)


def journaled(wave: Path) -> pa.Table:
    """All that is in the wave's journal."""
    found = segments(Folder(str(wave)))
    return pa.concat_tables([pq.read_table(s.path, schema=SCHEMA) for s in found]) if found else SCHEMA.empty_table()


def ledger(base_url: str) -> dict[str, Any]:
    """What the endpoint has received."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/ledger") as response:
        return dict(json.load(response))
