"""The store's money: what it has cost, what may still be spent, and what nobody knows was billed.

A send whose reply never came whole may have been billed: after a crash, a timeout, a connection that was cut. Such
sends count against the budget at their worst cost. They are written down (`lost/`) until a stage's row in `runs` has
them, so no crash forgets them; one between the two counts them twice, which errs on the budget's side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from personalake.llm.journal import segments
from personalake.schemas import PAID_BESIDE
from personalake.work import Folder

if TYPE_CHECKING:
    from personalake.store import Store

_RESERVED = "reserved.json"


def in_doubt(work: Folder) -> int:
    """What may have been billed and is in no table and no journal, in millionths of a dollar.

    Only for whoever holds the lease of the store that works in *work*: a wave that runs looks like a crashed one.
    """
    found = sum(_lost(work / "lost").values())
    for name in (work / "journal").folders():
        wave = work / "journal" / name
        found += sum(_of_crashed(wave, sum(segment.microusd for segment in segments(wave))).values())
    return found


def reserve(wave: Folder, worst: Mapping[str, int], whole: int, lost: int) -> None:
    """Write down ahead of a *wave* what it may cost by stage, and all in all, and how much of it a crash can lose."""
    wave.write(_RESERVED, json.dumps({"worst": dict(worst), "whole": whole, "lost": lost}).encode())


def release(wave: Folder) -> None:
    """Nothing of *wave* is in doubt any more."""
    wave.delete_file(_RESERVED)


def _of_crashed(wave: Folder, journaled: int) -> dict[str, int]:
    """What a crashed wave may have cost beyond its *journaled* replies, by stage."""
    content = wave.read(_RESERVED)
    if content is None:
        return {}
    told = json.loads(content)
    worst: dict[str, int] = told["worst"]
    lost, shared = min(max(0, told["whole"] - journaled), int(told["lost"])), sum(worst.values())
    return {stage: -(-lost * cost // shared) for stage, cost in worst.items()} if lost else {}


def _lost(folder: Folder) -> dict[str, int]:
    found: dict[str, int] = {}
    for info in folder.files():
        for stage, microusd in json.loads(folder.read(info.base_name) or b"{}").items():
            found[stage] = found.get(stage, 0) + int(microusd)
    return found


class Purse:
    """What a store may spend; amounts are millionths of a US dollar."""

    def __init__(self, store: Store, budget_usd: float | None) -> None:
        self._store, self._lost = store, store.work / "lost"
        self.budget = None if budget_usd is None else round(budget_usd * 1_000_000)
        self._paid: int | None = None

    @property
    def paid(self) -> int:
        """What the store has cost so far: its completions, replies that came twice, and what may have been billed."""
        if self._paid is None:
            # A run's own row sums its stages up.
            completions, runs = self._store.read("completions"), self._store.read("runs").where("stage <> 'run'")
            known = completions.selectExpr("coalesce(sum(cost_microusd), 0) AS paid").collect()[0]["paid"]
            waste = " + ".join(f"coalesce(waste['{cause}'], 0)" for cause in PAID_BESIDE)
            more = f"coalesce(sum({waste}), 0) AS more"
            other = runs.selectExpr(more, "coalesce(sum(unknown_microusd), 0) AS unknown").collect()[0]
            self._paid = int(known) + int(other["more"]) + int(other["unknown"]) + sum(self.lost().values())
        return self._paid

    def pay(self, microusd: int) -> None:
        """So much was written down as paid; what nobody has asked for yet, the tables will tell."""
        if self._paid is not None:
            self._paid += microusd

    @property
    def left(self) -> int | None:
        """What may still be spent; null where there is no budget."""
        return None if self.budget is None else self.budget - self.paid

    def reserve(self, wave: Folder, worst: Mapping[str, int], sends: int, one: int) -> None:
        """Write down, ahead of a wave, what it may cost by stage, and how many *sends* of *one* a crash can lose."""
        whole = sum(worst.values()) if self.left is None else min(sum(worst.values()), self.left)
        reserve(wave, worst, whole, sends * one)

    def close_crashed(self, wave: Folder, journaled: int) -> None:
        """Write down what a crashed wave may have cost beyond the *journaled* replies."""
        lost = _of_crashed(wave, journaled)
        if lost:
            self.lose(wave.address.rsplit("/", 1)[-1], lost)
        release(wave)

    def close(self, wave: Folder, unknown: Mapping[str, int]) -> None:
        """A wave has ended as it should; *unknown* is what its unanswered sends may have cost, by stage."""
        if any(unknown.values()):
            self.lose(wave.address.rsplit("/", 1)[-1], unknown)
            self.pay(sum(unknown.values()))
        release(wave)

    def lose(self, name: str, by_stage: Mapping[str, int]) -> None:
        """Write down under *name* what may have been billed for nothing."""
        self._lost.write(f"{name}.json", json.dumps(dict(by_stage)).encode())

    def lost(self) -> dict[str, int]:
        """What may have been billed for nothing and is in no row of `runs` yet, by stage."""
        return _lost(self._lost)

    def settle(self) -> None:
        """All that was lost is in `runs` now."""
        for info in self._lost.files():
            self._lost.delete_file(info.base_name)
