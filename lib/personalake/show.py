"""What the looking commands print: status, rejects, tasks; `hub` is in `hub_view`. They pay and write nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personalake.errors import InputError, first_line
from personalake.inputs import Inputs
from personalake.session import at_once
from personalake.shown import Shown, plain
from personalake.store import Store
from personalake.synthesis.tasks import load_task
from personalake.work import absolute

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from personalake.settings import Settings

_WIDE = 100


def refuse_no_store(settings: Settings) -> None:
    """Raise :class:`InputError` where the settings name a folder of this machine that isn't there."""
    path = settings.store.path
    if path and not Path(absolute(path)).exists() and "://" not in path:
        raise InputError("there is no store yet", where=path, cure="`personalake run` makes it")


@contextmanager
def reading(inputs: Inputs, verbose: bool) -> Iterator[Store]:
    """The settings' store for reading: nothing is created and no lease is taken."""
    from personalake.session import session_for  # noqa: PLC0415 (Spark only where tables are read)

    settings = inputs.settings
    refuse_no_store(settings)
    log = Path(absolute(settings.store.work_path)) / "spark.log"
    with session_for(settings.spark, verbose=verbose, log=log) as spark:
        yield Store(spark, settings.store)


def table(rows: list[dict[str, Any]]) -> str:
    """*rows* as a table of text, columns as wide as they need and never wider than 100 characters."""
    if not rows:
        return "(none)"
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    lines = ["  ".join(name.ljust(width) for name, width in zip(names, widths, strict=True)).rstrip()]
    lines += ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines)


def _cell(value: Any) -> str:  # noqa: ANN401 (any value of a row)
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    text = " ".join(plain(text).split())
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"


def dicts(frame: DataFrame) -> list[dict[str, Any]]:
    """The rows of *frame*, which are few, as dictionaries."""
    return [row.asDict(recursive=True) for row in frame.collect()]


def status(inputs: Inputs, *, verbose: bool) -> Shown:
    """What the store holds, how its last runs ended, and what its sketches say it covers."""
    from personalake.dedup.coverage import coverage  # noqa: PLC0415 (Spark only where tables are read)
    from personalake.report import covered  # noqa: PLC0415 (as above)

    names = ("documents", "personas", "hub", "duplicates", "examples", "solutions", "rejects", "pending")
    with reading(inputs, verbose) as store:
        counts = {name: store.read(name).count() for name in names}
        runs = store.read("runs")
        last = dicts(
            runs.orderBy(runs["seq"].desc(), runs["started_at"].desc())
            .limit(12)
            .selectExpr(
                "seq",
                "stage",
                "status",
                "requests",
                "sent",
                "accepted",
                "round(cost_microusd / 1e6, 4) AS cost_usd",
                "round(seconds, 1) AS seconds",
                "message",
            )
        )
        found = coverage(store.read("sketches"))
    listed = table([{"table": name, "rows": rows} for name, rows in counts.items()])
    data = {"store": store.address, "rows": counts, "runs": last, "coverage": covered.public(found)}
    parts = [f"{caption}\n{table(list(rows))}" for caption, rows in covered.tables(found)]
    return Shown(data, "\n\n".join([listed, table(last), *parts]))


def rejects(inputs: Inputs, *, verbose: bool, where: str | None, limit: int, stage: str | None = None) -> Shown:
    """What was refused, and why; by one *stage*, or by any."""
    if stage is not None:
        quoted = stage.replace("\\", "").replace("'", "")
        where = f"(stage = '{quoted}' OR startswith(stage, '{quoted}.'))" + (f" AND ({where})" if where else "")
    columns = ("stage", "reason", "detail", "input_key", "path", "offset", "raw")
    with reading(inputs, verbose) as store:
        found, total = listed(store.read("rejects"), where, columns, ("stage", "input_key"), limit)
    return Shown({"table": "rejects", "total": total, "rows": found}, f"{table(found)}\n\n{len(found):,} of {total:,}")


def listed(
    rows: DataFrame, where: str | None, columns: Sequence[str], order: Sequence[str], limit: int
) -> tuple[list[dict[str, Any]], int]:
    """The first *limit* rows, in this order, that fulfil *where*, and how many do; raises :class:`InputError`."""
    with condition(where, rows):
        chosen = rows.where(where) if where else rows
        first = chosen.orderBy(*order).limit(limit).select(*columns)
        looks: tuple[Callable[[], Any], ...] = (lambda: dicts(first), chosen.count)
        found, total = at_once(*looks)
    return found, total


@contextmanager
def condition(where: str | None, rows: DataFrame) -> Iterator[None]:
    """Say in one line what Spark raises of the condition *where* on *rows*."""
    from pyspark.errors import PySparkException  # noqa: PLC0415 (Spark only where tables are read)

    try:
        yield
    except PySparkException as error:
        if where is None:
            raise
        what, cure = f"--where {where!r}: {first_line(error)}", f"columns: {', '.join(rows.columns)}"
        raise InputError(what, cure=cure) from error


def diversity(inputs: Inputs, *, verbose: bool, of: str, by: str | None = None, against: str | None = None) -> Shown:
    """How diverse the hub, personas or examples are, by group; or beside those of the store *against*."""
    from personalake.diversity import command  # noqa: PLC0415 (Spark only where tables are read)

    command.check(of, by, against, inputs.settings.store)
    with reading(inputs, verbose) as store:
        if against is None:
            return command.measured(store, inputs.settings, of, by)
        return command.compared(store, inputs.settings, of, by, against)


def tasks(settings: Settings, folder: Path) -> Shown:
    """The task files beside the settings, each read and checked, and the targets that the settings set."""
    targets = {item.task: item.target for item in settings.synthesize.tasks}
    found = []
    for file in sorted((folder / "tasks").glob("*.yaml")):
        task = load_task(file)
        steps = " → ".join(f"{step.id} ({step.role})" for step in task.steps)
        found.append(
            {"task": task.task, "target": targets.get(task.task), "steps": steps, "description": task.description}
        )
    return Shown({"tasks": found}, table(found))
