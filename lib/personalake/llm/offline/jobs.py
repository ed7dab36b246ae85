"""A checked request on its way to its reply: what it reserves, what it answers, what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from .canned import Canned
from .checks import check_chat, check_context, check_embeddings, output_limit
from .draw import Draw
from .embed import encoded, vectors
from .faults import FaultPlan
from .ledger import Bill, Ledger
from .misreplies import SHAPES, choice_json, misshapen
from .rules import Choice, asked, choice, tokens_of
from .settings import (
    CANNED_MODEL,
    EMBEDDING_DIMENSIONS,
    EMBEDDING_MODEL,
    SYSTEM_FINGERPRINT,
    OfflineSettings,
)
from .standin import payload as standin_payload
from .standin import standin
from .wire import encode

ASSUMED_COMPLETION = 16


class Order(NamedTuple):
    """Whose request it is (ledger key, client's id, which attempt), ``live`` or ``batch``, and under which plan."""

    key: str
    client_id: str
    attempt: int
    plan: FaultPlan
    kind: str = "live"


class Job(Protocol):
    """What routes and batches need of a checked request."""

    model: str
    reserved: int
    bill: Bill | None

    def payload(self, fault: str | None) -> bytes:
        """Return the whole reply as JSON, and bill it."""


class ChatJob:
    """A chat completion; raises what is wrong with the request as it is made."""

    def __init__(self, order: Order, body: Mapping[str, Any], settings: OfflineSettings, ledger: Ledger) -> None:
        check_chat(body)
        self._order, self._body, self._settings, self._ledger = order, body, settings, ledger
        self._question = asked(body, order.client_id)
        self._limit = output_limit(body)
        check_context(self._question.prompt_tokens, self._limit)
        ledger.repairs += self._question.repair
        self.model: str = body["model"]
        self._canned = order.plan.reply or (Canned() if self.model == CANNED_MODEL else None)
        self._count: int = body.get("n") or 1
        self.reserved = self._question.prompt_tokens + (self._limit or ASSUMED_COMPLETION) * self._count
        self.bill: Bill | None = None

    @property
    def usage_streamed(self) -> bool:
        """Whether a stream shall end with its usage."""
        return bool((self._body.get("stream_options") or {}).get("include_usage"))

    def payload(self, fault: str | None) -> bytes:
        """Return the completion as JSON, and bill it; a canned one is put together without an encoder."""
        if self._canned is None or self._count > 1 or fault in SHAPES:
            return encode(self.completion(fault))
        question = self._question
        reply = standin(self._canned, question.key, question.schema, self._limit)
        self._charge(reply.tokens)
        return standin_payload(reply, question.key, self.model, question.prompt_tokens, int(time.time()))

    def completion(self, fault: str | None) -> dict[str, Any]:
        """Return the completion as an object, and bill it; *fault* changes it if it is one of SHAPES."""
        shape = fault if fault in SHAPES else None
        replies = [self._reply(index, shape) for index in range(self._count)]
        prompt, tokens = self._question.prompt_tokens, sum(reply.tokens for reply in replies)
        self._charge(tokens)
        return {
            "id": f"chatcmpl-{self._question.key[:29]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [choice_json(index, reply, shape) for index, reply in enumerate(replies)],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": tokens,
                "total_tokens": prompt + tokens,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": tokens if shape == "empty_length" else 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": SYSTEM_FINGERPRINT,
        }

    def _reply(self, index: int, shape: str | None) -> Choice:
        question, order = self._question, self._order
        if self._canned is not None:
            reply = standin(self._canned, question.key if not index else Draw(question.key, index).hex("key", 16),
                            question.schema, self._limit)  # fmt: skip
        else:
            stop = self._body.get("stop") or ()
            marks = (stop,) if isinstance(stop, str) else tuple(stop)
            reply = choice(question, index, self._limit, marks, self._settings.flaws)
        if shape is None:
            return reply
        draw = Draw("misreply", order.plan.seed, order.key, order.attempt)
        return misshapen(shape, reply, question, self._limit, draw)

    def _charge(self, completion: int) -> None:
        prompt, prices = self._question.prompt_tokens, self._settings.prices
        cost = prompt * prices.prompt + completion * prices.completion
        self.bill = _billed(self._ledger, self._order, prompt, completion, cost)


class EmbeddingJob:
    """Embeddings of one or more texts; raises what is wrong with the request as it is made."""

    def __init__(self, order: Order, body: Mapping[str, Any], settings: OfflineSettings, ledger: Ledger) -> None:
        self._texts = check_embeddings(body, tokens_of)
        self._order, self._body, self._settings, self._ledger = order, body, settings, ledger
        self.model = EMBEDDING_MODEL
        self.reserved = sum(map(tokens_of, self._texts))
        self.bill: Bill | None = None

    def payload(self, fault: str | None) -> bytes:
        """Return the vectors as JSON, and bill them; no fault changes their shape."""
        del fault
        rows = vectors(self._texts, self._body.get("dimensions") or EMBEDDING_DIMENSIONS)
        cost = self.reserved * self._settings.prices.embedding
        self.bill = _billed(self._ledger, self._order, self.reserved, 0, cost)
        listed = encoded(rows, self._body.get("encoding_format") or "float")
        body = {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(listed)],
            "model": EMBEDDING_MODEL,
            "usage": {"prompt_tokens": self.reserved, "total_tokens": self.reserved},
        }
        return encode(body)


def _billed(ledger: Ledger, order: Order, prompt: int, completion: int, pico_usd: int) -> Bill:
    """A row of a batch costs half."""
    cost = pico_usd // 2 if order.kind == "batch" else pico_usd
    bill = Bill(order.key, order.kind, prompt, completion, cost)
    ledger.billed(bill)
    return bill


JOBS: dict[str, Callable[[Order, Mapping[str, Any], OfflineSettings, Ledger], Job]] = {
    "/v1/chat/completions": ChatJob,
    "/v1/embeddings": EmbeddingJob,
}
