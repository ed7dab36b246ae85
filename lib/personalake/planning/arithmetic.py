"""The arithmetic of a plan: from what was measured, or is assumed, to requests, tokens, cost and time. No Spark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from personalake.llm.models import Price

ASSUMED, EXACT = "assumed", "exact"

# What the bundled pages bring with the embedded endpoint (`make run`), where nothing better is known.
PERSONAS_OF_ALLOWED = 0.64  # accepted personas a page, of the `personas_per_page` that it may bring
TOKENS_OF_PERSONA = 72  # of a reply, for each persona that the page may bring
TOKENS_OF_VERDICT = 30  # of a judge's reply: at most 20 words, and a number
KEPT_OF_PERSONAS = 0.98  # by dedup; a crawl of one site keeps fewer
ACCEPTED_OF_ASKED = 0.95  # of a task's step
# The stand-ins' texts are shorter than a model's, so a step's reply is taken for half of what it may be.
REPLY_OF_MOST = 0.5
# Most pages of a crawl are shorter than the cut.
PAGE_OF_MOST = 0.6
# Bytes that a page takes: of Common Crawl's archives (about 1 GB and 30,000 pages a .warc.gz, 150 MB a .wet.gz), and of
# JSONL with 3,000 characters a page; unpacked files are three to five times larger.
PAGE_BYTES = {
    "warc.gz": 30_000, "warc": 120_000, "wet.gz": 5_000, "wet": 15_000, "jsonl.gz": 1_200, "jsonl": 3_300,
}  # fmt: skip
# Bytes that a persona of one or two sentences takes.
PERSONA_BYTES = {"jsonl.gz": 100, "jsonl": 250, "parquet": 120}
# A hosted model of the small kind: half a second to begin, then some 60 tokens a second.
BEGIN_S, TOKENS_PER_S = 0.5, 60.0
_ROWS = {"requests": "requests", "answered": "pages", "items": "personas", "accepted": "pages"}
"""What a count counts, in words."""
_SURE = 1.96
_HALF = 0.5


@dataclass(frozen=True)
class Figure:
    """A number and how it is known: `assumed`, `exact`, or from *rows* rows of what *basis* says."""

    value: float
    basis: str = ASSUMED
    rows: int = 0


def best(figures: Iterable[Figure]) -> Figure:
    """The figure that rests on the most rows; of equals the first."""
    return max(figures, key=lambda figure: figure.rows)


def weakest(*figures: Figure) -> Figure:
    """The figure that rests on the fewest rows: what is made of several is no better known than this one."""
    return min(figures, key=lambda figure: figure.rows)


def at_least(share: Figure) -> float:
    """The lower end of a share's 95 % interval (Wilson); half of one that is assumed."""
    if not share.rows:
        return share.value * _HALF
    n, p, z = share.rows, min(1.0, share.value), _SURE
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n))


class Replies(NamedTuple):
    """What the replies of a stage were like: means for a request, and percentiles."""

    rows: int
    prompt: float
    output: float
    p50: float
    p95: float
    cached_share: float
    latency_s: float
    microusd: float


