"""Faults on order, each once as a real client meets it, and the same ones again in a rerun."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from personalake.errors import SettingsError
from personalake.llm.offline import CHAT_MODEL, OfflineSettings, plan_of, serving
from personalake.llm.offline.faults import KINDS


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(OfflineSettings(flaws=0)) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=5) as made:
        yield made


def options(fault: dict[str, Any], changes: dict[str, object]) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What helps against moss on an old slate roof?"}]
    return {"model": CHAT_MODEL, "messages": messages, "extra_headers": {"X-Fault": json.dumps(fault)}, **changes}


def ask(client: openai.OpenAI, fault: dict[str, Any], **changes: object) -> ChatCompletion:
    reply = client.chat.completions.create(**options(fault, changes))
    assert isinstance(reply, ChatCompletion)
    return reply


def chunks(client: openai.OpenAI, fault: dict[str, Any], received: list[ChatCompletionChunk]) -> None:
    received.extend(client.chat.completions.create(**options(fault, {"stream": True})))


@pytest.mark.parametrize(
    ("style", "present", "absent"),
    [("retry-after", {"retry-after": "2"}, "retry-after-ms"), ("none", {}, "retry-after"),
     ("retry-after-ms", {"retry-after-ms": "1500"}, "")],
)  # fmt: skip
def test_a_rate_429_asks_to_wait_in_the_style_that_is_set(
    client: openai.OpenAI, style: str, present: dict[str, str], absent: str
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, {"kind": "429", "retry_style": style, "retry_after_s": 1.5})
    assert caught.value.code == "rate_limit_exceeded"
    assert present.items() <= dict(caught.value.response.headers).items()
    assert not absent or absent not in caught.value.response.headers


def test_a_spent_quota_is_a_429_of_another_code(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, {"kind": "quota"})
    assert caught.value.code == "insufficient_quota"


@pytest.mark.parametrize(("kind", "status"), [("500", 500), ("503", 503), ("html", 502)])
def test_server_errors_have_their_status(client: openai.OpenAI, kind: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, {"kind": kind})
    assert caught.value.status_code == status
    assert (caught.value.response.headers["content-type"] == "text/html") == (kind == "html")


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_broken_connection_is_a_connection_error(client: openai.OpenAI, kind: str) -> None:
    with pytest.raises(openai.APIConnectionError):
        ask(client, {"kind": kind})


def test_a_cut_stream_ends_before_done(client: openai.OpenAI) -> None:
    whole: list[ChatCompletionChunk] = []
    received: list[ChatCompletionChunk] = []
    chunks(client, {}, whole)
    with pytest.raises(openai.APIConnectionError):
        chunks(client, {"kind": "cut"}, received)
    assert 0 < len(received) < len(whole)


def test_garbage_is_a_200_that_no_json_reader_takes(client: openai.OpenAI) -> None:
    with pytest.raises((openai.APIError, ValueError)):
        ask(client, {"kind": "garbage"})


def test_a_hang_lasts_until_the_client_gives_up(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client, {"kind": "hang"}, timeout=0.2)


def test_a_refusal_has_null_content_and_says_so(client: openai.OpenAI) -> None:
    choice = ask(client, {"kind": "refusal"}).choices[0]
    assert choice.message.content is None
    assert choice.message.refusal
    assert choice.finish_reason == "stop"


def test_a_filtered_reply_has_no_message_key(client: openai.OpenAI) -> None:
    choice = ask(client, {"kind": "content_filter"}).choices[0]
    assert choice.finish_reason == "content_filter"
    assert not hasattr(choice, "message") or choice.message is None


def test_a_spent_token_budget_is_empty_content_with_length(client: openai.OpenAI) -> None:
    reply = ask(client, {"kind": "empty_length"}, max_tokens=40)
    assert reply.choices[0].message.content == ""
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 40


def test_faults_can_stop_after_the_first_attempts(client: openai.OpenAI) -> None:
    plan = {"kind": "500", "attempts": 1}
    with pytest.raises(openai.InternalServerError):
        ask(client, plan, user="once")
    assert ask(client, plan, user="once").choices


def test_a_plan_is_a_function_of_seed_request_and_attempt_at_about_its_rates() -> None:
    plan = plan_of({"seed": 4, "rates": {"429": 0.2, "500": 0.05}})
    drawn = [plan.fault(f"request {number}", attempt) for number in range(2_000) for attempt in (1, 2)]
    again = [plan.fault(f"request {number}", attempt) for number in range(2_000) for attempt in (1, 2)]
    assert drawn == again
    counts = Counter(drawn)
    assert counts["429"] / 4_000 == pytest.approx(0.2, abs=0.03)
    assert counts["500"] / 4_000 == pytest.approx(0.05, abs=0.02)
    other = plan_of({"seed": 5, "rates": {"429": 0.2, "500": 0.05}})
    assert drawn != [other.fault(f"request {number}", attempt) for number in range(2_000) for attempt in (1, 2)]


@pytest.mark.parametrize(
    "latency",
    [{"kind": "fixed", "ms": 80}, {"kind": "uniform", "low_ms": 60, "high_ms": 100},
     {"kind": "lognormal", "median_ms": 80, "sigma": 0.3}],
)  # fmt: skip
def test_latencies_centre_where_they_should(latency: dict[str, Any]) -> None:
    plan = plan_of({"latency": latency})
    waits = sorted(plan.wait_s(str(number), 1) for number in range(1_001))
    assert waits[500] == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize(
    "raw",
    ["{", "[]", {"rate": {}}, {"rates": {"428": 1}}, {"rates": {"429": 2}}, {"rates": {"429": 0.6, "500": 0.6}},
     {"latency": {"kind": "fixed"}}, {"latency": "long"}, {"attempts": -1}, {"retry_style": "soon"}],
)  # fmt: skip
def test_a_plan_that_does_not_hold_is_refused_with_its_cure(raw: object) -> None:
    with pytest.raises(SettingsError, match=r"\(.+\)"):
        plan_of(raw)


def test_the_plan_can_be_read_and_replaced_while_the_endpoint_runs(url: str, client: openai.OpenAI) -> None:
    def faults(body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(url.removesuffix("v1") + "faults", data=body, timeout=5) as response:
            return cast("dict[str, Any]", json.load(response))

    messages: list[Any] = [{"role": "user", "content": "plain"}]
    faults(json.dumps({"rates": {"503": 1}}).encode())
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=CHAT_MODEL, messages=messages)
    assert faults()["rates"] == {"503": 1}
    faults(b"{}")
    assert client.chat.completions.create(model=CHAT_MODEL, messages=messages).choices


def test_every_kind_of_fault_is_a_test_of_this_file() -> None:
    tried = {"429", "quota", "500", "503", "html", "reset", "cut", "garbage", "hang", "refusal", "content_filter"}
    assert set(KINDS) == tried | {"empty_length"}
