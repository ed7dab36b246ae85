"""A trial on the terminal: each persona, each step's messages, reply, checks, tokens and cost; and the same as data."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from personalake.llm.offline.settings import is_stand_in
from personalake.shown import Shown, plain
from personalake.trial import Trial, Turn

_WIDEST = 120


def shown(trial: Trial) -> Shown:
    """What `personalake try` prints."""
    return Shown(_data(trial), _text(trial))


def previewed(trial: Trial) -> Shown:
    """What `personalake tasks --preview` prints: the messages alone."""
    turns = [
        {"persona": turn.persona, "step": turn.step.id, "role": turn.step.role, "messages": list(turn.messages)}
        for turn in trial.turns
    ]
    data = {"task": trial.task.task, "personas": trial.personas, "turns": turns}
    return Shown(data, _text(trial, "nothing was sent: {{fields...}} is what an earlier step brings"))


def _data(trial: Trial) -> dict[str, Any]:
    return {
        "task": trial.task.task,
        "stand_in": _stand_in(trial),
        "personas": [
            {"persona": persona, "turns": [_turn_data(turn) for turn in trial.turns if turn.persona == number]}
            for number, persona in enumerate(trial.personas)
        ],
        **_totals(trial),
        "deferred": trial.deferred,
    }


def _turn_data(turn: Turn) -> dict[str, Any]:
    completion = turn.completion or {}
    names = ("reply", "reasoning", "finish_reason", "error", "error_detail", "prompt_tokens", "completion_tokens")
    return {
        "step": turn.step.id,
        "role": turn.step.role,
        "model": turn.model,
        "request_key": turn.request["request_key"],
        "messages": list(turn.messages),
        **{name: completion.get(name) for name in names},
        "cost_usd": (completion.get("cost_microusd") or 0) / 1e6,
        "asked_before": turn.asked_before,
        "checks": {check: reason or "passed" for check, reason in turn.verdicts},
        "accepted": turn.row is not None,
        "fields": dict(_fields(turn)),
    }


def _totals(trial: Trial) -> dict[str, Any]:
    def total(name: str) -> int:
        return sum(int((turn.completion or {}).get(name) or 0) for turn in trial.sent)

    return {
        "requests": len(trial.turns),
        "sent": len(trial.sent),
        "asked_before": sum(turn.asked_before for turn in trial.turns),
        "accepted": sum(turn.row is not None for turn in trial.turns),
        "prompt_tokens": total("prompt_tokens"),
        "completion_tokens": total("completion_tokens"),
        "cost_usd": total("cost_microusd") / 1e6,
    }


def _stand_in(trial: Trial) -> bool:
    return any(is_stand_in((turn.completion or {}).get("model_answered")) for turn in trial.turns)


def _fields(turn: Turn) -> Iterator[tuple[str, str]]:
    """What was taken out of the reply: the writing step's field, or the answer."""
    row = turn.row or {}
    yield from row.get("fields") or ()
    if row.get("answer") is not None:
        yield "answer", str(row["answer"])


def _text(trial: Trial, last: str | None = None) -> str:
    out, terminal = io.StringIO(), sys.stdout.isatty()
    width = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
    console = Console(file=out, width=width, force_terminal=terminal, highlight=False, legacy_windows=False)
    told: set[str] = set()
    for number, persona in enumerate(trial.personas):
        console.rule(f"persona {number + 1} of {len(trial.personas)}", align="left", style="dim")
        console.print(Text(plain(persona), style="bold"))
        for turn in trial.turns:
            if turn.persona == number:
                _print_turn(console, turn, told, asked=last is None)
    console.rule(style="dim")
    console.print(_last_line(trial) if last is None else Text(last))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _print_turn(console: Console, turn: Turn, told: set[str], *, asked: bool = True) -> None:
    """Print a turn; a message that is in *told* already (the static rules) isn't told again."""
    paid = f" · {_paid(turn)}" if asked else ""
    console.print()
    console.print(Text.assemble((turn.step.id, "bold cyan"), f" · {turn.step.role}, {turn.model}{paid}"))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for message in turn.messages:
        again = message["content"] in told
        grid.add_row(message["role"], Text("(as above)", style="dim") if again else Text(plain(message["content"])))
        told.add(message["content"])
    completion = turn.completion or {}
    if completion.get("reasoning"):
        grid.add_row("reasoning", Text(plain(str(completion["reasoning"])), style="dim"))
    if completion.get("error"):
        grid.add_row("refused", Text(f"{completion['error']}: {plain(str(completion['error_detail']))}", style="red"))
    if completion.get("reply"):
        grid.add_row("reply", Text(plain(str(completion["reply"])), style="green"))
    for name, text in _fields(turn):
        if text != completion.get("reply"):
            grid.add_row(name, Text(plain(text), style="bold"))
    if turn.verdicts:
        grid.add_row("checks", _checks(turn))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _paid(turn: Turn) -> str:
    row = turn.completion
    if row is None:
        return "no answer in time"
    tokens = f"{row['prompt_tokens'] or 0:,} + {row['completion_tokens'] or 0:,} tokens"
    cost = f"${(row['cost_microusd'] or 0) / 1e6:.6f}"
    how = "asked before, nothing paid" if turn.asked_before else f"{row['latency_ms']:,} ms"
    return f"{tokens} · {cost} · {how}"


def _checks(turn: Turn) -> Text:
    parts = [
        Text(f"✗ {check}: {reason}", style="red") if reason else Text(f"✓ {check}", style="green")
        for check, reason in turn.verdicts
    ]
    return Text("  ").join(parts)


def _last_line(trial: Trial) -> Text:
    n = _totals(trial)
    line = Text(
        f"{n['requests']:,} requests: {n['sent']:,} sent, {n['asked_before']:,} asked before · "
        f"{n['accepted']:,} accepted · {n['prompt_tokens']:,} + {n['completion_tokens']:,} tokens · "
        f"${n['cost_usd']:.6f}\n"
        "kept in the store's journal: the next run lands them and asks none of them again"
    )
    if _stand_in(trial):
        line.append("\nthese texts are stand-ins: the embedded endpoint follows rules, it is no model", style="red")
    return line