@dataclass(frozen=True)
class Measures:
    """What one store's tables have measured; *pilot* is the number of its pages where it is a pilot's."""

    replies: Mapping[str, Replies] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By kind of file: the pages or personas found in it, and its bytes."""
    prompt_ratio: tuple[float, int] | None = None
    """Tokens of prompts as billed to those estimated, and the replies that tell."""
    pilot: int | None = None

    def figure(self, value: float, rows: int, what: str) -> Figure:
        """*value*, measured here on *rows* of *what*."""
        basis = f"measured on {rows:,} {what}" if self.pilot is None else f"pilot of {self.pilot:,} pages"
        return Figure(value, basis, rows)


class Known:
    """What several stores have measured, the better of them each time, and what is assumed where none has."""

    def __init__(self, measures: Sequence[Measures]) -> None:
        self._measures = measures

    def share(self, stage: str, part: str, whole: Sequence[str], assumed: float) -> Figure:
        """The count *part* of a stage to its counts *whole*."""
        found = [Figure(assumed)]
        for each in self._measures:
            counts = each.counts.get(stage, {})
            rows = sum(counts.get(name, 0) for name in whole)
            if rows:
                found.append(each.figure(counts.get(part, 0) / rows, rows, _ROWS.get(whole[0], "rows")))
        return best(found)

    def size(self, kind: str, assumed: Mapping[str, int]) -> Figure:
        """Bytes that one page (or persona) takes in a file of this kind; 0 for a kind that holds none."""
        found = [Figure(assumed.get(kind.rsplit(" ", maxsplit=1)[-1], 0))]
        for each in self._measures:
            pages, size = each.sizes.get(kind, (0, 0))
            if pages:
                found.append(each.figure(size / pages, pages, "rows of such files"))
        return best(found)

    def prompt_ratio(self) -> Figure:
        """Tokens of a prompt as billed, to those estimated from its bytes."""
        told = [(each, *each.prompt_ratio) for each in self._measures if each.prompt_ratio]
        return best([Figure(1.0), *(each.figure(ratio, rows, "replies") for each, ratio, rows in told)])

    def replies(self, stage: str, assumed: Replies) -> tuple[Replies, Figure]:
        """What a reply of *stage* is like, and its mean tokens as a figure."""
        found = [(assumed, Figure(assumed.output))]
        for each in self._measures:
            if stage in each.replies:
                told = each.replies[stage]
                found.append((told, each.figure(told.output, told.rows, "replies")))
        return max(found, key=lambda pair: pair[1].rows)


def latency_s(output_tokens: float) -> float:
    """Seconds that a hosted model is assumed to take for so many tokens."""
    return BEGIN_S + output_tokens / TOKENS_PER_S


class Limits(NamedTuple):
    """How hard the endpoints may be used, all together; null: without limit."""

    in_flight: int
    requests_per_minute: float | None
    tokens_per_minute: float | None

    def seconds(self, requests: float, tokens: float, latency: float) -> tuple[float, str]:
        """How long so much takes at least, and the limit that says so."""
        bounds = [(requests * latency / self.in_flight, f"{self.in_flight:,} in flight")]
        if self.requests_per_minute:
            bounds.append((requests / self.requests_per_minute * 60, f"{self.requests_per_minute:,.0f} requests/min"))
        if self.tokens_per_minute:
            bounds.append((tokens / self.tokens_per_minute * 60, f"{self.tokens_per_minute:,.0f} tokens/min"))
        # Fewer requests than places in flight still take one reply's time.
        took, limit = max(bounds)
        return (latency, "one reply's time") if 0 < took < latency and requests else (took, limit)


class Need(NamedTuple):
    """Requests that a stage has to send, expected and at worst."""

    expected: float
    worst: float


class TaskNeed(NamedTuple):
    """What a task asks of its writing step and of each answering step, and the examples that come of it."""

    writing: Need
    answering: Need
    examples: float


def task_need(
    target: int, complete: int, waiting: int, available: Need, writes: Figure, answers: Sequence[Figure]
) -> TaskNeed:
    """What a task needs to get from *complete* examples (and *waiting* ones, without an answer yet) to its target.

    Expected with the shares of replies that hold (*writes*, *answers* of each answering step), at worst with the lower
    ends of theirs; and never more than there are personas *available* to write.
    """
    whole, least = math.prod(f.value for f in answers), math.prod(at_least(f) for f in answers)
    missing = max(0.0, target - complete - waiting * whole)
    written = min(available.expected, _over(missing, writes.value * whole))
    most_missing = max(0.0, target - complete - waiting * least)
    most = min(available.worst, _over(most_missing, at_least(writes) * least))
    answered = waiting + written * writes.value
    examples = min(float(max(target, complete)), complete + answered * whole)
    most_answered = waiting + min(most, _over(most_missing, least))
    return TaskNeed(Need(written, max(most, written)), Need(answered, max(most_answered, answered)), examples)


def _over(missing: float, share: float) -> float:
    return 0.0 if missing <= 0 else math.inf if share <= 0 else missing / share


def microusd(price: Price | None, prompt: float, cached_share: float, output: float) -> float | None:
    """What so many tokens cost; null without a price."""
    if price is None:
        return None
    return float(price.microusd(round(prompt), round(prompt * cached_share), round(output)))
