"""What has no answer yet: the distinct requests without a completion, written down once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.llm.landing import with_completion
from personalake.llm.models import Question
from personalake.store import Store


@dataclass(frozen=True)
class Waiting:
    """What has no answer yet, by stage: how many requests, what they may cost at most, and the first of them."""

    rows: DataFrame
    questions: dict[str, Question]
    counts: dict[str, int] = field(default_factory=dict)
    worst: dict[str, int] = field(default_factory=dict)
    dearest: int = 0
    first: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many requests wait, in all."""
        return sum(self.counts.values())


def freeze(
    store: Store, asked: DataFrame, questions: Mapping[str, Question], name: str, at_desk: DataFrame | None, draw: str
) -> Waiting:
    """The distinct requests of *asked* without a completion, frozen as *name*: no wave computes them again.

    Those whose key is in *at_desk* (`request_key`) are being answered elsewhere, and are left out. *draw* decides which
    is the first, which is asked alone: another one in each run, since one that a firewall refuses must not stop all.
    """
    one_each = asked.groupBy("request_key").agg(
        *(F.min(name).alias(name) for name in ("stage", "body", "est_tokens", "worst_microusd"))
    )
    if store.exists("completions"):
        known = with_completion(store, asked.select("request_key"), asked.count())
        one_each = one_each.join(known, "request_key", "left_anti")
    if at_desk is not None:
        one_each = one_each.join(at_desk, "request_key", "left_anti")
    rows = store.stage(one_each, name)
    found = (
        rows.groupBy("stage")
        .agg(
            F.count("*").alias("rows"),
            F.sum("worst_microusd").alias("worst"),
            F.max("worst_microusd").alias("dearest"),
            F.min_by("request_key", F.xxhash64("request_key", F.lit(draw))).alias("first"),
        )
        .orderBy("stage")
        .collect()
    )
    return Waiting(
        rows,
        {row["stage"]: questions[row["stage"]] for row in found},
        {row["stage"]: int(row["rows"]) for row in found},
        {row["stage"]: int(row["worst"]) for row in found},
        max((int(row["dearest"]) for row in found), default=0),
        {row["stage"]: row["first"] for row in found},
    )


def only(rows: DataFrame, keys: list[str]) -> DataFrame:
    """Those of *rows* that have one of *keys*, a few."""
    return rows.where(F.col("request_key").isin(keys))


def without(rows: DataFrame, keys: list[str]) -> DataFrame:
    """Those of *rows* that have none of *keys*, a few."""
    return rows.where(~F.col("request_key").isin(keys)) if keys else rows
