"""Mergeable sketches of what a run lands: how many different things there are, and what sources have in common.

A sketch has one size for any number of rows, and those of several runs merge without their rows. They are datasketch's,
byte for byte, but made in numpy, since datasketch takes each element through Python: 24 million hashes go into a
HyperLogLog in 0.4 s here, in 39 s there. Merging takes a maximum or a minimum, so the same rows give the same sketch in
any partitioning, and a row that comes twice counts once. What it can't do is forget: a sketch tells of all rows that
were ever landed, also of those deleted since.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pyspark.sql import DataFrame

from personalake.corpus.files import normal, root_of
from personalake.dedup.ragged import Ragged, mixed
from personalake.dedup.registers import (
    PERMUTATIONS,
    PRECISION,
    SEED,
    Hashes,
    Registers,
    empty_registers,
    minima,
    minima_of,
    packed_minima,
    packed_registers,
    raise_registers,
    registers_of,
)
from personalake.dedup.tokens import token_runs
from personalake.errors import StoreError

HYPERLOGLOG, MINHASH = "hyperloglog", "minhash"
COLUMNS = "kind string, subject string, family string, sketch binary, rows long"
"""Rows of SKETCHES without `stage` and `seq`."""

PAGES, PAGE_NGRAMS, PAGE_PRINTS, HOSTS, PERSONAS = "pages", "page_ngrams", "page_prints", "hosts", "personas"
SOURCE = "source:"
"""What the subject of a source's MinHash begins with."""
SHINGLE = 5
"""Tokens of a page's n-gram, as for near-copies; pages that copy nothing share shorter ones."""
PRINT_HASHES = 4
"""Hashes whose minima over a page's n-grams are its print: two pages have the same one with probability J ** 4."""
PARTS = {PAGES: 16, PAGE_PRINTS: 16, PAGE_NGRAMS: 4}
"""Subjects that several HyperLogLogs share: a plan asks these for single pages (see `contained.py`), and what they can
say of them grows with the registers. Empty ones take no space in Parquet."""
PERSONA_NGRAMS = {1: "persona_words", 2: "persona_bigrams", 3: "persona_trigrams"}
"""Distinct-1, -2 and -3 (Li et al. 2016, arXiv 1510.03055): the vocabulary, what is said of it, and how it is put."""

_ELEMENTS = {
    PAGES: "sha256 of the text",
    PAGE_NGRAMS: f"xxh64 of tokens, runs of {SHINGLE} by splitmix64",
    PAGE_PRINTS: f"{PRINT_HASHES} minima of splitmix64 over runs of {SHINGLE}",
    # A crawl's domains are the hosts of its pages. `domain` of a persona is one of a few dozen names, counted exactly.
    HOSTS: "xxh64 of the host",
    PERSONAS: "sha256 of the text",
    PERSONA_NGRAMS[1]: "xxh64 of tokens",
    **{PERSONA_NGRAMS[length]: f"xxh64 of tokens, runs of {length} by splitmix64" for length in (2, 3)},
}
_PAGES_AT_ONCE = 256
_TASKS = 64
"""Tasks that sketch, at most: one task merges what they made, 2.4 MB each of pages. A hundred million English pages
of 3,200 characters take these some five minutes, at 0.18 ms a page here; in 27 languages 0.26 ms a page."""
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:@]+)"

_Array = TypeVar("_Array", Registers, Hashes)
_Pass = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def family(kind: str, subject: str) -> str:
    """How the sketches of a subject are made: those of one family can be merged."""
    if kind == MINHASH:
        return f"minhash affine64, {PERMUTATIONS} permutations, seed {SEED}, of {_ELEMENTS[PAGES]}"
    several = f"{PARTS[subject]} " if subject in PARTS else ""
    return f"{several}hyperloglog++ p={PRECISION} of {_ELEMENTS.get(subject, 'unknown')}"


