"""`personalake plan`: what the next run would ask, cost and take, before anything is paid.

Nothing is sent, written or locked, so it may work beside a run. Spark starts only where there are tables to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException

from personalake.corpus.files import DELTA
from personalake.errors import PersonalakeError
from personalake.inputs import Inputs
from personalake.llm.journal import segments
from personalake.planning.arithmetic import Figure
from personalake.planning.forecast import Forecast, StagePlan, forecast
from personalake.planning.measured import HANDED_OVER, Money, measure, pilot_settings
from personalake.planning.specs import questions
from personalake.planning.standing import Standing, empty, standing
from personalake.planning.told import aligned
from personalake.session import last_words, session_for
from personalake.settings import Settings, StoreSettings
from personalake.show import table
from personalake.shown import Shown
from personalake.store import Store, check_address
from personalake.work import Folder, absolute, is_local

_SMALL_BYTES = 32 * 1024 * 1024
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_NO_PRICE = "has no price in the models file: its cost is unknown, and a budget is refused"
_WORST = "worst: replies of max_tokens, a token for each byte asked, acceptance at the low end of its 95 % interval"


def plan(inputs: Inputs, *, verbose: bool = False) -> Shown:
    """What the next run over *inputs* would ask, cost and take; raises :class:`PersonalakeError` where Spark fails."""
    settings = inputs.settings
    check_address(settings.store)
    try:
        with _stores(inputs, verbose) as (store, pilot):
            models = questions(inputs)
            stand = empty(inputs, _journaled(settings)) if store is None else standing(store, inputs, pilot)
            measures = [] if store is None else [measure(store, inputs, models)]
            if pilot is not None:
                measures.append(measure(pilot, inputs, models, pilot.read("documents").count()))
    except PySparkException as error:
        where = settings.store.path or "the store"
        raise PersonalakeError(f"Spark failed: {last_words(error)}", where=where) from error
    made = forecast(inputs, stand, measures)
    made.notes += _notes(inputs, made)
    data = _data(settings, stand, made)
    return Shown(data, _text(settings, stand, made, data))


def _filled(store: StoreSettings) -> bool:
    """Whether a store has tables; of a catalog's, which only Spark can tell, it is assumed."""
    return not store.path or (Folder(absolute(store.path)) / "runs" / "_delta_log").exists()


@contextmanager
def _stores(inputs: Inputs, verbose: bool) -> Iterator[tuple[Store | None, Store | None]]:
    """The settings' store, null where it and its pilot's have no tables; and its pilot's, null where that has none."""
    settings = inputs.settings
    piloted = _filled(pilot_settings(settings))
    if not piloted and not _filled(settings.store):
        yield None, None
        return
    work = absolute(settings.store.work_path)
    log = Path(work) / "spark.log" if is_local(work) else None
    # As a run over the same corpus would (`pipeline.py`).
    hurried = 0 < sum(file.size for file in (*inputs.files, *inputs.persona_files)) < _SMALL_BYTES
    with session_for(settings.spark, verbose=verbose, log=log, hurried=hurried) as spark:
        yield Store(spark, settings.store), Store(spark, pilot_settings(settings)) if piloted else None


def _journaled(settings: Settings) -> int:
    """What replies in the journal of a store without tables cost: those of `try`."""
    return sum(s.microusd for s in segments(Folder(absolute(settings.store.work_path)) / "journal"))


def _notes(inputs: Inputs, made: Forecast) -> list[str]:
    settings = inputs.settings
    notes = [f"the model {model!r} {_NO_PRICE}" for model in made.unpriced]
    if settings.llm.transport == "batch":
        notes.append("by the Batch API: its prices, and up to 24 hours for each stage and round")
    folder = Folder(absolute(settings.store.work_path)) / "pilot"
    if (folder / "runs").exists() and not (folder / "_work" / HANDED_OVER).exists():
        notes.append("a pilot works now or was cut off: what it has paid so far is not in these figures")
    for what, named, files in (
        ("the corpus", settings.corpus.tables, inputs.files),
        ("personas", settings.personas.tables, inputs.persona_files),
    ):
        tables = len(named) + sum(file.format == DELTA for file in files)
        if tables:
            notes.append(f"{tables} Delta table(s) of {what}: what is new in them is known, and paid, once it is read")
    return notes


def _data(settings: Settings, stand: Standing, made: Forecast) -> dict[str, Any]:
    stages = [_stage_data(stage) for stage in made.stages]
    seconds = sum(stage.seconds for stage in made.stages)
    longest = max(made.stages, key=lambda stage: stage.seconds)
    return {
        "store": settings.store.path or f"{settings.store.catalog}.{settings.store.schema_}",
        "transport": settings.llm.transport,
        "stages": stages,
        "totals": {
            "requests": sum(stage["requests"] for stage in stages),
            "already_answered": sum(stage["already_answered"] for stage in stages),
            "prompt_tokens": sum(stage["prompt_tokens"] for stage in stages),
            "output_tokens": sum(stage["output_tokens"] for stage in stages),
            "cost_usd": _usd(made.total("cost")),
            "worst_usd": _usd(made.total("worst")),
        },
        "time": {"seconds": round(seconds, 1), "limit": longest.limit if seconds else None},
        "budget": _budget(settings, stand.money, made),
        "accepted": [
            {"row": row, "expected": round(number), "usd_each": _usd(cost)} for row, number, cost in made.accepted
        ],
        "unread_files": {kind: {"files": files, "bytes": size} for kind, (files, size) in stand.unread.items()},
        "new_crawl": None if stand.crawl is None else stand.crawl.public(),
        "figures": [{"figure": name, "value": f.value, "basis": f.basis} for name, f in made.figures],
        "notes": made.notes,
    }


