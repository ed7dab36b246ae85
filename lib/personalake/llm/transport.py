"""The wire under the `openai` SDK: aiohttp behind httpx2's public transport interface, replies read whole and bounded.

The SDK's own aiohttp transport hands each body on through two generators, has no time limit for a whole reply (a body
that dribbles never ends) and none for its size, and calls a connection that broke behind the request a connect
timeout, as if nothing had been sent. This one reads the body at once, bounded in time and bytes, and tells the two
apart: a request that was never sent can't have been billed.
"""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus

import aiohttp
import httpx2


class TooLargeError(httpx2.ReadError):
    """A reply larger than the limit."""


class Transport(httpx2.AsyncBaseTransport):
    """Sends through one aiohttp session of at most *connections*; a send may take *timeout_s*, a reply *most_bytes*.

    Raises `httpx2.ConnectError` where nothing was sent, `httpx2.ReadTimeout` or `httpx2.ReadError` where the request
    went out and its reply didn't come whole.
    """

    def __init__(
        self, *, connections: int, timeout_s: float, most_bytes: int, context: ssl.SSLContext | bool, trust_env: bool
    ) -> None:
        self._connections, self._most_bytes = connections, most_bytes
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, 30.0))
        self._context, self._trust_env = context, trust_env
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._context, keepalive_timeout=60.0)
            # What a request takes is said by the SDK's headers alone.
            skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, trust_env=self._trust_env, skip_auto_headers=skipped,
                cookie_jar=aiohttp.DummyCookieJar(),
            )  # fmt: skip
        return self._session

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request* and read its whole reply."""
        try:
            return await self._exchange(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise httpx2.ConnectError(_said(error)) from error
        except asyncio.TimeoutError as error:
            raise httpx2.ReadTimeout(_said(error)) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(_said(error)) from error

    async def _exchange(self, request: httpx2.Request) -> httpx2.Response:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        sent = self._opened().request(
            request.method, str(request.url), headers=headers, data=request.content or None, allow_redirects=False,
        )  # fmt: skip
        async with sent as response:
            declared = response.content_length or 0
            if declared > self._most_bytes:
                raise TooLargeError(f"a reply of {declared:,} bytes; at most {self._most_bytes:,} are read")
            content = await self._body(response.content)
            told = [(name.lower(), value) for name, value in response.raw_headers]
            # httpx2's headers are slow to make and to read: those that nobody but us reads go past them.
            kept = [(k, v) for k, v in told if k in _KEPT] if response.status == HTTPStatus.OK else _unpacked(told)
            extensions = {TOLD: {k.decode("latin-1"): v.decode("latin-1") for k, v in told}}
            return httpx2.Response(
                response.status, headers=kept, content=content, request=request, extensions=extensions
            )

    async def _body(self, stream: aiohttp.StreamReader) -> bytes:
        chunks, size = [], 0
        async for chunk in stream.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._most_bytes:
                raise TooLargeError(f"a reply of more than {self._most_bytes:,} bytes")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def aclose(self) -> None:
        """Close the session's connections."""
        if self._session is not None:
            await self._session.close()


TOLD = "personalake.headers"
"""The response's extension that holds its headers, names in lower case."""

_KEPT = (b"content-type", b"x-request-id")


def _unpacked(told: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without those of the body as it came over the wire: aiohttp has unpacked it."""
    return [(k, v) for k, v in told if k not in (b"content-encoding", b"content-length", b"transfer-encoding")]


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
