"""The HTTP server: OpenAI's routes under ``/v1``; health, ledger and faults beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import perf_counter
from typing import Any

from aiohttp import web

from ...errors import SettingsError
from .batches import add_file_and_batch_routes
from .jobs import JOBS
from .paid import SERVICE, Handler, paid
from .plans import plan_of
from .refusals import RefusalError, no_key, no_model, wrong_key
from .service import Service
from .settings import CHAT_MODEL, CHAT_MODELS, EMBEDDING_MODEL, MODELS_CREATED, RULES_VERSION, OfflineSettings
from .wire import JSON_HEADERS, encode, new_request_id

MAX_BODY_BYTES = 256 << 20


def create_app(settings: OfflineSettings | None = None) -> web.Application:
    """Return the endpoint as an aiohttp application; its state is ``app[SERVICE]``."""
    service = Service(settings or OfflineSettings())
    app = web.Application(middlewares=[_envelope], client_max_size=MAX_BODY_BYTES)
    app[SERVICE] = service
    for path in JOBS:
        app.router.add_post(path, paid(path))
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model}", _model)
    add_file_and_batch_routes(app, service)
    app.router.add_get("/health", _health)
    app.router.add_get("/ledger", _ledger)
    app.router.add_post("/ledger/reset", _reset_ledger)
    app.router.add_get("/faults", _faults)
    app.router.add_post("/faults", _set_faults)
    app.router.add_get("/limits", _limits)
    app.router.add_post("/limits", _set_limits)
    return app


async def start(settings: OfflineSettings, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve on ``host:port`` (0: any free one); return the runner, whose ``cleanup()`` ends it, and the port."""
    runner = web.AppRunner(create_app(settings), access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=2_048)
    await site.start()
    return runner, int(runner.addresses[0][1])


@web.middleware
async def _envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check the key, put errors into OpenAI's shape, and add the headers that every response carries."""
    began = perf_counter()
    service = request.app[SERVICE]
    try:
        if request.path.startswith("/v1/"):
            _check_key(request, service.settings)
        response = await handler(request)
    except RefusalError as refusal:
        response = web.Response(status=refusal.status, body=encode(refusal.body), headers=JSON_HEADERS)
        response.headers.update(refusal.headers)
    except web.HTTPException as error:
        response = _http_error(request, error)
    if not response.prepared:
        response.headers["x-request-id"] = new_request_id()
        response.headers["openai-version"] = "2020-10-01"
        response.headers["openai-processing-ms"] = str(int((perf_counter() - began) * 1000))
    return response


def _http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    if error.status == web.HTTPMethodNotAllowed.status_code:
        message, code = f"Not allowed to {request.method} on {request.path}.", "method_not_supported"
        body = RefusalError(error.status, message, code=code).body
    elif error.status == web.HTTPNotFound.status_code:
        body = RefusalError(404, f"Invalid URL ({request.method} {request.path})").body
    else:
        body = RefusalError(error.status, error.reason or "refused").body
    return web.Response(status=error.status, body=encode(body), headers=JSON_HEADERS)


def _check_key(request: web.Request, settings: OfflineSettings) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise no_key()
    if settings.api_keys and key not in settings.api_keys:
        raise wrong_key(key)


def _model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": MODELS_CREATED, "owned_by": "personalake"}


async def _models(request: web.Request) -> web.Response:
    del request
    data = [_model_row(name) for name in (*CHAT_MODELS, EMBEDDING_MODEL)]
    return web.Response(body=encode({"object": "list", "data": data}), headers=JSON_HEADERS)


async def _model(request: web.Request) -> web.Response:
    name = request.match_info["model"]
    if name not in (*CHAT_MODELS, EMBEDDING_MODEL):
        raise no_model(name)
    return web.Response(body=encode(_model_row(name)), headers=JSON_HEADERS)


async def _health(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    body = {"status": "ok", "model": CHAT_MODEL, "rules": RULES_VERSION, "in_flight": service.ledger.in_flight}
    return web.Response(body=encode(body), headers=JSON_HEADERS)


async def _ledger(request: web.Request) -> web.StreamResponse:
    ledger = request.app[SERVICE].ledger
    if request.query.get("ids") == "0":
        return web.Response(body=encode(ledger.to_json(ids=False)), headers=JSON_HEADERS)
    response = web.StreamResponse(headers=JSON_HEADERS)
    await response.prepare(request)
    for piece in ledger.pieces():
        await response.write(piece)
        await asyncio.sleep(0)  # others are served between the pieces
    await response.write_eof()
    return response


async def _reset_ledger(request: web.Request) -> web.Response:
    request.app[SERVICE].ledger.reset()
    return web.Response(body=encode({"reset": True}), headers=JSON_HEADERS)


async def _faults(request: web.Request) -> web.Response:
    return web.Response(body=encode(request.app[SERVICE].plan.to_json()), headers=JSON_HEADERS)


async def _set_faults(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    await _changed(request, "faults", lambda body: service.set_plan(plan_of(body)))
    return await _faults(request)


async def _limits(request: web.Request) -> web.Response:
    return web.Response(body=encode(request.app[SERVICE].limits_json()), headers=JSON_HEADERS)


async def _set_limits(request: web.Request) -> web.Response:
    await _changed(request, "limits", request.app[SERVICE].change_limits)
    return await _limits(request)


async def _changed(request: web.Request, name: str, change: Callable[[object], None]) -> None:
    try:
        change(json.loads(await request.read() or b"{}"))
    except (SettingsError, ValueError) as error:
        raise RefusalError(400, str(error), param=name) from error
