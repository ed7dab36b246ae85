"""Files and batches: upload JSONL, have it answered at half price, fetch the output and error files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import BodyPartReader, web

from .checks import check_batch_line, parse
from .draw import Draw
from .refusals import RefusalError, invalid, missing, unknown_value
from .service import Service
from .wire import JSON_HEADERS, encode

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings")
MOST_REQUESTS = 50_000
MOST_BYTES = 200 << 20
WINDOW_S = 86_400
LISTED = 100


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

    def keep(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        """Store a file and return its object."""
        file_id = f"file-{Draw('file', len(self.files), name, len(content)).hex('id')}"
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

    def open(self, body: dict[str, Any]) -> dict[str, Any]:
        """Start a batch from a creation request and return its object in state ``validating``."""
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
        task = asyncio.get_running_loop().create_task(self._run(batch, stored.content))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return batch

    async def _run(self, batch: dict[str, Any], content: bytes) -> None:
        """Validate, answer row by row, write the files; between rows the server serves others."""
        await asyncio.sleep(self.service.settings.batch_seconds)
        lines = [line for line in content.splitlines() if line.strip()]
        errors = _line_errors(lines, batch["endpoint"], len(content))
        if errors:
            batch.update(status="failed", failed_at=int(time.time()), errors={"object": "list", "data": errors})
            return
        counts = batch["request_counts"]
        counts["total"] = len(lines)
        if batch["status"] == "validating":
            batch.update(status="in_progress", in_progress_at=int(time.time()))
            await asyncio.sleep(self.service.settings.batch_seconds)
        good: list[bytes] = []
        bad: list[bytes] = []
        for number, line in enumerate(lines):
            if batch["status"] == "cancelling":
                break
            status, row = self._answer(batch, number, json.loads(line))
            (good if status == HTTPStatus.OK else bad).append(row)
            counts["completed"], counts["failed"] = len(good), len(bad)
            await asyncio.sleep(0)
        self._finish(batch, good, bad)

    def _answer(self, batch: dict[str, Any], number: int, line: dict[str, Any]) -> tuple[int, bytes]:
        status, body = self.service.batch_row(batch["endpoint"], line["body"], line["custom_id"])
        draw = Draw("row", batch["id"], number)
        response = {"status_code": status, "request_id": draw.hex("request", 16), "body": body}
        row = {"id": f"batch_req_{draw.hex('id')}", "custom_id": line["custom_id"], "response": response, "error": None}
        return status, encode(row)

    def _finish(self, batch: dict[str, Any], good: list[bytes], bad: list[bytes]) -> None:
        now = int(time.time())
        for name, rows in (("output", good), ("error", bad)):
            if rows:
                kept = self.keep(b"\n".join(rows) + b"\n", f"{batch['id']}_{name}.jsonl", "batch_output")
                batch[f"{name}_file_id"] = kept["id"]
        if batch["status"] == "cancelling":
            batch.update(status="cancelled", cancelled_at=now)
        else:
            batch.update(status="completed", finalizing_at=now, completed_at=now)

    async def close(self) -> None:
        """End the batches that are still running."""
        for task in list(self.tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def add_file_and_batch_routes(app: web.Application, service: Service) -> None:
    """Add ``/v1/files`` and ``/v1/batches`` to an application; running batches end with it."""
    desk = Desk(service)
    app[DESK] = desk
    app.router.add_post("/v1/files", _upload)
    app.router.add_get("/v1/files", _list_files)
    app.router.add_get("/v1/files/{file_id}", _show_file)
    app.router.add_get("/v1/files/{file_id}/content", _content)
    app.router.add_delete("/v1/files/{file_id}", _delete_file)
    app.router.add_post("/v1/batches", _open)
    app.router.add_get("/v1/batches", _list_batches)
    app.router.add_get("/v1/batches/{batch_id}", _show_batch)
    app.router.add_post("/v1/batches/{batch_id}/cancel", _cancel)
    app.cleanup_ctx.append(_closing)


DESK = web.AppKey("desk", Desk)


async def _closing(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[DESK].close()


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
        return [_line_error("empty_file", "The batch input file is empty.", None)]
    if len(lines) > MOST_REQUESTS or size > MOST_BYTES:
        message = (
            f"The file has {len(lines)} requests and {size} bytes; at most {MOST_REQUESTS} and {MOST_BYTES} may be."
        )
        return [_line_error("maximum_tokens_exceeded", message, None)]
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        try:
            parsed: object = json.loads(line)
        except ValueError:
            parsed = None
        problem = check_batch_line(parsed, endpoint, seen)
        if problem:
            errors.append(_line_error("invalid_json_line" if parsed is None else "invalid_request", problem, number))
    return errors[:LISTED]


def _line_error(code: str, message: str, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


def _json(body: object) -> web.Response:
    return web.Response(body=encode(body), headers=JSON_HEADERS)


async def _upload(request: web.Request) -> web.Response:
    if not request.content_type.startswith("multipart/"):
        raise missing("file")
    purpose, name, content = None, "upload", None
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise invalid("Nested multipart bodies are not supported.", "file")
        if part.name == "purpose":
            purpose = (await part.read(decode=True)).decode("utf-8", "replace")
        elif part.name == "file":
            name, content = part.filename or name, bytes(await part.read(decode=True))
    if content is None:
        raise missing("file")
    if purpose is None:
        raise missing("purpose")
    if purpose not in PURPOSES:
        raise invalid(f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", "purpose")
    return _json(request.app[DESK].keep(content, name, purpose))


def _page(rows: list[dict[str, Any]], request: web.Request) -> dict[str, Any]:
    """Newest first, ``limit`` a page, from behind ``after``."""
    rows = rows[::-1]
    limit, after = request.query.get("limit", str(LISTED)), request.query.get("after")
    if not limit.isdigit() or not int(limit):
        raise invalid(f"Invalid 'limit': expected a positive integer, but got '{limit}'.", "limit", "invalid_value")
    if after is not None:
        start = next((index + 1 for index, row in enumerate(rows) if row["id"] == after), len(rows))
        rows = rows[start:]
    page = rows[: int(limit)]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, **ends, "has_more": len(rows) > len(page)}


async def _list_files(request: web.Request) -> web.Response:
    wanted = request.query.get("purpose")
    rows = [stored.row for stored in request.app[DESK].files.values()]
    return _json(_page([row for row in rows if wanted in (None, row["purpose"])], request))


async def _show_file(request: web.Request) -> web.Response:
    return _json(request.app[DESK].file(request.match_info["file_id"]).row)


async def _content(request: web.Request) -> web.Response:
    stored = request.app[DESK].file(request.match_info["file_id"])
    return web.Response(body=stored.content, headers={"Content-Type": "application/octet-stream"})


async def _delete_file(request: web.Request) -> web.Response:
    desk = request.app[DESK]
    row = desk.file(request.match_info["file_id"]).row
    del desk.files[row["id"]]
    return _json({"object": "file", "id": row["id"], "deleted": True})


async def _open(request: web.Request) -> web.Response:
    return _json(request.app[DESK].open(parse(await request.read())))


async def _list_batches(request: web.Request) -> web.Response:
    return _json(_page(list(request.app[DESK].batches.values()), request))


async def _show_batch(request: web.Request) -> web.Response:
    return _json(request.app[DESK].batch(request.match_info["batch_id"]))


async def _cancel(request: web.Request) -> web.Response:
    batch = request.app[DESK].batch(request.match_info["batch_id"])
    if batch["status"] not in ("validating", "in_progress", "finalizing", "cancelling"):
        raise RefusalError(409, f"Cannot cancel a batch with status '{batch['status']}'.", param="batch_id")
    batch.update(status="cancelling", cancelling_at=batch["cancelling_at"] or int(time.time()))
    return _json(batch)
