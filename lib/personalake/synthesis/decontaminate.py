"""Examples that repeat a benchmark: who trains on them can't be measured by it any more.

As phi-1 (Gunasekar et al.: Textbooks are all you need, 2023) and Cosmopedia do it: a common n-gram of ten words, then
how much of the two is the same. What is matched are runs of five words or more. With runs of ten alone, a problem whose
numbers were exchanged would pass (of GSM8K's, the numbers drawn anew, 1,214 are found beside 909, of 1,235 that still
have an n-gram of the original). With single words, as `difflib` matches them, 217 of the 510 pairs of IFEval's prompts
that have one in common, most often an instruction that many begin or end with, would repeat each other; so 67 do.

The benchmark goes to every task, as sorted hashes beside its words, and the examples stay where they are. A join would
move every n-gram of every example: see `tests/bench/test_decontaminate.py` for the two side by side. An n-gram that all
examples have costs some 10 us for each example and item that has it, and *common* bounds those items.
"""

from __future__ import annotations

import hashlib
import json

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.dedup.verify import rational
from personalake.errors import SettingsError
from personalake.schemas import VERDICTS
from personalake.synthesis.benchmark import Benchmark, read_benchmark
from personalake.synthesis.common_runs import FOUND, finder, items_of

__all__ = ["CHECK", "Benchmark", "contaminated", "read_benchmark", "verdicts_of", "version_of"]

CHECK = "contamination"

COMMON = 100
"""An n-gram that more items have is how such items begin or end, and says of none that it is known."""

_RULE = 1
"""Changed with what is found, so that older verdicts can be told from newer ones."""


def contaminated(
    rows: DataFrame, benchmark: DataFrame, n: int = 10, ratio: float = 0.5, common: int = COMMON
) -> DataFrame:
    """Return which of ``rows`` (id, text) repeat an item of a ``benchmark`` (item_id, text), and which: `FOUND`.

    A row repeats an item if the two share a run of *n* words, and more than *ratio* of the shorter of the two is
    matched. Words are ``dedup.tokens``'s: folded, without signs, pairs of characters where a script has no spaces.

    - ``shared``: how many of the item's n-grams the row has. Those don't count that more than *common* items have,
      unless an item has no others. An item of fewer words is found by all of them, in their order.
    - ``ratio``: the item's words in common runs of at least n / 2, over the words of the item or, where that is
      shorter, of the row; 1 at most. So an item in a long text is found, and a piece of a long item. An item of fewer
      than n / 2 words, which anybody may say by chance, is measured by the row's words alone.
    - ``evidence``: the matched words, up to 300 characters.

    Each pair is verified by its words, not by hashes. A row is there once for each item that it repeats; items of the
    same words are one, that with the least id. The benchmark is collected: some 2 KB an item, on the driver and in
    each task. Raises :class:`SettingsError` for *n* below 1 or a *ratio* that isn't from 0 to below 1.
    """
    if n < 1 or not 0 <= ratio < 1 or common < 1:
        what = f"n-grams of {n} words, a ratio above {ratio:g} and {common} common items can't be looked for"
        raise SettingsError(what, where="decontaminate", cure="n and common from 1 on, ratio from 0 to below 1")
    given = benchmark.select(F.col("item_id").cast("string").alias("item_id"), "text").toArrow()
    items = items_of(given.column("item_id"), given.column("text"), n, rational(ratio), common)
    return rows.select(F.col("id").cast("string").alias("id"), "text").mapInArrow(finder(items), FOUND)


def version_of(benchmark: Benchmark, n: int = 10, ratio: float = 0.5, common: int = COMMON) -> str:
    """The version of the verdicts by *benchmark*: a sha256 of its file's name and content, and of the parameters."""
    told = json.dumps([_RULE, benchmark.sha, n, str(rational(ratio)), common])
    return hashlib.sha256(told.encode()).hexdigest()


def verdicts_of(found: DataFrame, version: str) -> DataFrame:
    """Return a row of `verdicts` (all but ``seq``) for each id that `contaminated` *found*: not passed.

    Of several items counts the one with the highest ratio, then with the most n-grams, then with the least id. The
    evidence is the item's id and the words; rows that repeat nothing have no verdict.
    """
    order = F.struct(-F.col("ratio"), -F.col("shared"), F.col("item_id"))
    worst = found.groupBy("id").agg(F.min_by(F.struct("item_id", "ratio", "evidence"), order).alias("worst"))
    columns = {
        "subject_id": F.col("id"),
        "check": F.lit(CHECK),
        "version": F.lit(version),
        "sample": F.lit(0),
        "score": F.col("worst.ratio"),
        "passed": F.lit(False),
        "evidence": F.concat_ws(": ", "worst.item_id", "worst.evidence"),
    }
    return worst.select(*(columns[name].alias(name) for name in VERDICTS.names if name != "seq"))
