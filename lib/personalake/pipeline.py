"""A run from its lease to its last row: endpoint, session, store, the stages in their order, the report.

ingest → infer → dedup → expand (each hop: ask, compare) → synthesize (each task: write, answer) → export → report.
Where no stage has anything new, the run's own row is the only commit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from pyspark.sql import SparkSession

from personalake import amend, telemetry
from personalake.amend import Prepared
from personalake.asking import stage_name
from personalake.errors import DeferredError, InputError, PersonalakeError
from personalake.inputs import STAGES, Inputs
from personalake.lease import Lease
from personalake.llm.complete import Completer
from personalake.llm.offline import OfflineEndpoint
from personalake.llm.progress import Progress
from personalake.pilot import check_payable, take_over
from personalake.report.gather import write_report
from personalake.runs import Run
from personalake.session import explained, own_log, refuse_speculation, send_package, session_for
from personalake.shown import Shown
from personalake.stages import WIRED
from personalake.store import Store
from personalake.work import Folder, absolute, is_local

_SMALL_BYTES = 32 * 1024 * 1024
"""A corpus below this is read by a session that hurries."""


def execute(
    inputs: Inputs,
    stages: tuple[str, ...],
    *,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] = lambda _: None,
    spark: SparkSession | None = None,
    verbose: bool = False,
    prepare: Callable[[Run], Prepared] | None = None,
    command: str = "",
) -> Shown:
    """Run *stages* in their order over the settings' store, and close the run whatever happens.

    *prepare* is called ahead of them and says which of them are to run; *command* names what runs, for others who want
    the store's lease.
    *say* gets lines for a person, *progress* how far a paid stage is, about twice a second while it runs. A session
    that is given stays open; without one, the active session is used or a new one started and stopped.

    Raises :class:`DeferredError` where requests have to wait, :class:`LeaseHeldError` where another run is at work,
    and any other :class:`PersonalakeError` for what stopped it; each after what was done is safe.
    """
    settings, began = inputs.settings, time.monotonic()
    check_payable(settings, spark)
    work = Folder(absolute(settings.store.work_path))
    compares = "dedup" in stages or "expand" in stages or prepare is not None
    asks = settings.dedup.asks or settings.accept.judge is not None
    pays = (asks and compares) or any(stage in stages for stage in ("infer", "expand", "synthesize"))
    command = command or ("run" if stages == STAGES else " ".join(stages))
    with ExitStack() as stack:
        lease = stack.enter_context(Lease(work, f"personalake {command}"))
        stack.enter_context(telemetry.exporting(say))
        stack.enter_context(telemetry.span("run", command=command))
        embedded = pays and settings.llm.offline
        # It comes up while Spark does.
        endpoint = stack.enter_context(OfflineEndpoint.of(settings.offline)) if embedded else None
        log = None
        if spark is None:
            hurried = 0 < sum(file.size for file in (*inputs.files, *inputs.persona_files)) < _SMALL_BYTES
            log = own_log(settings.spark, Path(work.path if is_local(work.address) else tempfile.gettempdir()))
            session = session_for(settings.spark, verbose=verbose, log=log, hurried=hurried)
            spark = stack.enter_context(session)
        else:
            send_package(spark)
        if pays:
            refuse_speculation(spark)
        store = Store(spark, settings.store).open()
        stack.callback(store.clear_staged)
        base_url = "" if endpoint is None else endpoint.base_url
        run = _opened(inputs, store, lease, base_url, say, progress)
        say(f"run {run.seq} on {store.address} (Spark was ready after {time.monotonic() - began:.1f} s)")
        with explained(log, _AGAIN):
            take_over(store, inputs, say)
            if amend.carry_out(run):
                run = _opened(inputs, store, lease, base_url, say, progress)
            _recover(run)
            prepared = Prepared(stages) if prepare is None else prepare(run)
            return _stages(run, inputs, prepared)


def _opened(
    inputs: Inputs,
    store: Store,
    lease: Lease,
    offline_url: str,
    say: Callable[[str], None],
    progress: Callable[[Progress], None],
) -> Run:
    settings = inputs.settings
    run = Run(store, settings, lambda seq: Completer(store, lease, settings.llm, offline_url, seq, settings.budget_usd))
    run.say = say
    run.completer.tell(say)
    run.completer.progress = progress
    run.writing_stages = frozenset(stage_name(task, task.first) for task, _ in inputs.tasks)
    return run


def _recover(run: Run) -> None:
    """Land what ended runs, or `try`, have left in their journals."""
    recovered = run.completer.recover()
    if recovered:
        run.say(f"{recovered:,} replies of an ended run, or of `try`, were recovered from their journal")
    if recovered or run.resumes:
        run.adopt_tries()


def _stages(run: Run, inputs: Inputs, prepared: Prepared) -> Shown:
    stages = prepared.stages
    if stages:
        run.half_done.begin(stages)
    try:
        for stage in stages:
            if stage == "report":
                continue
            try:
                WIRED[stage](run, inputs)
            except InputError as error:
                if stage != "export" or stages == ("export",):
                    raise
                run.warnings.append(f"export: {error}")
                run.say(f"not exported: {error}")
            run.half_done.finished.add(stage)
    except PersonalakeError as error:
        status: Literal["deferred", "failed"] = "deferred" if isinstance(error, DeferredError) else "failed"
        run.end(status, str(error))
        if "report" in stages and run.stages:
            _report(run, inputs, status, str(error))
        raise
    report = _report(run, inputs, "done") if "report" in stages else None
    run.end("done")
    return _told(run, report, prepared)


_NOTHING = "nothing new: no request was sent and no table changed but `runs`"
_AGAIN = "what was answered is kept; run again once the cause is gone"


def _report(run: Run, inputs: Inputs, status: Literal["done", "deferred", "failed"], message: str = "") -> str | None:
    """Write the report where anything happened since the last one; returns its address."""
    settings = inputs.settings
    path = Path(settings.report.path or absolute(f"{settings.store.path or settings.store.work_path}/report.html"))
    if run.stages or not path.exists():
        write_report(run, path, settings.report.samples, status, message)
    return str(path)


def _told(run: Run, report: str | None, prepared: Prepared) -> Shown:
    data = {
        **prepared.data,
        "run_id": run.run_id,
        "store": run.store.address,
        "stages": [record.public() for record in run.stages],
        "report": report,
        "warnings": run.warnings,
    }
    lines = [prepared.text] if prepared.text else [] if run.stages else [_NOTHING]
    lines += [f"tables: {run.store.address}"] + ([f"report: {report}"] if report else [])
    return Shown(data, "\n".join(lines))
