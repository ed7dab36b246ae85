"""What comes back from a provider's batch desk: the lines of an ended batch's files, as journal rows."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personalake.errors import StopRunError
from personalake.llm.journal import Journal, record
from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, of_response

if TYPE_CHECKING:
    from personalake.llm.batch_notes import Submitted

_FLUSH_ROWS = 1_000
_SAME = 20
"""So many unpaid refusals of one reason that open a batch are taken for what would be said of every row."""

_NOT_RUN = {"batch_expired", "batch_cancelled", "request_timeout", "server_error", "rate_limit_exceeded"}
_OF_ITS_ROW = {"content_filter", "too_long", "refusal", "length"}


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
