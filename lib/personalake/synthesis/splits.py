"""Splits by family: what descends from one page, or from pages whose personas repeat each other, stays together.

Else a model is tested on the sisters of what it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from personalake.dedup.survivors import Stage
from personalake.dedup.verify import rational
from personalake.errors import InputError, SettingsError
from personalake.synthesis.components import SMALL, components

SHARES: Mapping[str, float] = {"train": 0.9, "test": 0.1}

_BITS = 53
_BUCKETS = 12
"""Bits of a hash by which families are counted: 4,096 sums reach the driver, and one bucket is looked into."""


def families(
    examples: DataFrame, duplicates: DataFrame, personas: DataFrame, stage: Stage, small: int = SMALL
) -> DataFrame:
    """Return the family of each of ``examples``: (example_id, family), ids of 64 hex digits.

    A family is what descends from one root: the document, or the imported persona, at the root of the lineage. Roots
    are one family if there is a duplicate between them, by whatever steps: of pages, of what descends from them
    (personas and examples), or of both; likewise where an example evolves one of another root, or is grounded in
    another page. A family is named by its least root, so one that grows together keeps one of its old names.

    Columns are those of EXAMPLES, DUPLICATES and PERSONAS; ``personas`` has also the ones that were not kept, by which
    families meet (of the hub alone, they would be roots of their own). *small* as in `components`.
    """
    own = examples.select(F.col("example_id").alias("id"), F.coalesce("root_doc_id", "persona_id").alias("root"))
    roots = personas.select(F.col("persona_id").alias("id"), F.coalesce("root_doc_id", "persona_id").alias("root"))
    imported = personas.where("root_doc_id IS NULL AND parent_id IS NOT NULL")
    kinship = [
        _repeated(duplicates, "page"),
        _between_roots(_repeated(duplicates, "persona"), roots),
        _between_roots(_pairs(imported, "persona_id", "parent_id"), roots),
        _between_roots(_repeated(duplicates, "example"), own),
        _between_roots(_pairs(examples.where("parent_example_id IS NOT NULL"), "example_id", "parent_example_id"), own),
        examples.where("doc_id != coalesce(root_doc_id, persona_id)").select(
            F.coalesce("root_doc_id", "persona_id").alias("one"), F.col("doc_id").alias("other")
        ),
    ]
    found = components(reduce(DataFrame.unionByName, kinship), stage, small)
    named = own.join(found, own["root"] == found["node"], "left")
    return named.select(F.col("id").alias("example_id"), F.coalesce("component", "root").alias("family"))


def _repeated(duplicates: DataFrame, kind: str) -> DataFrame:
    return _pairs(duplicates.where(F.col("kind") == kind), "id", "kept_id")


def _pairs(rows: DataFrame, one: str, other: str) -> DataFrame:
    return rows.select(F.col(one).alias("one"), F.col(other).alias("other"))


def _between_roots(pairs: DataFrame, roots: DataFrame) -> DataFrame:
    """The pairs of ids as pairs of their roots (id, root); one that isn't there any more is a root by itself."""
    for end in ("one", "other"):
        by = roots.select(F.col("id").alias(end), "root")
        pairs = pairs.join(by, end, "left").withColumn(end, F.coalesce("root", end)).drop("root")
    return pairs.select("one", "other")


@dataclass(frozen=True)
class _Cut:
    """A split of an exact size ends in a family, of which it takes *kept* examples.

    *order* is the family's place: families stand in the order of (order, family).
    """

    split: str
    order: int
    family: str
    kept: int

    @property
    def place(self) -> Column:
        """Where it is, to be compared with `_place`."""
        return F.struct(F.lit(self.order).cast("long"), F.lit(self.family))


