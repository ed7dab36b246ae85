"""A paying task's journal: every reply, in immutable Parquet segments, before anything else may fail.

A segment's name says what is in it, so that progress and spending are read from a listing:
`wave=W/part=P/attempt=A/<n>-<rows>-<tokens>-<microusd>.parquet`.
"""

from __future__ import annotations

import datetime as dt
import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from personalake.errors import StoreError
from personalake.llm.outcome import Kind, Outcome, Usage
from personalake.work import Folder

SCHEMA = pa.schema(
    [
        pa.field("request_key", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reply", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("reasoning_tokens", pa.int64()),
        pa.field("cached_tokens", pa.int64()),
        pa.field("cost_microusd", pa.int64()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_answered", pa.string()),
        pa.field("system_fingerprint", pa.string()),
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("request_id", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("latency_ms", pa.int64()),
        pa.field("error", pa.string()),
        pa.field("error_detail", pa.string()),
        pa.field("answered_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""A journaled reply: the columns of `completions` but `seq`."""


TRIED = "try"
"""The stage of what `personalake try` asked: a run that adopts its journal lands and bills it under this name."""


@dataclass(frozen=True)
class Segment:
    """A finished segment, as its path tells."""

    path: str
    rows: int
    tokens: int
    microusd: int

    @classmethod
    def of(cls, path: str) -> Segment | None:
        """Read a segment's path; null where it isn't one (a half-written file, somebody's else)."""
        name = path.rsplit("/", 1)[-1]
        numbers = name.removesuffix(".parquet").split("-")
        if not name.endswith(".parquet") or len(numbers) != 4 or not all(n.isdigit() for n in numbers):  # noqa: PLR2004 (the name's four numbers)
            return None
        return cls(path, *(int(n) for n in numbers[1:]))


def segments(folder: Folder) -> list[Segment]:
    """Every finished segment below *folder*, sorted by path."""
    return [s for s in (Segment.of(str(info.path)) for info in folder.files()) if s is not None]


def replies(path: str, folder: Folder, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
    """The replies in the segment at *path* in *folder*; none where another process has landed and deleted it.

    Raises :class:`StoreError` for one that is cut off, or of another version's columns.
    """
    try:
        with pq.ParquetFile(path, filesystem=folder.filesystem) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise _foreign(path)
            return file.read(columns=list(columns)).select(list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        # S3's client looks and then reads; of an object that is deleted in between it says "internal failure".
        if folder.filesystem.get_file_info(path).type == fs.FileType.NotFound:
            return SCHEMA.empty_table().select(list(columns))
        raise _damaged(path, " ".join(str(error).split())[:200]) from error


def check_segments(folder: Folder, found: Sequence[Segment]) -> None:
    """Raise :class:`StoreError` where one of *found* isn't what its name says; reads their footers alone."""

    def check(segment: Segment) -> None:
        try:
            about = pq.ParquetFile(segment.path, filesystem=folder.filesystem)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(segment.path, " ".join(str(error).split())[:200]) from error
        with about:
            if not about.schema_arrow.equals(SCHEMA):
                raise _foreign(segment.path)
            if about.metadata.num_rows != segment.rows:
                raise _damaged(segment.path, f"{about.metadata.num_rows} replies instead of {segment.rows}")

    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(check, found):
            pass


def _damaged(path: str, what: str) -> StoreError:
    return StoreError(
        f"a journaled segment can't be read: {what}",
        where=path,
        cure="restore it; or delete it, and what its name counts (number-replies-tokens-microdollars) is paid again",
    )


def _foreign(path: str) -> StoreError:
    return StoreError(
        "a journal of another version of personalake", where=path, cure="let that version finish the run that wrote it"
    )


def forget_segments(wave: Folder, landed: list[Segment]) -> None:
    """Delete the segments that were landed, and the wave's folder unless somebody has written more into it since."""
    wave.delete_files(segment.path for segment in landed)
    left = [str(info.path) for info in wave.files()]
    if not any(map(Segment.of, left)):
        wave.delete_files(left)  # Half-written files of the dead, and the wish to stop.
        wave.prune()


def record(
    key: str, stage: str, label: str, endpoint: str, outcome: Outcome, attempts: int, latency_s: float
) -> dict[str, Any]:
    """One journal row for an outcome that ended a request."""
    usage: Usage = outcome.usage
    return {
        "request_key": key,
        "stage": stage,
        "reply": outcome.reply,
        "reasoning": outcome.reasoning,
        "finish_reason": outcome.finish_reason,
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "reasoning_tokens": usage.reasoning,
        "cached_tokens": usage.cached,
        "cost_microusd": usage.microusd,
        "model": label,
        "model_answered": outcome.model,
        "system_fingerprint": outcome.fingerprint,
        "endpoint": endpoint,
        "request_id": outcome.request_id,
        "attempts": attempts,
        "latency_ms": round(latency_s * 1000),
        "error": None if outcome.kind is Kind.ANSWERED else outcome.reason,
        "error_detail": None if outcome.kind is Kind.ANSWERED else outcome.detail,
        "answered_at": dt.datetime.now(dt.timezone.utc),
    }


class Journal:
    """The journal of one attempt at one part of a wave."""

    def __init__(self, wave: Folder, part: str, attempt: str) -> None:
        self._part = wave / f"part={part}"
        self._own = self._part / f"attempt={attempt}"
        self._rows: list[dict[str, Any]] = []
        self._n = 0
        self._writing = threading.Lock()

    def answered(self) -> set[str]:
        """The keys that earlier attempts at this part have journaled: what must not be asked again."""
        keys: set[str] = set()
        for segment in segments(self._part):
            keys.update(replies(segment.path, self._part, ["request_key"]).column(0).to_pylist())
        return keys

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; it is safe only after :meth:`flush`."""
        self._rows.append(row)

    @property
    def unflushed(self) -> int:
        """Rows that a crash would lose now."""
        return len(self._rows)

    def flush(self) -> None:
        """Write the rows taken since the last flush as one segment; blocks, and does nothing where there are none."""
        with self._writing:
            rows, self._rows = self._rows, []
            try:
                self._write(rows)
            except BaseException:
                self._rows = rows + self._rows  # Paid for, and perhaps only this write failed: a later one may hold.
                raise

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        tokens = sum(r["prompt_tokens"] + r["completion_tokens"] for r in rows)
        paid = sum(r["cost_microusd"] for r in rows)
        name = f"{self._n:06d}-{len(rows)}-{tokens}-{paid}.parquet"
        self._n += 1
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self._put(name, buffer.getvalue())

    def _put(self, name: str, content: bytes) -> None:
        # The folder may be swept away between its making and the write: `forget_segments` removes empty ones.
        for last in (False, False, True):
            try:
                return self._own.write(name, content)
            except StoreError as error:
                if last or not isinstance(error.__cause__, FileNotFoundError):
                    raise
        return None
