"""From where a store stands, and what was measured, to what the next run would send. No table is read here.

What can be known was counted (`standing.py`); what comes after it is estimated from what this store or its pilot has
measured, else from the assumptions of `arithmetic.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from personalake import embed
from personalake.asking import stage_name
from personalake.inputs import Inputs
from personalake.llm.client import Endpoint
from personalake.personas.expand import stage_of
from personalake.personas.judge import CHECK
from personalake.planning import arithmetic
from personalake.planning.arithmetic import EXACT, Figure, Known, Limits, Measures, Need, Replies, weakest
from personalake.planning.measured import OWN
from personalake.planning.specs import Spec, specs
from personalake.planning.standing import Asked, Standing, TaskState
from personalake.reach import DEDUP_OF_HOP
from personalake.settings import LlmSettings
from personalake.synthesis.tasks import Task

_CERTAIN = 1 << 62
"""Rows behind a figure that was counted."""
_BATCH_S = 24 * 3600.0
"""The Batch API's window."""


@dataclass(frozen=True)
class StagePlan:
    """What a stage would send, expected and at worst; money in millionths of a dollar, null without a price."""

    stage: str
    model: str
    known: int
    requests: Figure
    worst_requests: float
    prompt: Figure
    output: Figure
    reply: Replies
    cost: float | None
    worst: float | None
    each: float | None
    seconds: float
    limit: str


@dataclass
class Forecast:
    """A whole plan: its stages, the figures that it rests on, what accepted rows cost, and what else is to be said."""

    stages: list[StagePlan] = field(default_factory=list)
    figures: list[tuple[str, Figure]] = field(default_factory=list)
    accepted: list[tuple[str, float, float | None]] = field(default_factory=list)
    """Kind of row, how many the run would bring, and what one costs (millionths of a dollar)."""
    notes: list[str] = field(default_factory=list)

    def keep(self, name: str, figure: Figure) -> Figure:
        """Count a figure among those that the plan rests on, and return it."""
        self.figures.append((name, figure))
        return figure

    def total(self, name: str) -> float | None:
        """The sum of the stages' `cost` or `worst`; null where one that may send has no price."""
        found = [getattr(stage, name) for stage in self.stages if stage.worst_requests]
        return None if None in found else float(sum(found))

    @property
    def unpriced(self) -> list[str]:
        """The models without a price that would be asked."""
        return sorted({stage.model for stage in self.stages if stage.worst_requests and stage.cost is None})


def limits_of(llm: LlmSettings) -> Limits:
    """What all endpoints together may be asked; one without a limit lifts it for all."""
    endpoints = Endpoint.all_of(llm, "")
    requests = [each.requests_per_minute for each in endpoints]
    tokens = [each.tokens_per_minute for each in endpoints]
    return Limits(
        sum(each.in_flight for each in endpoints),
        None if None in requests else sum(filter(None, requests)),
        None if None in tokens else sum(filter(None, tokens)),
    )


def forecast(inputs: Inputs, stand: Standing, measures: Sequence[Measures]) -> Forecast:
    """What the next run over *inputs* would ask, from where its store stands and what was measured."""
    return _Forecaster(inputs, stand, measures).whole()


