"""The endpoint without its wire: checked requests in, response bodies out, everything on the ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .checks import check_chat, check_context, check_embeddings, output_limit
from .embed import encoded, vectors
from .faults import FaultPlan
from .ledger import Ledger
from .limits import Limits, retry_headers
from .refusals import RefusalError
from .rules import Asked, Choice, asked, choice, tokens_of
from .settings import CHAT_MODEL, EMBEDDING_DIMENSIONS, EMBEDDING_MODEL, SYSTEM_FINGERPRINT, OfflineSettings

SHAPE_FAULTS = ("refusal", "content_filter", "empty_length")
ASSUMED_COMPLETION = 16
EMPTY_LENGTH_TOKENS = 256
REFUSAL_TEXT = "I'm sorry, but I can't help with that."


class Service:
    """One endpoint's state: settings, fault plan (may be replaced while it runs), limits, ledger."""

    def __init__(self, settings: OfflineSettings) -> None:
        self.settings = settings
        self.plan: FaultPlan = settings.faults
        self.ledger = Ledger()
        self.limits = Limits(settings.rpm, settings.tpm)

    def question(self, body: Mapping[str, Any], client_id: str) -> Asked:
        """Return what a chat request asks, or raise what is wrong with it."""
        check_chat(body)
        question = asked(body, client_id)
        check_context(question.prompt_tokens, output_limit(body))
        return question

    def reserved_tokens(self, body: Mapping[str, Any], question: Asked) -> int:
        """Return what a request counts against tokens per minute: its prompt and the most that it may write."""
        return question.prompt_tokens + (output_limit(body) or ASSUMED_COMPLETION) * (body.get("n") or 1)

    def chat(self, body: Mapping[str, Any], question: Asked, fault: str | None, kind: str = "live") -> dict[str, Any]:
        """Return the completion of a checked request, billed; *fault* is one of SHAPE_FAULTS or None."""
        stop = body.get("stop") or ()
        marks = (stop,) if isinstance(stop, str) else tuple(stop)
        limit, flaws = output_limit(body), self.settings.flaws
        replies = [choice(question, index, limit, marks, flaws) for index in range(body.get("n") or 1)]
        if fault == "empty_length":
            replies = [Choice("", "length", limit or EMPTY_LENGTH_TOKENS) for _ in replies]
        elif fault == "refusal":
            replies = [Choice(REFUSAL_TEXT, "stop", tokens_of(REFUSAL_TEXT)) for _ in replies]
        elif fault == "content_filter":
            replies = [Choice("", "content_filter", 0) for _ in replies]
        completion_tokens = sum(reply.tokens for reply in replies)
        prices = self.settings.prices
        cost = question.prompt_tokens * prices.prompt + completion_tokens * prices.completion
        self.ledger.billed(kind, question.prompt_tokens, completion_tokens, cost // 2 if kind == "batch" else cost)
        return {
            "id": f"chatcmpl-{question.key[:29]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": CHAT_MODEL,
            "choices": [_choice(index, reply, fault) for index, reply in enumerate(replies)],
            "usage": {
                "prompt_tokens": question.prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": question.prompt_tokens + completion_tokens,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": completion_tokens if fault == "empty_length" else 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": SYSTEM_FINGERPRINT,
        }

    def embeddings(self, body: Mapping[str, Any], texts: list[str], kind: str = "live") -> dict[str, Any]:
        """Return the embeddings of a checked request, billed."""
        rows = vectors(texts, body.get("dimensions") or EMBEDDING_DIMENSIONS)
        tokens = sum(map(tokens_of, texts))
        cost = tokens * self.settings.prices.embedding
        self.ledger.billed(kind, tokens, 0, cost // 2 if kind == "batch" else cost)
        listed = encoded(rows, body.get("encoding_format") or "float")
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(listed)],
            "model": EMBEDDING_MODEL,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def batch_row(self, endpoint: str, body: Mapping[str, Any], custom_id: str) -> tuple[int, dict[str, Any]]:
        """Return status and body for one row of a batch: the same reply as a live request with that client id."""
        fault = self.plan.fault(custom_id, 1)
        try:
            if fault in ("429", "quota", "500", "503"):
                self.ledger.faults[fault] += 1
                raise status_fault(fault, self.plan)
            if body.get("stream"):
                raise RefusalError(400, "Streaming is not supported in the Batch API.", param="stream")
            if endpoint == "/v1/embeddings":
                return 200, self.embeddings(body, check_embeddings(body, tokens_of), "batch")
            question = self.question(body, custom_id)
            shape = fault if fault in SHAPE_FAULTS else None
            if shape:
                self.ledger.faults[shape] += 1
            return 200, self.chat(body, question, shape, "batch")
        except RefusalError as refusal:
            return refusal.status, refusal.body


def status_fault(kind: str, plan: FaultPlan) -> RefusalError:
    """Return the error of a fault that is a status: 429 (passing), quota, 500 or 503."""
    if kind == "429":
        headers = retry_headers(plan.retry_after_s)
        if plan.retry_style == "retry-after":
            del headers["retry-after-ms"]
        elif plan.retry_style == "none":
            headers = {}
        message = f"Rate limit reached for {CHAT_MODEL} on requests per min (RPM). Please slow down."
        return RefusalError(429, message, code="rate_limit_exceeded", kind="requests", headers=headers)
    if kind == "quota":
        message = "You exceeded your current quota, please check your plan and billing details."
        return RefusalError(429, message, code="insufficient_quota", kind="insufficient_quota")
    if kind == "503":
        return RefusalError(503, "That model is overloaded at the moment.", kind="server_error")
    return RefusalError(500, "The server had an error processing your request.", kind="server_error")


def _choice(index: int, reply: Choice, fault: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"index": index, "finish_reason": reply.finish_reason, "logprobs": None}
    if fault == "content_filter":
        return body
    refused = fault == "refusal"
    body["message"] = {
        "role": "assistant",
        "content": None if refused else reply.text,
        "refusal": reply.text if refused else None,
        "annotations": [],
    }
    return body
