"""Corrections of rows that stand already: written down first, then made.

A stage appends, and what was cut off is told apart by its keys. A correction deletes and counts backwards, which can't
be told from the tables afterwards. So its plan, with every row that it will touch, is written under `store.work`
before the first commit. Each of its commits can be made twice without harm: Delta knows the names of the appends, and
what is deleted or changed is gone under its key. Cut off anywhere, the next run on the store, whatever it is, carries
the plan out before it looks at anything else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pyspark.sql import DataFrame

from personalake.accept import content_id
from personalake.asking import steps_of
from personalake.errors import InputError, nearest
from personalake.inputs import Inputs
from personalake.personas.expand import stage_of
from personalake.runs import Run
from personalake.session import at_once
from personalake.stage_record import StageRecord
from personalake.work import Folder

_FOLDER, _PLAN = "amendment", "plan.json"

_SET_ASIDE = {
    # One commit: the money is never out of the table, nor in it twice. Its text goes, as if the row were deleted.
    "request_key": "sha2(concat_ws('|', 'replayed', t.request_key, unix_micros(t.answered_at)), 256)",
    "error": "'replayed'",
    "error_detail": "NULL",
    "reply": "NULL",
    "reasoning": "NULL",
}


@dataclass(frozen=True)
class Prepared:
    """The stages that a run goes on with, and what its first part has to say, as data and in words."""

    stages: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Change:
    """Rows to append to *table*; or keys, whose rows shall be deleted, or (of `completions`) be set aside.

    A reply that is set aside answers its request no longer, and stays as what it cost.
    """

    table: str
    how: Literal["append", "delete", "set aside"]
    rows: DataFrame


def plan(
    run: Run,
    command: str,
    changes: Sequence[Change],
    records: Mapping[str, StageRecord],
    through: Mapping[str, int],
    replay: Mapping[str, Any] | None = None,
) -> None:
    """Write down *changes*, and *records* that correct the counts of their stages; *through* is how far each stage is.

    The records' rows in `runs` have a `run_id` of their own: the same stage may be in this run once more. *replay* is
    what a replay says of itself, with the stages that it `asks`.
    """
    folder = run.store.work / _FOLDER
    folder.delete()
    own = content_id("amendment", run.run_id)
    for record in records.values():
        record.check()
    corrections = run.rows(records.values(), run_id=own, through=through)
    numbered = list(enumerate([*changes, Change("runs", "append", corrections)] if records else changes))

    def write(number: int, change: Change) -> dict[str, Any] | None:
        kept = run.store.keep(change.rows, folder / f"{number}")
        return None if kept.isEmpty() else {"folder": f"{number}", "table": change.table, "how": change.how}

    written = at_once(*(functools.partial(write, number, change) for number, change in numbered))
    made = [change for change in written if change]
    told = {"id": own, "seq": run.seq, "command": command, "changes": made, "replay": replay}
    # Written last: a plan without it was never made.
    folder.write(_PLAN, json.dumps(told).encode())


def carry_out(run: Run, *, own: bool = False) -> bool:
    """Make the changes of a plan, where there is one: this run's *own*, or that of one that was cut off.

    Returns whether there was one. Its rows bear the number of the run that planned it, and stages may be through with
    that number: where it was cut off, no run has ended with it yet, and the next one must not go on under it.
    """
    folder = run.store.work / _FOLDER
    content = folder.read(_PLAN)
    if content is None:
        return False
    told = json.loads(content)
    if not own:
        run.say(f"`{told['command']}`, which was cut off, is carried out")
    if told["replay"]:
        begin = run.half_done.begin if own else run.half_done.take_over
        begin(told["replay"]["asks"], told["replay"])
    for change in told["changes"]:
        _make(run, folder / change["folder"], change["table"], change["how"], told)
    folder.delete_file(_PLAN)
    folder.delete()
    run.look()
    return True


def _make(run: Run, folder: Folder, table: str, how: str, told: Mapping[str, Any]) -> None:
    rows = run.store.kept(folder)
    if how == "append":
        run.store.append(table, rows, int(told["seq"]), txn=f"{told['id']}/{table}")
    elif how == "delete":
        run.store.delete(table, rows)
    else:
        run.store.change(table, rows, _SET_ASIDE)


def asking_stages(inputs: Inputs, wanted: str | None) -> tuple[str, ...]:
    """The stages with requests that *wanted* names: one of them, `synthesize` or `expand` for all theirs, null for all.

    Raises :class:`InputError` for a name that there isn't.
    """
    steps = list(steps_of(inputs))
    hops = [stage_of(hop) for hop in range(1, inputs.settings.expand.hops + 1)]
    known: Iterable[str] = ("infer", *hops, *steps)
    if wanted == "expand" and hops:
        return tuple(hops)
    if wanted is None:
        return tuple(known)
    if wanted == "synthesize" and steps:
        return tuple(steps)
    if wanted not in known:
        every = [*known, *(["expand"] if hops else []), *(["synthesize"] if steps else [])]
        raise InputError(f"no stage {wanted!r} asks anything", where="--stage", cure=nearest(wanted, every))
    return (wanted,)


def refuse_half_done(run: Run) -> None:
    """Raise :class:`InputError` where a run was cut off: what it has done is in no count that could be corrected."""
    if run.resumes:
        raise InputError(
            f"a run was cut off, and {', '.join(sorted(run.half_done.stages))} may be half done",
            where=run.store.address,
            cure="let `personalake run` end it first",
        )
