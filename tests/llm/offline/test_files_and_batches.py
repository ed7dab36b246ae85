"""Files and batches through the real SDK: rows really run, at half price, with an error file for the bad ones."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from openai.types import Batch, BatchRequestCounts

from personalake.llm.offline import CHAT_MODEL, EMBEDDING_MODEL, OfflineSettings, serving

Endpoint = Literal["/v1/chat/completions", "/v1/embeddings", "/v1/responses"]


@pytest.fixture
def url() -> Iterator[str]:
    with serving(OfflineSettings(flaws=0, batch_seconds=0.05)) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as made:
        yield made


def line(custom_id: str, **changes: object) -> dict[str, Any]:
    body = {
        "model": CHAT_MODEL,
        "messages": [{"role": "user", "content": f"Tell me about {custom_id} gardens"}],
        **changes,
    }
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def upload(client: openai.OpenAI, rows: list[dict[str, Any]]) -> str:
    raw = "\n".join(json.dumps(row) for row in rows).encode()
    return client.files.create(file=("rows.jsonl", io.BytesIO(raw)), purpose="batch").id


def finished(client: openai.OpenAI, batch_id: str) -> Batch:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        batch = client.batches.retrieve(batch_id)
        if batch.status in ("completed", "failed", "cancelled"):
            return batch
    raise AssertionError("the batch never ended")


def rows_of(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(row) for row in client.files.content(file_id).text.splitlines()]


def opened(client: openai.OpenAI, file_id: str, endpoint: Endpoint = "/v1/chat/completions") -> Batch:
    return client.batches.create(input_file_id=file_id, endpoint=endpoint, completion_window="24h", metadata={"k": "v"})


def test_a_batch_answers_each_row_as_a_live_request_would_at_half_the_price(client: openai.OpenAI, url: str) -> None:
    batch = opened(client, upload(client, [line("mossy"), line("dry"), line("bad", temperature=9)]))
    assert batch.status == "validating"
    done = finished(client, batch.id)
    assert (done.status, done.metadata) == ("completed", {"k": "v"})
    assert done.request_counts == BatchRequestCounts(total=3, completed=2, failed=1)
    good = {row["custom_id"]: row["response"]["body"] for row in rows_of(client, done.output_file_id)}
    bad = rows_of(client, done.error_file_id)
    assert set(good) == {"mossy", "dry"}
    assert [(row["custom_id"], row["error"], row["response"]["status_code"]) for row in bad] == [("bad", None, 400)]
    with urllib.request.urlopen(url.removesuffix("v1") + "ledger", timeout=5) as response:
        ledger = json.load(response)
    usage = [body["usage"] for body in good.values()]
    full = sum(u["prompt_tokens"] * 0.15 + u["completion_tokens"] * 0.60 for u in usage) / 1e6
    assert ledger["cost_usd"] == pytest.approx(full / 2)
    assert ledger["batch_rows"] == 2
    body = line("mossy")["body"]
    live = client.chat.completions.create(**body, extra_headers={"X-Client-Request-Id": "mossy"})
    assert live.choices[0].message.content == good["mossy"]["choices"][0]["message"]["content"]


def test_a_batch_with_every_row_refused_completes_without_an_output_file(client: openai.OpenAI) -> None:
    done = finished(client, opened(client, upload(client, [line("a", n=99), line("b", model="no-model")])).id)
    assert (done.status, done.output_file_id) == ("completed", None)
    assert {row["response"]["status_code"] for row in rows_of(client, done.error_file_id)} == {400, 404}


def test_embeddings_run_in_a_batch_too(client: openai.OpenAI) -> None:
    row = {
        "custom_id": "e",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": EMBEDDING_MODEL, "input": "x"},
    }
    done = finished(client, opened(client, upload(client, [row]), "/v1/embeddings").id)
    assert len(rows_of(client, done.output_file_id)[0]["response"]["body"]["data"][0]["embedding"]) == 384


@pytest.mark.parametrize(
    "rows",
    [[line("a"), line("a")], [{**line("a"), "url": "/v1/embeddings"}], [{**line("a"), "custom_id": ""}], []],
)
def test_a_file_with_a_bad_line_fails_in_validation_and_names_the_line(
    client: openai.OpenAI, rows: list[dict[str, Any]]
) -> None:
    done = finished(client, opened(client, upload(client, rows)).id)
    assert done.status == "failed"
    assert done.errors is not None
    assert done.errors.data is not None
    assert done.errors.data[0].line == (len(rows) or None)


def test_a_batch_can_be_cancelled(client: openai.OpenAI) -> None:
    batch = opened(client, upload(client, [line(str(number)) for number in range(20)]))
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert finished(client, batch.id).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_files_are_kept_listed_shown_and_deleted(client: openai.OpenAI) -> None:
    ids = [upload(client, [line(str(number))]) for number in range(3)]
    assert [row.id for row in client.files.list()] == ids[::-1]
    assert [row.id for row in client.files.list(limit=2)] == ids[::-1]
    assert client.files.retrieve(ids[0]).filename == "rows.jsonl"
    assert client.files.delete(ids[0]).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(ids[0])


def test_a_wrong_purpose_window_or_file_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=b"x", purpose="world_domination")  # type: ignore[arg-type] # refused on purpose
    with pytest.raises(openai.NotFoundError):
        opened(client, "file-unknown")
    with pytest.raises(openai.BadRequestError, match="Supported values"):
        opened(client, upload(client, [line("a")]), "/v1/responses")
