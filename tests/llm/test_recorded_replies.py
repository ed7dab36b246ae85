"""What real endpoints once said, each beside what the engine has to make of it.

Kind and reason were gone through reply by reply; the texts themselves aren't part of the project.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, Usage, cure, of_response

PRICE = Price(input=1.0, cached_input=0.5, output=2.0, as_of="2026-01-01")
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "api_responses" / "recorded.jsonl.gz"

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="the recorded replies are not part of the project")

_EXPECTED: dict[tuple[Kind, str], str] = {
    # Text that can be used: replies, streams and text completions.
    (Kind.ANSWERED, ""): """
        045 057 059 060 063 064 066 068 069 072 075 077 078 080 082 084 086 088 089 093 094 096 098 101 107
        109 110 111 119 124 130 132 133 137 138 143 144 153 154 156 162 164 177 178 179 180 183 187 190 201
        203 204 223 225 231 238 239
    """,
    # A call where text was asked for; r117, r118 and r193 announce theirs in a sentence.
    (Kind.REJECT, "tool_call"): """
        099 100 117 118 120 122 123 125 126 127 129 134 135 140 141 142 151 160 161 174 182 184 191 192 193
        210 240
    """,
    # Cut at the token limit, with or without text; r173 says so in an error beside its finish_reason.
    (Kind.REJECT, "length"): "054 055 056 058 070 073 074 076 146 168 173 185 186 195 196 198 199 200 206 215 216 235",
    (Kind.REJECT, "http_400"): "013 036 090 175",
    # Four providers, four wordings.
    (Kind.REJECT, "too_long"): "079 102 115 150",
    (Kind.REJECT, "invalid_value"): "041 228 230",
    # A call that the model bungled; r232 breaks off its stream with it.
    (Kind.REJECT, "tool_use_failed"): "104 116 232",
    # No text, though nothing went wrong: sound instead (r091), nothing at all (r147).
    (Kind.REJECT, "empty_reply"): "091 147",
    (Kind.REJECT, "empty_array"): "032",
    (Kind.REJECT, "invalid_thread"): "037",
    (Kind.REJECT, "invalid_image_file"): "038",
    (Kind.REJECT, "invalid_image_url"): "052",
    (Kind.REJECT, "content_filter"): "106",
    (Kind.REJECT, "refusal"): "131",
    (Kind.REJECT, "unsupported_file"): "166",
    (Kind.RETRY, "unusable_reply"): "007 053",
    (Kind.RETRY, "rate_limited"): "062 103",
    (Kind.RETRY, "http_500"): "048",
    # Responses, embeddings, files, batches, models and addresses where nothing is.
    (Kind.STOP, "not_a_chat_endpoint"): """
        000 001 002 003 006 010 011 012 014 015 017 018 019 031 042 046 050 061 065 067 071 081 083 085 087
        097 105 108 112 113 114 128 139 145 148 149 152 157 158 159 163 165 167 170 171 172 181 188 189 194
        197 202 205 207 208 209 211 212 213 214 217 218 219 220 221 222 224 226 227 233 234 236 237
    """,
    (Kind.STOP, "wrong_key"): "004 009 016 021 024 026 040 121",
    (Kind.STOP, "unknown_model"): "008 022 027 030 034 047 176",
    (Kind.STOP, "invalid_value"): "020 023 029 051",
    (Kind.STOP, "unsupported_parameter"): "039 049",
    (Kind.STOP, "invalid_type"): "025",
    (Kind.STOP, "unknown_parameter"): "028",
    (Kind.STOP, "unsupported_value"): "043",
    (Kind.STOP, "decimal_below_min_value"): "044",
    (Kind.STOP, "invalid_function_parameters"): "092",
    (Kind.STOP, "missing_required_parameter"): "136",
    (Kind.STOP, "invalid_language_format"): "229",
}

_NOBODY_KNOWS = set(
    """
    000 001 002 003 007 012 015 017 019 031 042 046 050 053 061 065 071 081 083 085 087 097 112 128 139 157 167 202 214
    232 233
    """.split()
)
"""200s without any usage."""

_LENGTHS = {
    "132": (3, 0), "133": (3, 0), "137": (7, 0), "138": (7, 0), "153": (5, 0), "154": (5, 0), "156": (5, 0),
    "162": (35, 0), "173": (0, 42), "177": (6, 0), "179": (18, 0), "183": (8, 0), "185": (74, 0), "186": (81, 0),
    "187": (8, 0), "193": (28, 0), "195": (39, 0), "196": (50, 0), "198": (76, 0), "199": (77, 0), "200": (90, 0),
    "201": (34, 0), "204": (95, 0), "210": (0, 92), "223": (32, 105), "225": (57, 176), "231": (5, 0),
    "232": (0, 361), "235": (529, 0), "239": (563, 0), "240": (0, 727),
}  # fmt: skip
"""The characters of text and of reasoning that each stream's deltas add up to."""

