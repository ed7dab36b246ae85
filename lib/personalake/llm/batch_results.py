"""What comes back from a provider's batch desk; longer than most files, for it holds both the wire and the reading.

`Wire` calls the provider, with bounded retries; `Rows` turns the lines of an ended batch's files into journal rows.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from personalake.errors import DeferredError, PersonalakeError, StopRunError
from personalake.llm.client import Endpoint
from personalake.llm.journal import Journal, record
from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, cure, of_response
from personalake.settings import resolve_api_key

if TYPE_CHECKING:
    from openai import OpenAI

    from personalake.llm.batch import Submitted

T = TypeVar("T")

_BACKOFF_S, _BACKOFF_MOST_S, _WAIT_MOST_S = 0.5, 30.0, 120.0
_PAGE = 100
_FLUSH_ROWS = 1_000
_SAME = 20
"""So many unpaid refusals of one reason that open a batch are taken for what would be said of every row."""

_NOT_RUN = {"batch_expired", "batch_cancelled", "request_timeout", "server_error", "rate_limit_exceeded"}
_OF_ITS_ROW = {"content_filter", "too_long", "refusal", "length"}


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


@dataclass(frozen=True)
class Collected:
    """What a look at a batch brought; of a `final` one, `requests = answered + rejected + free`.

    `freed` counts, by reason, the rows without a lasting answer, which may be asked again, and `wasted_microusd` what
    they cost all the same; `ignored` the lines that were passed over. `deferred` says why its rows should wait for a
    later run; `stop` is to be raised once what is good is committed.
    """

    batch_id: str
    stage: str
    status: str
    final: bool
    requests: int
    done: int = 0
    answered: int = 0
    rejected: int = 0
    microusd: int = 0
    wasted_microusd: int = 0
    freed: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    output_file_id: str | None = None
    error_file_id: str | None = None
    deferred: str | None = None
    stop: StopRunError | None = None

    @property
    def free(self) -> int:
        """Rows of an ended batch that may be asked again."""
        return sum(self.freed.values())

    @property
    def missing(self) -> int:
        """Rows that stand in neither file."""
        return self.freed.get("missing", 0)

    @property
    def detail(self) -> str:
        """One line for a person."""
        counts = {"answered": self.answered, "rejected": self.rejected, **self.freed, **self.ignored}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        waits = f"; {self.deferred}" if self.deferred else ""
        return f"{self.status}: {told or f'{self.done} of {self.requests} done'}{waits}"


class Rows:
    """The lines of a batch's files as journal rows, of which each key gets at most one.

    Two collections of one batch journal the same rows, to the last microsecond: *ended_at* is the provider's.
    """

    def __init__(self, batch: Submitted, keys: list[str], ended_at: dt.datetime, journal: Journal) -> None:
        self._batch, self._keys, self._ended_at, self._journal = batch, set(keys), ended_at, journal
        self._done: set[str] = set()
        self._free: dict[str, str] = {}
        self._opening: list[tuple[str, Outcome]] | None = []
        self.ignored: Counter[str] = Counter()
        self.answered = self.rejected = self.microusd = self.wasted_microusd = 0
        self.stop: Outcome | None = None

    def read(self, lines: Iterable[bytes]) -> None:
        """Journal what *lines* bring; bounded memory but for the keys."""
        for line in lines:
            if not line.strip():
                continue
            try:
                told = json.loads(line)
            except (ValueError, RecursionError):
                told = None
            key = told.get("custom_id") if isinstance(told, dict) else None
            if not isinstance(told, dict):
                self.ignored["garbage"] += 1
            elif not isinstance(key, str) or key not in self._keys:
                self.ignored["unknown"] += 1
            elif key in self._done:
                self.ignored["repeated"] += 1
            else:
                self._settle(key, outcome_of(told, self._batch.price))

    def close(self) -> dict[str, int]:
        """Make the journal safe; returns the rows that are free again, by reason."""
        self._write_opening()
        self._journal.flush()
        freed = Counter(self._free.values())
        freed["missing"] += len(self._keys) - len(self._done) - len(self._free)
        return {reason: count for reason, count in sorted(freed.items()) if count}

    def _settle(self, key: str, outcome: Outcome) -> None:
        refused = outcome.kind is Kind.REJECT and not outcome.usage.prompt
        if refused and self.stop is not None and self.stop.reason == outcome.reason:
            self._free[key] = outcome.reason
        elif refused and self._opening is not None and outcome.reason not in _OF_ITS_ROW:
            self._open_with(key, outcome)
        elif outcome.kind in (Kind.ANSWERED, Kind.REJECT):
            self._write_opening()
            self._write(key, outcome)
        else:
            self._free[key] = outcome.reason
            self.wasted_microusd += outcome.usage.microusd
            if outcome.kind is Kind.STOP and self.stop is None:
                self.stop = outcome

    def _open_with(self, key: str, outcome: Outcome) -> None:
        """Hold back refusals that open the batch: enough alike, and they say something of the settings, not of rows."""
        held = self._opening or []
        self._opening = [*held, (key, outcome)]
        self._done.add(key)
        if held and held[0][1].reason != outcome.reason:
            self._write_opening()
        elif len(self._opening) == _SAME:
            self.stop, self._opening = self.stop or outcome, None
            for one, said in [*held, (key, outcome)]:
                self._done.discard(one)
                self._free[one] = said.reason

    def _write_opening(self) -> None:
        held, self._opening = self._opening or [], None
        for key, outcome in held:
            self._write(key, outcome)

    def _write(self, key: str, outcome: Outcome) -> None:
        row = record(key, self._batch.stage, self._batch.label, self._batch.endpoint, outcome, 1, 0.0)
        row.update(latency_ms=None, answered_at=self._ended_at)
        # Half a surrogate pair is JSON, and no UTF-8: one such reply must not hold back the others.
        self._journal.add({name: _clean(value) for name, value in row.items()})
        self._done.add(key)
        self._free.pop(key, None)
        self.microusd += outcome.usage.microusd
        self.answered += outcome.kind is Kind.ANSWERED
        self.rejected += outcome.kind is Kind.REJECT
        if self._journal.unflushed >= _FLUSH_ROWS:
            self._journal.flush()


def outcome_of(line: dict[str, Any], price: Price | None) -> Outcome:
    """What a line of an output or error file says; its error may stand in `error` or in the response's body."""
    response, error = line.get("response"), line.get("error")
    body = response.get("body") if isinstance(response, dict) else None
    code = str(error.get("code") or "").lower() if isinstance(error, dict) else ""
    if isinstance(response, dict) and body:
        status = response.get("status_code")
        if not isinstance(status, int) or not status:
            status = 200 if isinstance(body, dict) and body.get("choices") else 500
        headers = {"x-request-id": str(response["request_id"])} if response.get("request_id") else {}
        content = body if isinstance(body, str) else json.dumps(body)
    elif code in _NOT_RUN:
        return Outcome(Kind.RETRY, code)
    elif error:
        status, headers, content = 400 if code else 500, {}, json.dumps({"error": error})
    else:
        return Outcome(Kind.RETRY, "no_response")
    try:
        return of_response(status, headers, content.encode("utf-8", "replace"), price)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # A body of no known shape: one odd row must not hold back the others, which are paid.
        return Outcome(Kind.RETRY, "unusable_reply")


