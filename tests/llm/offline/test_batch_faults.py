"""Batches that go wrong on order, each as its files and its object show it, and what the ledger says of their rows."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import openai
import pytest
from openai.types import Batch

from personalake.llm.offline import CHAT_MODEL
from personalake.llm.offline.faults import BATCH_KINDS
from tests.llm.offline.asking import admin, ask

KEYS = ["a", "b", "c", "d", "e"]
EVERY_SECOND = ["a", "c", "e"]
ENDED = ("completed", "failed", "cancelled", "expired")


@pytest.fixture
def url(served: str) -> str:
    admin(served, "ledger/reset", {})
    admin(served, "faults", {})
    return served


class Files:
    """What one batch left behind."""

    def __init__(self, client: openai.OpenAI, batch: Batch) -> None:
        self.batch = batch
        self.output = self._rows(client, batch.output_file_id)
        self.error = self._rows(client, batch.error_file_id)

    def _rows(self, client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
        return [json.loads(row) for row in client.files.content(file_id).text.splitlines()] if file_id else []

    @property
    def answered(self) -> list[str]:
        return [row["custom_id"] for row in self.output]

    @property
    def failed(self) -> list[str]:
        return [row["custom_id"] for row in self.error]

    @property
    def errors(self) -> list[tuple[str | None, str | None]]:
        """Code and line of what a failed batch complains of."""
        data = self.batch.errors.data if self.batch.errors else None
        return [(error.code, str(error.line)) for error in data or []]


def run(url: str, fault: dict[str, Any] | None = None) -> Files:
    lines = [{"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body(key)} for key in KEYS]
    raw = "\n".join(map(json.dumps, lines)).encode()
    headers = {"X-Fault": json.dumps(fault)} if fault is not None else {}
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        file_id = client.files.create(file=("rows.jsonl", io.BytesIO(raw)), purpose="batch").id
        batch = client.batches.create(
            input_file_id=file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"run": "r1"},
            extra_headers=headers,
        )
        assert batch.status == "validating"
        deadline = time.monotonic() + 5
        while (batch := client.batches.retrieve(batch.id)).status not in ENDED:
            assert time.monotonic() < deadline, "the batch never ended"
        assert client.batches.list(limit=1).data[0] == batch
        return Files(client, batch)


def body(key: str) -> dict[str, Any]:
    return {"model": CHAT_MODEL, "messages": [{"role": "user", "content": f"Tell me about {key} gardens"}]}


def test_an_expired_batch_keeps_what_it_had_answered_and_names_the_rest(url: str) -> None:
    files = run(url, {"batch": "expired"})
    assert files.batch.status == "expired"
    assert files.batch.expired_at
    assert (files.answered, files.failed) == (["a", "b", "c"], ["d", "e"])
    assert {(row["response"], row["error"]["code"]) for row in files.error} == {(None, "batch_expired")}
    ledger = admin(url, "ledger")
    assert ledger["by_client_request_id"] == dict.fromkeys(KEYS, 1)
    assert ledger["answered_by_client_request_id"] == dict.fromkeys("abc", 1)
    assert (ledger["batch_rows_received"], ledger["batch_rows_answered"], ledger["batch_rows"]) == (5, 3, 3)


def test_a_provider_may_cancel_a_batch(url: str) -> None:
    files = run(url, {"batch": "cancelled"})
    assert files.batch.status == "cancelled"
    assert files.batch.cancelled_at
    assert (files.answered, files.failed) == (["a", "b", "c"], ["d", "e"])
    assert files.error[0]["error"]["code"] == "batch_cancelled"


@pytest.mark.parametrize(
    ("kind", "errors"),
    [("failed_validation", [("invalid_json_line", "1")]), ("queue_limit", [("token_limit_exceeded", "None")])],
)
def test_a_batch_that_fails_before_its_rows_costs_nothing(
    url: str, kind: str, errors: list[tuple[str | None, str | None]]
) -> None:
    files = run(url, {"batch": kind})
    assert (files.batch.status, files.errors) == ("failed", errors)
    assert (files.batch.output_file_id, files.batch.error_file_id) == (None, None)
    ledger = admin(url, "ledger")
    assert (ledger["cost_usd"], ledger["batch_rows_received"]) == (0, 0)


def test_a_batch_may_complete_with_every_row_failed_and_no_output_file(url: str) -> None:
    files = run(url, {"batch": "all_rows_failed_no_output"})
    assert (files.batch.status, files.batch.output_file_id) == ("completed", None)
    assert files.failed == KEYS
    assert files.batch.request_counts is not None
    assert (files.batch.request_counts.completed, files.batch.request_counts.failed) == (0, 5)
    assert admin(url, "ledger")["answered_by_client_request_id"] == {}


def test_an_error_line_may_hide_its_error_inside_the_response_s_body(url: str) -> None:
    files = run(url, {"batch": "error_null"})
    assert (files.failed, files.answered) == (EVERY_SECOND, ["b", "d"])
    for row in files.error:
        assert row["error"] is None
        assert row["response"]["status_code"] == 500
        assert row["response"]["body"]["error"]["message"]


def test_an_error_file_s_id_may_be_an_empty_string(url: str) -> None:
    files = run(url, {"batch": "empty_error_file_id"})
    assert (files.batch.status, files.batch.error_file_id, files.answered) == ("completed", "", KEYS)


def test_rows_may_be_missing_from_both_files(url: str) -> None:
    files = run(url, {"batch": "missing_rows"})
    assert (files.answered, files.failed) == (["b", "d"], [])
    assert admin(url, "ledger")["batch_rows"] == 2


def test_rows_may_come_in_another_order(url: str) -> None:
    files = run(url, {"batch": "unordered"})
    assert files.answered != KEYS
    assert sorted(files.answered) == KEYS


def test_rows_may_come_twice_and_are_paid_once(url: str) -> None:
    files = run(url, {"batch": "duplicate_rows"})
    assert files.answered == ["a", "a", "b", "c", "c", "d", "e", "e"]
    ledger = admin(url, "ledger")
    assert (ledger["batch_rows"], ledger["answered_again"], ledger["billed_again"]) == (5, 0, 0)


def test_every_kind_of_batch_fault_is_a_test_of_this_file(url: str) -> None:
    tried = {"expired", "cancelled", "failed_validation", "queue_limit", "all_rows_failed_no_output", "error_null"}
    tried |= {"empty_error_file_id", "missing_rows", "unordered", "duplicate_rows"}
    assert set(BATCH_KINDS) == tried


def test_a_batch_meets_the_plan_that_is_set_and_its_listing_carries_metadata(url: str) -> None:
    admin(url, "faults", {"batch": "empty_error_file_id"})
    files = run(url)
    assert (files.batch.error_file_id, files.batch.metadata) == ("", {"run": "r1"})


def test_rows_meet_faults_by_custom_id_and_a_second_batch_is_their_second_attempt(url: str) -> None:
    plan = {"kind": "500", "attempts": 1}
    assert run(url, plan).failed == KEYS
    assert run(url, plan).answered == KEYS


def test_what_a_batch_answers_and_a_live_request_answers_again_shows_as_paid_twice(url: str) -> None:
    run(url)
    assert ask(url, "b", **body("b")).status == 200
    ledger = admin(url, "ledger")
    assert ledger["by_client_request_id"] == {**dict.fromkeys(KEYS, 1), "b": 2}
    assert ledger["answered_by_client_request_id"] == {**dict.fromkeys(KEYS, 1), "b": 2}
    assert ledger["billed_again_by_client_request_id"] == {"b": 2}
    assert (ledger["answered_again"], ledger["billed_again"]) == (1, 1)
