"""What a stage of a run sent, what it was like, and why it stopped early."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personalake.llm.latency import Latencies


@dataclass
class _Seen:
    """One endpoint, as all tasks together saw it."""

    sent: int = 0
    rate_limited: int = 0
    failed: int = 0
    most_in_flight: int = 0
    window: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    def take(self, told: Mapping[str, Any]) -> None:
        self.sent += told["sent"]
        self.rate_limited += told["rate_limited"]
        self.failed += told["failed"]
        self.most_in_flight += told["most_in_flight"]
        self.window += told["window"]
        self.latencies = self.latencies.merge([Latencies.of_json(told["latencies"])])


@dataclass
class Spent:
    """What a stage of this run sent, and why it stopped early, if it did."""

    sent: int = 0
    rate_limited: int = 0
    failed_sends: int = 0
    repairs: int = 0
    unknown_microusd: int = 0
    most_in_flight: int = 0
    busy_ms: int = 0
    cpu_ms: int = 0
    repeated_microusd: int = 0
    unusable_microusd: int = 0
    stopped: str | None = None
    out_of_budget: bool = False
    warnings: set[str] = field(default_factory=set)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def take(self, tally: Mapping[str, Any]) -> None:
        """Add a task's tally."""
        self.sent += tally["sent"]
        self.rate_limited += tally["rate_limited"]
        self.failed_sends += tally["failed_sends"]
        self.repairs += tally["repairs"]
        self.unknown_microusd += tally["unknown_microusd"]
        self.busy_ms = max(self.busy_ms, tally["busy_ms"])
        self.cpu_ms += tally["cpu_ms"]
        if tally["outcome"] == "defer" and tally["reason"] == "budget":
            self.out_of_budget = True  # The task's part of it: what the others have left decides.
        elif tally["outcome"] == "defer":
            self.stopped = f"{tally['reason']}: {tally['detail']}"
        for told in json.loads(tally["endpoints"] or "[]"):
            if "sent" in told:
                self._seen.setdefault(told["endpoint"], _Seen()).take(told)
            if told["closed"] and tally["outcome"] is None:
                self.warnings.add(f"{told['endpoint']} took no more requests: {told['closed']}")
        self.most_in_flight = max(self.most_in_flight, sum(seen.most_in_flight for seen in self._seen.values()))

    def figures(self) -> dict[str, float]:
        """The engine's figures, as `runs.engine` keeps them; those of one endpoint of several end with its address."""
        figures = {
            "rate_limited": float(self.rate_limited),
            "failed_sends": float(self.failed_sends),
            "repairs": float(self.repairs),
            "most_in_flight": float(self.most_in_flight),
            "busy_seconds": self.busy_ms / 1000,
            "cpu_seconds": self.cpu_ms / 1000,
        }
        for name, seen in self._seen.items():
            about = {
                "latency_p50_ms": seen.latencies.percentile_ms(0.5),
                "latency_p95_ms": seen.latencies.percentile_ms(0.95),
                "latency_p99_ms": seen.latencies.percentile_ms(0.99),
                "window": seen.window,
            }
            if len(self._seen) > 1:
                about |= {
                    "sent": float(seen.sent),
                    "rate_limited": float(seen.rate_limited),
                    "failed": float(seen.failed),
                }
            at = f" {name}" if len(self._seen) > 1 else ""
            figures |= {f"{figure}{at}": value for figure, value in about.items()}
        return figures
