"""What a pilot has measured, for its user: yield, tokens and cost of accepted rows, and why others were refused."""

from __future__ import annotations

from typing import Any

from personalake.asking import stage_name
from personalake.inputs import Inputs
from personalake.llm.offline.settings import is_stand_in
from personalake.planning.arithmetic import Measures
from personalake.planning.measured import measure, rejects
from personalake.planning.specs import questions
from personalake.shown import Shown
from personalake.store import Store

_REASONS = 10


def told(store: Store, inputs: Inputs, deferred: str | None) -> Shown:
    """What the tables of a pilot's *store* tell; *deferred* is why some of its requests have to wait."""
    models, pages = questions(inputs), store.read("documents").count()
    measured = measure(store, inputs, models, pages)
    stages = [_stage(stage, measured) for stage in models if stage in measured.counts]
    infer = measured.counts.get("infer", {})
    data = {
        "store": store.address,
        "pages": pages,
        "borrowed": store.read("completions").where("seq = 0").count(),
        "personas_per_answered_page": _over(infer.get("accepted", 0), infer.get("answered", 0)),
        "stages": stages,
        "accepted": _accepted(inputs, measured),
        "rejects": rejects(store, _REASONS),
        "cost_usd": sum(stage["cost_usd"] for stage in stages),
        "stand_in": any(is_stand_in(question.role.model) for question in models.values()),
        "deferred": deferred,
    }
    return Shown(data, _text(data))


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _stage(stage: str, measured: Measures) -> dict[str, Any]:
    counts, reply = measured.counts[stage], measured.replies.get(stage)
    return {
        "stage": stage,
        "requests": counts["requests"],
        "answered": counts["answered"],
        "accepted": counts["accepted"],
        "refused": counts["rejected"] + counts["item_rejects"],
        "output_p50": None if reply is None else reply.p50,
        "output_p95": None if reply is None else reply.p95,
        "latency_p50_s": None if reply is None else reply.latency_s,
        "cost_usd": 0.0 if reply is None else reply.rows * reply.microusd / 1e6,
    }


def _accepted(inputs: Inputs, measured: Measures) -> list[dict[str, Any]]:
    """What an accepted row cost, all requests for it counted; null where none was accepted."""
    kinds = {"persona": ["infer"]}
    kinds |= {f"{task.task} example": [stage_name(task, step) for step in task.steps] for task, _ in inputs.tasks}
    rows = []
    for kind, stages in kinds.items():
        # Of an example, all answering steps have to hold: the fewest are whole.
        number = min(measured.counts.get(stage, {}).get("accepted", 0) for stage in stages)
        replies = [measured.replies[stage] for stage in stages if stage in measured.replies]
        cost = sum(reply.rows * reply.microusd for reply in replies) / 1e6
        rows.append({"row": kind, "accepted": number, "usd_each": _over(cost, number)})
    return rows


def aligned(rows: list[dict[str, str]]) -> list[str]:
    """*rows* as lines: the first column to the left, numbers to the right."""
    first, *others = rows[0]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    return [
        row[first].ljust(widths[first]) + "".join(row[name].rjust(widths[name] + 2) for name in others)
        for row in ({name: name for name in rows[0]}, *rows)
    ]


def _text(data: dict[str, Any]) -> str:
    of_page = data["personas_per_answered_page"]
    shown = "unknown" if of_page is None else f"{of_page:.2f} personas accepted an answered page"
    lines = [f"pilot of {data['pages']:,} pages: {shown}, ${data['cost_usd']:.4f} for its answers", ""]
    if data["stages"]:
        lines += [*aligned([_row(stage) for stage in data["stages"]]), ""]
    for row in data["accepted"]:
        price = "none accepted" if row["usd_each"] is None else f"${row['usd_each']:.6f} each"
        lines.append(f"{row['row']}s: {row['accepted']:,} accepted, {price}")
    if data["borrowed"]:
        lines.append(f"{data['borrowed']:,} of the answers were there already, and cost nothing now")
    if data["rejects"]:
        reasons = [{"refused": f"{r['stage']}: {r['reason']}", "rows": f"{r['rows']:,}"} for r in data["rejects"]]
        lines += ["", *aligned(reasons)]
    lines += ["", "its answers are the store's: the next run uses them, and asks and pays none of them again"]
    if data["stand_in"]:
        lines.append("these are the embedded endpoint's figures: it follows rules, it is no model")
    return "\n".join([*lines, "now see what the whole would cost: personalake plan"])


def _row(stage: dict[str, Any]) -> dict[str, str]:
    row = {"stage": stage["stage"]}
    row |= {name: f"{stage[name]:,}" for name in ("requests", "answered", "accepted", "refused")}
    for column, name in (("tokens p50", "output_p50"), ("p95", "output_p95")):
        row[column] = "" if stage[name] is None else f"{stage[name]:,.0f}"
    return {**row, "cost $": f"{stage['cost_usd']:.4f}"}