def judge_failed(errors: list[dict[str, Any]], requests: int, where: str) -> tuple[str | None, StopRunError | None]:
    """Why a batch failed before any row ran: what has to wait, or what is said of every row and stops the run."""
    if not errors:
        return "the provider failed it without a reason", None
    said = [of_response(400, {}, json.dumps({"error": error}).encode(), None) for error in errors]
    first = errors[0].get("line")
    at = f"line {first}: " if isinstance(first, int) else ""
    what = f"{at}{said[0].reason}: {said[0].detail}" + (f" (and {len(said) - 1} more)" if len(said) > 1 else "")
    codes = {str(error.get("code") or "").lower() for error in errors}
    full = codes & {"token_limit_exceeded", "request_limit_exceeded", "rate_limit_exceeded"}
    if full or any(one.kind is Kind.DEFER for one in said) or "enqueued" in said[0].detail.lower():
        return what, None
    lines = {error.get("line") for error in errors}
    of_all = None in lines or len(lines) >= requests or (len(lines) >= _SAME and len(codes) == 1)
    if of_all or any(one.kind is Kind.STOP for one in said):
        fix = "nothing of this batch was paid; what the provider names has to be changed first"
        return None, StopRunError(f"a batch was refused: {what}", where=where, cure=fix)
    return f"{what}; ask these one by one with llm.transport=online", None


def _clean(value: Any) -> Any:  # noqa: ANN401 (a journal row's value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
