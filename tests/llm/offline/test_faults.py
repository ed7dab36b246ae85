"""Faults on order, each once as a real client meets it, and the same ones again in a rerun."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from personalake.errors import SettingsError
from personalake.llm.offline import CHAT_MODEL, OfflineSettings, plan_of, serving
from personalake.llm.offline.faults import KINDS
from personalake.llm.structured import Checker
from tests.llm.offline.asking import admin

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["topic", "score"],
    "properties": {"topic": {"type": "string"}, "score": {"type": "integer", "minimum": 0, "maximum": 9}},
}


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
     ("retry-after-ms", {"retry-after-ms": "1500"}, "retry-after"),
     ("both", {"retry-after": "2", "retry-after-ms": "1500"}, ""), ("body-only", {}, "retry-after"),
     ("azure", {"retry-after": "1", "retry-after-ms": "0"}, ""), ("huge", {"retry-after": "86400"}, "retry-after-ms")],
)  # fmt: skip
def test_a_rate_429_asks_to_wait_in_the_style_that_is_set(
    client: openai.OpenAI, style: str, present: dict[str, str], absent: str
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, {"kind": "429", "retry_style": style, "retry_after_s": 1.5})
    assert caught.value.code == "rate_limit_exceeded"
    assert present.items() <= dict(caught.value.response.headers).items()
    assert not absent or absent not in caught.value.response.headers
    assert ("Please try again in 1.5s" in str(caught.value)) == (style == "body-only")


def test_a_429_may_name_a_date(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, {"kind": "429", "retry_style": "http-date", "retry_after_s": 90})
    headers = caught.value.response.headers
    waits = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    assert 90 <= waits.total_seconds() <= 92


def test_a_spent_quota_is_a_429_of_another_code(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, {"kind": "quota"})
    assert caught.value.code == "insufficient_quota"


@pytest.mark.parametrize(("kind", "status"), [("500", 500), ("503", 503), ("529", 529), ("html", 502)])
def test_server_errors_have_their_status(client: openai.OpenAI, kind: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, {"kind": kind})
    assert caught.value.status_code == status
    assert (caught.value.response.headers["content-type"] == "text/html") == (kind == "html")


def test_a_firewall_refuses_the_same_rows_at_each_attempt(client: openai.OpenAI) -> None:
    plan = plan_of({"rates": {"firewall": 0.3}})
    drawn = [[plan.fault(f"request {number}", attempt) for number in range(300)] for attempt in (1, 2)]
    assert drawn[0] == drawn[1]
    assert 60 < drawn[0].count("firewall") < 120
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, {"kind": "firewall"})
    assert caught.value.response.headers["content-type"] == "text/html"


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


def test_a_slow_body_sends_its_headers_first_and_all_of_itself_in_the_end(client: openai.OpenAI) -> None:
    fault = {"X-Fault": json.dumps({"kind": "slow_body", "slow_ms": 30})}
    messages: list[Any] = options({}, {})["messages"]
    create = client.chat.completions.with_streaming_response.create
    with create(model=CHAT_MODEL, messages=messages, extra_headers=fault) as response:
        assert int(response.headers["content-length"]) > 100
        pieces = list(response.iter_bytes())
    assert len(pieces) > 1
    assert json.loads(b"".join(pieces))["choices"]
    assert response.headers["x-request-id"].startswith("req_")


def test_a_slow_stream_is_the_same_stream(client: openai.OpenAI) -> None:
    quick: list[ChatCompletionChunk] = []
    slow: list[ChatCompletionChunk] = []
    chunks(client, {}, quick)
    chunks(client, {"kind": "slow_body", "slow_ms": 20}, slow)
    assert [chunk.choices for chunk in slow] == [chunk.choices for chunk in quick]


def test_a_big_body_is_json_of_the_size_that_was_ordered(client: openai.OpenAI) -> None:
    fault = {"X-Fault": json.dumps({"kind": "big_body", "big_mb": 2.5})}
    messages: list[Any] = options({}, {})["messages"]
    raw = client.chat.completions.with_raw_response.create(
        model=CHAT_MODEL, messages=messages, extra_headers=fault
    ).content
    assert len(raw) == 2_500_000
    assert set(json.loads(raw)) > {"choices", "usage", "padding"}


def test_an_error_may_come_as_a_200_with_an_integer_code(client: openai.OpenAI) -> None:
    body = ask(client, {"kind": "error_in_200"}).model_dump()
    assert body["choices"] is None
    assert type(body["error"]["code"]) is int


def test_a_wrong_key_may_be_a_400_whose_error_is_a_string(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"kind": "wrong_key_400"})
    assert caught.value.response.json()["error"].startswith("Incorrect API key")


def test_a_tool_may_be_called_that_nobody_offered(client: openai.OpenAI) -> None:
    choice = ask(client, {"kind": "tool_call"}).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls
    received: list[ChatCompletionChunk] = []
    chunks(client, {"kind": "tool_call"}, received)
    assert any(chunk.choices[0].delta.tool_calls for chunk in received)


def said(client: openai.OpenAI, fault: dict[str, Any], key: str, **changes: object) -> str:
    shape = {"type": "json_schema", "json_schema": {"name": "any", "strict": True, "schema": SCHEMA}}
    headers = {"X-Client-Request-Id": key, "X-Fault": json.dumps(fault)}
    return str(ask(client, fault, response_format=shape, extra_headers=headers, **changes).choices[0].message.content)


def test_invalid_json_is_prose_broken_or_of_another_schema_and_never_fits(client: openai.OpenAI) -> None:
    checker = Checker(SCHEMA)
    wrong = [checker.wrong(said(client, {"kind": "invalid_json", "seed": seed}, "k")) for seed in range(12)]
    assert {problem and problem[0] for problem in wrong} == {"invalid_json", "invalid_schema"}
    again = [checker.wrong(said(client, {"kind": "invalid_json", "seed": 3}, f"again{n}")) for n in range(9)]
    assert None not in again


def test_a_repair_is_the_next_attempt_and_answers_the_first_question(url: str, client: openai.OpenAI) -> None:
    checker = Checker(SCHEMA)
    fault = {"kind": "invalid_json", "attempts": 1}
    key, body = "repaired", options(fault, {})
    bad = said(client, fault, key)
    problem = checker.wrong(bad)
    assert problem is not None
    repair = json.loads(checker.repaired(json.dumps({"messages": body["messages"]}), bad, problem[1]))
    good = said(client, fault, key, messages=repair["messages"])
    assert checker.wrong(good) is None
    assert {"moss", "slate", "roof"} & set(re.findall(r"\w+", good))
    ledger = admin(url, "ledger")
    assert ledger["by_client_request_id"][key] == 2
    assert ledger["repairs"] == 1


@pytest.mark.parametrize(
    ("span", "elapsed", "meets"),
    [({}, 99.0, True), ({"until_s": 3}, 2.9, True), ({"until_s": 3}, 3.0, False), ({"from_s": 3}, 2.9, False),
     ({"from_s": 3, "until_s": 5}, 4.0, True), ({"until_s": 0}, 0.0, False)],
)  # fmt: skip
def test_faults_can_be_confined_to_a_span_of_time(span: dict[str, float], elapsed: float, meets: bool) -> None:
    assert plan_of({"kind": "reset", **span}).fault("k", 1, elapsed) == ("reset" if meets else None)


def test_an_endpoint_can_be_down_and_come_back(url: str, client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "plain"}]
    admin(url, "faults", {"kind": "reset", "until_s": 600})
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model=CHAT_MODEL, messages=messages)
    admin(url, "faults", {"kind": "reset", "until_s": 0})
    assert client.chat.completions.create(model=CHAT_MODEL, messages=messages).choices
    admin(url, "faults", {})


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
     {"latency": {"kind": "fixed"}}, {"latency": "long"}, {"attempts": -1}, {"retry_style": "soon"},
     {"from_s": -1}, {"until_s": "later"}, {"slow_ms": True}, {"big_mb": -1}, {"batch": "lost"}, {"batch": 3}],
)  # fmt: skip
def test_a_plan_that_does_not_hold_is_refused_with_its_cure(raw: object) -> None:
    with pytest.raises(SettingsError, match=r"\(.+\)"):
        plan_of(raw)


def test_the_plan_can_be_read_and_replaced_while_the_endpoint_runs(url: str, client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "plain"}]
    admin(url, "faults", {"rates": {"503": 1}})
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=CHAT_MODEL, messages=messages)
    assert admin(url, "faults")["rates"] == {"503": 1}
    admin(url, "faults", {})
    assert client.chat.completions.create(model=CHAT_MODEL, messages=messages).choices


def test_every_kind_of_fault_is_a_test_of_this_file() -> None:
    source = Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []
