"""A frozen request: one row of what a stage asks, as an Arrow kernel makes it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from personalake.llm.models import Question, canonical, estimate_tokens

REQUESTS = pa.schema(
    [
        ("request_key", pa.string()),
        ("origin_id", pa.string()),
        ("sample", pa.int32()),
        ("prompt_id", pa.string()),
        ("body", pa.string()),
        ("est_tokens", pa.int64()),
        ("worst_microusd", pa.int64()),
    ]
)
"""Who asks (`origin_id`), what (`body`), what it reserves (`est_tokens`), what it may cost at most."""

REQUESTS_DDL = (
    "request_key string, origin_id string, sample int, prompt_id string, body string, est_tokens long, "
    "worst_microusd long"
)


def request(
    question: Question, messages: list[dict[str, str]], origin_id: str, prompt_id: str, sample: int = 0
) -> dict[str, Any]:
    """One row of :data:`REQUESTS`: *messages* asked of *question*'s model on behalf of *origin_id*."""
    body = question.body(messages)
    text = canonical(body).decode("utf-8", "surrogatepass")
    prompt_tokens = sum(estimate_tokens(message["content"]) for message in messages)
    return {
        "request_key": question.key(body, sample),
        "origin_id": origin_id,
        "sample": sample,
        "prompt_id": prompt_id,
        "body": text,
        "est_tokens": prompt_tokens + question.role.max_tokens,
        "worst_microusd": question.worst_microusd(text),
    }
