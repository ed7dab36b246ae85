"""New rows against themselves and the hub: which ones repeat a kept row, and the keys of those that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from personalake.dedup.minhash import Bands, Coefficients, band_keys, choose_bands, signatures
from personalake.dedup.survivors import IN_HUB, Stage, rank, settle
from personalake.dedup.tokens import token_hashes
from personalake.dedup.verify import repeats, similarity, sizes
from personalake.settings import DedupSettings

METHOD = "minhash"
IDENTICAL = "identical"

_HASHED = "id string, rank double, tokens array<long>, keys array<long>"


@dataclass(frozen=True)
class Deduplicated:
    """What became of a batch: each new row is in exactly one of the two.

    ``duplicates`` (kind, id, kept_id, method, similarity) has the rows that repeat a kept one, which it names;
    ``keys`` (persona_id, method, tokens, keys) has those that stay, ready for ``hub_keys``.
    """

    duplicates: DataFrame
    keys: DataFrame


def deduplicate(
    new: DataFrame, hub_keys: DataFrame, settings: DedupSettings, coefficients: Coefficients, stage: Stage
) -> Deduplicated:
    """Compare ``new`` (persona_id, text, quality) with itself and with the hub's keys; the hub's rows never change.

    ``persona_id`` is unique in ``new``. ``hub_keys`` must not have rows of this batch (an earlier try of the same
    run), and was made with the same bands and coefficients. Both promises hold for the result: no two kept rows are a
    found pair, and each dropped row names a kept one at or above the threshold, with their exact similarity.

    1. Every row gets its tokens and candidate keys, and the best row that has the very same tokens to speak for it.
    2. Speakers that share a key with a better one, or with the hub, are verified exactly.
    3. `settle` says which of them are dropped; the rows they speak for go with them.
    """
    bands = choose_bands(settings.threshold, settings.recall, settings.tables)
    rows = stage(_with_speaker(_hashed(new, coefficients, bands)), "rows")
    speakers = rows.where("id = speaker").select("id", "rank", "tokens", "keys")
    hub = hub_keys.where(F.col("method") == METHOD).select(
        F.col("persona_id").alias("id"), F.lit(IN_HUB).alias("rank"), "tokens", "keys"
    )
    pairs = stage(_verified(_candidates(speakers, hub), speakers, hub, settings.threshold), "pairs")
    dropped = stage(settle(pairs, stage), "dropped")
    return Deduplicated(_duplicates(rows, dropped), _keys(speakers, dropped))


def _hashed(new: DataFrame, coefficients: Coefficients, bands: Bands) -> DataFrame:
    """The columns of `_HASHED`: everything that is computed from the text, in one pass."""
    columns = new.select(F.col("persona_id").alias("id"), rank(F.col("quality")).alias("rank"), "text")
    return columns.mapInArrow(_hasher(coefficients, bands), _HASHED)


def _hasher(coefficients: Coefficients, bands: Bands) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def hash_texts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            tokens = token_hashes(batch.column("text"))
            keys = band_keys(signatures(tokens, coefficients), bands)
            columns = [batch.column("id"), batch.column("rank"), tokens, keys]
            yield pa.RecordBatch.from_arrays(columns, ["id", "rank", "tokens", "keys"])

    return hash_texts


def _with_speaker(hashed: DataFrame) -> DataFrame:
    """Each row with the best of the rows that have the same tokens: n copies are one speaker, and not n² pairs."""
    same = Window.partitionBy("tokens").orderBy("rank", "id")
    return hashed.withColumn("speaker", F.first("id").over(same))


def _candidates(speakers: DataFrame, hub: DataFrame) -> DataFrame:
    """Distinct pairs that share a key: each speaker with a better speaker or a row of the hub."""
    row = speakers.select("id", "rank", F.explode("keys").alias("key"))
    better = speakers.unionByName(hub).select(
        F.col("id").alias("better_id"), F.col("rank").alias("better_rank"), F.explode("keys").alias("key")
    )
    is_better = F.struct("better_rank", "better_id") < F.struct("rank", "id")
    # A pair shares several keys as a rule; it is verified once.
    return row.join(better, "key").where(is_better).drop("key").distinct()


def _verified(candidates: DataFrame, speakers: DataFrame, hub: DataFrame, threshold: float) -> DataFrame:
    """The candidate pairs that reach the threshold, with the columns of ``survivors.PAIRS``."""
    tokens = speakers.select("id", "tokens")
    better = speakers.unionByName(hub).select(F.col("id").alias("better_id"), F.col("tokens").alias("better_tokens"))
    measured = sizes(F.col("tokens"), F.col("better_tokens"))
    return (
        candidates.join(tokens, "id")
        .join(better, "better_id")
        .where(repeats(*measured, threshold))
        .select("id", "rank", "better_id", "better_rank", similarity(*measured).alias("similarity"))
    )


def _duplicates(rows: DataFrame, dropped: DataFrame) -> DataFrame:
    """The rows of dropped speakers, with the speaker's kept row, and those that merely have a kept speaker."""
    spoken = rows.select("id", "speaker").join(dropped.withColumnRenamed("id", "speaker"), "speaker", "left")
    found = spoken.where(F.col("kept_id").isNotNull() | (F.col("id") != F.col("speaker"))).select(
        F.lit("persona").alias("kind"),
        "id",
        F.coalesce("kept_id", "speaker").alias("kept_id"),
        F.coalesce("similarity", F.lit(1.0)).alias("similarity"),
    )
    method = F.when(F.col("similarity") == 1.0, F.lit(IDENTICAL)).otherwise(F.lit(METHOD))
    return found.select("kind", "id", "kept_id", method.alias("method"), "similarity")


def _keys(speakers: DataFrame, dropped: DataFrame) -> DataFrame:
    """The kept rows, as rows of ``hub_keys``: the speakers that were not dropped."""
    return speakers.join(dropped, "id", "left_anti").select(
        F.col("id").alias("persona_id"), F.lit(METHOD).alias("method"), "tokens", "keys"
    )
