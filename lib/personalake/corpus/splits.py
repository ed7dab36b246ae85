"""What the tasks of a reading stage read: parts of large files, and many small files together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from personalake.corpus.files import CorpusFile

PART_BYTES = 32 * 1024 * 1024
"""The size of the parts of a large file. No cluster changes it, so that another one takes up where one ended."""

BIN_BYTES = 64 * 1024 * 1024
"""Most that a task reads of small files together."""

_MOST_FILES = 2_000
_PACKED = re.compile(r"\.(gz|zst|lz4)$", re.IGNORECASE)


@dataclass(frozen=True)
class Split:
    """A file, or what begins in its bytes from *start* up to *end* (null: to its end)."""

    path: str
    format: str
    size: int
    stamp: str
    start: int = 0
    end: int | None = None

    @classmethod
    def of(cls, file: CorpusFile, end: int | None = None) -> Split:
        """All of *file*, or what begins in its bytes up to *end*."""
        return cls(file.path, file.format, file.size, file.stamp, 0, end)

    @property
    def whole(self) -> bool:
        """Whether it is all of its file."""
        return self.start == 0 and self.end is None


def splits_of(file: CorpusFile) -> Iterator[Split]:
    """Yield *file* whole, or in parts of about 32 MB where its format allows that.

    Parquet parts at row groups, unpacked JSONL at lines. The others don't: what packs a file hides where its records
    begin, a quoted line end in CSV looks like the end of a row, and a WARC record may hold another file's records.
    """
    parts = 1
    if file.format == "parquet" or (file.format == "jsonl" and not _PACKED.search(file.path)):
        parts = max(1, round(file.size / PART_BYTES))
    bounds = [file.size * n // parts for n in range(parts)]
    for start, end in zip(bounds, [*bounds[1:], None], strict=True):
        yield Split(file.path, file.format, file.size, file.stamp, start, end)


def bins_of(splits: Iterable[Split], target: int = BIN_BYTES) -> Iterator[Sequence[Split]]:
    """Put *splits* together in their order, as many as come to *target* bytes, 2,000 at most."""
    some: list[Split] = []
    size = 0
    for split in splits:
        own = (split.size if split.end is None else split.end) - split.start
        if some and (size + own > target or len(some) == _MOST_FILES):
            yield some
            some, size = [], 0
        some.append(split)
        size += own
    if some:
        yield some
