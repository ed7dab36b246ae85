"""The hash family of a store: drawn once, and read back by every later batch."""

from __future__ import annotations

import numpy as np
from pyspark.sql import SparkSession

from personalake.dedup.family import Family
from personalake.dedup.minhash import Coefficients
from personalake.errors import StoreError
from personalake.settings import DedupSettings
from personalake.work import Folder


def saved_family(spark: SparkSession, folder: Folder, settings: DedupSettings, seed: int) -> Family:
    """Return the family that the settings ask for personas."""
    if settings.method == "exact":
        return Family(settings.threshold)
    coefficients = saved_coefficients(spark, folder, settings.tables, seed)
    return Family.of_hashes(coefficients, settings.threshold, settings.recall, drawn=_drawn(settings.tables, seed))


def saved_page_family(spark: SparkSession, folder: Folder, settings: DedupSettings, seed: int) -> Family:
    """Return the family for pages, which is always MinHash's: a page would have hundreds of exact keys."""
    threshold = 1.0 if settings.page_threshold is None else settings.page_threshold
    coefficients = saved_coefficients(spark, folder, settings.tables, seed)
    drawn = _drawn(settings.tables, seed)
    return Family.of_hashes(coefficients, threshold, settings.recall, settings.page_shingle, drawn)


def _drawn(tables: int, seed: int) -> str:
    return f" out of {tables}, seed {seed}"


def saved_coefficients(spark: SparkSession, folder: Folder, tables: int, seed: int) -> Coefficients:
    """Return the coefficients of Spark's `MinHashLSH` in *folder*, which is fitted and saved where it isn't yet."""
    place = folder / f"minhash-{tables}-{seed}"
    if not (place / "saved").exists():
        from personalake.dedup import model  # noqa: PLC0415 (two seconds, once in a store's life)

        model.save(model.fit(spark, tables, seed), (place / "model").for_spark)
        # Written last: a model that was cut off in saving is made again.
        place.write("saved", b"")
    return read_coefficients(spark, (place / "model").for_spark)


def read_coefficients(spark: SparkSession, path: str) -> Coefficients:
    """Return the coefficients of the model saved under ``path``: one row of ``2 * tables`` integers, no more.

    They are read from the model's own file, where they lie as ``a, b, a, b, ...``; this needs no JVM object, so it
    works on Spark Connect as well. Raises `StoreError` where the file holds something else.
    """
    rows = spark.read.parquet(f"{path.rstrip('/')}/data").select("randCoefficients").take(1)
    flat = np.asarray(rows[0][0] if rows else [], dtype=np.int64)
    if not len(flat) or len(flat) % 2:
        raise StoreError(
            "no coefficients of a MinHashLSH model",
            where=path,
            cure="delete the folder and run `personalake dedup --rebuild`",
        )
    return Coefficients(flat[0::2], flat[1::2])
