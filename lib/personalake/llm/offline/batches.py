"""The routes of files and batches: upload JSONL, have it answered at half price, fetch the output and error files."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import BodyPartReader, web

from .batch_desk import Desk
from .checks import parse
from .refusals import RefusalError, invalid, missing
from .service import Service
from .wire import JSON_HEADERS, encode

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
LISTED = 100


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
    desk, header = request.app[DESK], request.headers.get("X-Fault")
    plan = None if header is None else desk.service.plan_for(header)
    return _json(desk.open(parse(await request.read()), plan))


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
