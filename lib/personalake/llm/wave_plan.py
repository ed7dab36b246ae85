"""What the driver and a wave's tasks tell each other: whom to ask within which limits, requests, and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from personalake.llm.client import Endpoint
from personalake.llm.models import Price, Question
from personalake.settings import LlmSettings
from personalake.work import Folder

STOP_FILE = "stop"
"""A file of this name in a wave's folder asks its tasks to send nothing more, save what comes and end."""

UNFLUSHED = 2
"""So many times `flush_rows` may wait for a slow file system, then sending waits as well: a crash loses no more."""

TALLY = pa.schema(
    [
        pa.field("stage", pa.string()),
        pa.field("done", pa.int64()),
        pa.field("deferred", pa.int64()),
        pa.field("sent", pa.int64()),
        pa.field("rate_limited", pa.int64()),
        pa.field("failed_sends", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("refused", pa.string()),
        pa.field("repairs", pa.int64()),
        pa.field("unknown_microusd", pa.int64()),
        pa.field("busy_ms", pa.int64()),
        pa.field("cpu_ms", pa.int64()),
        pa.field("most_in_flight", pa.int64()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("endpoints", pa.string()),
    ]
)
"""What a task returns: a row of counts for each stage that it asked for, and why it stopped early, if it did.

`unknown_microusd` is the worst cost of sends of which nobody knows whether they are billed; `endpoints`, on the first
row alone, what each endpoint was like (JSON, see `Route.seen`); `refused` the reason of all refusals, `*` where they
differ.
"""
TALLY_DDL = (
    "stage string, done long, deferred long, sent long, rate_limited long, failed_sends long, rejected long, "
    "refused string, repairs long, unknown_microusd long, busy_ms long, cpu_ms long, most_in_flight long, "
    "outcome string, reason string, detail string, endpoints string"
)


class Asked(BaseModel):
    """Whom a stage asks: the user's name for the deployment, its price, and what a reply must look like."""

    model_config = ConfigDict(frozen=True)

    label: str
    price: Price | None
    max_tokens: int
    path: str
    inputs: int = 1
    response_schema: dict[str, Any] | None = None

    def worst_microusd(self, body: str) -> int:
        """The most that a reply to *body* can cost; 0 where the model has no price."""
        return 0 if self.price is None else self.price.worst_microusd(body, self.max_tokens)


class Plan(BaseModel):
    """What every task of a wave needs to know. It holds no key and no row.

    Limits are those of all *tasks* together; a task takes its share.
    """

    model_config = ConfigDict(frozen=True)

    wave: str
    part: str | None = None
    tasks: int
    stages: dict[str, Asked]
    endpoints: list[Endpoint]
    max_attempts: int
    patience_s: float
    backoff_s: float = 0.5
    flush_s: float
    flush_rows: int
    allowance_microusd: int | None = None
    """What this one task may spend, the worst cost of what is in flight included; null: it needn't count."""

    def alone(self, part: str, in_flight: int) -> Plan:
        """The plan of one task that asks a few requests of the wave before all others."""
        endpoints = [endpoint.model_copy(update={"in_flight": in_flight}) for endpoint in self.endpoints]
        attempts = min(3, self.max_attempts)
        return self.model_copy(update={"part": part, "tasks": 1, "endpoints": endpoints, "max_attempts": attempts})

    @property
    def most_lost(self) -> int:
        """Requests whose replies a crash of all tasks can lose, at most: those in flight, and those not flushed yet."""
        in_flight = sum(max(endpoint.in_flight, self.tasks) for endpoint in self.endpoints)
        inputs = max(asked.inputs for asked in self.stages.values())
        return in_flight * inputs + self.tasks * UNFLUSHED * max(self.flush_rows, inputs)

    @classmethod
    def of(
        cls,
        settings: LlmSettings,
        endpoints: list[Endpoint],
        wave: Folder,
        questions: Mapping[str, Question],
        tasks: int,
        allowance_microusd: int | None = None,
    ) -> Plan:
        """The plan of *tasks* tasks that ask *questions* (by stage), together spending *allowance_microusd*."""
        return cls(
            wave=wave.address,
            tasks=tasks,
            stages={
                name: Asked(
                    label=q.label,
                    price=q.abilities.price,
                    max_tokens=q.role.max_tokens,
                    path=q.path,
                    inputs=q.inputs,
                    response_schema=q.response_schema,
                )
                for name, q in questions.items()
            },
            endpoints=endpoints,
            max_attempts=settings.max_attempts,
            patience_s=settings.patience_s,
            flush_s=settings.flush_s,
            flush_rows=settings.flush_rows,
            allowance_microusd=None if allowance_microusd is None else allowance_microusd // tasks,
        )


class Request(NamedTuple):
    """A frozen request, as a task gets it."""

    request_key: str
    stage: str
    body: str
    est_tokens: int


def requests_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Request]:
    """The requests in *batches*, one after the other."""
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in Request._fields)
        yield from map(Request._make, zip(*columns, strict=True))


@dataclass
class Tally:
    """The counts of one stage: a row of :data:`TALLY`."""

    stage: str
    done: int = 0
    deferred: int = 0
    sent: int = 0
    rate_limited: int = 0
    failed_sends: int = 0
    rejected: int = 0
    refused: str | None = None
    repairs: int = 0
    unknown_microusd: int = 0
    busy_ms: int = 0
    cpu_ms: int = 0
    most_in_flight: int = 0
    outcome: str | None = None
    reason: str | None = None
    detail: str | None = None
    endpoints: str | None = None
