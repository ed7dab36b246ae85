"""Canned replies: the size that was ordered, the same for the same request, and JSON like that of any other reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from personalake.errors import SettingsError
from personalake.llm.offline import CANNED_MODEL, OfflineSettings, plan_of, serving
from personalake.llm.offline.canned import Canned
from personalake.llm.offline.draw import Draw
from personalake.llm.offline.jobs import ChatJob, Order
from personalake.llm.offline.ledger import Ledger
from personalake.llm.offline.standin import standin
from personalake.llm.offline.wire import encode
from tests.llm.offline.asking import QUESTION, admin, ask

CANNED = {"reply": {"kind": "canned", "chars": 300}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "title", "parts"],
    "properties": {
        "kind": {"type": "string", "enum": ["red", "gr\u00fcn"]},
        "title": {"type": "string"},
        "parts": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
    },
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "any", "strict": True, "schema": SCHEMA}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(OfflineSettings(flaws=0)) as base_url:
        yield base_url


def content(url: str, key: str, fault: object = CANNED, **changes: Any) -> str:
    return str(ask(url, key, fault, **changes).choice["message"]["content"])


def test_a_canned_reply_says_that_it_is_one_and_has_the_size_that_was_ordered(url: str) -> None:
    reply = ask(url, "a", CANNED)
    text = reply.choice["message"]["content"]
    assert text.startswith("Stand-in text, written by no model")
    assert len(text) == 300
    assert reply.choice["finish_reason"] == "stop"
    assert reply.body["usage"]["completion_tokens"] == 75
    assert ChatCompletion.model_validate(reply.body).usage is not None


def test_a_canned_reply_is_a_function_of_the_request_and_its_id(url: str) -> None:
    assert content(url, "a") == content(url, "a")
    assert content(url, "a")[60:] != content(url, "b")[60:]


def test_the_prompt_counts_as_it_does_under_the_rules(url: str) -> None:
    usages = [ask(url, "a", fault).body["usage"]["prompt_tokens"] for fault in ({}, CANNED)]
    assert usages[0] == usages[1]


def test_a_canned_reply_may_claim_any_number_of_tokens_and_is_billed_for_them(url: str) -> None:
    admin(url, "ledger/reset", {})
    reply = ask(url, "a", {"reply": {"kind": "canned", "chars": 40, "completion_tokens": 900}})
    assert reply.body["usage"]["completion_tokens"] == 900
    assert admin(url, "ledger")["tokens"]["completion_tokens"] == 900


def test_the_canned_model_needs_no_plan(url: str) -> None:
    reply = ask(url, "a", model=CANNED_MODEL)
    assert reply.body["model"] == CANNED_MODEL
    assert len(reply.choice["message"]["content"]) == Canned().chars


def test_a_token_limit_cuts_a_canned_reply_too(url: str) -> None:
    reply = ask(url, "a", CANNED, max_tokens=10)
    assert (reply.choice["finish_reason"], reply.body["usage"]["completion_tokens"]) == ("length", 10)
    assert content(url, "a").startswith(reply.choice["message"]["content"])


def test_a_canned_reply_to_a_schema_fits_it_and_carries_the_request_s_key(url: str) -> None:
    found = [json.loads(content(url, key, response_format=FORMAT)) for key in ("a", "b", "c", "d", "e", "f")]
    assert all(set(reply) == set(SCHEMA["required"]) and len(reply["parts"]) == 2 for reply in found)
    assert {reply["kind"] for reply in found} <= {"red", "gr\u00fcn"}
    assert len({reply["title"] for reply in found}) == 6


def test_a_canned_reply_streams_and_misbehaves_as_others_do(url: str) -> None:
    streamed = ask(url, "a", CANNED, stream=True).raw.decode()
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    joined = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert joined == content(url, "a")
    assert ask(url, "a", {**CANNED, "kind": "refusal"}).choice["message"]["content"] is None


@pytest.mark.parametrize("changes", [{}, {"response_format": FORMAT}, {"max_tokens": 7}])
def test_the_pieces_join_to_what_the_encoder_would_write(changes: dict[str, Any]) -> None:
    body = {"model": CANNED_MODEL, "messages": QUESTION, **changes}
    job = ChatJob(Order("k", "k", 1, plan_of({})), body, OfflineSettings(), Ledger())
    pieces, whole = job.payload(None), encode(job.completion(None))
    assert _undated(pieces) == _undated(whole)


def _undated(payload: bytes) -> bytes:
    created = json.loads(payload)["created"]
    return payload.replace(f'"created":{created}'.encode(), b"")


def test_texts_longer_than_the_pool_are_filled_up() -> None:
    assert len(standin(Canned(1_000_000, 1), Draw("k").hex("key", 16), None, None).text) == 16_384 * 4
    assert len(standin(Canned(1_000_000, 1), Draw("k").hex("key", 16), None, 10**6).text) == 1_000_000


@pytest.mark.parametrize(
    "reply",
    ["fast", 3, {"kind": "canned", "size": 1}, {"kind": "canned", "chars": 0}, {"kind": "canned", "chars": True},
     {"kind": "canned", "completion_tokens": -1}],
)  # fmt: skip
def test_an_order_that_does_not_hold_is_refused_with_its_cure(reply: object) -> None:
    with pytest.raises(SettingsError, match=r"reply.*\(.+\)"):
        plan_of({"reply": reply})


def test_a_plan_with_a_canned_reply_survives_its_json() -> None:
    plan = plan_of({"reply": {"kind": "canned", "chars": 5}, "until_s": 2, "batch": "expired"})
    assert plan_of(plan.to_json()) == plan
    assert plan_of(plan_of({}).to_json()) == plan_of({})