def page_sketches(rows: DataFrame, given: Sequence[str]) -> DataFrame:
    """Sketch pages (`doc_id`, `text`, `url`, `path`) that were read from the paths *given*: rows of :data:`COLUMNS`.

    All pages that were read count, also repeats: of what two sources share, only one copy becomes a document.
    """
    named = rows.select("doc_id", "text", "url", "path").coalesce(_TASKS)
    return _in_one(named.mapInArrow(page_sketcher(tuple(given)), COLUMNS))


def persona_sketches(rows: DataFrame) -> DataFrame:
    """Sketch personas (`text_hash`, `text`): rows of :data:`COLUMNS`."""
    return _in_one(rows.select("text_hash", "text").coalesce(_TASKS).mapInArrow(persona_sketcher, COLUMNS))


def merged(sketches: DataFrame) -> DataFrame:
    """Merge the sketches of each kind and subject: rows of :data:`COLUMNS`.

    Those that another version has made under other parameters raise :class:`StoreError` (see :func:`refuse_others`).
    """
    return _in_one(sketches.select("kind", "subject", "family", "sketch", "rows"))


def _in_one(parts: DataFrame) -> DataFrame:
    return parts.repartition(1).mapInArrow(merger, COLUMNS)


def refuse_others(found: Iterable[tuple[str, str, str]]) -> None:
    """Raise :class:`StoreError` where a (kind, subject, family) isn't of the family that is made today."""
    for kind, subject, made in found:
        if made != family(kind, subject):
            raise StoreError(
                f"the sketch of {subject!r} was made as {made!r}, this version makes {family(kind, subject)!r}",
                where="table sketches",
                cure="use the version that made it, or delete the table: it begins anew with the next run",
            )


class Sketches:
    """Sketches in the making, by kind and subject."""

    def __init__(self) -> None:
        self._registers: dict[str, Registers] = {}
        self._minima: dict[str, Hashes] = {}
        self._rows: dict[tuple[str, str, str], int] = {}

    def count(self, subject: str, hashes: Hashes, rows: int) -> None:
        """Let a HyperLogLog count *hashes* of *rows* rows."""
        registers = self._registers.setdefault(subject, empty_registers(PARTS.get(subject, 1)))
        raise_registers(registers, hashes)
        self._went_in(HYPERLOGLOG, subject, family(HYPERLOGLOG, subject), rows)

    def resemble(self, subject: str, hashes: Hashes, rows: int) -> None:
        """Let a MinHash have seen *hashes* of *rows* rows."""
        low = self._minima.get(subject)
        found = minima(hashes)
        self._minima[subject] = found if low is None else np.minimum(low, found)
        self._went_in(MINHASH, subject, family(MINHASH, subject), rows)

    def merge(self, kind: str, subject: str, made: str, sketch: bytes, rows: int) -> None:
        """Merge a stored one, which was *made* by what family, into these."""
        if kind == HYPERLOGLOG:
            self._registers[subject] = _joined(self._registers.get(subject), registers_of(sketch), np.maximum)
        else:
            self._minima[subject] = _joined(self._minima.get(subject), minima_of(sketch), np.minimum)
        self._went_in(kind, subject, made, rows)

    def _went_in(self, kind: str, subject: str, made: str, rows: int) -> None:
        key = (kind, subject, made)
        self._rows[key] = self._rows.get(key, 0) + rows

    def batch(self) -> pa.RecordBatch:
        """These as rows of :data:`COLUMNS`, with datasketch's own serialisation."""
        found = [
            (
                *key,
                packed_registers(self._registers[key[1]])
                if key[0] == HYPERLOGLOG
                else packed_minima(self._minima[key[1]]),
                rows,
            )
            for key, rows in sorted(self._rows.items())
        ]
        columns = list(zip(*found, strict=True)) or [()] * 5
        types = (pa.string(), pa.string(), pa.string(), pa.binary(), pa.int64())
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, ["kind", "subject", "family", "sketch", "rows"])


