"""How a reply goes over the wire: whole, as server-sent events, or broken in an ordered way."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import uuid
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from aiohttp import web

WORDS_PER_CHUNK = 4
_PIECE = re.compile(rf"(?:\s*\S+){{1,{WORDS_PER_CHUNK}}}\s*?")
_ENCODER = json.JSONEncoder(separators=(",", ":"))
JSON_HEADERS = {"Content-Type": "application/json"}
PAGES = {
    502: b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body><h1>Bad Gateway</h1>\n"
    b"<p>The proxy server received an invalid response from an upstream server.</p></body>\n</html>\n",
    403: b"<html>\n<head><title>403 Forbidden</title></head>\n<body><h1>Request blocked</h1>\n"
    b"<p>This request was blocked by the security rules.</p></body>\n</html>\n",
}


MEGABYTE = 1_000_000
DRIBBLES = 10
_RUN, _NUMBERS = uuid.uuid4().hex[:16], count(1)


def new_request_id() -> str:
    """Return an id that no other response has; a UUID for each would cost more than the JSON of most replies."""
    return f"req_{_RUN}{next(_NUMBERS):016x}"


def encode(body: object) -> bytes:
    """Return JSON as the endpoint sends it (ASCII, so that any text survives)."""
    return _ENCODER.encode(body).encode("ascii")


def garbage(payload: bytes) -> web.Response:
    """Return a 200 that says JSON and isn't."""
    return web.Response(body=b"\x00\x01" + payload[: len(payload) // 3] + b"<<<", headers=JSON_HEADERS)


def page(status: int) -> web.Response:
    """Return the HTML of a proxy whose upstream is gone (502), or of a firewall (403)."""
    return web.Response(status=status, body=PAGES[status], headers={"Content-Type": "text/html"})


def reset(request: web.Request) -> web.Response:
    """Reset the connection (RST) before a byte of the answer; what is returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        plug: socket.socket | None = transport.get_extra_info("socket")
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def cut(request: web.Request, payload: bytes) -> web.StreamResponse:
    """Send headers that promise all of *payload*, then half of it, then close."""
    response = web.StreamResponse(headers={**JSON_HEADERS, "Content-Length": str(len(payload))})
    await response.prepare(request)
    await response.write(payload[: len(payload) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def dribble(
    request: web.Request, payload: bytes, headers: Mapping[str, str], seconds: float
) -> web.StreamResponse:
    """Send the headers at once and the body in small pieces over *seconds*."""
    response = web.StreamResponse(headers={**headers, "Content-Length": str(len(payload))})
    await response.prepare(request)
    size = -(-len(payload) // DRIBBLES)
    for start in range(0, len(payload), size):
        await asyncio.sleep(seconds / DRIBBLES)
        await response.write(payload[start : start + size])
    await response.write_eof()
    return response


async def big_body(request: web.Request, payload: bytes, headers: Mapping[str, str], size: int) -> web.StreamResponse:
    """Send a JSON object with a field ``padding`` that makes it *size* bytes large (or as large as it is)."""
    head, tail = payload[:-1] + b',"padding":"', b'"}'
    left = max(0, size - len(head) - len(tail))
    total = len(head) + left + len(tail)
    response = web.StreamResponse(headers={**headers, "Content-Length": str(total)})
    await response.prepare(request)
    await response.write(head)
    piece = b"x" * min(left, MEGABYTE)
    while left:
        await response.write(piece[:left])
        left -= min(left, MEGABYTE)
    await response.write_eof(tail)
    return response


async def hang() -> web.Response:
    """Wait until the client goes away or the server stops (either cancels this handler)."""
    await asyncio.Event().wait()
    raise web.HTTPServiceUnavailable  # never reached: the event is nobody's to set


async def stream(
    request: web.Request,
    completion: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    usage: bool,
    broken: bool,
    slow_s: float,
) -> web.StreamResponse:
    """Send a completion as server-sent events over *slow_s*; *broken* closes the connection after half of them."""
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    events = [b"data: " + encode(chunk) + b"\n\n" for chunk in chunks(completion, usage=usage)]
    if broken:
        await response.write(b"".join(events[: len(events) // 2]))
        if request.transport is not None:
            request.transport.close()
        return response
    for event in events:
        if slow_s:
            await asyncio.sleep(slow_s / len(events))
        await response.write(event)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def chunks(completion: Mapping[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a completion: role, pieces of text, end, and usage with no choices where asked."""
    head = {name: completion[name] for name in ("id", "created", "model", "service_tier", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    if usage:
        head["usage"] = None
    for choice in completion["choices"]:
        index, message = choice["index"], choice.get("message")
        if message is not None:
            yield {**head, "choices": [_delta(index, {"role": "assistant", "content": "", "refusal": None})]}
            field = "content" if message["refusal"] is None else "refusal"
            for piece in pieces(message[field] or ""):
                yield {**head, "choices": [_delta(index, {field: piece})]}
            if message.get("tool_calls"):
                calls = [{"index": number, **call} for number, call in enumerate(message["tool_calls"])]
                yield {**head, "choices": [_delta(index, {"tool_calls": calls})]}
        yield {**head, "choices": [_delta(index, {}, choice["finish_reason"])]}
    if usage:
        yield {**head, "choices": [], "usage": completion["usage"]}


def pieces(text: str) -> list[str]:
    """Return *text* in pieces of a few words, which join to it exactly."""
    found = [match[0] for match in _PIECE.finditer(text)]
    rest = text[sum(map(len, found)) :]
    return [*found, rest] if rest else found


def _delta(index: int, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
