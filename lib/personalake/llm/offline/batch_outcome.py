"""What comes of a batch: its rows' lines, in which file they end, and in which state the batch ends."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .draw import Draw
from .wire import encode

_HALVED = ("expired", "cancelled")
_UNRUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This batch was cancelled before this request was executed."),
}
_QUEUE_LIMIT = (
    "Enqueued token limit reached. Limit: 2,000,000 enqueued tokens. Please try again once some in_progress batches"
    " have been completed."
)
_SERVER_ERROR = {"message": "The server had an error processing your request.", "type": "server_error"}


def line_error(code: str, message: str, line: int | None) -> dict[str, Any]:
    """Return one entry of a failed batch's ``errors.data``."""
    return {"code": code, "message": message, "param": None, "line": line}


def ordered_errors(kind: str) -> list[dict[str, Any]]:
    """Return the errors with which a batch of this kind (one of BATCH_KINDS or "") fails before any row is run."""
    if kind == "failed_validation":
        return [line_error("invalid_json_line", "This line is not parseable as valid JSON.", 1)]
    return [line_error("token_limit_exceeded", _QUEUE_LIMIT, None)] if kind == "queue_limit" else []


@dataclass
class Outcome:
    """The lines of one batch, as one of BATCH_KINDS ("": as it should be) lets them come."""

    batch_id: str
    kind: str
    good: list[tuple[str, bytes]] = field(default_factory=list)
    bad: list[bytes] = field(default_factory=list)

    def worked(self, total: int) -> int:
        """Return how many rows are worked on before the batch ends."""
        return -(-total // 2) if self.kind in _HALVED else total

    def runs(self, number: int, custom_id: str) -> bool:
        """Whether a row is answered; a row that this kind fails gets its error line here."""
        if self.kind == "all_rows_failed_no_output" or (self.kind == "error_null" and number % 2 == 0):
            self.add(number, custom_id, HTTPStatus.INTERNAL_SERVER_ERROR, encode({"error": _SERVER_ERROR}))
            return False
        return not (self.kind == "missing_rows" and number % 2 == 0)

    def add(self, number: int, custom_id: str, status: int, body: bytes) -> None:
        """Add a row's line: status and body of its response, error null even where the body is an error."""
        request_id = Draw("row", self.batch_id, number).hex("request", 16)
        response = f'{{"status_code":{int(status)},"request_id":"{request_id}","body":'.encode() + body + b"}"
        line = self._head(number, custom_id) + b'"response":' + response + b',"error":null}'
        if status == HTTPStatus.OK:
            self.good.append((custom_id, line))
        else:
            self.bad.append(line)

    def unrun(self, number: int, custom_id: str) -> None:
        """Add the line of a row that the batch ended before."""
        code, message = _UNRUN["expired" if self.kind == "expired" else "cancelled"]
        error = encode({"code": code, "message": message})
        self.bad.append(self._head(number, custom_id) + b'"response":null,"error":' + error + b"}")

    def _head(self, number: int, custom_id: str) -> bytes:
        row_id = Draw("row", self.batch_id, number).hex("id")
        return f'{{"id":"batch_req_{row_id}","custom_id":{json.dumps(custom_id)},'.encode()

    def output(self) -> list[bytes]:
        """Return the output file's lines."""
        lines = [line for _, line in self.good]
        if self.kind == "unordered":
            return Draw("unordered", self.batch_id).order("rows", lines)[::-1]
        if self.kind == "duplicate_rows":
            return [line for number, line in enumerate(lines) for _ in range(2 - number % 2)]
        return lines

    def ending(self, batch: dict[str, Any], now: int) -> dict[str, Any]:
        """Return the fields of *batch* that its end sets, but for its files."""
        if self.kind == "cancelled" or batch["status"] == "cancelling":
            return {"status": "cancelled", "cancelling_at": batch["cancelling_at"] or now, "cancelled_at": now}
        if self.kind == "expired":
            return {"status": "expired", "expired_at": now}
        empty = {"error_file_id": ""} if self.kind == "empty_error_file_id" and not self.bad else {}
        return {"status": "completed", "finalizing_at": now, "completed_at": now, **empty}
