"""Dedup side by side with single-process libraries: the same personas, the same verification, Delta tables at the end.

Wall clock of ours begins when the Spark session is there, theirs when their imports are done.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.ml.feature import HashingTF, MinHashLSH
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from personalake.dedup.deduplicate import Deduplicated, deduplicate
from personalake.dedup.family import Family
from tests.bench.personas import personas
from tests.bench.results import Result

pytestmark = pytest.mark.bench

_COMMAND = "make bench ARGS='-k dedup'"
MEMORY = ("spark={spark.driver.memory: 5g}",)
"""Of 8 GB, what the JVM gets; the rest is for the Python of two tasks."""

_ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_name("single_process.py")


def written(folder: Path, rows: int, seed: int = 1) -> Path:
    """A Parquet file of so many personas."""
    path = folder / f"{rows}-{seed}.parquet"
    batches: Iterator[Any] = personas(rows, seed)
    first = next(batches)
    with pq.ParquetWriter(path, first.schema) as writer:
        for batch in (first, *batches):
            writer.write_batch(batch, row_group_size=50_000)
    return path


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("personas"), 1_000_000)


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-q", "rensa", "datasketch", "deltalake", "pyarrow"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"rensa does not install here: {done.stderr.strip().splitlines()[-1]}")
    return python


def ours(method: str, source: Path, out: Path, *more: str) -> dict[str, Any]:
    """What `personalake dedup --input --json` prints, in a process of its own."""
    command = [
        sys.executable, "-m", "personalake.cli", "dedup", "--config", str(_ROOT / "conf" / "local.yaml"), "--input",
        str(source), "--column", "text", "--id", "id", "--out", str(out), "--json", "--set", f"dedup.method={method}",
        *more,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def theirs(tool: str, python: Path, source: Path, out: Path) -> dict[str, Any]:
    """What the other tool took."""
    command = [str(python), str(_SCRIPT), tool, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def dropped(out: Path) -> set[str]:
    return set(DeltaTable(str(out / "duplicates")).to_pyarrow_table(columns=["id"]).column("id").to_pylist())


def test_a_million_personas_beside_rensa(million: Path, other_python: Path, tmp_path: Path) -> None:
    rensa = theirs("rensa", other_python, million, tmp_path / "rensa")
    found = {method: ours(method, million, tmp_path / method) for method in ("exact", "minhash")}
    exact, minhash, other = (dropped(tmp_path / name) for name in ("exact", "minhash", "rensa"))
    for method, goal in (("exact", "at most 0.6 of rensa's seconds"), ("minhash", "at most rensa's seconds")):
        Result(
            name=f"dedup_{method}",
            value=found[method]["seconds"],
            unit="s for 1,000,000 personas",
            compared_with="rensa, one process, 12 bands of 10, the same verification",
            compared_value=rensa["seconds"],
            goal=goal,
            command=_COMMAND,
            detail={
                "duplicates": sum(found[method]["duplicates"].values()),
                "theirs": rensa["duplicates"],
                "their_mib": rensa["mib"],
                "found_of_exact": len({"exact": exact, "minhash": minhash}[method] & exact) / len(exact),
                "theirs_of_exact": len(other & exact) / len(exact),
            },
        ).keep()
    assert len(minhash & exact) >= 0.99 * len(exact)


def test_two_hundred_thousand_personas_beside_datasketch(other_python: Path, tmp_path: Path) -> None:
    source = written(tmp_path, 200_000)
    datasketch = theirs("datasketch", other_python, source, tmp_path / "datasketch")
    for method in ("exact", "minhash"):
        Result(
            name=f"dedup_200k_{method}",
            value=ours(method, source, tmp_path / method)["seconds"],
            unit="s for 200,000 personas",
            compared_with="datasketch's MinHash and MinHashLSH, one process",
            compared_value=datasketch["seconds"],
            goal="at most 0.2 of datasketch's seconds",
            command=_COMMAND,
            detail={"theirs": datasketch["duplicates"]},
        ).keep()


def skewed(folder: Path) -> Path:
    """200,000 equal personas; 50,000 each that share all but one of 25 and of 12 tokens; as many ordinary ones."""
    folder.mkdir()
    texts = ["the very same persona of this many words all over again"] * 200_000
    for size in (25, 12):
        core = " ".join(f"core{size}x{n}" for n in range(size - 1))
        texts += [f"{core} own{n}" for n in range(50_000)]
    ordinary = pa.concat_tables(pa.table([batch.column("text")], ["text"]) for batch in personas(300_000, seed=5))
    table = pa.concat_tables([pa.table({"text": texts}), ordinary])
    ids = pa.array([f"{n * 7_919 % len(table):08}" for n in range(len(table))])
    pq.write_table(table.add_column(0, "id", ids), folder / "skewed.parquet", row_group_size=50_000)
    return folder / "skewed.parquet"


def test_crowds_and_copies_cost_no_more_than_ordinary_personas(tmp_path: Path) -> None:
    source, plain = skewed(tmp_path / "skewed"), written(tmp_path, 600_000)
    texts = dict(zip(*(pq.read_table(source).column(name).to_pylist() for name in ("id", "text")), strict=True))
    for method in ("exact", "minhash"):
        usual, found = ours(method, plain, tmp_path / f"usual-{method}"), ours(method, source, tmp_path / method)
        gone = dropped(tmp_path / method)
        kept = [text for id_, text in texts.items() if id_ not in gone]
        assert sum(text.startswith("the very same") for text in kept) == 1
        # 24 of 26 tokens are common to any two; one that agrees with no other in any band stays.
        assert sum(text.startswith("core25") for text in kept) <= (1 if method == "exact" else 10)
        assert sum(text.startswith("core12") for text in kept) == 50_000  # 11 of 13 are
        Result(
            name=f"dedup_skew_{method}",
            value=found["seconds"],
            unit="s for 600,000 personas, half of them in three crowds",
            compared_with="600,000 ordinary ones",
            compared_value=usual["seconds"],
            goal="no quadratic blow-up",
            command=_COMMAND,
        ).keep()


@pytest.mark.parametrize("method", ["exact", "minhash"])
def test_time_grows_with_the_number_of_personas(method: str, million: Path, tmp_path: Path) -> None:
    most = int(os.environ.get("MOST", "10000000"))
    sizes = [size for size in (100_000, 1_000_000, 10_000_000) if size <= most]
    seconds = {}
    for size in sizes:
        source = million if size == 1_000_000 else written(tmp_path, size)
        seconds[size] = ours(method, source, tmp_path / f"{method}-{size}", *MEMORY)["seconds"]
    # The smallest run is mostly the session's first queries, so the exponent is taken between the last two.
    exponent = math.log(seconds[sizes[-1]] / seconds[sizes[-2]]) / math.log(sizes[-1] / sizes[-2])
    Result(
        name=f"dedup_growth_{method}",
        value=exponent,
        unit=f"exponent of time from {sizes[-2]:,} to {sizes[-1]:,} personas",
        compared_with="linear",
        compared_value=1.0,
        goal="at most 1.1, with 8 GB for the driver and its two tasks",
        command=_COMMAND,
        detail={f"seconds_{size}": each for size, each in seconds.items()},
    ).keep()


class _Incremental:
    """Dedup in one session, with what is staged below a folder."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder = spark, folder

    def stage(self, frame: DataFrame, name: str) -> DataFrame:
        frame.write.mode("overwrite").parquet(str(self.folder / name))
        return self.spark.read.schema(frame.schema).parquet(str(self.folder / name))

    def compared(self, rows: DataFrame, hub: DataFrame | None, seq: int) -> tuple[float, Deduplicated, DataFrame]:
        """Seconds, what was found, and the keys that the next rows are compared with."""
        began = time.monotonic()
        texts = rows.select("id", "text", F.lit(None).cast("double").alias("quality"))
        found = deduplicate(texts, hub, Family(0.9), seq, self.stage)
        keys = self.stage(found.keys, f"keys-{seq}")
        return time.monotonic() - began, found, keys

    def more(self, every: DataFrame) -> DataFrame:
        """10,000 personas or so, half of them near-copies of some of the first million's."""
        new = self.spark.read.parquet(str(written(self.folder, 5_000).rename(self.folder / "more.parquet")))
        again = every.where("hash(id) % 200 = 0").selectExpr(
            "concat('again', id) AS id", "concat(text, ' indeed') AS text"
        )
        return self.stage(new.selectExpr("concat('new', id) AS id", "text").unionByName(again), "new")


