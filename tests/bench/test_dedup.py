"""Dedup side by side with single-process libraries: the same personas, the same verification, Delta tables at the end.

Wall clock of ours begins when the Spark session is there, theirs when their imports are done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.bench.personas import personas
from tests.bench.results import Result

pytestmark = pytest.mark.bench

_COMMAND = "make bench ARGS='-k dedup'"
_ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_name("single_process.py")


def written(folder: Path, rows: int) -> Path:
    """A Parquet file of so many personas."""
    path = folder / f"{rows}.parquet"
    batches: Iterator[Any] = personas(rows)
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


def ours(method: str, source: Path, out: Path) -> dict[str, Any]:
    """What `personalake dedup --input --json` prints, in a process of its own."""
    command = [
        sys.executable, "-m", "personalake.cli", "dedup", "--config", str(_ROOT / "conf" / "local.yaml"), "--input",
        str(source), "--column", "text", "--id", "id", "--out", str(out), "--json", "--set", f"dedup.method={method}",
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
