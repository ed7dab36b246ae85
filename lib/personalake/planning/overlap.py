"""How much of the files that no run has read is in the store already: told by its sketches, before anything is paid.

The files themselves are read, or so much of them as takes seconds: reading costs nothing but time. What was landed is
not: only its sketches are, so that it doesn't matter how large the store is.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.accept import content_id
from personalake.corpus import ingest as corpus
from personalake.corpus.files import CorpusFile
from personalake.corpus.lists import Lists
from personalake.corpus.readers import read_placed
from personalake.corpus.records import Record
from personalake.corpus.splits import Split
from personalake.dedup import coverage, sketches
from personalake.dedup.contained import Share, Tested, known, tested
from personalake.dedup.registers import Hashes, Registers, empty_registers, registers_of
from personalake.dedup.tokens import token_runs
from personalake.planning.measured import kind_of
from personalake.settings import CorpusSettings

SAMPLE_BYTES = 32 * 1024 * 1024
"""Bytes of unread files that are read: some seconds."""
_HEAD_BYTES = 1024 * 1024
"""Of each file of many at least so much, unless it is shorter."""
_PAGES_AT_ONCE = 256
_TASKS = 64
_ASKED = (sketches.PAGES, sketches.PAGE_PRINTS, sketches.PAGE_NGRAMS)
_TESTED = "array<double>"
_HEADS = f"path string, bytes long, pages long, same {_TESTED}, prints {_TESTED}, ngrams {_TESTED}, hashes binary"

SAME_PRINT, LEAST_PRINT = 0.77, 0.8**sketches.PRINT_HASHES
"""Share of near-copies that have the print of what they copy, J ** 4: where J goes from 0.8 to 1, and 1 is likeliest;
and where all are at 0.8. Other pages seldom have a print that is known: at J = 0.5 one in 16.
"""


@dataclass(frozen=True)
class NewCrawl:
    """What the unread files hold, by the part of them that was read.

    *bytes* were read of *whole_bytes*, and hold *pages_read* of about *pages*; *distinct* is the share of these that
    are different ones. Of the different ones, *same* are in the store word for word, and *near* as near-copies (J of
    0.8 and more), which *prints* tells, the share of the pages whose print the store has. *ngrams* is the share of
    their runs of five words that the store has.
    """

    files: int
    files_read: int
    bytes: int
    whole_bytes: int
    pages_read: int
    pages: float
    distinct: float
    same: Share
    near: Share
    prints: Share
    ngrams: Share

    @property
    def sampled(self) -> bool:
        """Whether only a part was read."""
        return self.bytes < self.whole_bytes

    @property
    def new(self) -> float:
        """The share of the different pages that is to be paid for; of near-copies only those that surely are count."""
        return 1 - max(self.same.value, self.prints.value)

    def lines(self) -> list[str]:
        """What a plan says of it."""
        part = (
            f"{100 * self.bytes / self.whole_bytes:.2g} % of their bytes, in {self.files_read:,} of them drawn by hash"
        )
        how = f"a sample: {part}" if self.sampled else "read whole"
        return [
            f"of about {self.pages:,.0f} pages in the {self.files:,} file(s) of pages ({how}), "
            f"{100 * self.distinct:.0f} % different ones:",
            f"  in the store word for word: {self.same}",
            f"  near-copies of what is there: {self.near}",
            f"  their runs of five words that are new: {self.ngrams.rest()}",
        ]

    def public(self) -> dict[str, Any]:
        """It as `--json` prints it; an interval is one of 95 %."""
        shares = {"same": self.same, "near": self.near, "new_ngrams": self.ngrams.rest()}
        told = {name: share.public() for name, share in shares.items()}
        counts = {"files": self.files, "files_read": self.files_read, "bytes": self.whole_bytes}
        return {**counts, "bytes_read": self.bytes, "pages": round(self.pages), "distinct": self.distinct, **told}


def sample(files: Sequence[CorpusFile], seed: int, most: int = SAMPLE_BYTES) -> list[tuple[CorpusFile, int]]:
    """The files to read, and how many bytes of each: all, or as many as *most* bytes allow, by the order of a hash."""
    each = max(_HEAD_BYTES, most // max(1, len(files)))
    left, chosen = most, []
    whole = sum(file.size for file in files) <= most
    for file in sorted(files, key=lambda file: content_id("overlap", seed, file.path)):
        bytes_ = file.size if whole else min(file.size, each)
        if left > 0:
            chosen.append((file, bytes_))
        left -= bytes_
    return chosen


def new_crawl(
    stored: DataFrame, files: Sequence[CorpusFile], settings: CorpusSettings, seed: int, most: int = SAMPLE_BYTES
) -> NewCrawl | None:
    """Read of unread *files* what :func:`sample` says, and ask the *stored* sketches (SKETCHES) for it; writes nothing.

    Null where no page was found, or the store has no sketch of pages. Raises :class:`StoreError` for sketches that were
    made under other parameters.
    """
    own = stored.where((F.col("kind") == sketches.HYPERLOGLOG) & F.col("subject").isin(*_ASKED))
    coverage.check(own)
    found = {row["subject"]: registers_of(bytes(row["sketch"])) for row in sketches.merged(own).collect()}
    if sketches.PAGES not in found:
        return None
    chosen = sample(files, seed, most)
    listed = [(file.path, file.format, bytes_, file.size, file.stamp) for file, bytes_ in chosen]
    ddl = "path string, format string, most long, size long, stamp string"
    frame = stored.sparkSession.createDataFrame(listed, ddl)
    asked = tuple(found.get(name, empty_registers(sketches.PARTS[name])) for name in _ASKED)
    heads = frame.repartition(min(len(chosen), _TASKS), "path").mapInArrow(
        functools.partial(read_heads, asked=asked, settings=settings, base=os.getcwd()), _HEADS
    )
    return _told(heads.collect(), files)


def _told(heads: list[Any], files: Sequence[CorpusFile]) -> NewCrawl | None:
    pages = sum(int(head["pages"]) for head in heads)
    if not pages:
        return None
    read, whole = sum(int(head["bytes"]) for head in heads), sum(file.size for file in files)
    asked = {name: [Tested(*head[name]) for head in heads] for name in ("same", "prints", "ngrams")}
    shares = {name: known(parts, whole=read >= whole) for name, parts in asked.items()}
    different = np.unique(np.concatenate([np.frombuffer(head["hashes"], dtype=np.uint64) for head in heads]))
    same = shares["same"]
    return NewCrawl(
        files=len(files),
        files_read=len(heads),
        bytes=min(read, whole),
        whole_bytes=whole,
        pages_read=pages,
        pages=_pages(heads, files),
        distinct=len(different) / pages,
        same=same,
        near=_near(same, shares["prints"]),
        prints=shares["prints"],
        ngrams=shares["ngrams"],
    )


def _pages(heads: Sequence[Any], files: Sequence[CorpusFile]) -> float:
    """About so many pages all *files* hold: as many a byte as were read of files of the same kind, else of all."""
    kinds = {file.path: kind_of(file, own=False) for file in files}
    read: dict[str, tuple[int, int]] = {}
    for head in heads:
        for kind in (kinds[head["path"]], ""):
            pages, size = read.get(kind, (0, 0))
            read[kind] = pages + int(head["pages"]), size + int(head["bytes"])
    found = 0.0
    for file in files:
        pages, size = read.get(kinds[file.path], read[""])
        found += file.size * pages / max(1, size)
    return found


def _near(same: Share, prints: Share) -> Share:
    """Near-copies: pages of a known print that aren't there word for word, and those that have lost it.

    The interval has the errors of both shares, and any J that near-copies may have.
    """
    most, found = 1 - same.value, prints.value - same.value
    below = float(np.hypot(prints.value - prints.low, same.high - same.value))
    above = float(np.hypot(prints.high - prints.value, same.value - same.low))
    value, low, high = found / SAME_PRINT, found - below, (found + above) / LEAST_PRINT
    return Share(*(min(most, max(0.0, each)) for each in (value, low, high)))


def read_heads(
    batches: Iterator[pa.RecordBatch],
    *,
    asked: tuple[Registers, ...],
    settings: CorpusSettings,
    base: str = "",
) -> Iterator[pa.RecordBatch]:
    """From files (path, format, most, size, stamp) to what the sketches say of each one's beginning."""
    lists = Lists.of(settings, base)
    for batch in batches:
        for file in batch.to_pylist():
            yield pa.RecordBatch.from_pylist([_head(file, asked, settings, lists, base)], schema=_SCHEMA)