def test_adding_one_percent_to_a_hub(spark: SparkSession, million: Path, tmp_path: Path) -> None:
    """In one session: the whole million, then 10,000 more beside it, half of them near-copies of what the hub has."""
    at = _Incremental(spark, tmp_path)
    every = spark.read.parquet(str(million))
    at.compared(every.limit(20_000), None, 1)  # What a session does once isn't what grows.
    whole, _, hub = at.compared(every, None, 2)
    seconds, found, _ = at.compared(at.more(every), hub, 3)
    assert found.counts["identical"] + found.counts["exact"] > 0
    Result(
        name="dedup_increment",
        value=seconds,
        unit=f"s for {found.rows:,} personas beside a hub of {hub.agg(F.sum('count')).collect()[0][0]:,}",
        compared_with="the million at once",
        compared_value=whole,
        goal="at most 0.2 of the whole",
        command=_COMMAND,
        detail={"duplicates": sum(found.counts.values())},
    ).keep()


def test_the_same_addition_to_a_hub_ten_times_larger(spark: SparkSession, million: Path, tmp_path: Path) -> None:
    """Its other nine million come in nine runs, as a hub grows; the addition is the same, twice beside each hub."""
    at = _Incremental(spark, tmp_path)
    every = spark.read.parquet(str(million))
    at.compared(every.limit(20_000), None, 1)
    _, _, hub = at.compared(every, None, 2)
    more, seconds = at.more(every), list[float]()
    for runs in (0, 9):
        for run in range(runs):
            other = written(tmp_path, 1_000_000, run + 10)
            rows = spark.read.parquet(str(other)).selectExpr(f"concat('{run}-', id) AS id", "text")
            _, _, keys = at.compared(rows, hub, 10 + run)
            hub = hub.unionByName(keys)
        seconds.append(min(at.compared(more, hub, 30 + try_)[0] for try_ in range(2)))
    Result(
        name="dedup_increment_large_hub",
        value=seconds[1],
        unit=f"s for {more.count():,} personas beside a hub of {hub.agg(F.sum('count')).collect()[0][0]:,}",
        compared_with="beside the hub of a million",
        compared_value=seconds[0],
        goal="at most 2.5 times",
        command=_COMMAND,
    ).keep()


