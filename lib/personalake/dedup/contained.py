"""How much of a batch was counted before: a share with its interval, also of a small batch in a large store.

By inclusion and exclusion, |A ∩ B| is the difference of three counts, and errs by 0.4 % of the larger set: no use for a
crawl of 1,000 pages and a store of a million. A MinHash of both sees too little of the small one, too. But the batch is
at hand, each of its elements, and a HyperLogLog answers for one element as a Bloom filter does: if the element was
counted, its register is at least as high as its rank. One that was not counted is found out if its register is lower,
which it is with the probability *w* that a register drawn at random is: the share of the registers below its rank,
which is known exactly. So

    share of new elements = elements found out / sum of w over all elements

without bias, whatever the sizes; the sum of w is what the batch weighs. While a store has fewer elements than registers
nearly every one weighs 1; from then on about 0.72 * registers / |B|. With the 2 ** 20 registers of `pages`, 1,000 pages
weigh about 530 beside a million (a standard error of up to 4 points), 75 beside ten million (12), and 7.5 beside a
hundred million (too little to tell; 30,000 pages, an archive of Common Crawl, weigh 226 there). No sketch of a fixed
size does much better: the error of any grows with the store.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalake.dedup.registers import Hashes, Registers, places_and_ranks

SURE = 1.96
"""Standard errors to each side of a 95 % interval."""
_WIDE = 0.5


@dataclass(frozen=True)
class Share:
    """A share that was estimated, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether the interval is narrow enough to say anything."""
        return self.high - self.low <= _WIDE

    def __str__(self) -> str:
        """In per cent, and no more of it than is known."""
        if not self.tells:
            return f"too little to tell ({_percent(self.low)} to {_percent(self.high)})"
        if self.low <= 0 and self.value <= self.high / 2:
            return "none" if not self.high else f"too little overlap to tell (below {_percent(self.high)})"
        if self.low == self.high:
            return _percent(self.value)
        return f"about {_percent(self.value)} ({_percent(self.low)} to {_percent(self.high)})"

    def rest(self) -> Share:
        """The share of all others."""
        return Share(1 - self.value, 1 - self.high, 1 - self.low)

    def public(self) -> dict[str, float | bool]:
        """It as `--json` prints it."""
        return {"share": self.value, "low": self.low, "high": self.high, "tells": self.tells}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


@dataclass(frozen=True)
class Tested:
    """What a HyperLogLog said of *elements* different ones.

    *weight* and *squares* are the sums of their w and w², *missed* how many were found out as new.
    """

    elements: float = 0.0
    weight: float = 0.0
    squares: float = 0.0
    missed: float = 0.0

    def __add__(self, other: Tested) -> Tested:
        return Tested(
            self.elements + other.elements,
            self.weight + other.weight,
            self.squares + other.squares,
            self.missed + other.missed,
        )


def tested(distinct: Hashes, registers: Registers) -> Tested:
    """Ask a HyperLogLog of these *registers* for *distinct* elements."""
    below = np.cumsum(np.bincount(registers, minlength=66))[:-1] / len(registers)  # by rank, from 1 on
    places, ranks = places_and_ranks(distinct, registers)
    weights = below[ranks - 1]
    missed = int(np.count_nonzero(registers[places] < ranks))
    return Tested(len(distinct), float(weights.sum()), float((weights**2).sum()), float(missed))


def known(parts: Sequence[Tested], *, whole: bool) -> Share:
    """The share of the elements of all *parts* (files) that were counted before.

    *whole* says that the parts are all that there is; else they stand for others, and what they differ by counts.
    """
    total = sum(parts, Tested())
    if not total.weight:
        return Share(0.0, 0.0, 1.0)
    new = min(1.0, total.missed / total.weight)
    mean = total.squares / total.weight
    trials = total.weight / mean
    variance = new * (1 - new * mean) / total.weight
    if whole:
        trials /= max(1e-12, _of_hashing(total, new))
    elif variance and len(parts) > 1:
        spread = sum((part.missed - new * part.weight) ** 2 for part in parts) / total.weight**2
        trials /= max(1.0, spread * len(parts) / (len(parts) - 1) / variance)
    found = wilson(new * mean, trials)
    return Share(new, *(min(1.0, end / mean) for end in (found.low, found.high))).rest()


def _of_hashing(total: Tested, new: float) -> float:
    """The part of the variance that is left where nothing is a sample: which elements happen to weigh how much."""
    weight, square = total.weight / total.elements, total.squares / total.elements
    whole = weight - new * square
    return (whole - (1 - new) * weight**2) / whole if whole else 0.0


def wilson(share: float, trials: float) -> Share:
    """Wilson's interval (1927) for a *share* of so many *trials*."""
    if not trials:
        return Share(0.0, 0.0, 1.0)
    square = SURE**2 / trials
    middle = (share + square / 2) / (1 + square)
    spread = SURE * math.sqrt(max(0.0, share * (1 - share)) / trials + square / (4 * trials)) / (1 + square)
    return Share(share, max(0.0, middle - spread), min(1.0, middle + spread))


def in_other(one: Hashes, other: Hashes) -> Share:
    """The share of the elements of *one*, by its MinHash, that the *other* has as well.

    Where the least of both is one's own, it is one of its elements drawn at random: whether it is the other's least,
    too, says whether the other has it. A small set is seldom drawn from beside a large one: then this can't tell.
    """
    drawn = int(np.count_nonzero(one <= other))
    return wilson(int(np.count_nonzero(one == other)) / drawn if drawn else 0.0, drawn)
