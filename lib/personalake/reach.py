"""How far each stage is, read off `runs`: what is new to it, and what it has dealt with.

A stage goes through rows by their `seq`. Where a target may end it before it has seen all, it goes by hash rank as
well, lowest first, and a round tells both: of the rows up to a `seq` it has dealt with those of at most a rank. So who
was asked is a condition on two columns, however many rounds there were, and no list of ids has to be kept or joined.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from personalake.store import Store

DEDUP_OF_HOP = "dedup."
NO_RANK, ALL_RANKS = "", "~"
"""Below and above all hash ranks."""


class Reach:
    """How far the stages of a store are."""

    def __init__(self, store: Store) -> None:
        self._through: dict[str, int] = {}
        self._news: dict[str, int] = {}
        self._steps: dict[str, dict[str, int]] = {}
        self.seq = 0
        """The highest number of a run, or of a round of one."""
        if not store.exists("runs"):
            return
        news = F.max(F.greatest("through_seq", F.when(F.col("accepted") > 0, F.col("seq"))))
        newest = store.read("runs").groupBy("stage", F.coalesce("through_rank", F.lit(ALL_RANKS)).alias("rank"))
        for row in newest.agg(
            F.max("through_seq").alias("through"), news.alias("news"), F.max("seq").alias("seq")
        ).collect():
            self.note(row["stage"], int(row["through"]), int(row["news"]), row["rank"])
            self.seq = max(self.seq, int(row["seq"]))

    def note(self, stage: str, through: int, news: int, rank: str | None) -> None:
        """Take in that *stage* has dealt with rows up to *through*, of at most *rank* (null: all), and brought news."""
        # Each hop's dedup goes on where the last one ended.
        for name in {stage, "dedup" if stage.startswith(DEDUP_OF_HOP) else stage}:
            self._through[name] = max(through, self._through.get(name, 0))
        self._news[stage] = max(news, self._news.get(stage, 0))
        bound, steps = ALL_RANKS if rank is None else rank, self._steps.setdefault(stage, {})
        steps[bound] = max(through, steps.get(bound, 0))

    def through(self, stage: str) -> int:
        """The last `seq` that *stage* has finished with; 0 where it never ran."""
        return self._through.get(stage, 0)

    def has_news(self, stage: str, *sources: str) -> bool:
        """Whether one of *sources*, stages before *stage*, has brought what that hasn't seen; told without a query.

        A correction (`amend.py`) can bring rows and leave a source with as much to do as before.
        """
        return any(self._news.get(source, 0) > self.through(stage) for source in sources)

    def left(self, stage: str) -> bool:
        """Whether rounds that a target has ended may have left rows that *stage* has seen and not dealt with."""
        return self._steps.get(stage, {}).get(ALL_RANKS, 0) < self.through(stage)

    def asked(self, stage: str, rank: Column) -> Column:
        """Whether a round of *stage* has dealt with a row, by its `seq` and hash *rank*."""
        return _dealt_with(self._steps.get(stage, {}), rank)


def rank_of(seed: int, *columns: str) -> Column:
    """The hash rank of a row by *columns*: the order in which rows are dealt with where not all of them are."""
    return F.substring(F.sha2(F.concat_ws("\x1f", F.lit("rank"), F.lit(str(seed)), *columns), 256), 1, 16)


def _dealt_with(steps: Mapping[str, int], rank: Column) -> Column:
    reached, found = 0, F.lit(False)
    # A step that another covers, further in both, has nothing to add.
    for bound, through in sorted(steps.items(), reverse=True):
        if through > reached and bound != NO_RANK:
            upto = F.col("seq") <= through
            found = found | (upto if bound == ALL_RANKS else upto & (rank <= bound))
            reached = through
    return found
