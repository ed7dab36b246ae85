"""From requests to completions, each paid once: freeze, ask in waves, journal, commit, recover.

1. The requests, of one stage or of several, are frozen: written down once, so that no wave computes them again.
2. Those without a completion are cut into waves by a hash of their key.
3. A wave is one `mapInArrow` over a fixed partitioning; its tasks journal every reply (`engine.py`).
4. The driver lands the journal in `completions` (`landing.py`), the bulk of it while the tasks still work.

A run that was killed leaves journals behind; the next run starts with step 4 on them. There is no other recovery.

A wave is large, hundreds of thousands of requests: at its end, when the slowest replies are waited for, places in
flight are empty, and nothing is lost by a long wave, since its replies are journaled within a second and landed as it
goes. What bounds it is the driver's listing of its segments.
"""

from __future__ import annotations

import functools
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import telemetry
from personalake.errors import DeferredError, PersonalakeError, StopRunError
from personalake.lease import Lease
from personalake.llm.batched import Batched
from personalake.llm.client import Endpoint
from personalake.llm.embeddings import PATH
from personalake.llm.engine import run_part, task
from personalake.llm.journal import check_segments, forget_segments, segments
from personalake.llm.landing import Landing, once
from personalake.llm.models import Question
from personalake.llm.outcome import cure
from personalake.llm.progress import Progress
from personalake.llm.purse import Purse
from personalake.llm.spent import Spent
from personalake.llm.waiting import Waiting, freeze, only, without
from personalake.llm.wave import Wave
from personalake.llm.wave_plan import TALLY_DDL, Plan
from personalake.session import parallelism
from personalake.settings import LlmSettings
from personalake.store import Store

_FED_ROWS = 256
_OPENING = 20
"""So many identical refusals that open a stage end the run: they would be said of every row."""


@dataclass(frozen=True)
class Ask:
    """What one stage asks: its requests (the columns of `requests.REQUESTS`), and of whom."""

    stage: str
    requests: DataFrame
    question: Question


