"""Chat completions over real HTTP: shapes, streaming, determinism, the ledger."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any, cast

import openai
import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion

from personalake.llm.offline import CANNED_MODEL, CHAT_MODEL, EMBEDDING_MODEL, OfflineSettings, serving

QUESTION: list[Any] = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": "How do I keep bees alive through a long winter in a wooden hive?"},
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(OfflineSettings(flaws=0)) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as made:
        yield made


def options(request_id: str, changes: dict[str, object]) -> dict[str, Any]:
    headers = {"X-Client-Request-Id": request_id} if request_id else {}
    return {"model": CHAT_MODEL, "messages": QUESTION, "extra_headers": headers, **changes}


def ask(client: openai.OpenAI, request_id: str = "", **changes: object) -> ChatCompletion:
    reply = client.chat.completions.create(**options(request_id, changes))
    assert isinstance(reply, ChatCompletion)
    return reply


def text_of(reply: ChatCompletion, index: int = 0) -> str:
    text = reply.choices[index].message.content
    assert text is not None
    return text


def usage_of(reply: ChatCompletion) -> CompletionUsage:
    assert reply.usage is not None
    return reply.usage


def admin(url: str, path: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url.removesuffix("v1") + path, data=data, timeout=10) as response:
        return cast("dict[str, Any]", json.load(response))


def test_an_answer_has_text_usage_and_fingerprint_as_the_sdk_reads_them(client: openai.OpenAI) -> None:
    reply = ask(client)
    text = text_of(reply)
    assert 60 <= len(text.split()) <= 200
    assert "hive" in text or "winter" in text or "bees" in text
    assert reply.choices[0].finish_reason == "stop"
    usage = usage_of(reply)
    assert usage.completion_tokens == -(-len(text.encode()) // 4)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert str(reply.system_fingerprint).startswith("fp_offline_")
    assert str(reply._request_id).startswith("req_")


def test_the_same_request_and_request_id_bring_the_same_reply_and_another_id_another(client: openai.OpenAI) -> None:
    first, again, other = ask(client, "k1"), ask(client, "k1"), ask(client, "k2")
    assert first.choices == again.choices
    assert first.id == again.id
    assert first._request_id != again._request_id
    assert text_of(first) != text_of(other)


def test_several_choices_differ_and_all_are_billed(client: openai.OpenAI) -> None:
    reply = ask(client, n=3)
    texts = [text_of(reply, index) for index in range(3)]
    assert len(set(texts)) == 3
    assert usage_of(reply).completion_tokens == sum(-(-len(text.encode()) // 4) for text in texts)


def test_max_tokens_cuts_the_reply_with_finish_reason_length(client: openai.OpenAI) -> None:
    whole, short = ask(client, "cut"), ask(client, "cut", max_tokens=10)
    assert short.choices[0].finish_reason == "length"
    assert usage_of(short).completion_tokens == 10
    assert text_of(whole).startswith(text_of(short))


def test_a_stop_sequence_ends_the_reply_before_it(client: openai.OpenAI) -> None:
    assert "2." not in text_of(ask(client, stop=["2."]))


def test_a_stream_joins_to_the_whole_reply_and_ends_with_usage(client: openai.OpenAI) -> None:
    whole = ask(client, "s")
    asked = options("s", {"stream": True, "stream_options": {"include_usage": True}})
    chunks = list(client.chat.completions.create(**asked))
    joined = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert joined == text_of(whole)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert len(chunks) > 5


def test_a_json_object_reply_is_one(client: openai.OpenAI) -> None:
    messages = [*QUESTION, {"role": "user", "content": "Answer in JSON, please."}]
    reply = ask(client, messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(text_of(reply)), dict)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "score", "count", "items", "tree", "note"],
    "properties": {
        "kind": {"type": "string", "enum": ["red", "green"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25},
        "count": {"type": "integer", "minimum": 3, "maximum": 5},
        "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        "tree": {"$ref": "#/$defs/node"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {
        "node": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "next"],
            "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        }
    },
}


def test_any_strict_schema_is_filled_within_its_bounds(client: openai.OpenAI) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "any", "strict": True, "schema": SCHEMA}}
    for number in range(8):
        found = json.loads(text_of(ask(client, f"f{number}", response_format=shape)))
        assert set(found) == set(SCHEMA["required"])
        assert found["kind"] in ("red", "green")
        assert found["score"] in (0, 0.25, 0.5, 0.75, 1)
        assert found["count"] in (3, 4, 5)
        assert len(found["items"]) == 2
        node = found["tree"]
        while node is not None:
            assert set(node) == {"name", "next"}
            node = node["next"]


def test_lone_surrogates_in_a_message_are_answered(url: str) -> None:
    body = '{"model": "offline-rules", "messages": [{"role": "user", "content": "odd \\ud800 words"}]}'
    request = urllib.request.Request(
        f"{url}/chat/completions", body.encode(), {"Authorization": "Bearer k", "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert json.load(response)["choices"][0]["message"]["content"]


def test_models_are_listed_and_shown(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [CHAT_MODEL, CANNED_MODEL, EMBEDDING_MODEL]
    assert client.models.retrieve(CHAT_MODEL).owned_by == "personalake"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("gpt-unknown")


def test_the_ledger_counts_what_arrived_by_request_id_with_tokens_and_cost(client: openai.OpenAI, url: str) -> None:
    admin(url, "ledger/reset", {})
    replies = [ask(client, "a"), ask(client, "a"), ask(client, "b")]
    with pytest.raises(openai.BadRequestError):
        ask(client, "c", temperature=9)
    ledger = admin(url, "ledger")
    assert ledger["by_client_request_id"] == {"a": 2, "b": 1, "c": 1}
    assert ledger["statuses"] == {"200": 3, "400": 1}
    assert (ledger["requests"], ledger["max_per_request"], ledger["answered_again"]) == (4, 2, 1)
    prompt = sum(usage_of(reply).prompt_tokens for reply in replies)
    completion = sum(usage_of(reply).completion_tokens for reply in replies)
    assert ledger["tokens"]["total_tokens"] == prompt + completion
    assert ledger["cost_usd"] == pytest.approx((prompt * 0.15 + completion * 0.60) / 1e6)
    assert sum(ledger["over_time"]["requests"]) == 4
    assert "by_client_request_id" not in admin(url, "ledger?ids=0")


def test_the_ledger_sees_how_many_requests_were_in_flight_at_once(url: str) -> None:
    admin(url, "ledger/reset", {})

    async def burst() -> None:
        headers = {"X-Fault": '{"latency": 150}'}
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION, extra_headers=headers)
                for _ in range(12)
            ]
            await asyncio.gather(*calls)

    asyncio.run(burst())
    assert 2 <= admin(url, "ledger")["max_in_flight"] <= 12
    assert admin(url, "health")["in_flight"] == 0
