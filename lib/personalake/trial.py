"""`personalake try`: a task over a few personas in this process, without Java or Spark, for whoever edits its prompts.

Requests, replies and checks are those of a run, and so are their keys: what was asked here is in the store's journal,
and the next run adopts it instead of asking again. What a run has asked already is shown, and not paid again.
"""

from __future__ import annotations

import functools
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any

import pyarrow as pa

from personalake import own_personas
from personalake.accept import Reading
from personalake.api_key import check_keys
from personalake.corpus.files import DELTA, PERSONAS, list_files
from personalake.corpus.records import BadRecord, RefusedError
from personalake.corpus.splits import Split
from personalake.errors import InputError, SettingsError, StopRunError
from personalake.inputs import Inputs
from personalake.lease import Lease
from personalake.llm.client import Endpoint
from personalake.llm.engine import answer
from personalake.llm.journal import TRIED, Journal, replies, segments
from personalake.llm.models import Question
from personalake.llm.offline import OfflineEndpoint
from personalake.llm.outcome import cure
from personalake.llm.purse import in_doubt, release, reserve
from personalake.llm.wave_plan import Plan
from personalake.personas.fields import PersonaFields
from personalake.settings import PersonasSettings
from personalake.store_files import completions_of, paid_microusd
from personalake.synthesis.synthesize import (
    first_request,
    later_request,
    read_example,
    read_solution,
    variation_of,
    verdicts,
)
from personalake.synthesis.tasks import Step, Task
from personalake.work import Folder, absolute

_HEX = set("0123456789abcdef")
_ID_CHARS = 64


@dataclass
class Turn:
    """One request of a trial: what was asked, what came, and what the checks say of it."""

    persona: int
    step: Step
    model: str
    request: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]
    completion: Mapping[str, Any] | None = None
    asked_before: bool = False
    verdicts: list[tuple[str, str | None]] = field(default_factory=list)
    row: Mapping[str, Any] | None = None
    """The accepted example or solution; null where the reply was refused or has to wait."""


@dataclass(frozen=True)
class Trial:
    """What a trial brought: each persona's text, the turns in their order, and the money."""

    task: Task
    personas: list[str]
    turns: list[Turn]
    deferred: str | None

    @property
    def sent(self) -> list[Turn]:
        """The turns that were answered for this trial, and paid."""
        return [turn for turn in self.turns if turn.completion is not None and not turn.asked_before]


def read_writers(path: str, most: int, settings: PersonasSettings) -> list[dict[str, Any]]:
    """The first *most* personas of a file, as rows of `personas`; raises :class:`InputError` for one that won't do.

    A row's own `persona_id` counts, so that rows of the hub are asked as a run would ask them.
    """
    found: list[dict[str, Any]] = []
    fields = PersonaFields(settings)
    for file in list_files([os.path.expanduser(path)], replace(PERSONAS, setting="--personas")):
        if file.format == DELTA:
            raise InputError("it is a Delta table, which needs Spark", where=file.path, cure="give a file of it")
        for row in islice(own_personas.read_given(Split.of(file)), most - len(found)):
            if isinstance(row, BadRecord):
                raise InputError(f"{row.reason}: {row.detail}", where=f"{row.path}#{row.offset}", cure="mend the row")
            offset, value = row
            try:
                made = fields.row(value, file.path)
            except RefusedError as refused:
                where = f"{file.path}#{offset}"
                raise InputError(refused.detail, where=where, cure=own_personas.CURE) from refused
            given = value.get("persona_id")
            if isinstance(given, str) and len(given) == _ID_CHARS and set(given) <= _HEX:
                made["persona_id"] = given
            found.append({"root_doc_id": None, "rank": "", **made})
    if not found:
        raise InputError("it holds no persona", where=path, cure='a line is {"persona": "A nurse who ..."}')
    return found


