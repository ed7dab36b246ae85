"""Semantic dedup side by side with brute force and FAISS: 500,000 vectors of 384 numbers, with planted neighbours.

Ours is timed from a Parquet file of vectors to the rows that are dropped, in Delta. The others find the pairs, and
don't settle who stays.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from personalake.dedup.embedding import semantic_repeats
from personalake.dedup.vectors import kept
from tests.bench.results import Result

pytestmark = pytest.mark.bench

ROWS = int(os.environ.get("VECTORS", "500000"))
WIDTH = 384
_COMMAND = "make bench ARGS='-k embedding'"
_SCRIPT = Path(__file__).with_name("nearest.py")
_KINDS = ("anywhere", "clustered")


def vectors(kind: str, rows: int, seed: int = 0) -> Any:
    """Unit vectors; a tenth lies beside another one, at a cosine drawn from 0.9 to 0.99.

    `anywhere`: directions without any structure, the hardest to part into cells. `clustered`: 2,000 clusters, most of
    the variance in few directions and a common mean, as sentence embeddings have them.
    """
    drawn = np.random.default_rng(seed)
    spread = np.ones(WIDTH) if kind == "anywhere" else np.arange(1, WIDTH + 1) ** -0.5
    base = drawn.standard_normal((rows, WIDTH), dtype=np.float32)
    if kind == "clustered":
        about = drawn.standard_normal((2_000, WIDTH), dtype=np.float32)
        base += 0.7 * about[drawn.integers(0, 2_000, rows)]
        base = base * spread.astype(np.float32) + np.float32(0.05)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    copies = rows // 10
    of = base[drawn.integers(0, rows - copies, copies)]
    aside = drawn.standard_normal((copies, WIDTH)) * spread
    aside -= (aside * of).sum(axis=1, keepdims=True) * of
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    cosine = drawn.uniform(0.9, 0.99, (copies, 1))
    base[rows - copies :] = cosine * of + np.sqrt(1 - cosine**2) * aside
    return base[drawn.permutation(rows)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    done = subprocess.run([str(found), "-m", "pip", "install", "-q", "faiss-cpu"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"faiss does not install here: {done.stderr.decode().strip().splitlines()[-1]}")
    return found


def theirs(tool: str, python: Path, source: Path, out: Path, limit: float | None = None) -> tuple[dict[str, Any], Any]:
    command = [str(python), str(_SCRIPT), tool, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told, _as_set(np.load(out))


def _as_set(pairs: Any) -> Any:
    """Pairs (2, n) as sorted numbers, each once."""
    return np.unique(pairs.max(axis=0).astype(np.int64) * ROWS + pairs.min(axis=0))


def ours(spark: SparkSession, source: Path, out: Path, threshold: float) -> tuple[float, Any, int, str]:
    """Seconds, the pairs found, the rows dropped, and what was said of the cells."""

    def stage(frame: DataFrame, name: str) -> DataFrame:
        frame.write.mode("overwrite").option("compression", "none").parquet(str(out / name))
        return spark.read.schema(frame.schema).parquet(str(out / name))

    began = time.perf_counter()
    found = semantic_repeats(spark.read.parquet(str(source)), None, threshold, 0.99, stage)
    found.dropped.write.format("delta").save(str(out / "duplicates"))
    took = time.perf_counter() - began
    pairs = np.zeros((2, 0), dtype=np.int64)
    if (out / "pairs").exists():
        table = pq.read_table(out / "pairs", columns=["id", "better_id"])
        pairs = np.stack([table.column(name).cast(pa.int64()).to_numpy() for name in ("id", "better_id")])
    dropped = spark.read.format("delta").load(str(out / "duplicates")).count()
    return took, _as_set(pairs), dropped, found.told


def written(path: Path, values: Any) -> Path:
    def batches() -> Iterator[pa.RecordBatch]:
        for low in range(0, len(values), 20_000):
            part = values[low : low + 20_000]
            ids = pa.array([f"{n:08}" for n in range(low, low + len(part))])
            columns = [ids, pa.array(np.zeros(len(part))), pa.array(kept(part.astype(np.float64)), pa.binary())]
            yield pa.RecordBatch.from_arrays(columns, ["id", "rank", "vector"])

    first = next(batches())
    with pq.ParquetWriter(path, first.schema, compression="none") as writer:
        for batch in batches():
            writer.write_batch(batch)
    return path


@pytest.mark.parametrize("kind", _KINDS)
def test_half_a_million_vectors_beside_brute_force_and_faiss(
    spark: SparkSession, python: Path, tmp_path: Path, kind: str
) -> None:
    values = vectors(kind, ROWS)
    np.save(tmp_path / "vectors.npy", values)
    source = written(tmp_path / "vectors.parquet", values)
    took, found, dropped, told = ours(spark, source, tmp_path / "ours", 0.9)
    print(f"\n{kind}: {told}")  # noqa: T201 (for whoever ran it)
    brute, truth = theirs("numpy", Path(sys.executable), tmp_path / "vectors.npy", tmp_path / "numpy.npy")
    shared = {"pairs": len(truth), "recall": len(np.intersect1d(found, truth)) / len(truth), "dropped": dropped}
    _keep(kind, "numpy", took, brute["seconds"], shared)
    assert shared["recall"] >= 0.99
    limit = 2 * brute["seconds"]
    try:
        faiss, by_faiss = theirs("faiss", python, tmp_path / "vectors.npy", tmp_path / "faiss.npy", limit)
    except subprocess.TimeoutExpired:
        pytest.skip(f"FAISS was not done after {limit:.0f} s, twice what brute force took")
    _keep(
        kind,
        "faiss",
        took,
        faiss["seconds"],
        {**shared, "their_recall": len(np.intersect1d(by_faiss, truth)) / len(truth)},
    )


def _keep(kind: str, name: str, took: float, seconds: float, detail: dict[str, float]) -> None:
    others = {"numpy": "brute force by blocked numpy", "faiss": "FAISS, inverted lists"}
    goals = {"numpy": "at most a third of brute force's seconds, recall 0.99 or more", "faiss": "named beside it"}
    Result(
        name=f"embedding_{kind}_{name}",
        value=took,
        unit=f"s for {ROWS:,} vectors of {WIDTH}",
        compared_with=others[name],
        compared_value=seconds,
        goal=goals[name],
        command=_COMMAND,
        detail=detail,
    ).keep()


def test_a_strict_hub_of_vectors_beside_brute_force(spark: SparkSession, tmp_path: Path) -> None:
    """At 0.5 few stay: all are compared with those. The oracle walks through all rows in order, in one process."""
    from personalake.dedup.cosine import first_near  # noqa: PLC0415 (only here)

    rows = ROWS // 5
    drawn = np.random.default_rng(1)
    about = drawn.standard_normal((4_000, WIDTH))
    values = about[drawn.integers(0, 4_000, rows)] + 0.8 * drawn.standard_normal((rows, WIDTH))
    values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    took, _, dropped, _ = ours(spark, written(tmp_path / "vectors.parquet", values), tmp_path / "ours", 0.5)
    began = time.perf_counter()
    expected = int((first_near(values, 0, 0.5)[0] >= 0).sum())
    Result(
        name="embedding_strict",
        value=took,
        unit=f"s for {rows:,} vectors at a cosine of 0.5",
        compared_with="one row after the other against those kept, one process",
        compared_value=time.perf_counter() - began,
        goal="the same rows dropped",
        command=_COMMAND,
        detail={"dropped": dropped, "theirs": expected},
    ).keep()
    assert abs(dropped - expected) <= rows // 10_000
