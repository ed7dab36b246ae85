"""The wire to a provider's batch desk: one call, tried once or again as far as that is safe, and what failed."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from personalake.api_key import resolve_api_key
from personalake.errors import DeferredError, PersonalakeError, StopRunError
from personalake.llm.client import Endpoint
from personalake.llm.outcome import Kind, cure, of_response

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")

_BACKOFF_S, _BACKOFF_MOST_S, _WAIT_MOST_S = 0.5, 30.0, 120.0
_PAGE = 100


@dataclass(eq=False)
class CallError(Exception):
    """A call that brought nothing: what kind of failure it is, and whether the provider may have acted on it."""

    kind: Kind
    reason: str
    detail: str
    status: int | None = None
    retry_after_s: float = 0.0
    sent: bool = True

    @property
    def retryable(self) -> bool:
        """Whether the same call may work soon."""
        return self.kind is Kind.RETRY and self.retry_after_s <= _WAIT_MOST_S

    @property
    def uncertain(self) -> bool:
        """Whether what was asked for may have been done all the same: a 429 says no, silence says nothing."""
        return self.kind is Kind.RETRY and self.sent and self.status != HTTPStatus.TOO_MANY_REQUESTS

    def told(self, doing: str, where: str) -> PersonalakeError:
        """The error for a person: what can't be done until something is changed, or what has to wait."""
        status = f"HTTP {self.status}: " if self.status else ""
        what = f"{doing}: {status}{self.detail or self.reason}"
        if self.kind in (Kind.STOP, Kind.REJECT):
            return StopRunError(what, where=where, cure=self._cure())
        return DeferredError(what, where=where, cure="run again later: batches that were handed in are kept")

    def _cure(self) -> str:
        if self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return cure(self.reason)
        if self.status == HTTPStatus.NOT_FOUND:
            return "it seems to have no Batch API: leave llm.transport=batch out"
        if "too large" in self.detail.lower():
            return "set a smaller llm.batch_rows"
        return "nothing of it was run or paid; what the provider names has to be changed first"


class Wire:
    """The provider's files and batches through one `OpenAI` client, whose own retries are off.

    *pause* is what waits between two tries.
    """

    def __init__(self, endpoint: Endpoint, attempts: int, pause: Callable[[float], None]) -> None:
        self.base_url = endpoint.base_url
        self.attempts, self._pause = attempts, pause
        self._sdk = _open(endpoint)

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def once(self, method: str, path: str, needs: str = "", **options: Any) -> dict[str, Any]:  # noqa: ANN401 (the SDK's)
        """One call, tried once, whose reply has the field *needs*; raises :class:`CallError`."""
        import httpx2  # noqa: PLC0415 (as in client.py)

        send: Any = {"GET": self._sdk.get, "POST": self._sdk.post, "DELETE": self._sdk.delete}[method]
        return _object(_caught(lambda: send(path, cast_to=httpx2.Response, **options)), needs)

    def get(self, path: str, needs: str = "", **params: object) -> dict[str, Any]:
        """What is at *path*, tried again while that may help."""
        return self.again(lambda: self.once("GET", path, needs, options={"params": params}))

    def pages(self, path: str, **params: object) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, each a list of objects."""
        after: dict[str, object] = {}
        while True:
            told = self.get(path, "data", limit=_PAGE, **params, **after)
            rows = [row for row in told["data"] if isinstance(row, dict) and row.get("id")]
            yield rows
            last = rows[-1]["id"] if rows else None
            if not told.get("has_more") or last is None or after == {"after": last}:
                return
            after = {"after": last}

    def upload(self, path: Path, name: str) -> str:
        """Upload the file at *path* as *name*; returns its id. A try that failed late leaves a file of that name."""

        def send() -> Any:  # noqa: ANN401 (httpx2's Response)
            with path.open("rb") as stream:
                file = (name, stream, "application/jsonl")
                return self._sdk.files.with_raw_response.create(file=file, purpose="batch").http_response

        return str(self.again(lambda: _object(_caught(send), "id"))["id"])

    def download(self, file_id: str, to: Path) -> None:
        """Stream the content of a file to *to*."""

        def fetch() -> None:
            with self._sdk.files.with_streaming_response.content(file_id) as response:
                response.stream_to_file(to)

        self.again(lambda: _caught(fetch))

    def again(self, attempt: Callable[[], T]) -> T:
        """Try until it works, until trying again can't help, or as often as is allowed; raises :class:`CallError`."""
        for number in range(1, self.attempts):
            try:
                return attempt()
            except CallError as error:
                if not error.retryable:
                    raise
                self.wait(number, error)
        return attempt()

    def wait(self, number: int, error: CallError) -> None:
        """Wait after the *number*-th failed try: backoff with full jitter, never less than the provider asked for."""
        jitter = random.uniform(0, min(_BACKOFF_MOST_S, _BACKOFF_S * 2**number))
        self._pause(max(jitter, error.retry_after_s))


def _object(response: Any, needs: str) -> dict[str, Any]:  # noqa: ANN401 (httpx2's Response)
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and (not needs or body.get(needs) is not None):
        return body
    said = "a reply that is not what the Batch API says"
    raise CallError(Kind.RETRY, "unusable_reply", said, int(response.status_code))


def _caught(send: Callable[[], T]) -> T:
    import httpx2  # noqa: PLC0415 (as in client.py)
    import openai  # noqa: PLC0415 (as in client.py)

    try:
        return send()
    except openai.APIStatusError as error:
        headers = {str(name).lower(): str(value) for name, value in error.response.headers.items()}
        status, content = int(error.response.status_code), bytes(error.response.content)
        said = of_response(status, headers, content, None)
        raise CallError(said.kind, said.reason, said.detail, status, said.retry_after_s or 0.0) from error
    except (openai.APIConnectionError, httpx2.HTTPError) as error:
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        not_sent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        detail = f"{type(inner).__name__}: {' '.join(str(inner).split())}"[:300]
        raise CallError(Kind.RETRY, "connection", detail, sent=not not_sent) from error


def _open(endpoint: Endpoint) -> OpenAI:
    from openai import DefaultHttpxClient, OpenAI  # noqa: PLC0415 (as in client.py)

    options: dict[str, Any] = {"timeout": endpoint.timeout_s}
    if (urlsplit(endpoint.base_url).hostname or "") in ("localhost", "127.0.0.1", "::1"):
        options["trust_env"] = False  # A proxy that the environment names can't reach this machine's own loopback.
    if endpoint.ca_file:
        options["verify"] = ssl.create_default_context(cafile=endpoint.ca_file)
    return OpenAI(
        base_url=endpoint.base_url,
        api_key=resolve_api_key(endpoint.api_key, os.environ) or "none",
        max_retries=0,
        default_headers=endpoint.headers,
        http_client=DefaultHttpxClient(**options),
    )
