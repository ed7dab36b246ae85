"""Answered requests for personas, as a stage joins them: pages of 3,000 characters, three personas a reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import cycle, islice
from typing import Any

import pyarrow as pa

from personalake.llm.offline.draw import Draw
from personalake.llm.offline.personas import persona_reply
from personalake.llm.offline.relatives import relatives_reply
from personalake.personas import expand, infer
from personalake.personas.asked import mark_of
from personalake.prompts.render import language_name
from personalake.settings import ExpandSettings, InferSettings
from tests.conftest import ROOT

PERSONAS, PAGE_CHARS, FLAWS = 3, 3_000, 0.04
DOMAINS = ("crafts", "science", "health", "arts")
INFER = InferSettings.model_validate({"personas_per_page": PERSONAS})
EXPAND = ExpandSettings.model_validate({"fan_out": PERSONAS})


def pages(number: int) -> Iterator[tuple[str, str, str]]:
    """(language, title, text) of pages, no two alike: the paragraphs of the bundled ones, begun at each in turn."""
    found = []
    for folder in sorted((ROOT / "tests" / "data" / "pages").iterdir()):
        whole = [file.read_text(encoding="utf-8").split("---\n")[-1] for file in sorted(folder.glob("*.md"))]
        paragraphs = [each for text in whole for each in text.split("\n\n") if each.strip()]
        for start in range(len(paragraphs)):
            text = "\n\n".join((paragraphs[start:] + paragraphs[:start])[:40])
            found.append((folder.name, " ".join(paragraphs[start].split()[:6]), text))
    for turn, (language, title, text) in islice(enumerate(cycle(found)), number):
        yield language, title, f"No. {turn}. {text}"[:PAGE_CHARS]


def of_pages(number: int) -> pa.RecordBatch:
    """So many answers about pages, by the rules of the embedded endpoint."""
    schema = infer.shape(INFER, DOMAINS).schema
    return _batch(
        {**_answer(turn, _three(text, schema, turn), text), "title": title, "language": language, "path": "f"}
        for turn, (language, title, text) in enumerate(pages(number))
    )


def _three(text: str, schema: dict[str, Any], turn: int) -> list[Any]:
    found: list[Any] = []
    for variant in range(20):
        reply = persona_reply("", f"=== {'0' * 24} ===\n{text}", schema, Draw(turn, variant), FLAWS)
        found += json.loads(reply)["personas"]
        if len(found) >= PERSONAS:
            break
    return found[:PERSONAS]


def of_personas(number: int) -> pa.RecordBatch:
    """So many answers about personas of the pages above, by the same rules."""
    schema, rows = expand.shape(EXPAND, INFER, DOMAINS).schema, []
    parents = of_pages(number).to_pylist()
    for turn, page in enumerate(parents):
        text = json.loads(page["reply"])["personas"][0]["persona"] or page["title"]
        relations = expand.drawn(f"{turn:064x}", EXPAND, 0)
        listed = "\n".join(f"{n}. {relation}: so" for n, relation in enumerate(relations, 1))
        system, user = (
            f"In the third person, in {language_name(page['language'])}.",
            f"{listed}\n\n=== {'0' * 24} ===\n{text}",
        )
        found: list[Any] = []
        for variant in range(20):
            found = json.loads(relatives_reply(system, user, schema, Draw(turn, variant), FLAWS))["personas"]
            if len(found) == PERSONAS:
                break
        parent = {"language": page["language"], "occupation": "smith", "age_band": None, "hop": 0, "source": "f"}
        rows.append({**_answer(turn, found, text), **parent, "root_doc_id": "d" * 64})
    return _batch(iter(rows))


def _answer(turn: int, personas: list[Any], text: str) -> dict[str, Any]:
    origin = f"{turn:064x}"
    system = "Rules. " * 300
    user = f"=== {mark_of(origin, 0, text)} ===\n{text}"
    body = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}], "model": "m"}
    return {
        "request_key": f"{turn + 1:064x}", "origin_id": origin, "sample": 0, "prompt_id": "p" * 64,
        "body": json.dumps(body), "request_id": f"r-{turn}", "prompt_tokens": 1_500, "completion_tokens": 400,
        "reasoning_tokens": 0, "cached_tokens": 0, "cost_microusd": 700,
        "answered_at": datetime(2026, 1, 1, tzinfo=timezone.utc), "error": None, "error_detail": None,
        "reply": json.dumps({"personas": personas}, ensure_ascii=False), "model": "m", "text": text,
        "url": f"https://example.org/{turn}", "licence": "CC0-1.0",
    }  # fmt: skip


_TYPES = {
    "sample": pa.int32(), "hop": pa.int32(), "answered_at": pa.timestamp("us", tz="UTC"),
    **dict.fromkeys(
        ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "cost_microusd"), pa.int64()
    ),
}  # fmt: skip


def _batch(rows: Iterator[dict[str, Any]]) -> pa.RecordBatch:
    listed = list(rows)
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in listed[0]])
    return pa.RecordBatch.from_pylist(listed, schema=schema)
