from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, Usage, cure, of_response
from tests.llm.reply_shapes import OF_EVERY_ROW, PAGE, SHAPES, delta, error, events, raw, reply

PRICE = Price(input=1.0, cached_input=0.5, output=2.0, as_of="2026-01-01")


@pytest.mark.parametrize(("status", "body", "kind", "reason"), SHAPES)
def test_each_shape_of_reply_comes_to_its_outcome(status: int, body: bytes, kind: Kind, reason: str) -> None:
    outcome = of_response(status, {}, body, PRICE)
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_a_reply_is_answered_with_its_text_its_usage_and_its_price() -> None:
    details = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    body = reply({"content": "hello"}, usage=details, system_fingerprint="fp")
    outcome = of_response(200, {"x-request-id": "r1"}, body, PRICE)
    assert outcome.kind is Kind.ANSWERED
    assert (outcome.reply, outcome.model, outcome.fingerprint, outcome.request_id) == ("hello", "m-1", "fp", "r1")
    assert outcome.usage == Usage(prompt=100, completion=50, reasoning=20, cached=60, microusd=40 + 30 + 100)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "42", "reasoning_content": "because"},
        {"content": "42", "reasoning": "because"},
        {"content": "<think>\nbecause\n</think>\n\n42"},
        {"content": "because\n</think>\n\n42"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "because"}]}, "42"]},
        {"content": [{"type": "thinking", "thinking": "because"}, {"type": "text", "text": "42"}]},
    ],
)
def test_reasoning_is_kept_apart_from_the_reply(message: dict[str, Any]) -> None:
    outcome = of_response(200, {}, reply(message), None)
    assert (outcome.reply, outcome.reasoning) == ("42", "because")


def test_a_reply_that_speaks_of_the_marks_of_reasoning_stays_whole() -> None:
    text = "Put it between <think> and </think>."
    outcome = of_response(200, {}, reply({"content": text}), None)
    assert (outcome.reply, outcome.reasoning) == (text, None)


def test_a_stream_is_read_like_the_reply_that_it_carries() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    stream = events(
        {**delta(role="assistant", content="", reasoning="be"), "model": "m-1"},
        delta(reasoning="cause"),
        delta(content="4\u2028"),
        {"choices": [{"index": 1, "delta": {"content": "another"}}]},
        delta(content=[{"type": "text", "text": "2"}]),
        delta("stop"),
        {"choices": [], "usage": usage},
    )
    whole = reply({"content": "4\u20282", "reasoning": "because"})
    assert of_response(200, {}, stream, PRICE) == of_response(200, {}, whole, PRICE)
    assert of_response(200, {}, stream.replace(b"\n", b"\r\n"), PRICE) == of_response(200, {}, whole, PRICE)
    assert of_response(200, {}, stream.replace(b"\n\n", b"\n"), PRICE) == of_response(200, {}, whole, PRICE)


def test_a_refused_reply_keeps_what_it_cost() -> None:
    outcome = of_response(200, {}, reply({"content": "cut"}, "length"), PRICE)
    assert outcome.usage.microusd == 18
    assert outcome.reply == "cut"


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, Usage(5, 2, 0, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17}, Usage(5, 12, 10)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 6}, Usage(5, 2)),
        ({"input_tokens": 5, "output_tokens": 2}, Usage(5, 2)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5)),
        ({"prompt_tokens": "12", "completion_tokens": -3, "prompt_tokens_details": []}, Usage()),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf"), "total_tokens": 1e300}, Usage()),
        ({"prompt_tokens": 10**30, "completion_tokens": None}, Usage()),
        ([7], Usage()),
    ],
)
def test_tokens_are_counted_where_they_are_numbers_of_tokens(usage: Any, counted: Usage) -> None:
    assert of_response(200, {}, reply({"content": "x"}, usage=usage), None).usage == counted