def splits(
    families: DataFrame, shares: Mapping[str, float] = SHARES, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> DataFrame:
    """Return the split of each row of ``families`` (example_id, family): (example_id, split), null for none.

    No family is in two splits. *shares* are of the families, by the hash of seed and name, so that a family stays where
    it is when others come; what they leave of 1 is in no split. *sizes* are exact numbers of examples: each takes
    families in the order of their hash, one after the other, until it is full. What the last one has too much is in no
    split, since exact sizes and whole families don't go together; the families behind it are divided by *shares*. With
    *sizes*, a family may change its split when others come.

    It is lazy without *sizes*; with them, ``families`` is read once, and once for each, so it had better be staged.
    Raises :class:`SettingsError` for shares or sizes that can't be, :class:`InputError` for too few examples.
    """
    sizes = dict(sizes or {})
    _check(shares, sizes)
    rows = families.select("example_id", "family", F.xxhash64(F.lit(seed).cast("long"), "family").alias("order"))
    by_share = _by_share(shares, seed)
    if not sizes:
        return rows.select("example_id", by_share.alias("split"))
    cuts = _cuts(rows, sizes)
    place = F.struct("order", "family")
    split = by_share
    for cut in reversed(cuts):
        split = F.when(place < cut.place, F.lit(cut.split)).otherwise(split)
    last = F.col("family").isin([cut.family for cut in cuts])
    whole = rows.where(~last).select("example_id", split.alias("split"))
    return whole.unionByName(_of_last(rows.where(last), cuts, seed))


def _check(shares: Mapping[str, float], sizes: Mapping[str, int]) -> None:
    where, both = "splits", sorted(set(shares) & set(sizes))
    if both:
        raise SettingsError(f"{both[0]!r} has a share and a size", where=where, cure="give it one of the two")
    if not shares and not sizes:
        raise SettingsError("there is no split", where=where, cure="give shares or sizes")
    if any(not 0 < share <= 1 for share in shares.values()) or sum(map(rational, shares.values())) > 1:
        told = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise SettingsError(f"these can't be shares of one whole: {told}", where=where, cure="above 0, and 1 in all")
    if low := next((name for name, size in sizes.items() if size < 1), None):
        raise SettingsError(f"{low!r} can't have {sizes[low]} examples", where=where, cure="leave it out")


def _by_share(shares: Mapping[str, float], seed: int) -> Column:
    """The split of a family by its share; not by the hash that orders families, whose first are of exact splits."""
    drawn = F.shiftrightunsigned(F.xxhash64(F.lit("share"), F.lit(seed).cast("long"), "family"), 64 - _BITS)
    bound, found = Fraction(0), F.lit(None).cast("string")
    bounds = []
    for name, share in shares.items():
        bound += rational(share)
        bounds.append((name, int(bound * (1 << _BITS))))
    for name, below in reversed(bounds):
        found = F.when(drawn < below, F.lit(name)).otherwise(found)
    return found


def _cuts(rows: DataFrame, sizes: Mapping[str, int]) -> list[_Cut]:
    """Where each of the exact splits ends, in their order."""
    bucket = F.shiftright("order", 64 - _BUCKETS).alias("bucket")
    counted = rows.groupBy("family", "order", bucket).agg(F.count(F.lit(1)).alias("examples"))
    sums = {row[0]: int(row[1]) for row in counted.groupBy("bucket").agg(F.sum("examples")).collect()}
    found, end = list[_Cut](), 0
    for name, size in sizes.items():
        before, wanted = 0, end + size
        if sum(sums.values()) < wanted:
            what = f"{name!r} should have {size:,} examples, but only {sum(sums.values()) - end:,} are left"
            raise InputError(what, where="splits", cure="make it smaller, or let more examples be written")
        for number in sorted(sums):
            if before + sums[number] >= wanted:
                break
            before += sums[number]
        running = F.sum("examples").over(Window.partitionBy("bucket").orderBy("order", "family"))
        ends = counted.where(F.col("bucket") == number).select("order", "family", "examples", running.alias("end"))
        row = ends.where(F.col("end") >= wanted - before).orderBy("end").limit(1).collect()[0]
        end = before + int(row["end"])
        found.append(_Cut(name, int(row["order"]), row["family"], wanted - (end - int(row["examples"]))))
    return found


def _of_last(rows: DataFrame, cuts: list[_Cut], seed: int) -> DataFrame:
    """The examples of the families in which exact splits end: as many as these still need, in the order of a hash."""
    drawn = Window.partitionBy("family").orderBy(F.xxhash64(F.lit(seed).cast("long"), "example_id"), "example_id")
    numbered = rows.select("example_id", "family", F.row_number().over(drawn).alias("number"))
    split = F.lit(None).cast("string")
    for cut in cuts:
        taken = (F.col("family") == cut.family) & (F.col("number") <= cut.kept)
        split = F.when(taken, F.lit(cut.split)).otherwise(split)
    return numbered.select("example_id", split.alias("split"))