class Completer:
    """Everything paid goes through here: one per run."""

    def __init__(
        self, store: Store, lease: Lease, settings: LlmSettings, offline_url: str, seq: int, budget_usd: float | None
    ) -> None:
        self._store, self._lease, self._settings, self._seq = store, lease, settings, seq
        self._endpoints = Endpoint.all_of(settings, offline_url)
        self._journals = store.work / "journal"
        self._landing, self.purse = Landing(store, seq), Purse(store, budget_usd)
        self._batched = Batched(store, lease, self._landing, self.purse, settings, self._endpoints[0], seq)
        self._nonce, self._wave, self._calls = uuid.uuid4().hex[:8], 0, 0
        self._answered: set[str] = set()
        self.tell(lambda _: None)
        self.progress: Callable[[Progress], None] = lambda _: None
        self._so_far = Progress((), 0)

    def number(self, seq: int) -> None:
        """Land what is to come as of round *seq*."""
        self._seq = self._landing.seq = self._batched.seq = seq

    def tell(self, say: Callable[[str], None]) -> None:
        """Let *say* get lines for a person."""
        self._say = self._batched.say = say

    def recover(self) -> int:
        """Land what ended runs left in their journals; returns the replies found.

        Raises :class:`StoreError` for a journal that can't be read; it is kept.
        """
        count = 0
        for name in self._journals.folders():
            folder = self._journals / name
            found = segments(folder)
            check_segments(folder, found)
            self._landing.commit(folder, found, sure=False)
            self.purse.close_crashed(folder, sum(segment.microusd for segment in found))
            forget_segments(folder, found)
            count += sum(segment.rows for segment in found)
        return count

    def complete(self, asks: Sequence[Ask]) -> tuple[DataFrame, dict[str, Spent]]:
        """Get every request of *asks* answered, those of all stages in the same waves.

        Returns the requests, with their stage and the columns of their completion beside them (null where it has to
        wait), and what each stage spent. Raises :class:`StopRunError` for what would be said of every row of a stage,
        :class:`DeferredError` where the endpoint can't be reached at all; both before anything but these first
        requests was sent.
        """
        self._calls += 1
        named = [ask.requests.withColumn("stage", F.lit(ask.stage)) for ask in asks]
        asked = self._store.stage(functools.reduce(DataFrame.unionByName, named), f"asked-{self._calls}")
        spent = {ask.stage: Spent() for ask in asks}
        questions = {ask.stage: ask.question for ask in asks}
        self._batched.collect(spent)
        waiting = self._waiting(asked, questions, "waiting")
        self._check_prices(waiting)
        self._so_far = Progress(tuple(waiting.questions), waiting.total)
        if self._settings.transport == "batch" and not any(q.path == PATH for q in questions.values()):
            self._by_batch(waiting, spent)
            return once(self._store, asked), spent
        again = 0
        while waiting.total and self._run_waves(waiting, spent):
            # The tasks' parts of the budget were spent unevenly: what is left of it is shared out anew.
            again += 1
            waiting = self._waiting(asked, questions, f"waiting-{again}")
        return once(self._store, asked), spent

    def _by_batch(self, waiting: Waiting, spent: dict[str, Spent]) -> None:
        """Hand in what waits, and collect until all is there or the patience is over."""
        asked: list[str] = []
        if waiting.total and self._affordable(waiting, spent):
            # Online: what is wrong with a request shows at once, and not a day later of fifty thousand.
            wave = self._open(waiting, 1, 1)
            with self._saved(wave, spent):
                asked = self._preflight(wave, waiting, spent)
                self._close(wave, spent)
        if waiting.total > len(asked):
            self._batched.submit(without(waiting.rows, asked), waiting.questions, spent)
        self._batched.wait(spent)

    def _waiting(self, asked: DataFrame, questions: Mapping[str, Question], name: str) -> Waiting:
        return freeze(self._store, asked, questions, f"{name}-{self._calls}", self._batched.waiting(), self._nonce)

    def _run_waves(self, waiting: Waiting, spent: dict[str, Spent]) -> bool:
        """Ask what waits, wave after wave; whether another round may get more out of what is left of the budget."""
        count = math.ceil(waiting.total / self._settings.wave_rows)
        numbered = waiting.rows.withColumn("wave", F.pmod(F.xxhash64("request_key"), F.lit(count)))
        asked: list[str] = []
        for number in range(count):
            tasks = self._affordable(waiting, spent)
            if not tasks:
                return False
            self._lease.check()
            wave = self._open(waiting, count, tasks)
            stages = " ".join(waiting.questions)
            size = -(-waiting.total // count)
            with telemetry.span("wave", stages=stages, requests=size, tasks=tasks), self._saved(wave, spent):
                asked = asked or self._preflight(wave, waiting, spent)
                if waiting.total > len(asked):
                    self._ask(wave, wave.plan, without(numbered.where(F.col("wave") == number), asked))
                self._close(wave, spent)
            if any(each.stopped for each in spent.values()):
                return False
            if any(each.out_of_budget for each in spent.values()):
                for each in spent.values():
                    each.out_of_budget = False
                return True
        return False

    def _affordable(self, waiting: Waiting, spent: dict[str, Spent]) -> int:
        """How many tasks the budget holds, each with room for a few requests; 0, and said to all stages, for none."""
        left = self.purse.left
        if left is None:
            return self._tasks
        if left < waiting.dearest:
            for stage in waiting.worst:
                spent[stage].stopped = (
                    f"budget: {self.purse.paid / 1e6:.4f} of {(self.purse.budget or 0) / 1e6:.4f} US dollars are "
                    f"spent, and one more request may cost {waiting.dearest / 1e6:.4f}"
                )
            return 0
        return max(1, min(self._tasks, left // max(1, 8 * waiting.dearest)))

    def _open(self, waiting: Waiting, count: int, tasks: int) -> Wave:
        # The nonce keeps a wave of this process apart from the same wave of one that died: Delta must not take
        # the second's journal for the first's, which it has landed.
        self._wave += 1
        folder = self._journals / f"{self._seq:06d}-{self._wave:04d}-{self._nonce}"
        # A question with an endpoint of its own is asked alone.
        own = next((q.endpoint for q in waiting.questions.values() if q.endpoint is not None), None)
        asked = self._endpoints if own is None else Endpoint.all_of(self._settings, "", [own])
        plan = Plan.of(self._settings, asked, folder, waiting.questions, tasks, self.purse.left)
        self.purse.reserve(
            folder, {s: -(-worst // count) for s, worst in waiting.worst.items()}, plan.most_lost, waiting.dearest
        )
        return Wave(plan, folder, self._landing, self._lease, self._settings.commit_rows, self._told)

    def _told(self, wave: Wave) -> None:
        self.progress(self._so_far.plus(wave.found))

    def _preflight(self, wave: Wave, waiting: Waiting, spent: dict[str, Spent]) -> list[str]:
        """Ask one request of each stage alone: a wrong key or model is found out once, not by all in flight.

        Where its reply is refused, the next nineteen are asked before all others. Returns the keys that were asked.
        """
        asked = [key for stage, key in waiting.first.items() if stage not in self._answered]
        if not asked:
            return []
        self._ask(wave, wave.plan.alone("first", len(asked)), only(waiting.rows, asked))
        said = sorted((t for t in wave.tallies if t["reason"]), key=lambda tally: tally["outcome"] != "stop")
        if said:
            message, where = f"{said[0]['reason']}: {said[0]['detail']}", self._settings.address
            self._close(wave, spent, raises=False)
            if said[0]["outcome"] == "stop":
                raise StopRunError(message, where=where, cure=cure(said[0]["reason"]))
            again = "nothing was paid in this stage; run again when the endpoint answers"
            raise DeferredError(message, where=where, cure=again)
        for stage in sorted({t["stage"] for t in wave.tallies if t["refused"]}):
            asked += self._opening(wave, waiting, stage, spent)
        self._answered.update(waiting.questions)
        return asked

    def _opening(self, wave: Wave, waiting: Waiting, stage: str, spent: dict[str, Spent]) -> list[str]:
        """Stop the run where *stage* opens with nothing but refusals of one kind; returns the keys that were asked."""
        own = without(waiting.rows.where(F.col("stage") == stage), [waiting.first[stage]])
        keys = [row[0] for row in own.orderBy("request_key").select("request_key").limit(_OPENING - 1).collect()]
        if keys:
            self._ask(wave, wave.plan.alone(f"opening-{stage}", len(keys)), only(waiting.rows, keys))
        tallies = [tally for tally in wave.tallies if tally["stage"] == stage]
        reasons = {tally["refused"] for tally in tallies}
        done, refused = (sum(tally[name] for tally in tallies) for name in ("done", "rejected"))
        if refused == done >= _OPENING and len(reasons) == 1 and "*" not in reasons:
            self._close(wave, spent, raises=False)
            raise StopRunError(
                f"the first {refused} replies of {stage} were all refused: {reasons.pop()}",
                where=self._settings.address,
                cure="correct the cause and run again; `personalake rejects --replay` then asks these again",
            )
        return keys

    def _ask(self, wave: Wave, plan: Plan, rows: DataFrame) -> None:
        columns = rows.select("request_key", "stage", "body", "est_tokens")
        if self._settings.run_on == "driver":
            part, attempt = plan.part or "driver", uuid.uuid4().hex[:8]
            wave.run(lambda: pa.Table.from_batches(run_part(_fed(columns), plan, part, attempt)).to_pylist(), self._say)
            return
        # A number is given, so that AQE leaves the partitions alone: the same rows in the same part at every attempt.
        # In order, so that prompts which begin alike follow each other: providers cache the beginnings.
        spread = columns.repartition(plan.tasks, "request_key").sortWithinPartitions("stage", "body")
        wave.run(lambda: [row.asDict() for row in spread.mapInArrow(task(plan), TALLY_DDL).collect()], self._say)

    def _close(self, wave: Wave, spent: dict[str, Spent], *, raises: bool = True) -> None:
        """Land the rest of a wave, take its counts, and delete its journal."""
        repeated = wave.land()
        self.purse.pay(sum(segment.microusd for segment in wave.found))
        unknown: dict[str, int] = {}
        for tally in wave.tallies:
            spent[tally["stage"]].take(tally)
            sends = {"requests": tally["sent"], **{name: tally[name] for name in ("failed_sends", "rate_limited")}}
            telemetry.count(sends, stage=tally["stage"])
            unknown[tally["stage"]] = unknown.get(tally["stage"], 0) + tally["unknown_microusd"]
        for stage, cost in repeated.items():
            spent.setdefault(stage, Spent()).repeated_microusd += cost
        self.purse.close(wave.folder, unknown)
        forget_segments(wave.folder, wave.found)
        self._so_far = self._so_far.plus(wave.found)
        for tally in wave.tallies if raises else ():
            if tally["outcome"] == "stop":
                message = f"{tally['reason']}: {tally['detail']}"
                raise StopRunError(message, where=self._settings.address, cure=cure(tally["reason"]))

    @contextmanager
    def _saved(self, wave: Wave, spent: dict[str, Spent]) -> Iterator[None]:
        """Close *wave* also where Ctrl-C ends it: its tasks have told what they sent, so nothing is in doubt."""
        try:
            yield
        except KeyboardInterrupt:
            if wave.saved:
                self._close(wave, spent, raises=False)
            raise

    @functools.cached_property
    def _tasks(self) -> int:
        if self._settings.run_on == "driver":
            return 1
        # One place is left for what the driver lands meanwhile. Asked once: a Connect server has to run a job for it.
        most = self._settings.tasks or max(1, parallelism(self._store.spark) - 1)
        return min(most, sum(endpoint.in_flight for endpoint in self._endpoints))

    def _check_prices(self, waiting: Waiting) -> None:
        for question in waiting.questions.values():
            if self.purse.budget is not None and question.abilities.price is None:
                raise PersonalakeError(
                    f"a budget is set, and the model {question.role.model!r} has no price",
                    where="budget_usd",
                    cure="add its price to models.yaml",
                )


def _fed(columns: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows as Arrow batches, a partition in memory at a time, for a driver that calls by itself."""
    rows = columns.toLocalIterator(prefetchPartitions=True)
    while batch := [row.asDict() for row in islice(rows, _FED_ROWS)]:
        yield pa.RecordBatch.from_pylist(batch)
