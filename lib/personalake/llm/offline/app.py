"""The HTTP server: OpenAI's routes under ``/v1``; health, ledger and faults beside them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from aiohttp import web

from ...errors import SettingsError
from .batches import add_file_and_batch_routes
from .checks import check_embeddings, parse
from .faults import FaultPlan, plan_of
from .refusals import RefusalError, no_key, no_model, wrong_key
from .rules import tokens_of
from .service import SHAPE_FAULTS, Service, status_fault
from .settings import CHAT_MODEL, EMBEDDING_MODEL, MODELS_CREATED, RULES_VERSION, OfflineSettings
from .wire import JSON_HEADERS, cut, encode, garbage, hang, proxy_page, reset, stream

MAX_BODY_BYTES = 256 << 20
SERVICE = web.AppKey("service", Service)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Paid = Callable[[web.Request, Service, bytes, str, str | None], Awaitable[web.StreamResponse]]


def create_app(settings: OfflineSettings | None = None) -> web.Application:
    """Return the endpoint as an aiohttp application; its state is ``app[SERVICE]``."""
    service = Service(settings or OfflineSettings())
    app = web.Application(middlewares=[_envelope], client_max_size=MAX_BODY_BYTES)
    app[SERVICE] = service
    app.router.add_post("/v1/chat/completions", _paid(_chat))
    app.router.add_post("/v1/embeddings", _paid(_embeddings))
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model}", _model)
    add_file_and_batch_routes(app, service)
    app.router.add_get("/health", _health)
    app.router.add_get("/ledger", _ledger)
    app.router.add_post("/ledger/reset", _reset_ledger)
    app.router.add_get("/faults", _faults)
    app.router.add_post("/faults", _set_faults)
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
        response.headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
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


def _paid(work: Paid) -> Handler:
    """Wrap a route that costs money: it is on the ledger from arrival to end, and meets latency and faults."""

    async def handle(request: web.Request) -> web.StreamResponse:
        service = request.app[SERVICE]
        raw = await request.read()
        client_id = request.headers.get("X-Client-Request-Id", "")
        request_id = client_id or "body:" + hashlib.blake2b(raw, digest_size=8).hexdigest()
        attempt = service.ledger.arrived(request.path, request_id)
        ended: int | str = "client_gone"
        try:
            plan = _plan(request, service)
            fault = plan.fault(request_id, attempt)
            wait = plan.wait_s(request_id, attempt)
            if wait:
                await asyncio.sleep(wait)
            response = await _faulty(request, service, raw, client_id, fault, plan, work)
            ended = fault if fault in ("reset", "cut") else response.status
        except RefusalError as refusal:
            ended = refusal.status
            raise
        finally:
            service.ledger.left(ended, request_id)
        return response

    return handle


def _plan(request: web.Request, service: Service) -> FaultPlan:
    header = request.headers.get("X-Fault")
    if header is None:
        return service.plan
    try:
        return plan_of(header, "X-Fault")
    except SettingsError as error:
        raise RefusalError(400, str(error), param="X-Fault") from error


async def _faulty(
    request: web.Request,
    service: Service,
    raw: bytes,
    client_id: str,
    fault: str | None,
    plan: FaultPlan,
    work: Paid,
) -> web.StreamResponse:
    if fault is not None:
        service.ledger.faults[fault] += 1
    if fault in ("429", "quota", "500", "503"):
        raise status_fault(fault, plan)
    if fault == "hang":
        return await hang()
    if fault in ("reset", "html"):
        return reset(request) if fault == "reset" else proxy_page()
    response = await work(request, service, raw, client_id, fault)
    if fault in ("garbage", "cut") and isinstance(response, web.Response) and isinstance(response.body, bytes):
        return garbage(response.body) if fault == "garbage" else await cut(request, response.body)
    return response


async def _chat(
    request: web.Request, service: Service, raw: bytes, client_id: str, fault: str | None
) -> web.StreamResponse:
    body = parse(raw)
    question = service.question(body, client_id)
    service.limits.admit(service.reserved_tokens(body, question))
    completion = service.chat(body, question, fault if fault in SHAPE_FAULTS else None)
    headers = {**JSON_HEADERS, "openai-model": CHAT_MODEL, **service.limits.headers()}
    if body.get("stream"):
        headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return await stream(request, completion, headers, usage=usage, broken=fault == "cut")
    return web.Response(body=encode(completion), headers=headers)


async def _embeddings(
    request: web.Request, service: Service, raw: bytes, client_id: str, fault: str | None
) -> web.StreamResponse:
    del request, client_id, fault
    body = parse(raw)
    texts = check_embeddings(body, tokens_of)
    service.limits.admit(sum(map(tokens_of, texts)))
    headers = {**JSON_HEADERS, "openai-model": EMBEDDING_MODEL, **service.limits.headers()}
    return web.Response(body=encode(service.embeddings(body, texts)), headers=headers)


def _model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": MODELS_CREATED, "owned_by": "personalake"}


async def _models(request: web.Request) -> web.Response:
    del request
    data = [_model_row(name) for name in (CHAT_MODEL, EMBEDDING_MODEL)]
    return web.Response(body=encode({"object": "list", "data": data}), headers=JSON_HEADERS)


async def _model(request: web.Request) -> web.Response:
    name = request.match_info["model"]
    if name not in (CHAT_MODEL, EMBEDDING_MODEL):
        raise no_model(name)
    return web.Response(body=encode(_model_row(name)), headers=JSON_HEADERS)


async def _health(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    body = {"status": "ok", "model": CHAT_MODEL, "rules": RULES_VERSION, "in_flight": service.ledger.in_flight}
    return web.Response(body=encode(body), headers=JSON_HEADERS)


async def _ledger(request: web.Request) -> web.Response:
    report = request.app[SERVICE].ledger.to_json(ids=request.query.get("ids") != "0")
    return web.Response(body=encode(report), headers=JSON_HEADERS)


async def _reset_ledger(request: web.Request) -> web.Response:
    request.app[SERVICE].ledger.reset()
    return web.Response(body=encode({"reset": True}), headers=JSON_HEADERS)


async def _faults(request: web.Request) -> web.Response:
    return web.Response(body=encode(request.app[SERVICE].plan.to_json()), headers=JSON_HEADERS)


async def _set_faults(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    try:
        service.plan = plan_of(json.loads(await request.read() or b"{}"))
    except (SettingsError, ValueError) as error:
        raise RefusalError(400, str(error), param="faults") from error
    return web.Response(body=encode(service.plan.to_json()), headers=JSON_HEADERS)