class _Forecaster:
    """One plan in the making: each stage's numbers follow from those of the one before."""

    def __init__(self, inputs: Inputs, stand: Standing, measures: Sequence[Measures]) -> None:
        self._inputs, self._stand, self._known = inputs, stand, Known(measures)
        self._specs, self._made = specs(inputs), Forecast()
        self._limits, self._batch = limits_of(inputs.settings.llm), inputs.settings.llm.transport == "batch"
        self._ratio = self._known.prompt_ratio()

    def whole(self) -> Forecast:
        stand, made = self._stand, self._made
        asked, unread = stand.asked.get("infer", Asked()), self._unread_pages()
        requests = Figure(asked.requests + unread.value, unread.basis, unread.rows)
        if not unread.value:
            requests = Figure(asked.requests, EXACT, _CERTAIN)
        of_page = self._of_page()
        keeps = made.keep("personas kept by dedup", self._share("dedup", ("items",), arithmetic.KEPT_OF_PERSONAS))
        own = self._unread("persona", arithmetic.PERSONA_BYTES, own=True).value
        before = stand.hub + (stand.fresh_personas + own) * keeps.value
        wanted = self._wanted(requests, before, of_page * keeps.value)
        self._stage("infer", asked, Need(wanted.value, requests.value), wanted)
        brought, most = self._personas(asked.known + wanted.value, of_page)
        new = stand.fresh_personas + brought + own
        hub, expanded, more = self._hops(stand.hub, new * keeps.value)
        most += more
        if CHECK in self._specs:
            written = stand.fresh_personas + brought + expanded
            told = Figure(written, keeps.basis, keeps.rows)
            self._stage(CHECK, Asked(), Need(written, stand.fresh_personas + most), told)
        if embed.STAGE in self._specs:
            bare = max(0, stand.hub - stand.embedded)
            asks = Figure(bare + new + expanded, keeps.basis, keeps.rows)
            self._stage(embed.STAGE, Asked(), Need(asks.value, bare + stand.fresh_personas + most + own), asks)
        for task, target in self._inputs.tasks:
            tried = stand.tasks.get(task.task, TaskState()).tried
            widest = stand.hub + stand.fresh_personas + most + own
            self._task(task, target, Need(max(0.0, hub - tried), max(0.0, widest - tried)))
        made.keep("prompt tokens, billed to estimated", self._ratio)
        return made

    def _hops(self, hub: float, came: float) -> tuple[float, float, float]:
        """The hub behind all hops, if *came* personas enter it before; what the hops bring, and may bring at most."""
        settings, hub, widest = self._inputs.settings.expand, hub + came, came
        most = brought = 0.0
        for hop in range(1, settings.hops + 1):
            stage, asked = stage_of(hop), self._stand.asked.get(stage_of(hop), Asked())
            assumed = arithmetic.PERSONAS_OF_ALLOWED * settings.fan_out
            brings = self._made.keep(f"personas accepted, {stage}", self._share(stage, ("answered",), assumed))
            keeps = self._share(f"{DEDUP_OF_HOP}{hop}", ("items",), arithmetic.KEPT_OF_PERSONAS)
            each = brings.value * keeps.value
            wanted = min(asked.requests + came, self._lacking(hub) / each if each else math.inf)
            need = Need(wanted, asked.requests + max(came, widest))
            basis = Figure(need.expected, brings.basis, brings.rows)
            plan = self._stage(stage, asked, need, basis if came else Figure(asked.requests, EXACT, _CERTAIN))
            cost = None if plan.each is None or not brings.value else plan.each / brings.value
            self._made.accepted.append((f"persona of hop {hop}", need.expected * brings.value, cost))
            made = (need.expected + asked.known) * brings.value
            came, brought = made * keeps.value, brought + made
            widest = (need.worst + asked.known) * settings.fan_out
            hub, most = hub + came, most + widest
        return hub, brought, most

    def _share(self, stage: str, whole: Sequence[str], assumed: float, part: str = "accepted") -> Figure:
        return self._known.share(stage, part, whole, assumed)

    def _unread_pages(self) -> Figure:
        """The pages in files that no run has read, less those that a pilot has."""
        crawl = self._stand.crawl
        if crawl is not None and crawl.same.tells and crawl.prints.tells:
            told, rows = f"sketches, on {crawl.pages_read:,} pages of them", crawl.pages_read
            found = self._made.keep("pages read that are new", Figure(crawl.distinct * crawl.new, told, rows))
            left = max(0.0, crawl.pages * found.value - self._stand.piloted)
            return self._made.keep("pages in files not read yet", Figure(left, told, rows))
        pages = self._unread("page", arithmetic.PAGE_BYTES, own=False)
        if not pages.value:
            return pages
        new = self._made.keep("pages read that are new", self._share("ingest", ("accepted", "duplicates"), 1.0))
        basis = weakest(pages, new)
        left = max(0.0, pages.value * new.value - self._stand.piloted)
        return self._made.keep("pages in files not read yet", Figure(left, basis.basis, basis.rows))

    def _unread(self, what: str, assumed: dict[str, int], *, own: bool) -> Figure:
        """The pages or personas in files that no run has read, from the files' bytes."""
        found, basis = 0.0, Figure(0.0, EXACT, _CERTAIN)
        for kind, (_, size) in sorted(self._stand.unread.items()):
            each = self._known.size(kind, assumed)
            if kind.startswith(OWN) is own and each.value:
                self._made.keep(f"bytes a {what} in {kind.removeprefix(OWN)}", each)
                found, basis = found + size / each.value, weakest(basis, each)
        return Figure(found, basis.basis, basis.rows)

    def _of_page(self) -> float:
        """The personas that a page brings."""
        made, assumed = self._made, arithmetic.PERSONAS_OF_ALLOWED * self._inputs.settings.infer.personas_per_page
        answers = made.keep("pages answered", self._share("infer", ("answered", "rejected"), 1.0, "answered"))
        yields = made.keep("personas accepted an answered page", self._share("infer", ("answered",), assumed))
        return answers.value * yields.value

    def _lacking(self, hub: float) -> float:
        """How many personas the target lacks beside so many."""
        target = self._inputs.settings.hub.target
        return math.inf if target is None else max(0.0, target - hub)

    def _wanted(self, pages: Figure, hub: float, each: float) -> Figure:
        """So many of *pages* are asked about: all, or what the target takes beside a *hub* of this size."""
        lacking = self._lacking(hub)
        if not each or lacking / each >= pages.value:
            return pages
        self._made.notes.append(f"hub.target: at worst all {pages.value:,.0f} pages are asked about")
        return Figure(lacking / each, pages.basis, pages.rows)

    def _personas(self, pages: float, of_page: float) -> tuple[float, float]:
        """The personas that so many pages bring, expected and at most; and what one costs."""
        allowed, made = self._inputs.settings.infer.personas_per_page, self._made
        each = made.stages[0].each
        cost = None if each is None or not of_page else each / of_page
        made.accepted.append(("persona", pages * of_page, cost))
        return pages * of_page, pages * allowed

    def _task(self, task: Task, target: int, available: Need) -> None:
        state, made = self._stand.tasks.get(task.task, TaskState()), self._made
        shares = [
            made.keep(f"accepted, {stage}", self._share(stage, ("requests",), arithmetic.ACCEPTED_OF_ASKED))
            for stage in (stage_name(task, step) for step in task.steps)
        ]
        need = arithmetic.task_need(target, state.complete, state.waiting, available, shares[0], shares[1:])
        basis, whole, costs = weakest(*shares), math.prod(share.value for share in shares), list[float | None]()
        for step, share in zip(task.steps, shares, strict=True):
            stage, wanted = stage_name(task, step), need.answering if step.answers else need.writing
            asked = self._stand.asked.get(stage, Asked())
            left = Need(*(max(0.0, requests * step.samples - asked.known) for requests in wanted))
            plan = self._stage(stage, asked, left, Figure(left.expected, basis.basis, basis.rows))
            # What is refused in a later step has paid for the earlier ones.
            costs.append(None if plan.each is None or not whole else plan.each * step.samples / whole)
            whole = whole / share.value if whole and not step.answers else whole
        each = None if None in costs else sum(filter(None, costs))
        made.accepted.append((f"{task.task} example", need.examples - state.complete, each))
        if round(need.examples) < target:
            made.notes.append(
                f"{task.task}: the personas last for about {need.examples:,.0f} of {target:,} examples; give more "
                "pages, or a smaller target"
            )

    def _stage(self, stage: str, asked: Asked, need: Need, requests: Figure) -> StagePlan:
        """Add up what a stage sends: the requests that could be built, as they are, and the others, as a usual one."""
        spec = self._specs[stage]
        question, most = spec.question, spec.question.role.max_tokens
        # Vectors are always asked online.
        batch = self._batch and stage != embed.STAGE
        price = question.abilities.price and (
            question.abilities.price.for_batch() if batch else question.abilities.price
        )
        reply, output = self._known.replies(stage, spec.reply)
        built = min(float(asked.requests), need.expected)
        of_built, of_other = self._prompts(spec, asked, reply, output)
        prompt = built * of_built.value + (need.expected - built) * of_other.value
        mean = of_built.value if built and not need.expected > built else of_other.value
        each = arithmetic.microusd(price, mean, reply.cached_share, reply.output)
        worst = None
        if price is not None:
            counted, longest = asked.worst, spec.worst
            if batch:  # Requests are reckoned at the online price.
                counted = price.microusd(asked.size, 0, most * asked.requests)
                longest = price.microusd(spec.size, 0, most)
            of_longest = counted / asked.requests if asked.requests else longest
            worst = counted + max(0.0, need.worst - asked.requests) * of_longest
        total = arithmetic.microusd(price, prompt, reply.cached_share, need.expected * reply.output)
        sends = need.expected / question.inputs
        seconds, limit = self._limits.seconds(sends, prompt + need.expected * reply.output, reply.latency_s)
        if batch:
            seconds, limit = (_BATCH_S if need.expected else 0.0), "the Batch API's 24 hours"
        rests = of_built if built == need.expected else of_other
        plan = StagePlan(
            stage, str(question.role.model), asked.known, requests, need.worst,
            Figure(prompt, rests.basis, rests.rows), Figure(need.expected * reply.output, output.basis, output.rows),
            reply, total, worst, each, seconds, limit,
        )  # fmt: skip
        self._made.stages.append(plan)
        return plan

    def _prompts(self, spec: Spec, asked: Asked, reply: Replies, output: Figure) -> tuple[Figure, Figure]:
        """Tokens of a prompt that was built, and of one that couldn't be."""
        ratio = self._ratio
        built = Figure(asked.prompt / asked.requests * ratio.value if asked.requests else 0.0, ratio.basis, ratio.rows)
        if output.rows and reply.prompt:
            return built, Figure(reply.prompt, output.basis, output.rows)
        if asked.requests:
            return built, built
        return built, Figure(spec.prompt * ratio.value)
