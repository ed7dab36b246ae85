"""Asking the endpoint over plain HTTP, without a client that retries, parses or hides headers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any

from personalake.llm.offline import CHAT_MODEL

QUESTION = [{"role": "user", "content": "What helps against moss on an old slate roof?"}]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Message
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def choice(self) -> Any:
        return self.body["choices"][0]


def post(url: str, body: object, headers: dict[str, str] | None = None, timeout: float = 10) -> Reply:
    """Post JSON and return the reply, whatever its status."""
    told = {"Content-Type": "application/json", "Authorization": "Bearer any", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), told)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return Reply(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers, error.read())


def ask(url: str, key: str = "", fault: object = None, timeout: float = 10, **changes: object) -> Reply:
    """Ask for a chat completion under the request id *key*; *fault* is the plan of this request alone."""
    headers = {"X-Client-Request-Id": key} if key else {}
    if fault is not None:
        headers["X-Fault"] = json.dumps(fault)
    body = {"model": CHAT_MODEL, "messages": QUESTION, **changes}
    return post(f"{url}/chat/completions", body, headers, timeout)


def admin(url: str, path: str, body: object = None) -> Any:
    """Read a page beside ``/v1``, or post *body* to it; an error's body comes back as well."""
    if body is not None:
        return post(url.removesuffix("v1") + path, body).body
    with urllib.request.urlopen(url.removesuffix("v1") + path, timeout=10) as response:
        return json.load(response)
