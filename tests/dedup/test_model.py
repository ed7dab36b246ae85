from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml.feature import MinHashLSHModel
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from personalake.dedup.minhash import HASH_PRIME, signatures
from personalake.dedup.model import fit, save
from personalake.dedup.ragged import ragged
from personalake.dedup.saved import read_coefficients
from personalake.errors import StoreError


@pytest.fixture(scope="module")
def saved(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("minhash") / "model")
    save(fit(spark, tables=128, seed=11), path)
    return path


def test_signatures_equal_those_of_the_saved_model_bit_for_bit(spark: SparkSession, saved: str) -> None:
    drawn = np.random.default_rng(5)
    rows = [[0], [HASH_PRIME - 1], [-1, 5], [-(2**63), 2**63 - 1]]
    rows += [drawn.integers(-(2**63), 2**63 - 1, 22).tolist() for _ in range(40)]
    indices = [sorted({value % HASH_PRIME for value in row}) for row in rows]
    vectors = [(place, Vectors.sparse(HASH_PRIME, row, [1.0] * len(row))) for place, row in enumerate(indices)]
    hashed = MinHashLSHModel.load(saved).transform(spark.createDataFrame(vectors, ["place", "tokens"]))
    expected = {row["place"]: [int(vector[0]) for vector in row["signature"]] for row in hashed.collect()}

    found = signatures(ragged(pa.array(rows, pa.list_(pa.int64()))), read_coefficients(spark, saved))

    assert dict(enumerate(found.tolist())) == expected


def test_the_same_seed_draws_the_same_coefficients_and_another_one_others(
    spark: SparkSession, saved: str, tmp_path: Path
) -> None:
    first = read_coefficients(spark, saved)
    again, other = str(tmp_path / "again"), str(tmp_path / "other")
    save(fit(spark, tables=128, seed=11), again)
    save(fit(spark, tables=128, seed=12), other)
    assert read_coefficients(spark, again).a.tolist() == first.a.tolist()
    assert read_coefficients(spark, again).b.tolist() == first.b.tolist()
    assert read_coefficients(spark, other).a.tolist() != first.a.tolist()
    assert first.tables == 128


def test_a_model_without_coefficients_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "model")
    spark.createDataFrame([([1, 2, 3],)], "randCoefficients array<int>").write.parquet(f"{path}/data")
    with pytest.raises(StoreError, match="no coefficients of a MinHashLSH model"):
        read_coefficients(spark, path)
