"""What a report says, as plain values: whoever reads the store fills these in, and :func:`html.render` draws them.

Kept free of Spark and of HTML. Every text may come from the open web or from a model, so none of them is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Status = Literal["done", "deferred", "failed"]
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Rows, tokens and money over some span: one run, or the whole store (money in US dollars)."""

    documents: int = 0
    personas: int = 0
    hub: int = 0
    examples: int = 0
    solutions: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0


@dataclass(frozen=True)
class Drop:
    """How many rows were dropped for one typed reason; without *explanation* the report's own words are used."""

    reason: str
    count: int
    explanation: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """One stage, or one step of one task: what went in, what was asked, what came out.

    *row* and *item* say in the singular, with an article, what one input row and one item is ("a page", "a persona").
    *source* is the :attr:`label` of the stage that the rows come from; empty for the stage before this one in the list.
    *rejected* counts requests, *item_rejects* items; *dropped* gives the reasons of both.
    A stage that asks no endpoint leaves *requests* at 0, and its *items* are its *rows_in*.
    """

    name: str
    row: str
    item: str
    step: str = ""
    source: str = ""
    rows_in: int = 0
    kept: int = 0
    dropped: tuple[Drop, ...] = ()
    deferred: int = 0
    duplicates: int = 0
    none_found: int = 0
    requests: int = 0
    sent: int = 0
    answered: int = 0
    rejected: int = 0
    items: int = 0
    item_rejects: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Stage and step as one name."""
        return f"{self.name} {self.step}".strip()

    @property
    def asks(self) -> bool:
        """Whether this stage asks an endpoint."""
        return bool(self.requests or self.sent)

    @property
    def requests_hold(self) -> bool:
        """Whether ``requests = answered + rejected + deferred``."""
        return self.requests == self.answered + self.rejected + self.deferred

    @property
    def items_hold(self) -> bool:
        """Whether ``items = accepted + duplicates + rejected``."""
        return self.items == self.kept + self.duplicates + self.item_rejects

    @property
    def unexplained(self) -> int:
        """Dropped rows that :attr:`dropped` names no reason for."""
        return max(0, self.rejected + self.item_rejects - sum(drop.count for drop in self.dropped))

    @property
    def cost_per_kept(self) -> float | None:
        """US dollars for each kept row, or None where nothing was kept."""
        return self.cost_usd / self.kept if self.kept else None


@dataclass(frozen=True, kw_only=True)
class PersonaSample:
    """A kept persona beside the page that it goes back to, and the *parent* that it was asked of, if it was of one."""

    text: str
    parent: str = ""
    title: str = ""
    url: str = ""
    licence: str = ""
    relation: str = ""
    evidence: str = ""
    occupation: str = ""
    domain: str = ""
    language: str = ""
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class DuplicateSample:
    """A dropped text beside the kept one that it repeats; *similarity* is the exact one, 0 to 1."""

    dropped: str
    kept: str
    similarity: float
    kind: str = "persona"
    method: str = ""
    language: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation: ``user``, ``assistant`` or ``system``, and what it says."""

    role: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ExampleSample:
    """A synthetic example as a conversation, the persona that wrote it, and its extracted final answer if any."""

    task: str
    turns: tuple[Turn, ...]
    persona: str = ""
    answer: str = ""
    variation: tuple[tuple[str, str], ...] = ()
    language: str = ""
    licence: str = ""
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class RejectSample:
    """Something refused: where, for which typed reason, in detail, and its raw text."""

    stage: str
    reason: str
    raw: str = ""
    detail: str = ""
    where: str = ""
    language: str = ""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The rows that a reader looks at; how many of each is the caller's choice."""

    personas: tuple[PersonaSample, ...] = ()
    duplicates: tuple[DuplicateSample, ...] = ()
    examples: tuple[ExampleSample, ...] = ()
    rejects: tuple[RejectSample, ...] = ()

    def __len__(self) -> int:
        return len(self.personas) + len(self.duplicates) + len(self.examples) + len(self.rejects)


@dataclass(frozen=True)
class Growth:
    """How many different ones there were after each run, oldest first: the run's number, and about how many."""

    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """All that the report says.

    *stand_in* is true where the embedded endpoint wrote any text. *stages_of* says what the stages' figures span
    ("this run", "all runs of this store"). *languages* and *domains* are counted over the hub, in any order.
    *coverage* and *diversity* have tables: a caption, and rows by their columns, of which the first names the row.
    *settings* is YAML-like text without keys; *waste* is wasted US dollars by cause, this run.
    """

    store: str
    run_id: str
    started_at: datetime
    seconds: float
    status: Status
    version: str
    message: str = ""
    stand_in: bool = False
    models: tuple[str, ...] = ()
    run_totals: Totals = field(default_factory=Totals)
    store_totals: Totals = field(default_factory=Totals)
    stages: tuple[StageFacts, ...] = ()
    stages_of: str = "this run"
    samples: Samples = field(default_factory=Samples)
    languages: Counts = ()
    domains: Counts = ()
    semantic_dedup: str = "not run"
    coverage: tuple[tuple[str, tuple[dict[str, str], ...]], ...] = ()
    diversity: tuple[tuple[str, tuple[dict[str, str], ...]], ...] = ()
    growth: tuple[Growth, ...] = ()
    waste: tuple[tuple[str, float], ...] = ()
    settings: str = ""
    warnings: tuple[str, ...] = ()