_USAGES = {
    "082": Usage(7, 1, 0, 0, 9),  # 163 cached of 7: they are the host's own preamble
    "093": Usage(97, 17, 15, 0, 131),
    "100": Usage(64, 6, 0, 0, 76),
    "130": Usage(687, 240, 165, 682, 826),
    "132": Usage(),  # a stream without usage
    "140": Usage(343, 58, 0, 256, 331),
    "154": Usage(18, 10, 0, 0, 38),  # in a last event without choices
    "173": Usage(43, 10, 11, 0, 63),
    "179": Usage(12, 8, 0, 0, 28),  # repeated in each event, and growing
    "203": Usage(1144, 2, 0, 1024, 636),
    "204": Usage(12, 24, 0, 0, 60),  # in x_groq
    "206": Usage(1220, 100, 100, 0, 1420),
    "231": Usage(8, 5, 0, 0, 18),
}


def _recorded() -> dict[str, dict[str, Any]]:
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        replies = [json.loads(line) for line in lines]
    return {reply["id"].removeprefix("r"): reply for reply in replies}


def _outcome(recorded: dict[str, Any]) -> Outcome:
    response = recorded["response"]
    headers = {name.lower(): str(value) for name, value in response["headers"].items()}
    return of_response(response["status"], headers, response["body"].encode(), PRICE)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {name: _outcome(recorded) for name, recorded in _recorded().items()}


def test_every_recorded_reply_comes_to_the_outcome_that_the_table_gives(outcomes: dict[str, Outcome]) -> None:
    expected = {name: said for said, names in _EXPECTED.items() for name in names.split()}
    assert len(expected) == sum(len(names.split()) for names in _EXPECTED.values()) == 235
    assert {name: (outcome.kind, outcome.reason) for name, outcome in outcomes.items()} == expected


def test_only_a_200_without_usage_leaves_open_whether_it_was_billed(outcomes: dict[str, Outcome]) -> None:
    assert {name for name, outcome in outcomes.items() if outcome.unknown} == _NOBODY_KNOWS


def test_a_stream_is_put_together_to_its_last_character(outcomes: dict[str, Outcome]) -> None:
    told = {name: (len(outcomes[name].reply or ""), len(outcomes[name].reasoning or "")) for name in _LENGTHS}
    assert told == _LENGTHS


def test_tokens_are_counted_wherever_an_endpoint_puts_them(outcomes: dict[str, Outcome]) -> None:
    assert {name: outcomes[name].usage for name in _USAGES} == _USAGES


def test_what_is_counted_adds_up_to_the_total_that_the_endpoint_gives(outcomes: dict[str, Outcome]) -> None:
    seen = 0
    for name, recorded in _recorded().items():
        body = recorded["response"]["body"]
        if recorded["request"]["path"].endswith("/chat/completions") and body.startswith("{"):
            total = (json.loads(body).get("usage") or {}).get("total_tokens", 0)
            assert outcomes[name].usage.prompt + outcomes[name].usage.completion == total, name
            seen += total > 0
    assert seen > 60


def test_only_the_two_rate_limits_push_back_and_only_one_says_for_how_long(outcomes: dict[str, Outcome]) -> None:
    assert {name for name, outcome in outcomes.items() if outcome.rate_limited} == {"062", "103"}
    # 1 s beside 0 ms: they contradict each other, and the longer one is the safer.
    assert {name: o.retry_after_s for name, o in outcomes.items() if o.retry_after_s is not None} == {"103": 1.0}


def test_an_answer_has_text_and_everything_else_a_reason(outcomes: dict[str, Outcome]) -> None:
    for name, outcome in outcomes.items():
        assert bool(outcome.reason) is (outcome.kind is not Kind.ANSWERED), name
        assert outcome.reply or outcome.kind is not Kind.ANSWERED, name
        assert cure(outcome.reason), name


def test_a_body_that_is_no_error_is_never_quoted(outcomes: dict[str, Outcome]) -> None:
    quoted = {
        name for name, outcome in outcomes.items() if outcome.reason == "unusable_reply" and "{" in outcome.detail
    }
    assert quoted == set()