def _stage_data(stage: StagePlan) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "model": stage.model,
        "already_answered": stage.known,
        "requests": round(stage.requests.value),
        "requests_basis": stage.requests.basis,
        "worst_requests": round(stage.worst_requests),
        "prompt_tokens": round(stage.prompt.value),
        "prompt_basis": stage.prompt.basis,
        "output_tokens": round(stage.output.value),
        "output_basis": stage.output.basis,
        "reply_tokens": {"mean": stage.reply.output, "p50": stage.reply.p50, "p95": stage.reply.p95},
        "latency_p50_s": stage.reply.latency_s,
        "cost_usd": _usd(stage.cost),
        "worst_usd": _usd(stage.worst),
        "seconds": round(stage.seconds, 1),
        "limit": stage.limit,
    }


def _usd(microusd: float | None) -> float | None:
    return None if microusd is None else microusd / 1e6


def _budget(settings: Settings, money: Money, made: Forecast) -> dict[str, Any]:
    """What the store has cost, what is left, and whether the plan fits; null where nobody can say."""
    told: dict[str, Any] = {"spent_usd": money.spent / 1e6, "reserved_usd": money.reserved / 1e6}
    if settings.budget_usd is None:
        return {"budget_usd": None, **told, "left_usd": None, "expected_fits": None, "worst_fits": None}
    left = settings.budget_usd - money.spent / 1e6
    fits = [None if (cost := made.total(name)) is None else cost / 1e6 <= left for name in ("cost", "worst")]
    return {
        "budget_usd": settings.budget_usd, **told, "left_usd": left, "expected_fits": fits[0], "worst_fits": fits[1],
    }  # fmt: skip


def _text(settings: Settings, stand: Standing, made: Forecast, data: dict[str, Any]) -> str:
    llm, total = settings.llm, data["totals"]
    rows = [_row(stage["stage"], stage) for stage in data["stages"]]
    lines = [f"plan for {data['store']}, to be asked of {llm.address}; nothing was sent", ""]
    lines += [*aligned([*rows, _row("total", total)]), ""]
    if total["already_answered"]:
        lines.append(f"left out, since they are answered (or lie in a batch): {total['already_answered']:,} requests")
    lines += [*_unread_lines(stand), *_accepted_lines(made), _time_line(data), _budget_line(data["budget"]), _WORST]
    lines += [f"! {note}" for note in made.notes]
    known = [*((name, _value(f), f.basis) for name, f in made.figures), *_stage_figures(made)]
    lines += ["", table([{"figure": n, "value": v, "how it is known": b} for n, v, b in known])]
    if any(basis.startswith("assumed") for _, _, basis in known):
        lines.append("\nwhat is assumed can be measured: personalake pilot -n 200")
    return "\n".join(lines)


def _row(name: str, told: dict[str, Any]) -> dict[str, str]:
    costs = {"expected $": told["cost_usd"], "worst $": told["worst_usd"]}
    counts = {"requests": "requests", "tokens in": "prompt_tokens", "tokens out": "output_tokens"}
    return {
        "stage": name,
        **{column: f"{told[key]:,}" for column, key in counts.items()},
        **{column: "unknown" if cost is None else f"{cost:,.4f}" for column, cost in costs.items()},
    }


def _unread_lines(stand: Standing) -> list[str]:
    lines = [
        f"not ingested yet: {files:,} file(s) {kind}, {size:,} bytes"
        for kind, (files, size) in sorted(stand.unread.items())
    ]
    return lines if stand.crawl is None else [*lines, *stand.crawl.lines()]


def _accepted_lines(made: Forecast) -> list[str]:
    return [
        f"{row}s: {number:,.0f} more accepted, at {'an unknown price' if cost is None else f'${cost / 1e6:.6f}'} each"
        for row, number, cost in made.accepted
    ]


def _time_line(data: dict[str, Any]) -> str:
    time = data["time"]
    return f"time: at least {_duration(time['seconds'])}; bound by {time['limit']}" if time["limit"] else "time: none"


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:,.0f} minutes"
    return f"{seconds / _HOUR:,.0f} hours" if seconds < 2 * _DAY else f"{seconds / _DAY:,.0f} days"


def _budget_line(told: dict[str, Any]) -> str:
    spent = f"${told['spent_usd']:.4f} spent"
    if told["reserved_usd"]:
        spent += f" (${told['reserved_usd']:.4f} of it reserved by a wave that runs or was cut off)"
    if told["budget_usd"] is None:
        return f"budget: none set; {spent}"
    words = {True: "fits", False: "does NOT fit", None: "is unknown"}
    return (
        f"budget: ${told['budget_usd']:.4f}; {spent}, ${told['left_usd']:.4f} left: "
        f"expected {words[told['expected_fits']]}, worst {words[told['worst_fits']]}"
    )


def _value(figure: Figure) -> str:
    return f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3f}"  # noqa: PLR2004 (digits shown)


def _stage_figures(made: Forecast) -> Iterator[tuple[str, str, str]]:
    for stage in made.stages:
        reply = stage.reply
        yield f"requests, {stage.stage}", f"{stage.requests.value:,.0f}", stage.requests.basis
        yield (
            f"reply tokens, {stage.stage}",
            f"{reply.output:,.0f} (p50 {reply.p50:,.0f}, p95 {reply.p95:,.0f})",
            stage.output.basis,
        )
        yield f"seconds a reply, {stage.stage}", f"{reply.latency_s:.3f}", stage.output.basis
