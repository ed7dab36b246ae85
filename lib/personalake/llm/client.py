"""The one place that speaks to an endpoint: a send through the `openai` SDK, and what came of it."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from personalake.api_key import key_stamp, resolve_api_key
from personalake.errors import SettingsError
from personalake.llm.embeddings import PATH, of_embeddings
from personalake.llm.models import Price
from personalake.llm.outcome import Kind, Outcome, of_response
from personalake.settings import OFFLINE, ApiKeySettings, EndpointSettings, LlmSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class Endpoint(BaseModel):
    """How to reach an endpoint, and what all tasks together may do there.

    It travels to the workers, so it holds where the key is found, never the key.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    base_url: str
    api_key: ApiKeySettings
    headers: dict[str, str]
    ca_file: str | None
    timeout_s: float
    most_bytes: int
    weight: float
    in_flight: int
    requests_per_minute: float | None
    tokens_per_minute: float | None

    @classmethod
    def all_of(cls, settings: LlmSettings, offline_url: str, others: Sequence[EndpointSettings] = ()) -> list[Endpoint]:
        """The endpoints of *settings*, or *others* instead; the embedded one is at *offline_url*, once it runs."""
        return [
            cls(
                name=each.base_url,
                base_url=offline_url if each.base_url == OFFLINE else each.base_url,
                api_key=each.api_key or settings.api_key,
                headers={**settings.headers, **each.headers},
                ca_file=each.ca_file or settings.ca_file,
                timeout_s=settings.timeout_s,
                most_bytes=settings.max_reply_bytes,
                weight=each.weight,
                in_flight=each.in_flight or settings.in_flight,
                requests_per_minute=each.requests_per_minute or settings.requests_per_minute,
                tokens_per_minute=each.tokens_per_minute or settings.tokens_per_minute,
            )
            for each in others or settings.all_endpoints()
        ]


@dataclass(frozen=True)
class Sent:
    """What came of one send: its outcome, the reply's headers (lower-case names) and the seconds that it took."""

    outcome: Outcome
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)


class Client:
    """One `AsyncOpenAI` on one event loop, its own retries off: `complete` owns them.

    Requests go out through the client's generic `post` with a body that is already JSON, and come back raw:
    `create()` spends most of its time on turning both into objects that nobody here reads.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        import httpx2  # noqa: PLC0415 (the SDK's own transport; loaded only where something is sent)
        import openai  # noqa: PLC0415 (half a second of import that readers of this module don't need)

        from personalake.llm.transport import TOLD, TooLargeError  # noqa: PLC0415 (as above)

        self._openai, self._httpx, self._too_large, self._told = openai, httpx2, TooLargeError, TOLD
        self._endpoint = endpoint
        self._stamp = key_stamp(endpoint.api_key)
        self._client = _open(endpoint)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def renew_key(self) -> None:
        """Read the key again where its file has changed."""
        stamp = key_stamp(self._endpoint.api_key)
        if stamp is None or stamp == self._stamp:
            return
        with contextlib.suppress(SettingsError):  # Half written: the key that is known holds until the next look.
            self._client.api_key = resolve_api_key(self._endpoint.api_key, os.environ) or "none"
            self._stamp = stamp

    async def send(self, path: str, body: str, request_key: str, price: Price | None) -> Sent:
        """Send one request to a model of that *price*; raises nothing of the SDK's."""
        started = time.monotonic()
        headers = {"Content-Type": "application/json", "X-Client-Request-Id": request_key}
        try:
            response = await self._client.post(
                self._endpoint.base_url.rstrip("/") + path,  # Whole: the SDK spends a tenth of a send on joining it.
                cast_to=self._httpx.Response,
                content=body.encode("utf-8", "replace"),
                options={"headers": headers},
            )
        except self._openai.APIStatusError as error:
            response = error.response
        except (self._openai.APIConnectionError, self._openai.APITimeoutError) as error:
            return Sent(self._broken(error), time.monotonic() - started)
        told: dict[str, str] = response.extensions.get(self._told, {})
        judge = of_embeddings if path == PATH else of_response
        outcome = judge(int(response.status_code), told, bytes(response.content), price)
        return Sent(outcome, time.monotonic() - started, told)

    def _broken(self, error: Exception) -> Outcome:
        """A send without a whole reply: never sent, or sent and perhaps billed."""
        cause = error.__cause__
        if isinstance(cause, self._httpx.ConnectError):
            return Outcome(Kind.RETRY, "connection", str(cause)[:300])
        if isinstance(cause, self._too_large):
            return Outcome(Kind.REJECT, "too_large", str(cause), unknown=True)
        if isinstance(cause, self._httpx.TimeoutException):
            late = f"no reply within {self._endpoint.timeout_s:g} s; it may be billed"
            return Outcome(Kind.RETRY, "timeout", late, unknown=True)
        return Outcome(Kind.RETRY, "cut_connection", str(cause or error)[:300], unknown=True)


def _open(endpoint: Endpoint) -> AsyncOpenAI:
    import httpx2  # noqa: PLC0415 (see Client)
    from openai import AsyncOpenAI  # noqa: PLC0415 (see Client)

    from personalake.llm.transport import Transport  # noqa: PLC0415 (see Client)

    context: Any = ssl.create_default_context(cafile=endpoint.ca_file) if endpoint.ca_file else None
    if context is None and endpoint.base_url.startswith("https:"):
        context = httpx2.create_ssl_context()
    transport = Transport(
        connections=endpoint.in_flight,
        timeout_s=endpoint.timeout_s,
        most_bytes=endpoint.most_bytes,
        context=context if context is not None else True,
        # A proxy that the environment names can't reach this machine's own loopback.
        trust_env=(urlsplit(endpoint.base_url).hostname or "") not in ("localhost", "127.0.0.1", "::1"),
    )
    # Only what aiohttp always unpacks.
    client = httpx2.AsyncClient(
        transport=transport, timeout=None, follow_redirects=True, headers={"Accept-Encoding": "gzip, deflate"}
    )
    return AsyncOpenAI(
        base_url=endpoint.base_url,
        # A local server often wants no key, but the SDK insists on one.
        api_key=resolve_api_key(endpoint.api_key, os.environ) or "none",
        max_retries=0,
        default_headers=endpoint.headers,
        http_client=client,
    )
