"""One Spark session for all tests, on this machine and with Delta; started only if a test asks for it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from personalake.dedup.survivors import Stage
from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.session import HURRIED, open_session
from tests.lake import SMALL, WHOLE, Lake, partitions, strict

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    # Workers find the package where this process found it.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "lib"), os.environ.get("PYTHONPATH")]))
    folder = tmp_path_factory.mktemp("spark")
    conf = {
        **HURRIED,
        # This session lives for minutes: Java's second compiler pays here.
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",
        "spark.master": "local[2]",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "2",
    }
    session = open_session(conf, log=folder / "spark.log")
    yield session
    session.stop()


@pytest.fixture
def stage(spark: SparkSession, tmp_path: Path) -> Stage:
    """Writes a frame down under a name, which may come again, and returns what reads it back."""
    numbers = itertools.count()

    def write(frame: DataFrame, name: str) -> DataFrame:
        path = str(tmp_path / f"{next(numbers)}-{name}")
        frame.write.parquet(path)
        return spark.read.schema(frame.schema).parquet(path)

    return write


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The embedded endpoint, in a thread of the tests' process: one for all who don't count what it receives."""
    with serving(OfflineSettings()) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def flawless() -> Iterator[str]:
    """One that writes nothing that has to be refused, for all who look at a few pages."""
    with serving(OfflineSettings(flaws=0)) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def lake(spark: SparkSession, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The bundled corpus, run in one partition: what every other run is compared with. Nobody may run it again."""
    lake = Lake(spark, tmp_path_factory.mktemp("lake"), endpoint, WHOLE)
    with partitions(spark, 1):
        lake.run("llm.tasks=1")
    return lake


@pytest.fixture(scope="session")
def refused(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A small store in which much was refused, by the endpoint and by strict checks. Nobody may run it again."""
    faults = plan_of({"rates": {"refusal": 0.1, "content_filter": 0.1, "empty_length": 0.05}, "seed": 1}, "test")
    with serving(OfflineSettings(faults=faults, flaws=0)) as base_url, partitions(spark, 1):
        folder = tmp_path_factory.mktemp("refused")
        lake = Lake(spark, folder / "lake", base_url, SMALL)
        lake.run(
            *strict(folder / "tasks", problem="length: 200..2000", solution="length: 130..2000"),
            stages=("ingest", "infer", "dedup", "synthesize"),
        )
    return lake