def test_the_similarity_join_of_spark_itself(spark: SparkSession, tmp_path: Path) -> None:
    """MLlib's MinHashLSH has no bands: any two rows that agree in one of its hashes are compared, and one list is made.

    5 hashes, so that a pair at 0.9 is missed once in 100,000; MLLIB_ROWS names the size.
    """
    rows = int(os.environ.get("MLLIB_ROWS", "20000"))
    table = spark.read.parquet(str(written(tmp_path, rows)))
    at, began = _Incremental(spark, tmp_path), time.monotonic()
    words = table.selectExpr("id", "array_distinct(split(text, ' ')) AS words")
    hashed = HashingTF(inputCol="words", outputCol="features", numFeatures=1 << 20, binary=True).transform(words)
    model = MinHashLSH(inputCol="features", outputCol="hashes", numHashTables=5, seed=1).fit(hashed)
    near = model.approxSimilarityJoin(hashed, hashed, 0.1 + 1e-9).where("datasetA.id < datasetB.id")
    pairs = near.selectExpr("datasetA.id AS one", "datasetB.id AS other").distinct().count()
    theirs, (took, found, _) = time.monotonic() - began, at.compared(table, None, 1)
    Result(
        name="dedup_mllib",
        value=took,
        unit=f"s for {rows:,} personas, to the survivors",
        compared_with="approxSimilarityJoin, which stops at the pairs",
        compared_value=theirs,
        goal="named beside it",
        command=_COMMAND,
        detail={"their_pairs": pairs, "duplicates": sum(found.counts.values())},
    ).keep()
