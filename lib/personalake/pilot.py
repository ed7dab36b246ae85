"""`personalake pilot`: everything done really, on a sample of pages, so that `plan` knows what the whole will be like.

A pilot has tables of its own under the store's work folder, made anew each time, and may work beside a run; only where
a budget is set it takes the store's lease, because a run shares out what it found unspent.
Its answers belong to the store: they go into the store's journal, as those of `try` do, and the next run lands, bills
and uses them instead of asking again. However a pilot ends, nothing is paid twice:

1. A pilot that was killed leaves its journal and its tables; the next one, or a run, first hands over what is in them.
2. Only when all is handed over are the tables emptied, and a file says so while they are.
3. What the store, or its journal, has answered is lent to the pilot before it asks.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.api_key import check_keys
from personalake.embed import check_local_model
from personalake.errors import DeferredError, LeaseHeldError, SettingsError
from personalake.growth import dedup, expand, infer
from personalake.inputs import Inputs
from personalake.lease import Lease
from personalake.llm.complete import Ask, Completer
from personalake.llm.journal import SCHEMA, TRIED, Journal
from personalake.llm.landing import with_completion
from personalake.llm.offline import OfflineEndpoint
from personalake.llm.progress import Progress
from personalake.llm.purse import Purse
from personalake.llm.spent import Spent
from personalake.planning.measured import HANDED_OVER, JOURNALED, at_desk, beside, journaled, money, pilot_settings
from personalake.planning.sample import sample
from personalake.planning.told import told
from personalake.runs import Run
from personalake.session import explained, own_log, refuse_speculation, send_package, session_for, tasks_run_here
from personalake.settings import Settings
from personalake.shown import Shown
from personalake.stages import synthesize
from personalake.store import Store, check_address
from personalake.work import Folder, absolute, is_local

_AGAIN = "what was answered is kept; `pilot` again once the cause is gone"


def pilot(
    inputs: Inputs,
    pages: int,
    *,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] = lambda _: None,
    spark: SparkSession | None = None,
    verbose: bool = False,
) -> Shown:
    """Do all stages on *pages* pages; what is shown says as `deferred` why some requests have to wait, if any do.

    Raises :class:`SettingsError` and :class:`InputError` before anything is paid, :class:`LeaseHeldError` beside
    another pilot, or with a budget beside a run, and any other :class:`PersonalakeError` for what stopped it.
    """
    if pages < 1:
        raise SettingsError(f"-n {pages} reads no page", cure="give 1 or more")
    check_payable(inputs.settings, spark)
    settings, own = inputs.settings, _own(inputs, pages)
    work = Folder(absolute(own.settings.store.work_path))
    with ExitStack() as stack:
        if settings.budget_usd is not None:
            stack.enter_context(Lease(Folder(absolute(settings.store.work_path)), "personalake pilot"))
        lease = stack.enter_context(Lease(work, "personalake pilot"))
        offline_url = ""
        if settings.llm.offline:
            offline_url = stack.enter_context(OfflineEndpoint.of(settings.offline)).base_url
        log = None
        if spark is None:
            log = own_log(settings.spark, Path(work.path)) if is_local(work.address) else None
            spark = stack.enter_context(session_for(settings.spark, verbose=verbose, log=log, hurried=True))
        else:
            send_package(spark)
        refuse_speculation(spark)
        with explained(log, _AGAIN):
            flown = _Pilot(own, Store(spark, settings.store), lease, offline_url, say, progress)
            return told(flown.fly(pages), inputs, flown.deferred)


def take_over(main: Store, inputs: Inputs, say: Callable[[str], None]) -> None:
    """Hand over to *main* what a pilot that was killed has paid for; one that still works does so itself."""
    own = _own(inputs, 1)
    store = Store(main.spark, own.settings.store)
    if (store.work / HANDED_OVER).exists() or not store.exists("runs"):
        return
    with suppress(LeaseHeldError), Lease(store.work, "personalake run") as lease:
        _Pilot(own, main, lease, "", say, lambda _: None).empty()


def check_payable(settings: Settings, spark: SparkSession | None) -> None:
    """Find out ahead of a session what needs none: the store, a local model, and keys where this machine calls."""
    check_address(settings.store)
    check_local_model(settings)
    if settings.llm.run_on == "driver" or tasks_run_here(settings.spark, spark):
        check_keys(settings.llm, os.environ)


def _own(inputs: Inputs, pages: int) -> Inputs:
    """The inputs of the pilot: its own tables, small targets, and no waiting for batches."""
    settings = inputs.settings
    online = settings.llm.model_copy(update={"transport": "online"})
    # All its pages are asked: they are what it measures on.
    whole = settings.hub.model_copy(update={"target": None})
    own = settings.model_copy(update={"store": pilot_settings(settings), "llm": online, "hub": whole})
    return replace(inputs, settings=own, tasks=tuple((task, min(target, pages)) for task, target in inputs.tasks))


class _Borrower(Completer):
    """Asks nothing that *main*, the store that the pilot is for, has an answer to, or waits for in a batch."""

    def borrow_from(self, main: Store) -> None:
        """Look once into the journals of *main*; its table is looked into at each call."""
        # Journals first: what a run lands and deletes meanwhile is in the table then.
        lying = journaled(main)
        self._main = main
        self._lying = None if lying is None else self._store.stage(lying, "lent")
        self._at_desk = at_desk(main)

    def complete(self, asks: Sequence[Ask]) -> tuple[DataFrame, dict[str, Spent]]:
        """Land what is known already, as of run 0, which nobody hands over or bills; then ask the rest."""
        if self._at_desk is not None:
            asks = [replace(a, requests=a.requests.join(self._at_desk, "request_key", "left_anti")) for a in asks]
        if self._lying is not None or self._main.exists("completions"):
            self._borrow(asks)
        return super().complete(asks)

    def _borrow(self, asks: Sequence[Ask]) -> None:
        named = [ask.requests.select("request_key", F.lit(ask.stage).alias("stage")) for ask in asks]
        every = functools.reduce(DataFrame.unionByName, named).groupBy("request_key").agg(F.min("stage").alias("stage"))
        keys = self._store.stage(every, "borrowed-keys")
        columns = [name for name in JOURNALED if name != "stage"]
        known = self._main.read("completions").select(*columns)
        known = known if self._lying is None else known.unionByName(self._lying.select(*columns))
        earliest = F.min_by(F.struct(*columns), "answered_at").alias("row")
        found = known.join(F.broadcast(keys.select("request_key")), "request_key", "left_semi")
        one = found.groupBy("request_key").agg(earliest).select("row.*").join(keys, "request_key")
        own = with_completion(self._store, keys.select("request_key"), keys.count())
        self._store.append("completions", one.join(own, "request_key", "left_anti").select(*JOURNALED), 0)


class _Pilot:
    """One pilot for *main*, under its own *lease*."""

    def __init__(
        self,
        inputs: Inputs,
        main: Store,
        lease: Lease,
        offline_url: str,
        say: Callable[[str], None],
        progress: Callable[[Progress], None],
    ) -> None:
        self._inputs, self._main, self._lease, self._offline_url = inputs, main, lease, offline_url
        self._say, self._progress = say, progress
        self.deferred: str | None = None
        """Why some requests have to wait, if any do."""
        self.store = Store(main.spark, inputs.settings.store)

    def fly(self, pages: int) -> Store:
        """Do the stages; returns the pilot's store."""
        self.empty()
        run, completer = self._run()
        run.say, completer.progress = self._say, self._progress
        completer.tell(self._say)
        self._say(f"a pilot of {pages:,} pages in {self.store.address}")
        try:
            completer.borrow_from(self._main)
            if completer.purse.budget is not None:
                completer.purse.pay(money(self._main).spent)
            sample(run, self._inputs, self._main, pages)
            self._stages(run)
        except KeyboardInterrupt:
            self._hand_over()  # Somebody may go on with `run`; the next pilot looks again for what is being saved now.
            raise
        except BaseException:
            completer.recover()
            self._hand_over()
            raise
        self._hand_over()
        self.store.work.write(HANDED_OVER, b"")
        self.store.clear_staged()
        return self.store

    def _stages(self, run: Run) -> None:
        try:
            for stage in (infer, dedup, expand, synthesize):
                stage(run, self._inputs)
        except DeferredError as error:
            self.deferred = str(error)
        run.end("deferred" if self.deferred else "done", self.deferred)

    def _run(self) -> tuple[Run, _Borrower]:
        self.store.open()
        settings, made = self._inputs.settings, list[_Borrower]()

        def completer(seq: int) -> Completer:
            budget = settings.budget_usd
            made.append(_Borrower(self.store, self._lease, settings.llm, self._offline_url, seq, budget))
            return made[0]

        return Run(self.store, settings, completer), made[0]

    def empty(self) -> None:
        """Empty the pilot's tables, once all that an earlier one paid for is handed over."""
        work = self.store.work
        if not (work / HANDED_OVER).exists() and self.store.exists("runs"):
            _, completer = self._run()
            completer.recover()
            self._hand_over()
            self._say("what an earlier pilot had paid for was handed over first: it isn't asked again")
        work.write(HANDED_OVER, b"")
        root = Folder(self.store.table_address("").rstrip("/"))
        for folder in [root / name for name in root.folders() if root / name != work]:
            folder.delete()
        for name in work.folders():
            if name != "lease":
                (work / name).delete()
        # A new name: Delta takes a wave that it has landed for landed again, whatever is in it.
        for name in ("store.json", "open-run"):
            work.delete_file(name)
        self.store = Store(self._main.spark, self._inputs.settings.store)
        work.delete_file(HANDED_OVER)

    def _hand_over(self) -> None:
        """Put what this pilot has paid for into the journal of the store that it is for; doing it again is harmless."""
        name = f"{TRIED}-pilot-{self.store.store_id[:12]}"
        paid = self.store.read("completions").where("seq > 0")  # Those of run 0 are the store's own.
        rows = paid.withColumn("stage", F.lit(TRIED)).select(*SCHEMA.names)
        moved = rows.mapInArrow(_journal((self._main.work / "journal" / name).address), "rows long")
        count = moved.agg(F.sum("rows").alias("rows")).collect()[0]["rows"] or 0
        lost = beside(self.store)
        if lost:
            Purse(self._main, None).lose(name, {TRIED: lost})
        if count:
            self._say(f"{count:,} replies are in the store's journal: the next run uses them and asks none again")


def _journal(address: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that journals a partition's replies into the wave at *address*, and counts them."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 (only there where Spark runs us)

        context: Any = TaskContext.get()
        journal = Journal(Folder(address), f"{context.partitionId():05d}", str(context.taskAttemptId()))
        for batch in batches:
            for row in batch.to_pylist():
                journal.add(row)
            journal.flush()
            yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})

    return body
