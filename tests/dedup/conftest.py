from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from personalake.dedup.survivors import Stage


@pytest.fixture
def stage(spark: SparkSession, tmp_path: Path) -> Stage:
    """Writes a frame down under a name, which may come again, and returns what reads it back."""
    numbers = itertools.count()

    def write(frame: DataFrame, name: str) -> DataFrame:
        path = str(tmp_path / f"{next(numbers)}-{name}")
        frame.write.parquet(path)
        return spark.read.schema(frame.schema).parquet(path)

    return write
