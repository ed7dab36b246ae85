"""The store's fitted ``MinHashLSH`` of MLlib: drawn once, saved, and read back as plain numbers.

A module of its own because importing ``pyspark.ml`` takes a worker two seconds, and workers need only the numbers.
"""

from __future__ import annotations

import numpy as np
from pyspark.ml.feature import MinHashLSH, MinHashLSHModel
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from personalake.dedup.minhash import HASH_PRIME, Coefficients
from personalake.errors import StoreError


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


def read_coefficients(spark: SparkSession, path: str) -> Coefficients:
    """Return the coefficients of the model saved under ``path``: one row of ``2 * tables`` integers, no more.

    They are read from the model's own file, where they lie as ``a, b, a, b, ...``; this needs no JVM object, so it
    works on Spark Connect as well. Raises `StoreError` where the file holds something else.
    """
    rows = spark.read.parquet(f"{path.rstrip('/')}/data").select("randCoefficients").take(1)
    flat = np.asarray(rows[0][0] if rows else [], dtype=np.int64)
    if not len(flat) or len(flat) % 2:
        raise StoreError(
            "no coefficients of a MinHashLSH model", where=path, cure="delete the folder and rebuild the hub's keys"
        )
    return Coefficients(flat[0::2], flat[1::2])
