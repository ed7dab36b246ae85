"""One stage of one run: its counts, whether they add up, and how they are told."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import Any

from personalake.errors import PersonalakeError

COUNTS = (
    "requests", "answered", "rejected", "deferred", "items", "accepted", "duplicates", "item_rejects", "none_found",
    "sent", "prompt_tokens", "completion_tokens", "cost_microusd", "wasted_microusd", "unknown_microusd",
)  # fmt: skip


@dataclass
class StageRecord:
    """One stage of one run: what `runs` keeps of it."""

    stage: str
    step: str = ""
    status: str = "done"
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    waste: dict[str, int] = field(default_factory=dict)
    engine: dict[str, float] = field(default_factory=dict)
    message: str | None = None
    said: str | None = None
    """What became of its items, in words of its own."""
    through_rank: str | None = None
    """The highest hash rank of the rows that it has dealt with; null: it has dealt with all that there were."""
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)
    started_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.timezone.utc))

    def add(self, **more: int) -> None:
        """Add to the counts."""
        for name, value in more.items():
            self.counts[name] += value

    def check(self) -> None:
        """Hold the two identities; raises :class:`PersonalakeError` where a row was lost or counted twice."""
        c = self.counts
        if c["requests"] != c["answered"] + c["rejected"] + c["deferred"]:
            raise self._broken("requests", "answered + rejected + deferred")
        if c["items"] != c["accepted"] + c["duplicates"] + c["item_rejects"]:
            raise self._broken("items", "accepted + duplicates + item_rejects")

    def _broken(self, whole: str, parts: str) -> PersonalakeError:
        return PersonalakeError(
            f"{whole} ({self.counts[whole]}) isn't {parts}: {self.counts}",
            where=f"stage {self.stage}",
            cure="nothing is lost: the stage isn't closed, and the next run does it again; please report this",
        )

    def public(self) -> dict[str, Any]:
        """The stage as `--json` prints it."""
        c = self.counts
        names = [n for n in COUNTS if not n.endswith("_microusd")]
        return {
            "stage": self.stage,
            **{name: c[name] for name in names},
            "cost_usd": c["cost_microusd"] / 1e6,
            "wasted_usd": c["wasted_microusd"] / 1e6,
            "seconds": round(self.seconds, 1),
            "status": self.status,
        }


def summary(record: StageRecord) -> str:
    """A stage in one line, for a terminal."""
    c = record.counts
    parts = []
    if c["requests"]:
        refused = f", {c['rejected']:,} replies refused" if c["rejected"] else ""
        parts.append(f"{c['requests']:,} requests ({c['sent']:,} sent{refused})")
    if c["items"] or not c["requests"]:
        parts.append(record.said or f"{c['items']:,} in, {c['accepted']:,} kept")
    parts += [
        f"{c[n]:,} {label}"
        for n, label in (("duplicates", "repeats"), ("item_rejects", "refused"), ("deferred", "waiting"))
        if c[n]
    ]
    if c["cost_microusd"]:
        parts.append(f"${c['cost_microusd'] / 1e6:.4f}")
    return f"{record.stage:<30} {' · '.join(parts)} · {record.seconds:.1f} s"
