"""From journals to `completions`: each reply once, whatever was cut off, and by the same steps after a crash.

A commit appends some of a wave's segments under a transaction name made of their names, and checks that every key is
there; segments are deleted when their wave has ended, since until then a task that is run again needs to see in them
what was asked. A crash leaves a journal of which some may have been landed: its keys are compared with the table's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.errors import StoreError
from personalake.llm.journal import Segment, replies
from personalake.schemas import COMPLETIONS
from personalake.store import Store
from personalake.work import Folder

_REPLY = ["request_key", "answered_at"]
_JOURNALED = tuple(name for name in COMPLETIONS.names if name != "seq")
_CHECKED = ("request_key", "stage", "cost_microusd", "answered_at")
_TYPES = {column.name: column.type for column in COMPLETIONS.columns}
_FILE_ROWS = 20_000
"""Replies that go into one file of the table, about."""
_BROADCAST_ROWS = 1_000_000
"""Keys that are sent whole to every executor: 100 MB. More are joined by a shuffle."""


class Landing:
    """Lands the segments of waves as run *seq*."""

    def __init__(self, store: Store, seq: int) -> None:
        self._store, self.seq = store, seq

    def commit(self, wave: Folder, found: Sequence[Segment], *, sure: bool) -> dict[str, int]:
        """Land *found*, segments of *wave*; returns by stage what replies cost that came twice.

        *sure* says that no key of theirs can be in the table or twice among them: one attempt at each part asked for
        keys without a completion. Otherwise the earliest reply of a key stays: later stages may have read it.
        Raises :class:`StoreError` where a reply didn't reach the table.
        """
        if not found:
            return {}
        rows, count = self._rows(wave, found), sum(segment.rows for segment in found)
        digest = hashlib.sha256("\n".join(s.path for s in found).encode()).hexdigest()[:16]
        fresh = rows if sure else self._unknown(rows, count)
        self._store.append("completions", fresh, self.seq, txn=f"{wave.address.rsplit('/', 1)[-1]}/{digest}")
        return self._check(self._rows(wave, found, _CHECKED), count)

    def _rows(self, wave: Folder, found: Sequence[Segment], columns: tuple[str, ...] = _JOURNALED) -> DataFrame:
        """The replies in *found*, read where the segments were written from: by the same library, with its rights."""
        spark = self._store.spark
        paths = spark.createDataFrame([(segment.path,) for segment in found], "path string")
        files = max(1, -(-sum(segment.rows for segment in found) // _FILE_ROWS))
        ddl = ", ".join(f"{name} {_TYPES[name]}" for name in columns)
        return paths.coalesce(files).mapInArrow(_reader(wave.address, columns), ddl)

    def _unknown(self, rows: DataFrame, count: int) -> DataFrame:
        """The earliest of the journaled replies to each key, of those keys that have no completion."""
        known = with_completion(self._store, rows.select("request_key"), count)
        earliest = F.min_by(F.struct(*_JOURNALED), "answered_at").alias("row")
        one = rows.groupBy("request_key").agg(earliest).select("row.*")
        return one.join(known, "request_key", "left_anti")

    def _check(self, rows: DataFrame, count: int) -> dict[str, int]:
        own = self._store.read("completions", after_seq=self.seq - 1).select(*_REPLY)
        replies_ = rows.select(*_REPLY)
        # The usual case in one pass over this run's rows, without a shuffle: each journaled reply is there, itself.
        if own.join(F.broadcast(replies_), _REPLY, "left_semi").count() == count:
            return {}
        there = self._store.read("completions").selectExpr("request_key", "answered_at AS landed_at")
        found = (
            rows.join(there, "request_key", "left")
            .groupBy("stage")
            .agg(
                F.count_if(F.col("landed_at").isNull()).alias("missing"),
                F.sum(F.when(F.col("landed_at") != F.col("answered_at"), F.col("cost_microusd"))).alias("repeated"),
            )
            .collect()
        )
        if any(row["missing"] for row in found):
            raise StoreError(
                "replies of a wave did not reach the table; their journal was kept",
                where="completions",
                cure="run again; if it repeats, report it with the version of delta-spark",
            )
        return {row["stage"]: int(row["repeated"]) for row in found if row["repeated"]}


def with_completion(store: Store, keys: DataFrame, count: int) -> DataFrame:
    """Those of *count* *keys* that have a completion.

    Only these leave the scan of the table: an anti join against all completions would sort them all.
    """
    few = F.broadcast(keys) if count <= _BROADCAST_ROWS else keys
    return store.read("completions").select("request_key").join(few, "request_key", "left_semi")


def once(store: Store, asked: DataFrame) -> DataFrame:
    """*asked* with the columns of each request's completion beside it, null where it has none.

    One row a request, whatever somebody did to the table: of a repeated key the earliest row counts.
    """
    columns = [name for name in _JOURNALED if name != "stage"]
    mine = store.read("completions").select(*columns).join(asked.select("request_key"), "request_key", "left_semi")
    row = F.min_by(F.struct(*columns), "answered_at").alias("row")
    return asked.join(mine.groupBy("request_key").agg(row).select("row.*"), "request_key", "left")


def one_attempt_each(found: Iterable[Segment]) -> bool:
    """Whether every part of a wave was tried once: with a second try, a key may have been answered in both."""
    attempts = {segment.path.rsplit("/", 1)[0] for segment in found}
    return len(attempts) == len({attempt.rsplit("/", 1)[0] for attempt in attempts})


def _reader(address: str, columns: tuple[str, ...]) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        folder = Folder(address)
        for batch in batches:
            for path in batch.column("path").to_pylist():
                yield from replies(path, folder, columns).to_batches()

    return body
