"""Spark's ``MinHashLSH``: drawn once for a store, and saved in it.

A module of its own because importing ``pyspark.ml`` takes two seconds, and whoever hashes needs only the numbers.
"""

from __future__ import annotations

from pyspark.ml.feature import MinHashLSH, MinHashLSHModel
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from personalake.dedup.minhash import HASH_PRIME


def fit(spark: SparkSession, tables: int, seed: int) -> MinHashLSHModel:
    """Return MLlib's model for ``tables`` hash tables, drawn from ``seed``.

    The data that it is fitted on gives it nothing but a dimension, which must not be above ``HASH_PRIME``: one vector
    over the whole index space.
    """
    space = spark.createDataFrame([(Vectors.sparse(HASH_PRIME, [0], [1.0]),)], ["tokens"])
    return MinHashLSH(inputCol="tokens", outputCol="signature", numHashTables=tables, seed=seed).fit(space)


def save(model: MinHashLSHModel, path: str) -> None:
    """Save ``model`` under ``path``, in place of what is there."""
    model.write().overwrite().save(path)