def try_task(inputs: Inputs, task: Task, writers: Sequence[Mapping[str, Any]]) -> Trial:
    """Ask *writers* to do *task*: all its steps, each with every check.

    Raises :class:`StopRunError` for what would be said of every request, :class:`SettingsError` where the key is
    missing or the budget can't hold the worst case, :class:`LeaseHeldError` where somebody else spends the budget; what
    was answered before that is in the journal.
    """
    settings = inputs.settings
    check_keys(settings.llm, os.environ)
    with ExitStack() as stack:
        if settings.budget_usd is not None:
            # A run shares out what it found unspent; without a budget, a trial may work beside it.
            stack.enter_context(Lease(Folder(absolute(settings.store.work_path)), "personalake try"))
        asker = _Asker(inputs, stack)
        question = inputs.question_of(task.first)
        turns = [
            _turn(number, task.first, question, first_request(writer, task, question, settings.seed))
            for number, writer in enumerate(writers)
        ]
        asker.ask(turns, question)
        for turn in turns:
            about = {**writers[turn.persona], **_whole(turn)}
            _judge(turn, about, functools.partial(read_example, task=task, seed=settings.seed))
        examples = {turn.persona: dict(turn.row) for turn in turns if turn.row is not None}
        for step in task.later:
            question, needed = inputs.question_of(step), {each.id for each in task.needs(step)}
            whole = {turn.persona: set[str]() for turn in turns}
            for turn in turns:
                whole[turn.persona] |= {turn.step.id} if turn.row is not None else set()
            asked = [number for number in examples if needed <= whole[number]]
            answers = [
                _turn(number, step, question, later_request(example, task, step, question, sample))
                for number in asked
                for example in ({**examples[number], "persona": writers[number]["text"]},)
                for sample in range(step.samples)
            ]
            asker.ask(answers, question)
            for turn in answers:
                _judge(turn, _whole(turn), functools.partial(read_solution, step=step))
                if turn.row is not None:
                    brought = turn.row["fields"] or [(step.id, turn.row["text"])]
                    examples[turn.persona]["fields"] = [*examples[turn.persona]["fields"], *brought]
            turns += answers
    return Trial(task, [w["text"] for w in writers], sorted(turns, key=lambda turn: turn.persona), asker.deferred)


def preview(inputs: Inputs, task: Task, writers: Sequence[Mapping[str, Any]]) -> Trial:
    """What *writers* would be asked in all steps of *task*; sends nothing, so a field of a reply shows its name."""
    turns = []
    for number, writer in enumerate(writers):
        question = inputs.question_of(task.first)
        turns.append(_turn(number, task.first, question, first_request(writer, task, question, inputs.settings.seed)))
        about = {
            "example_id": "",
            "fields": [(name, f"{{{{fields.{name}}}}}") for step in task.steps for name in step.fields],
            "variation": list(variation_of(writer, task, inputs.settings.seed).items()),
            "language": task.language_for(writer["language"]),
            "persona": writer["text"],
        }
        for step in task.later:
            question = inputs.question_of(step)
            turns.append(_turn(number, step, question, later_request(about, task, step, question, 0)))
    return Trial(task, [writer["text"] for writer in writers], turns, None)


def _turn(persona: int, step: Step, question: Question, request: Mapping[str, Any]) -> Turn:
    messages = json.loads(request["body"])["messages"]
    return Turn(persona, step, str(question.role.model), request, messages)


def _whole(turn: Turn) -> dict[str, Any]:
    """A turn as the row that a run would judge: the request with its completion beside it."""
    return {**turn.request, **(turn.completion or {})}


def _judge(turn: Turn, about: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Reading]) -> None:
    """Give a turn its verdicts, and its row where it was accepted."""
    if turn.completion is None or turn.completion["error"] is not None:
        return
    turn.verdicts = list(verdicts(about, turn.step))
    turn.row = next((item for _, item in read(about).items if isinstance(item, dict)), None)


class _Told(Journal):
    """A journal that keeps what it took: a run may land and delete its segments while we look."""

    def __init__(self, wave: Folder, part: str, attempt: str) -> None:
        super().__init__(wave, part, attempt)
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        super().add(row)


