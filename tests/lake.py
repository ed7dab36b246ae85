"""A whole store for tests: runs over it, its rows in a comparable form, and what the endpoint says it received."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyspark.sql import SparkSession

from personalake.inputs import STAGES, Inputs, read_inputs
from personalake.llm.progress import Progress
from personalake.pipeline import execute
from personalake.settings_file import load
from personalake.shown import Shown
from personalake.store import Store

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "data" / "corpus"

# Hops double a run's requests, so only the tests of hops (`test_growth.py`) pay for them.
_NO_HOPS = "expand.hops=0"
# `conf/local.yaml` names the licence of its pages by their folder, relative to where a command runs: not always here.
_PAGES = [f"corpus.paths=['{CORPUS}']", "corpus.licence=CC0-1.0", _NO_HOPS]

WHOLE = [*_PAGES, "synthesize.tasks=[{task: math, target: 5}, {task: instruction, target: 5}]"]

SMALL = [
    f"corpus.paths=['{CORPUS / 'pages.jsonl'}']", "synthesize.tasks=[{task: math, target: 3}]", "llm.tasks=1",
    _NO_HOPS,
]  # fmt: skip


def strict(folder: Path, **checks: str) -> list[str]:
    """Settings with stricter checks, which change no request: of personas, and of the steps of a task in *folder*."""
    task = yaml.safe_load((ROOT / "conf" / "tasks" / "math.yaml").read_text())
    for step in task["steps"]:
        step["checks"] += [checks[step["id"]]] if step["id"] in checks else []
    folder.mkdir(exist_ok=True)
    (folder / "math.yaml").write_text(yaml.safe_dump(task))
    return ["accept.min_chars=105", f"synthesize.tasks=[{{task: '{folder / 'math.yaml'}', target: 3}}]"]


# What tells one run from another without being a row's content: times, tries, and which run it was.
_VOLATILE = {
    "seq", "answered_at", "latency_ms", "request_id", "attempts", "endpoint", "forgotten_at", "submitted_at", "stamp",
}  # fmt: skip
PAGE = (
    "The baker opens her shop before the sun is up, and counts the loaves by touch while the oven cools. Her husband "
    "drives the first of them to the ferry, where the crew has kept a place warm between the ropes. On the way back "
    "he listens for the bell of the lightship, which tells him how thick the fog will be by noon."
)
"""A page as people write them."""

TABLES = (
    "documents", "sightings", "files_seen", "prompts", "completions", "personas", "hub", "duplicates", "hub_keys",
    "sketches", "examples", "solutions", "rejects", "pending",
)  # fmt: skip


@dataclass
class Lake:
    """A store below *folder*, filled through the endpoint at *base_url*."""

    spark: SparkSession
    folder: Path
    base_url: str
    overrides: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def inputs(self, *more: str, stages: tuple[str, ...] = STAGES) -> Inputs:
        """The settings of `conf/local.yaml` for this store, with *more* laid over."""
        own = [f"store.path={self.folder}", f"llm.base_url={self.base_url}", _NO_HOPS]
        settings, conf = load(str(ROOT / "conf" / "local.yaml"), [*own, *self.overrides, *more])
        return read_inputs(settings, conf, stages)

    def run(
        self, *more: str, stages: tuple[str, ...] = STAGES, progress: Callable[[Progress], None] = lambda _: None
    ) -> Shown:
        """Run *stages* in the tests' session."""
        inputs = self.inputs(*more, stages=stages)
        return execute(inputs, stages, say=self.said.append, progress=progress, spark=self.spark)

    @property
    def store(self) -> Store:
        """The store, for reading."""
        return Store(self.spark, self.inputs(stages=()).settings.store)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of *table* without what differs from run to run, in one order."""
        found = [row.asDict(recursive=True) for row in self.store.read(table).collect()]
        if table == "hub_keys":
            # Which personas make a block depends on the partitions.
            found = [row for block in found for part in ("keys", "rows") for row in _unpacked(block[part])]
        kept = [{k: v for k, v in row.items() if k not in _VOLATILE} for row in found]
        return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True, default=str))

    def sums(self, *names: str) -> dict[str, list[int]]:
        """Over all runs of each stage, the sums of these counts."""
        found: dict[str, list[int]] = {}
        for row in self.rows("runs"):
            if row["stage"] != "run":
                before = found.setdefault(row["stage"], [0] * len(names))
                found[row["stage"]] = [total + row[name] for total, name in zip(before, names, strict=True)]
        return found

    def copy(self, folder: Path, base_url: str) -> Lake:
        """A copy below *folder*, for a test of its own, that asks the endpoint at *base_url*."""
        shutil.copytree(self.folder, folder / "lake")
        return Lake(self.spark, folder / "lake", base_url, self.overrides)

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """The comparable rows of all tables but `runs`."""
        return {table: self.rows(table) for table in TABLES}

    def versions(self) -> dict[str, int]:
        """How many commits each table has had."""
        logs = sorted(self.folder.glob("*/_delta_log"))
        return {log.parent.name: len(list(log.glob("[0-9]*.json"))) for log in logs}


def _unpacked(stream: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_stream(stream).read_all().to_pylist()
    return rows


@contextmanager
def partitions(spark: SparkSession, number: int) -> Iterator[None]:
    """Shuffles of *number* partitions while the context lasts."""
    before = str(spark.conf.get("spark.sql.shuffle.partitions"))
    spark.conf.set("spark.sql.shuffle.partitions", str(number))
    try:
        yield
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)


def same_rows(lake: Lake, other: Lake, tables: Sequence[str] = TABLES) -> None:
    """Fail unless both stores have the same rows in *tables*."""
    for table in tables:
        assert other.rows(table) == lake.rows(table), table


def cut_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """Let a run die after that many commits: none of its threads lands another."""
    numbers = count(1)

    def cut(real: Callable[..., None]) -> Callable[..., None]:
        def commit(*arguments: object) -> None:
            number = next(numbers)
            if number <= saves:
                real(*arguments)
            if number >= saves:
                raise KeyboardInterrupt

        return commit

    for door in ("_save", "_merge"):
        monkeypatch.setattr(Store, door, cut(getattr(Store, door)))


def ledger(base_url: str) -> dict[str, Any]:
    """What the endpoint at *base_url* has received so far."""
    with urllib.request.urlopen(base_url.removesuffix("v1") + "ledger") as response:
        return dict(json.load(response))