def _joined(one: _Array | None, other: _Array, how: Callable[[_Array, _Array], _Array]) -> _Array:
    return other if one is None else how(one, other)


def merger(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """From sketches to one of each kind and subject."""
    found = Sketches()
    for batch in batches:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            refuse_others([row[:3]])
            found.merge(*row)
    yield found.batch()


def page_sketcher(given: Sequence[str]) -> _Pass:
    """From pages (doc_id, text, url, path) to their partial sketches."""

    def sketch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = Sketches()
        for batch in batches:
            for at in range(0, len(batch), _PAGES_AT_ONCE):
                ids, texts, urls, paths = batch.slice(at, _PAGES_AT_ONCE).columns
                _add_pages(found, page_hashes(ids), texts, urls)
                for source, rows in by_source(paths, given):
                    found.resemble(f"{SOURCE}{source}", page_hashes(ids)[rows], len(rows))
        yield found.batch()

    return sketch


def _add_pages(found: Sketches, pages: Hashes, texts: pa.Array, urls: pa.Array) -> None:
    (runs,) = token_runs(texts, SHINGLE)
    found.count(PAGES, pages, len(pages))
    found.count(PAGE_NGRAMS, runs.values.view(np.uint64), len(pages))
    found.count(PAGE_PRINTS, prints(runs), len(pages))
    hosts = pc.extract_regex(urls, _HOST).field("host").drop_null()
    names = pc.unique(pc.utf8_lower(hosts)).to_pylist()
    hashed = (xxhash.xxh64_intdigest(name.encode()) for name in names)
    found.count(HOSTS, np.fromiter(hashed, np.uint64, len(names)), len(hosts))


def persona_sketcher(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """From personas (text_hash, text) to their partial sketches."""
    found = Sketches()
    for batch in batches:
        ids, texts = batch.columns
        found.count(PERSONAS, page_hashes(ids), len(batch))
        for name, runs in zip(PERSONA_NGRAMS.values(), token_runs(texts, *PERSONA_NGRAMS), strict=True):
            found.count(name, runs.values.view(np.uint64), len(batch))
    yield found.batch()


def page_hashes(ids: pa.Array) -> Hashes:
    """The first 64 bits of each id, of 64 hex digits."""
    digits = "".join(one[:16] for one in ids.to_pylist())
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


def prints(runs: Ragged) -> Hashes:
    """A page's print: the least of its n-grams under each of four hashes, as one. None of a page without n-grams.

    Equal pages have equal prints; near-copies of similarity J with probability J ** 4, others hardly ever.
    """
    starts, values = runs.starts[runs.counts > 0], runs.values.view(np.uint64)
    found = np.zeros(len(starts), dtype=np.uint64)
    for seed in mixed(np.arange(1, PRINT_HASHES + 1, dtype=np.uint64)) if len(starts) else ():
        found = mixed(found ^ np.minimum.reduceat(mixed(values ^ seed), starts))
    return found


def by_source(paths: pa.Array, given: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """The sources that files of *paths* belong to, and which rows each has."""
    encoded = paths.dictionary_encode()
    names = [source_of(path, given) for path in encoded.dictionary.to_pylist()]
    places = encoded.indices.to_numpy(zero_copy_only=False)
    for name in sorted(set(names)):
        yield name, np.flatnonzero(np.isin(places, [at for at, each in enumerate(names) if each == name]))


def source_of(path: str, given: Sequence[str]) -> str:
    """The source of a corpus file: the path that was given, and the first folder below it where there is one.

    So a crawl that is given by its root is parted into what lies there (its dates, sites or languages), and files that
    lie in the root itself are one source, however many there are.
    """
    root = root_of(path, map(normal, given))
    if not root:
        return os.path.dirname(path) or path
    folder, mark, _ = path[len(root) + 1 :].partition("/")
    return f"{root}/{folder}" if mark else root
