"""What a store covers, read off its sketches: how many different things, how they grew, which sources overlap.

datasketch does the estimating. It is imported where that happens, because it takes a second (it brings SciPy along).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.dedup.contained import Share, in_other
from personalake.dedup.registers import (
    PERMUTATIONS,
    PRECISION,
    SEED,
    Hashes,
    Registers,
    minima_of,
    parted,
    registers_of,
)
from personalake.dedup.sketches import HYPERLOGLOG, PAGE_PRINTS, SOURCE, merged, refuse_others

COUNT_ERROR = 1.04 / math.sqrt(1 << PRECISION)
"""Standard error of a HyperLogLog's count, as a share of it (Flajolet et al. 2007)."""
JACCARD_ERROR = 0.5 / math.sqrt(PERMUTATIONS)
"""The largest standard error of a MinHash's Jaccard similarity, at 0.5."""

RUNS = 10
"""The last runs that are shown one by one; what was landed before them is one sum."""
_SOURCES = 200
_PAIRS = 10
_BEFORE = 0
"""Stands for the runs before the last ones; runs are numbered from 1."""


@dataclass(frozen=True)
class Counted:
    """About so many different ones of a subject in all, and by run: its number, how many it had, how many were new."""

    subject: str
    about: float
    by_run: tuple[tuple[int, float, float], ...]

    @property
    def growth(self) -> tuple[tuple[int, float], ...]:
        """How many different ones there were after each of these runs."""
        points, later = list[tuple[int, float]](), 0.0
        for run, _, new in reversed(self.by_run):
            points.append((run, self.about - later))
            later += new
        return tuple(reversed(points))


@dataclass(frozen=True)
class Overlap:
    """What two sources have in common: Jaccard's similarity of their pages, and the share of the pages of each."""

    one: str
    other: str
    jaccard: float
    of_one: Share
    of_other: Share


@dataclass(frozen=True)
class Coverage:
    """What a store covers; *repeated* is the share of each run's pages, by its number, that earlier runs had read."""

    counted: tuple[Counted, ...] = ()
    sources: int = 0
    overlaps: tuple[Overlap, ...] = ()
    repeated: tuple[tuple[int, Share], ...] = ()


def check(sketches: DataFrame) -> None:
    """Raise :class:`StoreError` where rows of SKETCHES were made under other parameters than today's."""
    made = sketches.select("kind", "subject", "family").distinct().collect()
    refuse_others((row["kind"], row["subject"], row["family"]) for row in made)


def coverage(sketches: DataFrame) -> Coverage:
    """Read rows of SKETCHES: what all of them cover, and the last runs beside what was before them.

    Raises :class:`StoreError` for sketches that were made under other parameters.
    """
    made = sketches.select("kind", "subject", "family", "seq").distinct().collect()
    refuse_others((row["kind"], row["subject"], row["family"]) for row in made)
    last = sorted({int(row["seq"]) for row in made})[-RUNS:]
    sketches = sketches.where(F.col("subject") != PAGE_PRINTS)  # Made to be asked, not to be counted.
    if not last:
        return Coverage()
    early = merged(sketches.where(F.col("seq") < last[0])).withColumn("run", F.lit(_BEFORE).cast("long"))
    columns = ("run", "kind", "subject", "sketch", "rows")
    rows = sketches.where(F.col("seq") >= last[0]).withColumn("run", F.col("seq")).select(*columns)
    registers: dict[str, dict[int, Registers]] = {}
    minima: dict[str, dict[int, Hashes]] = {}
    sizes: dict[str, int] = {}
    for row in rows.unionByName(early.select(*columns)).collect():
        run, subject = int(row["run"]), row["subject"]
        if row["kind"] == HYPERLOGLOG:
            registers.setdefault(subject, {})[run] = registers_of(bytes(row["sketch"]))
        else:
            minima.setdefault(subject.removeprefix(SOURCE), {})[run] = minima_of(bytes(row["sketch"]))
            sizes[subject.removeprefix(SOURCE)] = sizes.get(subject.removeprefix(SOURCE), 0) + int(row["rows"])
    largest = sorted(sizes, key=lambda source: (-sizes[source], source))[:_SOURCES]
    return Coverage(
        tuple(_counted(subject, registers[subject]) for subject in sorted(registers)),
        len(sizes),
        tuple(_overlaps({source: _least(minima[source].values()) for source in largest})),
        tuple(_repeated(minima)),
    )


def _least(minima: Iterable[Hashes]) -> Hashes:
    found: Hashes = np.minimum.reduce(list(minima))
    return found


def _counted(subject: str, by_run: Mapping[int, Registers]) -> Counted:
    seen, before, runs = None, 0.0, list[tuple[int, float, float]]()
    for run in sorted(by_run):
        seen = by_run[run] if seen is None else np.maximum(seen, by_run[run])
        about = count(seen)
        if run != _BEFORE:
            runs.append((run, count(by_run[run]), max(0.0, about - before)))
        before = about
    return Counted(subject, before, tuple(runs))


def count(registers: Registers) -> float:
    """About how many different elements a HyperLogLog of these *registers* has counted."""
    from datasketch import HyperLogLogPlusPlus  # noqa: PLC0415 (see the module's first lines)

    return float(sum(HyperLogLogPlusPlus(reg=part).count() for part in parted(registers)))


def _overlaps(sources: Mapping[str, Hashes]) -> list[Overlap]:
    """The pairs of sources of which one surely has the largest part in common with the other."""
    from datasketch import LeanMinHash  # noqa: PLC0415 (see the module's first lines)

    sketched = {name: LeanMinHash(seed=SEED, hashvalues=low, scheme="affine64") for name, low in sources.items()}
    pairs = (
        Overlap(
            one,
            other,
            sketched[one].jaccard(sketched[other]),
            in_other(sources[one], sources[other]),
            in_other(sources[other], sources[one]),
        )
        for one, other in itertools.combinations(sorted(sources), 2)
    )
    alike = [pair for pair in pairs if pair.jaccard > 0]
    return sorted(alike, key=lambda p: (-max(p.of_one.low, p.of_other.low), -p.jaccard, p.one, p.other))[:_PAIRS]


def _repeated(minima: Mapping[str, Mapping[int, Hashes]]) -> Iterable[tuple[int, Share]]:
    runs = sorted({run for by_run in minima.values() for run in by_run})
    earlier: Hashes | None = None
    for run in runs:
        own = _least(by_run[run] for by_run in minima.values() if run in by_run)
        if earlier is not None and run != _BEFORE:
            yield run, in_other(own, earlier)
        earlier = own if earlier is None else np.minimum(earlier, own)
