"""Two stores side by side: each group's figures at equal size, and whether their difference is more than chance.

The interval comes from parts: three quarters of the tokens and rows are drawn at random from both stores, again and
again, and the spread of the difference over these draws, times the root of 3, is its standard error. That is a
bootstrap without replacement, the jackknife that deletes a quarter (Shao and Wu 1989). With replacement, many of the
rows drawn would be there twice, and be taken for repeats. Where two samples of 100 came from the same texts, 93 to 97 %
of the intervals of distinct-n and of compression ratios held 0 (400 tries); halves instead of quarters gave 88 to 97 %.

Rows of one page are drawn together or not at all, and the same pages of both stores, so that what the stores have in
common doesn't count as chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from personalake.dedup.ragged import Ints, mixed
from personalake.diversity.draw import ALL, Key
from personalake.diversity.measure import LEAST, Size
from personalake.diversity.sample import Figures, Sample, Values, figures, values_of

DRAWS = 200
"""Parts drawn: a standard error from so many is known to 5 %."""
_KEPT = 0.75
_WIDTH = 1.96


@dataclass(frozen=True)
class Difference:
    """A figure here and there, and the 95 % interval of *here* less *there*."""

    figure: str
    here: float
    there: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether it is more than chance; of twenty that are none, one seems to be."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Beside:
    """A group that both stores have, the rows of its samples here and there, the size of the figures, and these."""

    by: str
    name: str | None
    here: int
    there: int
    size: Size
    differences: tuple[Difference, ...]


def beside(here: Mapping[Key, Sample], there: Mapping[Key, Sample], seed: int = 0) -> tuple[Beside, ...]:
    """Compare the groups that both have and that are large enough, and that are not all that both have.

    What isn't among the largest of a store is no group.
    """
    groups = Counter(by for by, _ in {*here, *there})
    common = [key for key in here if key in there and (key == ALL or (key[1] is not None and groups[key[0]] > 1))]
    large = [key for key in common if min(len(here[key]), len(there[key])) >= LEAST]
    return tuple(_beside(key, here[key], there[key], seed) for key in large)


def _beside(key: Key, here: Sample, there: Sample, seed: int) -> Beside:
    tokens = min(int(sample.tokens.sum()) for sample in (here, there))
    pair = here.within(tokens), there.within(tokens)
    size = Size(tokens, min(map(len, pair)))
    values = values_of(pair)
    one, other = (figures(sample, size.tokens, size.rows, values) for sample in pair)
    errors = _errors(pair, size, values, seed)
    found = [
        Difference(name, first, second, first - second - _WIDTH * errors[name], first - second + _WIDTH * errors[name])
        for name, first, second in ((name, first, other[name]) for name, first in one.items())
        if first is not None and second is not None and name in errors
    ]
    return Beside(*key, len(here), len(there), size, tuple(found))


def _errors(pair: Sequence[Sample], size: Size, values: Values, seed: int) -> dict[str, float]:
    """The standard error of each figure's difference; none of a figure that half of the draws don't have."""
    drawn: dict[str, list[float]] = {}
    for draw in range(DRAWS):
        one, other = (_part(sample, size, values, seed, draw) for sample in pair)
        for name, first in one.items():
            second = other[name]
            if first is not None and second is not None:
                drawn.setdefault(name, []).append(first - second)
    scale = math.sqrt(_KEPT / (1 - _KEPT))
    return {name: scale * float(np.std(found)) for name, found in drawn.items() if len(found) > DRAWS / 2}


def _part(sample: Sample, size: Size, values: Values, seed: int, draw: int) -> Figures:
    order = _order(sample, seed, draw)
    return figures(sample, int(_KEPT * size.tokens), int(_KEPT * size.rows), values, order)


def _order(sample: Sample, seed: int, draw: int) -> Ints:
    """A random order of the rows' families, the same in every sample."""
    salt = mixed(mixed(np.array([seed % (1 << 64)], dtype=np.uint64)) ^ np.uint64(draw))
    order: Ints = np.argsort(mixed(sample.family_hashes ^ salt), kind="stable")
    return order
