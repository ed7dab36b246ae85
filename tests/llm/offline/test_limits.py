"""Limits: enforced by the second or the minute, told in each provider's headers, changed while the endpoint runs."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from personalake.errors import SettingsError
from personalake.llm.offline import OfflineSettings
from personalake.llm.offline.limits import Limits
from personalake.llm.offline.refusals import RefusalError
from tests.llm.offline.asking import Reply, admin, ask

OPEN = {
    "rpm": 0, "tpm": 0, "limit_window": "second", "limit_headers": "openai", "limit_retry_style": "", "refund": False,
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(limits: Limits, attempts: int, tokens: int = 1) -> int:
    """How many of so many attempts at one moment pass."""
    passed = 0
    for _ in range(attempts):
        try:
            limits.admit(tokens)
        except RefusalError:
            continue
        passed += 1
    return passed


@pytest.fixture
def url(served: str) -> str:
    """The endpoint without any limit, and nothing used of one."""
    admin(served, "limits", {**OPEN, "limit_window": "minute"})
    admin(served, "limits", OPEN)
    return served


def second_of_two(url: str, **limits: object) -> Reply:
    """The reply to the second request of a minute that allows one."""
    admin(url, "limits", {"rpm": 1, "limit_window": "minute", **limits})
    assert ask(url).status == 200
    return ask(url)


def test_by_the_second_only_a_second_s_worth_passes_at_once() -> None:
    clock = Clock()
    limits = Limits(OfflineSettings(rpm=600), clock)
    assert admitted(limits, 50) == 10
    clock.now += 0.5
    assert admitted(limits, 50) == 5


def test_by_the_minute_all_may_pass_at_once_and_then_none_until_it_is_over() -> None:
    clock = Clock()
    limits = Limits(OfflineSettings(rpm=600, limit_window="minute"), clock)
    assert admitted(limits, 700) == 600
    clock.now += 59.9
    assert admitted(limits, 10) == 0
    clock.now += 0.1
    assert admitted(limits, 700) == 600


@pytest.mark.parametrize("window", ["second", "minute"])
def test_a_minute_of_steady_asking_is_worth_the_limit_by_either_window(window: str) -> None:
    clock = Clock()
    limits = Limits(OfflineSettings(tpm=60_000, limit_window=window), clock)
    passed = 0
    for _ in range(600):
        passed += admitted(limits, 30, tokens=50)
        clock.now += 0.1
    assert passed * 50 == pytest.approx(60_000, rel=0.03)


@pytest.mark.parametrize("window", ["second", "minute"])
def test_a_limit_that_is_halved_forgets_nothing_of_what_was_used(window: str) -> None:
    clock = Clock()
    limits = Limits(OfflineSettings(rpm=600, limit_window=window), clock)
    used = admitted(limits, 8)
    limits.change(OfflineSettings(rpm=300, limit_window=window))
    assert used == 8
    assert admitted(limits, 1_000) == (2 if window == "second" else 292)


@pytest.mark.parametrize(("refund", "passed"), [(False, 10), (True, 50)])
def test_reserved_tokens_come_back_only_where_they_are_refunded(refund: bool, passed: int) -> None:
    limits = Limits(OfflineSettings(tpm=1_000, limit_window="minute", refund=refund), Clock())
    count = 0
    for _ in range(50):
        count += admitted(limits, 1, tokens=100)
        limits.refund(90)
    assert count == passed


def test_unused_tokens_are_refunded_over_the_wire(url: str) -> None:
    admin(url, "limits", {"tpm": 3_000, "limit_window": "minute", "refund": True})
    replies = [ask(url, max_tokens=2_000) for _ in range(4)]
    assert [reply.status for reply in replies] == [200] * 4
    admin(url, "limits", {"refund": False})
    statuses = [ask(url, max_tokens=2_000).status for _ in range(2)]
    assert statuses[-1] == 429


def test_a_request_over_the_limit_itself_is_never_told_to_try_again(url: str) -> None:
    admin(url, "limits", {"tpm": 100})
    reply = ask(url, max_tokens=200)
    assert reply.status == 429
    assert "Request too large" in reply.body["error"]["message"]
    assert "retry-after" not in reply.headers


def test_openai_s_headers_tell_limit_rest_and_reset_on_every_reply(url: str) -> None:
    admin(url, "limits", {"rpm": 120, "tpm": 90_000, "limit_window": "minute"})
    headers = ask(url, max_tokens=500).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-limit-tokens"]) == ("120", "90000")
    assert headers["x-ratelimit-remaining-requests"] == "119"
    assert 89_000 < int(headers["x-ratelimit-remaining-tokens"]) < 90_000
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_openai_s_429_asks_to_wait_in_two_headers_and_in_words(url: str) -> None:
    refused = second_of_two(url)
    assert refused.body["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["retry-after-ms"]) <= 60_000
    assert "Please try again in" in refused.body["error"]["message"]


def test_azure_tells_what_remains_and_not_the_limit(url: str) -> None:
    reply = second_of_two(url, limit_headers="azure")
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-ratelimit-limit-requests" not in reply.headers
    assert reply.body["error"]["code"] == "RateLimitReached"
    assert {"retry-after", "retry-after-ms"} <= {name.lower() for name in reply.headers}


def test_openrouter_tells_of_a_limit_only_inside_the_error(url: str) -> None:
    reply = second_of_two(url, limit_headers="openrouter")
    assert not [name for name in reply.headers if "ratelimit" in name.lower() or "retry" in name.lower()]
    error = reply.body["error"]
    assert error["code"] == 429
    told = error["metadata"]["headers"]
    assert (told["X-RateLimit-Limit"], told["X-RateLimit-Remaining"]) == ("1", "0")
    assert int(told["X-RateLimit-Reset"]) > 1_600_000_000_000


def test_anthropic_s_headers_have_their_own_names(url: str) -> None:
    reply = second_of_two(url, limit_headers="anthropic")
    assert reply.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert reply.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert reply.body["error"]["type"] == "rate_limit_error"
    assert "retry-after" in reply.headers


def test_an_endpoint_may_tell_nothing_at_all(url: str) -> None:
    reply = second_of_two(url, limit_headers="none")
    assert not [name for name in reply.headers if "ratelimit" in name.lower() or "retry" in name.lower()]
    assert "try again" not in reply.body["error"]["message"]


@pytest.mark.parametrize(
    ("style", "told"),
    [("azure", {"retry-after": "1", "retry-after-ms": "0"}), ("huge", {"retry-after": "86400"}), ("body-only", {}),
     ("none", {})],
)  # fmt: skip
def test_a_limit_s_429_can_ask_to_wait_in_any_style(url: str, style: str, told: dict[str, str]) -> None:
    reply = second_of_two(url, limit_retry_style=style)
    assert {name.lower(): value for name, value in reply.headers.items() if name.lower().startswith("retry")} == told
    assert ("Please try again in" in reply.body["error"]["message"]) == (style != "none")


def test_a_429_may_name_a_date(url: str) -> None:
    reply = second_of_two(url, limit_retry_style="http-date")
    assert parsedate_to_datetime(reply.headers["retry-after"]) >= parsedate_to_datetime(reply.headers["Date"])


def test_limits_are_read_and_changed_one_by_one_while_the_endpoint_runs(url: str) -> None:
    changed = admin(url, "limits", {"rpm": 5, "limit_window": "minute"})
    assert (changed["rpm"], changed["tpm"], changed["limit_window"]) == (5, 0, "minute")
    assert admin(url, "limits", {"tpm": 7_000})["rpm"] == 5
    assert admin(url, "limits")["tpm"] == 7_000


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rpn": 1}, "did you mean 'rpm'"),
    ({"rpm": -1}, "rpm is -1"),
    ({"rpm": "many"}, "rpm is 'many'"),
    ({"limit_window": "hour"}, "unknown limit_window 'hour'"),
    ({"limit_window": ["minute"]}, "unknown limit_window"),
    ({"limit_headers": "opnai"}, "did you mean 'openai'"),
    ({"limit_retry_style": "soon"}, "unknown limit_retry_style"),
    ({"refund": 1}, "refund is 1"),
    ({"queue": -1}, "queue is -1"),
    ({"queue_full": "500"}, "unknown queue_full"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_a_limit_that_does_not_hold_is_refused_and_changes_nothing(
    url: str, changes: dict[str, Any], said: str
) -> None:
    before = admin(url, "limits")
    assert said in admin(url, "limits", {**changes, "tpm": 9})["error"]["message"]
    assert admin(url, "limits") == before
    with pytest.raises(SettingsError):
        OfflineSettings().with_limits(changes)
