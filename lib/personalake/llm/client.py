"""The one place that speaks to an endpoint: a send through the `openai` SDK, and what came of it."""

from __future__ import annotations

import os
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, of_response
from personalake.settings import ApiKeySettings, LlmSettings, resolve_api_key

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class Endpoint(BaseModel):
    """How to reach an endpoint. It travels to the workers, so it holds where the key is found, never the key."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    api_key: ApiKeySettings
    headers: dict[str, str]
    ca_file: str | None
    timeout_s: float
    most_connections: int

    @classmethod
    def of(cls, settings: LlmSettings, base_url: str) -> Endpoint:
        """The endpoint of *settings*, at *base_url* (the embedded one's is known only once it runs)."""
        return cls(
            base_url=base_url,
            api_key=settings.api_key,
            headers=settings.headers,
            ca_file=settings.ca_file,
            timeout_s=settings.timeout_s,
            most_connections=settings.in_flight,
        )


class Client:
    """One `AsyncOpenAI` on one event loop, its own retries off: `complete` owns them.

    Requests go out through the client's generic `post` with a body that is already JSON, and come back raw:
    `create()` spends most of its time on turning both into objects that nobody here reads.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = _open(endpoint)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def send(self, path: str, body: str, request_key: str, price: Price | None) -> tuple[Outcome, float]:
        """Send one request to a model of that *price*; returns its outcome and the seconds that it took.

        Raises nothing of the SDK's.
        """
        import httpx2  # noqa: PLC0415 (the SDK's own transport; loaded only where something is sent)
        import openai  # noqa: PLC0415 (half a second of import that readers of this module don't need)

        started = time.monotonic()
        headers = {"Content-Type": "application/json", "X-Client-Request-Id": request_key}
        try:
            response = await self._client.post(
                path, cast_to=httpx2.Response, content=body.encode("utf-8", "replace"), options={"headers": headers}
            )
            outcome = _read(response, price)
        except openai.APIStatusError as error:
            outcome = _read(error.response, price)
        except openai.APITimeoutError as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout):
                # What the aiohttp transport makes of a refused connection, too: nothing was sent.
                outcome = Outcome(Kind.RETRY, "connection", _cause(error))
            else:
                late = f"no reply within {self._endpoint.timeout_s:g} s; it may be billed"
                outcome = Outcome(Kind.RETRY, "timeout", late)
        except openai.APIConnectionError as error:
            outcome = Outcome(Kind.RETRY, "connection", _cause(error))
        return outcome, time.monotonic() - started


def _read(response: Any, price: Price | None) -> Outcome:  # noqa: ANN401 (httpx2's Response; the SDK may hand out httpx's)
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    return of_response(int(response.status_code), headers, bytes(response.content), price)


def _open(endpoint: Endpoint) -> AsyncOpenAI:
    import httpx2  # noqa: PLC0415 (see Client.send)
    from openai import AsyncOpenAI, DefaultAioHttpClient  # noqa: PLC0415 (see Client.send)

    limits = httpx2.Limits(
        max_connections=endpoint.most_connections, max_keepalive_connections=endpoint.most_connections
    )
    options: dict[str, Any] = {"timeout": endpoint.timeout_s, "limits": limits}
    if (urlsplit(endpoint.base_url).hostname or "") in ("localhost", "127.0.0.1", "::1"):
        options["trust_env"] = False  # A proxy that the environment names can't reach this machine's own loopback.
    if endpoint.ca_file:
        options["verify"] = ssl.create_default_context(cafile=endpoint.ca_file)
    return AsyncOpenAI(
        base_url=endpoint.base_url,
        # A local server often wants no key, but the SDK insists on one.
        api_key=resolve_api_key(endpoint.api_key, os.environ) or "none",
        max_retries=0,
        default_headers=endpoint.headers,
        http_client=DefaultAioHttpClient(**options),
    )


def _cause(error: BaseException) -> str:
    """The innermost cause in one line: 'Connection error.' alone helps nobody."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    text = " ".join(str(inner).split()) or type(inner).__name__
    return f"{type(inner).__name__}: {text}"[:300]
