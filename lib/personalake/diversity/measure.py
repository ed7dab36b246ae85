"""How diverse rows are, group by group: of all rows, and at one size for all groups, so that these can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame

from personalake.diversity import every
from personalake.diversity.draw import ALL, LARGEST, MOST, Key, Shape, group_sizes, samples
from personalake.diversity.sample import Figures, Sample, Values, figures, values_of

LEAST = 30
"""Rows that a group's sample must have to be measured, and a tenth of what the sample of all has: a small one would
bring all others down to its size."""


@dataclass(frozen=True)
class Size:
    """The size at which samples are compared: so many tokens where tokens are counted, so many rows elsewhere."""

    tokens: int
    rows: int


@dataclass(frozen=True)
class Group:
    """A group, its rows, its figures at the common size (none where it is too small), and those of all its rows."""

    by: str
    name: str | None
    rows: int
    sample: Figures
    every: Figures


@dataclass(frozen=True)
class Diversity:
    """The groups, all rows first; the size at which they are compared; and the rows of what was only counted."""

    groups: tuple[Group, ...]
    size: Size
    counts: Mapping[str, tuple[tuple[str, int], ...]]


def diversity(
    rows: DataFrame,
    shape: Shape,
    *,
    seed: int = 0,
    most: int = MOST,
    largest: int = LARGEST,
    counted: Sequence[str] = (),
    vectors: DataFrame | None = None,
    whole: bool = True,
) -> Diversity:
    """Measure *rows* (`id`, `text`, `family` and the columns of *shape*), and the groups that they fall into.

    The sample of a group are its *most* rows of lowest hash of (*seed*, id). Where there are more rows, all of them are
    read if the *whole* is wanted; a report leaves that, so as to take no longer for a larger store. Of the columns
    *counted* only the groups' rows are told; of the others the *largest* groups are named, the rest are one.
    """
    sizes = group_sizes(rows, shape.by, counted, largest)
    drawn = samples(rows, sizes, shape, seed, most=most, vectors=vectors)
    size, values = common_size(drawn), values_of(drawn.values())
    least = least_rows(drawn[ALL])
    told: dict[Key, Figures] = {key: {} for key in drawn}
    if sizes[ALL] <= most:
        told = {key: every_figure(sample, values) for key, sample in drawn.items()}
    elif whole:
        for figures_of in (every.of_texts, every.of_attributes):
            for key, more in figures_of(rows, sizes, shape).items():
                told[key].update(more)
    return Diversity(
        tuple(
            Group(
                *key,
                sizes[key],
                figures(sample, size.tokens, size.rows, values) if len(sample) >= least else {},
                told[key],
            )
            for key, sample in drawn.items()
        ),
        size,
        {name: tuple((str(group), number) for (by, group), number in sizes.items() if by == name) for name in counted},
    )


def every_figure(sample: Sample, values: Values) -> Figures:
    """The figures of a sample that is all there is."""
    tokens = int(sample.tokens.sum())
    return {"tokens": float(tokens), **figures(sample, tokens, len(sample), values)}


def least_rows(whole: Sample) -> int:
    """The fewest rows of a sample that is measured beside that of all."""
    return min(len(whole), max(LEAST, len(whole) // 10))


def common_size(drawn: Mapping[Key, Sample]) -> Size:
    """The tokens and rows that all samples have which are large enough to be measured."""
    large = [sample for sample in drawn.values() if len(sample) >= least_rows(drawn[ALL])]
    return Size(min(int(sample.tokens.sum()) for sample in large), min(map(len, large)))
