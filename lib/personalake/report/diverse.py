"""What a report says of the hub's diversity: figures of samples, and how it grew from run to run."""

from __future__ import annotations

from collections import Counter

from pyspark.sql import DataFrame

from personalake.dedup.coverage import Coverage
from personalake.dedup.sketches import PERSONA_NGRAMS, PERSONAS
from personalake.diversity import subjects
from personalake.diversity.measure import Diversity, diversity
from personalake.report.facts import Counts, Growth

_COUNTED = ("language", "domain")
_SOURCES = 8
"""Sources whose personas are measured one by one."""
_GROWN = {PERSONAS: "Different personas", PERSONA_NGRAMS[3]: "Different runs of three words in them"}


def measured(hub: DataFrame, seed: int) -> Diversity:
    """The hub's figures by hop and source, of samples alone; its languages and domains are counted along with them."""
    subject = subjects.personas(hub, ("hop", "source"))
    return diversity(subject.rows, subject.shape, seed=seed, largest=_SOURCES, counted=_COUNTED, whole=False)


def counts(found: Diversity, column: str) -> Counts:
    """How many personas have each value of a counted column, most first."""
    named = Counter({name: number for name, number in found.counts[column] if name})
    unknown = found.groups[0].rows - named.total()
    named.update({"unknown": unknown} if unknown else {})
    return tuple(sorted(named.items(), key=lambda c: (-c[1], c[0])))


def growth(found: Coverage) -> tuple[Growth, ...]:
    """The curves of a hub that grew in several runs."""
    curves = (Growth(_GROWN[one.subject], one.growth) for one in found.counted if one.subject in _GROWN)
    return tuple(curve for curve in curves if len(curve.points) > 1)