class _Asker:
    """Asks what nobody has asked yet, into a journal that the next run adopts.

    The embedded endpoint is started into *stack*, and only where something has to be asked.
    """

    def __init__(self, inputs: Inputs, stack: ExitStack) -> None:
        self._settings, self._stack = inputs.settings, stack
        self._journals = Folder(absolute(self._settings.store.work_path)) / "journal"
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        self._wave = self._journals / f"try-{stamp}-{uuid.uuid4().hex[:8]}"
        self._parts, self._doubt = 0, 0
        self.deferred: str | None = None

    @functools.cached_property
    def _base_url(self) -> str:
        """The embedded endpoint's address; none where another is asked."""
        if not self._settings.llm.offline:
            return ""
        return self._stack.enter_context(OfflineEndpoint.of(self._settings.offline)).base_url

    def ask(self, turns: Sequence[Turn], question: Question) -> None:
        """Give each of *turns* its completion: one that is there already, or a new one."""
        asked = {str(turn.request["request_key"]): turn.request for turn in turns}
        known = self._known(set(asked))
        new = [request for key, request in asked.items() if key not in known]
        came = {row["request_key"]: row for row in self._send(new, question)} if new and not self.deferred else {}
        for turn in turns:
            key = str(turn.request["request_key"])
            turn.completion, turn.asked_before = known.get(key) or came.get(key), key in known
            if key in came:
                known[key] = came[key]  # The same question a second time is not paid a second time.

    def _known(self, keys: set[str]) -> dict[str, dict[str, Any]]:
        """The completions of *keys* that the store has, or a journal that no run has landed yet."""
        # Journals first: what a run lands and deletes meanwhile is in the table then.
        found: dict[str, dict[str, Any]] = {}
        for segment in segments(self._journals):
            rows = replies(segment.path, self._journals).to_pylist()
            found.update({row["request_key"]: row for row in rows if row["request_key"] in keys})
        return {**found, **completions_of(self._settings.store, keys)}

    def _send(self, requests: Sequence[Mapping[str, Any]], question: Question) -> list[dict[str, Any]]:
        worst = self._afford(requests, question)
        endpoints = Endpoint.all_of(self._settings.llm, self._base_url)
        plan = Plan.of(self._settings.llm, endpoints, self._wave, {TRIED: question}, 1)
        columns = ("request_key", "body", "est_tokens")
        rows = [{**{name: request[name] for name in columns}, "stage": TRIED} for request in requests]
        journal = _Told(self._wave, f"{self._parts:05d}", "0")
        self._parts += 1
        self._reserve(worst)
        tallies = list(answer([pa.RecordBatch.from_pylist(rows)], plan, journal))
        self._doubt += sum(tally["unknown_microusd"] for tally in tallies)
        self._reserve(0)
        for tally in tallies:
            said = f"{tally['reason']}: {tally['detail']}"
            if tally["outcome"] == "stop":
                raise StopRunError(said, where=self._settings.llm.address, cure=cure(tally["reason"]))
            if tally["deferred"]:
                self.deferred = said
        return journal.rows

    def _reserve(self, worst: int) -> None:
        """Leave word of what may be billed without a reply, for the budget; the next run takes it into its counts."""
        if self._settings.budget_usd is None:
            return
        lost = self._doubt + worst
        if lost:
            reserve(self._wave, {TRIED: 1}, sum(segment.microusd for segment in segments(self._wave)) + lost, lost)
        else:
            release(self._wave)

    def _afford(self, requests: Sequence[Mapping[str, Any]], question: Question) -> int:
        """What *requests* cost at worst, which the budget holds; 0 without one. Raises :class:`SettingsError`."""
        budget = self._settings.budget_usd
        if budget is None:
            return 0
        if question.abilities.price is None:
            raise SettingsError(
                f"a budget is set, and the model {question.role.model!r} has no price",
                where="budget_usd",
                cure="add its price to models.yaml",
            )
        paid, worst = paid_microusd(self._settings.store), sum(int(r["worst_microusd"]) for r in requests)
        waiting = sum(segment.microusd for segment in segments(self._journals))
        spent = paid + waiting + in_doubt(Folder(absolute(self._settings.store.work_path)))
        if spent + worst > round(budget * 1e6):
            raise SettingsError(
                f"{spent / 1e6:.4f} of {budget:.4f} US dollars are spent, and this may cost {worst / 1e6:.4f}",
                where="budget_usd",
                cure="fewer personas (-n), or a larger budget",
            )
        return worst
