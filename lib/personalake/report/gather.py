"""From the store's tables to the report's facts: sums and a few samples, never a table on the driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import __version__
from personalake.dedup.coverage import coverage
from personalake.dedup.embedding import METHOD
from personalake.diversity import told
from personalake.errors import InputError
from personalake.llm.journal import TRIED
from personalake.llm.offline.settings import is_stand_in
from personalake.personas.judge import CHECK
from personalake.reach import DEDUP_OF_HOP
from personalake.report import covered, diverse
from personalake.report.facts import (
    Drop,
    DuplicateSample,
    ExampleSample,
    PersonaSample,
    RejectSample,
    ReportFacts,
    Samples,
    StageFacts,
    Status,
    Totals,
    Turn,
)
from personalake.report.html import render
from personalake.runs import Run
from personalake.session import at_once

_SUMS = (
    "requests", "answered", "rejected", "deferred", "items", "accepted", "duplicates", "item_rejects", "none_found",
    "sent",
    "prompt_tokens", "completion_tokens", "cost_microusd", "wasted_microusd", "seconds",
)  # fmt: skip
_TOP_DROPS = 40


def write_report(run: Run, path: Path, samples: int, status: Status, message: str) -> None:
    """Write the store's report to *path*; raises :class:`InputError` where that can't be written."""
    page = render(gather(run, samples, status, message))
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path), cure="set report.path") from error


def gather(run: Run, samples: int, status: Status, message: str) -> ReportFacts:
    """Read what the report says of *run* and of the whole store; *samples* rows in all."""
    store, hub = run.store, run.store.read("hub")
    queries: tuple[Callable[[], Any], ...] = (
        lambda: _stages(run),
        lambda: sorted(row[0] for row in store.read("completions").select("model").distinct().collect()),
        lambda: _samples(run, samples),
        lambda: diverse.measured(hub, run.settings.seed),
        lambda: _table_sizes(run),
        lambda: store.read("runs").where("stage != 'run'").agg(F.sum("wasted_microusd")).collect()[0][0],
        lambda: coverage(store.read("sketches")),
        lambda: store.read("duplicates").where(F.col("method") == METHOD).count(),
    )
    stages, models, shown, measured, sizes, wasted, covers, repeats = at_once(*queries)
    return ReportFacts(
        store=store.address,
        run_id=run.run_id,
        started_at=run.started_at,
        seconds=run.seconds,
        status=status,
        version=__version__,
        message=message,
        stand_in=any(map(is_stand_in, models)),
        models=tuple(models),
        run_totals=_run_totals(run),
        store_totals=_store_totals(stages, sizes, int(wasted or 0)),
        stages=tuple(stages),
        stages_of="all runs of this store",
        samples=shown,
        languages=diverse.counts(measured, "language"),
        domains=diverse.counts(measured, "domain"),
        coverage=covered.tables(covers),
        diversity=told.at_one_size(measured, "personas"),
        growth=diverse.growth(covers),
        waste=_waste(run),
        semantic_dedup=_semantic(run, int(repeats)),
        settings=yaml.safe_dump(run.settings.shaping_rows(), sort_keys=False, allow_unicode=True),
        warnings=tuple(run.warnings),
    )


def _stages(run: Run) -> list[StageFacts]:
    runs = run.store.read("runs")
    sums = (
        runs.where("stage != 'run' AND NOT startswith(stage, 'export.')")
        .groupBy("stage")
        .agg(*(F.sum(name).alias(name) for name in _SUMS))
        .collect()
    )
    reasons = run.store.read("rejects").groupBy("stage", "reason").count().collect()
    drops: dict[str, list[Drop]] = {}
    for row in sorted(reasons, key=lambda r: (-r["count"], r["reason"])):
        drops.setdefault(row["stage"], []).append(Drop(row["reason"], int(row["count"])))
    found = {row["stage"]: row.asDict() for row in sums}
    order = sorted(found, key=_place(run))
    both = {"infer", "import"} <= set(found)
    hops = max((int(name.removeprefix(DEDUP_OF_HOP)) for name in found if name.startswith(DEDUP_OF_HOP)), default=0)
    sources = {"import": "files of your own", "dedup": "infer and import" if both else ""}
    hub = "dedup" if not hops else "the hub"
    return [
        _stage(run, name, found[name], tuple(drops.get(name, ())[:_TOP_DROPS]), sources.get(name, ""), hub)
        for name in order
    ]


def _semantic(run: Run, repeats: int) -> str:
    embedding = run.settings.dedup.embedding
    if embedding is None:
        return "not run"
    return f"{repeats:,} repeats at a cosine of {embedding.threshold:g} or more, by vectors of {embedding.name}"


def _place(run: Run) -> Any:  # noqa: ANN401 (a sort key)
    tasks = [item.task for item in run.settings.synthesize.tasks]
    writes = run.writing_stages
    fixed = {
        "ingest": (0,),
        "infer": (1,),
        "import": (2,),
        CHECK: (3, 0),
        "embed": (3, 1),
        "dedup": (3, 2),
        TRIED: (5,),
    }

    def place(stage: str) -> tuple[object, ...]:
        if stage in fixed:
            return fixed[stage]
        whole, task = stage.split(".")[:2]
        if whole in ("expand", "dedup"):
            return (3, 3, int(task), whole == "dedup")
        # Of a task's steps the writing one comes first.
        return (4, tasks.index(task) if task in tasks else len(tasks), task, stage not in writes, stage)

    return place


_ROWS = {
    "ingest": ("a record of the corpus", "a page"),
    "infer": ("a page", "a persona"),
    "import": ("a row", "a persona"),
    CHECK: ("a persona", "a score"),
    "embed": ("a persona", "a vector"),
    "dedup": ("a persona", "a persona"),
    "expand": ("a persona", "a persona"),
    TRIED: ("a persona or example", "an answer"),
}


def _stage(
    run: Run, name: str, sums: Mapping[str, Any], dropped: tuple[Drop, ...], source: str, hub: str
) -> StageFacts:
    n = {key: int(sums[key]) for key in _SUMS if key != "seconds"}
    whole, task, step = [*name.split("."), "", ""][:3]
    if whole in _ROWS:
        task, step = whole, task  # Of a hop.
    writes = name in run.writing_stages
    row, item = _ROWS.get(whole, ("a persona" if writes else "an example", "an example" if writes else "an answer"))
    return StageFacts(
        name=f"{task}" if task else name,
        step=step,
        row=row,
        item=item,
        source=hub if writes else source,
        rows_in=n["requests"] or n["items"],
        kept=n["accepted"],
        dropped=dropped,
        cost_usd=n["cost_microusd"] / 1e6,
        seconds=float(sums["seconds"]),
        **{key: n[key] for key in (
            "requests", "answered", "rejected", "deferred", "items", "duplicates", "item_rejects", "none_found",
    "sent",
            "prompt_tokens", "completion_tokens",
        )},
    )  # fmt: skip


def _run_totals(run: Run) -> Totals:
    def total(name: str, *stages: str) -> int:
        return sum(r.counts[name] for r in run.stages if not stages or r.stage.startswith(stages))

    steps = [r for r in run.stages if r.stage.startswith("synthesize.")]
    return Totals(
        documents=total("accepted", "ingest"),
        personas=total("accepted", "infer", "expand", "import"),
        hub=total("accepted", "dedup"),
        examples=sum(r.counts["accepted"] for r in steps if r.stage in run.writing_stages),
        solutions=sum(r.counts["accepted"] for r in steps if r.stage not in run.writing_stages),
        requests=total("sent"),
        prompt_tokens=total("prompt_tokens"),
        completion_tokens=total("completion_tokens"),
        cost_usd=total("cost_microusd") / 1e6,
        wasted_usd=total("wasted_microusd") / 1e6,
    )


def _table_sizes(run: Run) -> dict[str, int]:
    names = ("documents", "personas", "hub", "examples", "solutions")
    return {name: run.store.read(name).count() for name in names}


def _store_totals(stages: list[StageFacts], sizes: dict[str, int], wasted_microusd: int) -> Totals:
    return Totals(
        **sizes,
        requests=sum(stage.sent for stage in stages),
        prompt_tokens=sum(stage.prompt_tokens for stage in stages),
        completion_tokens=sum(stage.completion_tokens for stage in stages),
        cost_usd=sum(stage.cost_usd for stage in stages),
        wasted_usd=wasted_microusd / 1e6,
    )


def _waste(run: Run) -> tuple[tuple[str, float], ...]:
    causes: Counter[str] = Counter()
    for record in run.stages:
        causes.update(record.waste)
    return tuple((cause, microusd / 1e6) for cause, microusd in causes.most_common())


def _samples(run: Run, most: int) -> Samples:
    """Rows of lowest hash, so that a report shows the same ones again; most of them personas and examples."""
    personas, examples, duplicates = -(-most * 7 // 20), -(-most * 7 // 20), most * 3 // 20
    rejects = max(0, most - personas - examples - duplicates)
    return Samples(
        personas=_personas(run, personas),
        examples=_examples(run, examples),
        duplicates=_duplicates(run, duplicates),
        rejects=_rejects(run, rejects),
    )


def _first(rows: DataFrame, by: str, most: int) -> list[dict[str, Any]]:
    return [
        {k: "" if v is None else v for k, v in row.asDict(recursive=True).items()}
        for row in rows.orderBy(by).limit(most).collect()
    ]


def _personas(run: Run, most: int) -> tuple[PersonaSample, ...]:
    documents = run.store.read("documents").select("doc_id", "title")
    rows = _first(run.store.read("hub"), "persona_id", most)
    ids = [row["root_doc_id"] for row in rows]
    titles = {row["doc_id"]: row["title"] or "" for row in documents.where(documents["doc_id"].isin(ids)).collect()}
    columns = ("text", "url", "licence", "relation", "evidence", "occupation", "domain", "language", "model")
    parents = [row["parent_id"] for row in rows if row["parent_id"]]
    personas = run.store.read("personas").select("persona_id", "text")
    texts = {row["persona_id"]: row["text"] for row in personas.where(personas["persona_id"].isin(parents)).collect()}
    return tuple(
        PersonaSample(
            title=titles.get(row["root_doc_id"], ""),
            parent=texts.get(row["parent_id"], ""),
            **{c: row[c] for c in columns},
        )
        for row in rows
    )


def _examples(run: Run, most: int) -> tuple[ExampleSample, ...]:
    store = run.store
    solutions = store.read("solutions").where("sample = 0").selectExpr("example_id", "text AS reply", "answer")
    writers = store.read("hub").selectExpr("persona_id", "text AS persona")
    found: list[ExampleSample] = []
    tasks = [item.task for item in run.settings.synthesize.tasks]
    for number, task in enumerate(tasks):
        share = most // len(tasks) + (1 if number < most % len(tasks) else 0)
        examples = store.read("examples")
        lowest = examples.where(examples["task"] == task).join(solutions, "example_id").orderBy("rank").limit(share)
        for row in _first(lowest.join(writers, "persona_id", "left"), "rank", share):
            turns = (*(Turn("user", text) for text in row["fields"].values()), Turn("assistant", row["reply"]))
            found.append(
                ExampleSample(
                    task=task,
                    turns=turns,
                    variation=tuple(sorted(row["variation"].items())),
                    **{c: row[c] for c in ("persona", "answer", "language", "licence", "model")},
                )
            )
    return tuple(found)


def _duplicates(run: Run, most: int) -> tuple[DuplicateSample, ...]:
    # Near copies tell more than equal ones, so the least similar come first.
    rows = run.store.read("duplicates").where("kind = 'persona'").orderBy("similarity", "id").limit(most).collect()
    ids = [row["id"] for row in rows] + [row["kept_id"] for row in rows]
    personas = run.store.read("personas")
    texts = {r["persona_id"]: r for r in personas.where(personas["persona_id"].isin(ids)).collect()}
    return tuple(
        DuplicateSample(
            dropped=texts[row["id"]]["text"],
            kept=texts[row["kept_id"]]["text"],
            similarity=float(row["similarity"]),
            method=row["method"],
            language=texts[row["id"]]["language"] or "",
        )
        for row in rows
    )


def _rejects(run: Run, most: int) -> tuple[RejectSample, ...]:
    rows = run.store.read("rejects")
    # One of each reason first: what a reader wants to see is the kinds.
    one_each = rows.groupBy("stage", "reason").agg(
        F.min_by(F.struct("detail", "raw", "input_key"), "reject_id").alias("row")
    )
    found = _first(
        one_each.select("stage", "reason", "row.*").withColumn("by", F.sha2(F.concat("stage", "reason"), 256)),
        "by",
        most,
    )
    return tuple(
        RejectSample(stage=r["stage"], reason=r["reason"], raw=r["raw"], detail=r["detail"], where=r["input_key"])
        for r in found
    )