def test_groqs_streams_give_their_usage_in_a_place_of_their_own() -> None:
    last = {**delta("stop", content="x"), "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}}
    assert of_response(200, {}, events(last), None).usage == Usage(5, 2)


@pytest.mark.parametrize(
    ("status", "body", "unknown"),
    [
        (200, PAGE, True),
        (200, reply({"content": "whole"})[:-9], True),
        (200, events(delta(content="a ")), True),
        (200, error("away", code=502), True),
        (200, raw({"error": {"message": "away"}, "usage": {"prompt_tokens": 0, "completion_tokens": 0}}), False),
        (200, reply({"content": "half"}, "error"), False),
        (200, reply({"content": "half"}, "error", usage=None), True),
        (200, reply({"content": "whole"}, usage=None), False),
        (200, reply({"content": "whole"}, "length", usage=None), False),
        (504, PAGE, True),
        (500, b"", False),
        (429, b"", False),
    ],
)
def test_a_send_is_of_unknown_cost_where_nothing_tells_whether_it_was_billed(
    status: int, body: bytes, *, unknown: bool
) -> None:
    assert of_response(status, {}, body, PRICE).unknown is unknown


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "1", "retry-after-ms": "20"}, 0.02),
        ({"retry-after": "1", "retry-after-ms": "0"}, 1.0),
        ({"retry-after": "60", "retry-after-ms": "500"}, 60.0),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 01 Jan 2025 00:01:30 GMT", "date": "Wed, 01 Jan 2025 00:01:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 01 Jan 2025 00:01:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Jan 2025"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan", "retry-after-ms": "inf"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_the_endpoint_says_how_long_to_wait_in_several_ways(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert of_response(status, headers, b"{}", None).retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "body", "rate_limited", "overloaded"),
    [
        (429, b"", True, False),
        (429, error("the engine is overloaded", type="engine_overloaded_error"), True, True),
        (200, error("later", code=429), True, False),
        (429, error("spent", code="insufficient_quota"), False, False),
        (429, error("Request too large ... tokens per min"), False, False),
        (503, b"", False, True),
        (529, b"", False, True),
        (500, error("oops"), False, False),
        (500, error("over capacity"), False, True),
        (502, PAGE, False, False),
        (200, error("busy", type="overloaded_error"), False, True),
        (200, reply({"content": "a"}, "insufficient_system_resource"), False, True),
    ],
)
def test_too_much_of_ours_and_too_much_of_everybodys_are_told_apart(
    status: int, body: bytes, *, rate_limited: bool, overloaded: bool
) -> None:
    outcome = of_response(status, {}, body, None)
    assert (outcome.rate_limited, outcome.overloaded) == (rate_limited, overloaded)


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect key provided: sk-abcd****wxyz.",
        "Incorrect API key provided: abcd****wxyz.",
        "Bearer abcdefghijkl is not known",
        "xai-abcdefgh is not known",
        "gsk_abcdefgh is not known",
        "nvapi-abcdefgh is not known",
        "key-abcdefgh is not known",
    ],
)
def test_what_the_endpoint_says_is_one_short_line_without_a_key(said: str) -> None:
    outcome = of_response(401, {}, error(f"{said}\nSee " + "x" * 900), None)
    assert "\n" not in outcome.detail
    assert "abcd" not in outcome.detail
    assert len(outcome.detail) <= 500


def test_neither_prompt_nor_reply_is_repeated() -> None:
    complaint = {"loc": ["body", "seed"], "msg": "not allowed", "type": "extra_forbidden", "input": "a secret"}
    assert of_response(422, {}, raw({"detail": [complaint]}), None).detail == "seed: not allowed"
    assert "secret" not in of_response(200, {}, b'{"choices": [{"message": {"content": "a secret', None).detail


def test_a_page_is_told_by_its_title_and_a_gateway_by_what_it_was_told() -> None:
    assert of_response(502, {}, PAGE, None).detail == "a web page: Bad gateway"
    passed_on = error("Provider returned error", code=400, metadata={"raw": "the prompt is too long"})
    outcome = of_response(400, {}, passed_on, None)
    assert (outcome.reason, outcome.detail) == ("too_long", "Provider returned error: the prompt is too long")


def test_half_a_surrogate_pair_comes_out_as_text_that_can_be_stored() -> None:
    outcome = of_response(200, {}, b'{"choices": [{"message": {"content": "a\\ud83d"}}], "model": "\\udc00"}', None)
    assert (outcome.reply, outcome.model) == ("a?", "?")


def test_each_reason_that_stops_a_run_comes_with_what_to_do() -> None:
    own = {"wrong_key", "forbidden", "proxy_login", "unknown_model", "not_a_chat_endpoint", "invalid_json_schema"}
    told = {reason: cure(reason) for *_, reason in OF_EVERY_ROW}
    assert own <= set(told)
    assert len({told[reason] for reason in own}) == len(own)
    assert {told[reason] for reason in set(told) - own} == {cure("unsupported_parameter")}


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["stop", "length", "error", "<think>", "</think>", "invalid_value", "messages[0]", "429", 429, 200]
    )
)
_KEYS = (
    "choices message content text delta finish_reason refusal reasoning tool_calls type thinking usage prompt_tokens "
    "completion_tokens total_tokens prompt_tokens_details cached_tokens x_groq model system_fingerprint error errors "
    "code status param detail msg loc metadata raw innererror object response index"
).split()
_BODIES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5),
    max_leaves=25,
)
_HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "date", "content-type"]), st.text(max_size=9)
)


def _holds(outcome: Outcome) -> None:
    assert isinstance(outcome, Outcome)
    assert bool(outcome.reason) is (outcome.kind is not Kind.ANSWERED)
    assert outcome.kind is not Kind.ANSWERED or (isinstance(outcome.reply, str) and outcome.reply.strip())
    for text in (outcome.reply, outcome.reasoning, outcome.finish_reason, outcome.model, outcome.detail):
        assert text is None or isinstance(text.encode(), bytes)
    assert 0 <= outcome.usage.microusd < 2**63
    assert outcome.retry_after_s is None or 0 <= outcome.retry_after_s < float("inf")


@given(status=st.integers(100, 599), headers=_HEADERS, content=st.binary(max_size=200))
def test_any_bytes_come_to_an_outcome(status: int, headers: dict[str, str], content: bytes) -> None:
    _holds(of_response(status, headers, content, PRICE))


@given(status=st.sampled_from([200, 400, 404, 422, 429, 500]), body=_BODIES, wrap=st.integers(0, 3))
def test_any_json_comes_to_an_outcome_streamed_or_not(status: int, body: Any, wrap: int) -> None:
    if wrap == 1:
        body = {"choices": [body]}
    elif wrap > 1:
        body = {"choices": [{"message" if wrap == 2 else "delta": body, "finish_reason": "stop"}]}
    text = json.dumps(body).encode()
    _holds(of_response(status, {}, text, PRICE))
    _holds(of_response(status, {}, b"data: " + text + b"\n\n" + b"data: " + text, PRICE))
