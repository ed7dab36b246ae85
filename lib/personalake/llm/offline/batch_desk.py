"""Files and batches in memory: a batch is answered row by row at half price, into an output and an error file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from .batch_outcome import Outcome, line_error, ordered_errors
from .checks import check_batch_line
from .draw import Draw
from .faults import FaultPlan
from .jobs import Order
from .refusals import RefusalError, invalid, missing, unknown_value
from .service import Service

ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings")
MOST_REQUESTS = 50_000
MOST_BYTES = 200 << 20
WINDOW_S = 86_400
MOST_ERRORS = 100


@dataclass
class StoredFile:
    """A file as the endpoint describes it, and its bytes."""

    row: dict[str, Any]
    content: bytes


@dataclass
class Desk:
    """Files and batches of one endpoint, in memory, newest last."""

    service: Service
    files: dict[str, StoredFile] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    kept: int = 0

    def keep(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        """Store a file and return its object."""
        self.kept += 1
        file_id = f"file-{Draw('file', self.kept, name, len(content)).hex('id')}"
        row = {
            "object": "file",
            "id": file_id,
            "purpose": purpose,
            "filename": name,
            "bytes": len(content),
            "created_at": int(time.time()),
            "expires_at": None,
            "status": "processed",
            "status_details": None,
        }
        self.files[file_id] = StoredFile(row, content)
        return row

    def file(self, file_id: str) -> StoredFile:
        """Return a stored file or raise the 404."""
        if file_id not in self.files:
            raise RefusalError(404, f"No such File object: {file_id}", param="id")
        return self.files[file_id]

    def batch(self, batch_id: str) -> dict[str, Any]:
        """Return a batch or raise the 404."""
        if batch_id not in self.batches:
            raise RefusalError(404, f"No batch found with id '{batch_id}'.", param="batch_id")
        return self.batches[batch_id]

    def open(self, body: dict[str, Any], plan: FaultPlan | None) -> dict[str, Any]:
        """Start a batch from a creation request and return its object in state ``validating``.

        *plan*: the one that came with the request, if any; else each row meets the plan of its time.
        """
        for name in body:
            if name not in ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"):
                raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        for name in ("input_file_id", "endpoint", "completion_window"):
            if body.get(name) is None:
                raise missing(name)
        if body["endpoint"] not in ENDPOINTS:
            raise unknown_value("endpoint", body["endpoint"], ENDPOINTS)
        if body["completion_window"] != "24h":
            raise unknown_value("completion_window", body["completion_window"], ("24h",))
        stored = self.file(str(body["input_file_id"]))
        if stored.row["purpose"] != "batch":
            message = f"File '{stored.row['id']}' has purpose '{stored.row['purpose']}', not 'batch'."
            raise invalid(message, "input_file_id")
        now = int(time.time())
        batch = _batch_row(f"batch_{Draw('batch', len(self.batches), stored.row['id']).hex('id', 16)}", body, now)
        self.batches[batch["id"]] = batch
        task = asyncio.get_running_loop().create_task(
            self._run(batch, stored.content, plan, (plan or self.service.plan).batch)
        )
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return batch

    async def _run(self, batch: dict[str, Any], content: bytes, plan: FaultPlan | None, kind: str) -> None:
        """Validate, answer row by row, write the files; between rows the server serves others."""
        service = self.service
        await asyncio.sleep(service.settings.batch_seconds)
        lines = [line for line in content.splitlines() if line.strip()]
        errors = _line_errors(lines, batch["endpoint"], len(content)) or ordered_errors(kind)
        if errors:
            batch.update(status="failed", failed_at=int(time.time()), errors={"object": "list", "data": errors})
            return
        counts = batch["request_counts"]
        counts["total"] = len(lines)
        rows = [json.loads(line) for line in lines]
        attempts = [service.ledger.batch_received(row["custom_id"]) for row in rows]
        if batch["status"] == "validating":
            batch.update(status="in_progress", in_progress_at=int(time.time()))
            await asyncio.sleep(service.settings.batch_seconds)
        outcome = Outcome(batch["id"], kind)
        worked = outcome.worked(len(rows))
        for number, (row, attempt) in enumerate(zip(rows[:worked], attempts, strict=False)):
            if batch["status"] == "cancelling":
                worked = number
                break
            if outcome.runs(number, row["custom_id"]):
                order = Order(row["custom_id"], row["custom_id"], attempt, plan or service.plan, "batch")
                outcome.add(number, row["custom_id"], *service.batch_row(batch["endpoint"], row["body"], order))
            counts["completed"], counts["failed"] = len(outcome.good), len(outcome.bad)
            await asyncio.sleep(0)
        for number in range(worked, len(rows)):
            outcome.unrun(number, rows[number]["custom_id"])
        counts["failed"] = len(outcome.bad)
        self._finish(batch, outcome)

    def _finish(self, batch: dict[str, Any], outcome: Outcome) -> None:
        self.service.ledger.batch_answered([custom_id for custom_id, _ in outcome.good])
        for name, rows in (("output", outcome.output()), ("error", outcome.bad)):
            if rows:
                kept = self.keep(b"\n".join(rows) + b"\n", f"{batch['id']}_{name}.jsonl", "batch_output")
                batch[f"{name}_file_id"] = kept["id"]
        batch.update(outcome.ending(batch, int(time.time())))

    async def close(self) -> None:
        """End the batches that are still running."""
        for task in list(self.tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _batch_row(batch_id: str, body: dict[str, Any], now: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": batch_id, "object": "batch", "endpoint": body["endpoint"], "errors": None}
    row.update(input_file_id=body["input_file_id"], completion_window="24h", status="validating")
    row.update(output_file_id=None, error_file_id=None, created_at=now, in_progress_at=None, expires_at=now + WINDOW_S)
    for name in ("finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"):
        row[name] = None
    row["request_counts"] = {"total": 0, "completed": 0, "failed": 0}
    row["metadata"] = body.get("metadata")
    return row


def _line_errors(lines: list[bytes], endpoint: str, size: int) -> list[dict[str, Any]]:
    if not lines:
        return [line_error("empty_file", "The batch input file is empty.", None)]
    if len(lines) > MOST_REQUESTS or size > MOST_BYTES:
        message = (
            f"The file has {len(lines)} requests and {size} bytes; at most {MOST_REQUESTS} and {MOST_BYTES} may be."
        )
        return [line_error("maximum_tokens_exceeded", message, None)]
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        try:
            parsed: object = json.loads(line)
        except ValueError:
            parsed = None
        problem = check_batch_line(parsed, endpoint, seen)
        if problem:
            errors.append(line_error("invalid_json_line" if parsed is None else "invalid_request", problem, number))
    return errors[:MOST_ERRORS]