_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("pages", pa.int64()),
        *((name, pa.list_(pa.float64())) for name in ("same", "prints", "ngrams")),
        ("hashes", pa.binary()),
    ]
)


def _head(
    file: Mapping[str, Any], asked: tuple[Registers, ...], settings: CorpusSettings, lists: Lists, base: str
) -> dict[str, Any]:
    ids, texts, read = [], [], file["size"]
    runs, prints = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint64)]
    split = Split(*(file[name] for name in ("path", "format", "size", "stamp")))
    for item, place in read_placed(split, settings, base):
        if file["most"] < file["size"] and place >= file["most"]:
            read = place
            break
        row = corpus.page_row(item, settings, lists) if isinstance(item, Record) else {"kind": "other"}
        if row["kind"] == "page":
            ids.append(row["doc_id"])
            texts.append(row["text"])
        if len(texts) >= _PAGES_AT_ONCE:
            _hash(texts, runs, prints)
            texts = []
    _hash(texts, runs, prints)
    hashes = sketches.page_hashes(pa.array(ids, pa.string()))
    distinct = (np.unique(hashes), np.unique(np.concatenate(prints)), np.unique(np.concatenate(runs)))
    said = [tested(each, registers) for each, registers in zip(distinct, asked, strict=True)]
    same, near, ngrams = ([one.elements, one.weight, one.squares, one.missed] for one in said)
    told = {"path": file["path"], "bytes": min(read, file["size"]), "pages": len(ids), "hashes": hashes.tobytes()}
    return {**told, "same": same, "prints": near, "ngrams": ngrams}


def _hash(texts: list[str], runs: list[Hashes], prints: list[Hashes]) -> None:
    (found,) = token_runs(pa.array(texts, pa.string()), sketches.SHINGLE)
    runs.append(np.unique(found.values.view(np.uint64)))
    prints.append(sketches.prints(found))
