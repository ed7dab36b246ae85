"""Files that mean harm, or look like it: bounded in memory, an outcome for each record, and the others' own counts."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from fastwarc.warc import ArchiveIterator as Fast
from warcio.archiveiterator import ArchiveIterator as Plain

from personalake.corpus.fields import names_of, record_of
from personalake.corpus.ingest import page_row
from personalake.corpus.jsonl import read_lines
from personalake.corpus.lists import Lists
from personalake.corpus.records import BadRecord, Item, Record
from personalake.corpus.warc import read_warc
from personalake.settings import CorpusSettings
from tests.conftest import SHARED

LIMIT = 16 * 1024 * 1024
SETTINGS = CorpusSettings.model_validate({})
GIGABYTE = 1 << 30


class Made(io.RawIOBase):
    """A file that is made while it is read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._left = parts, b""

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (part := next(self._parts, b"")):
            self._left += part
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def warc(kind: str, body: bytes, length: int | None = None) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Type: application/http\r\nWARC-Target-URI: https://a.example/\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body + b"\r\n\r\n"


def test_a_record_of_a_gigabyte_is_refused_in_little_memory() -> None:
    def parts() -> Iterator[bytes]:
        yield warc("response", b"", GIGABYTE)[:-4]
        for _ in range(GIGABYTE >> 20):
            yield bytes(1 << 20)
        yield b"\r\n\r\n" + warc("metadata", b"x")

    tracemalloc.start()
    found = list(read_warc("x", cast("BinaryIO", Made(parts())), LIMIT))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(item).__name__ for item in found] == ["BadRecord", "Ignored"]
    assert cast("BadRecord", found[0]).reason == "too_large"
    assert most < 8 << 20


def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory() -> None:
    def parts() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(100):
            yield b"x" * (1 << 20)
        yield b'"}\n{"text": "next"}\n'

    tracemalloc.start()
    found: list[Item] = list(
        read_lines(
            "x", cast("BinaryIO", Made(parts())), LIMIT, lambda path, at, row: record_of(path, at, row, names_of({}))
        )
    )
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [item.reason if isinstance(item, BadRecord) else "page" for item in found] == ["too_large", "page"]
    assert most < 80 << 20


@pytest.mark.parametrize("seed", range(5))
def test_bytes_that_call_themselves_html_are_no_page(seed: int) -> None:
    drawn = random.Random(seed)
    for body in (drawn.randbytes(20_000), gzip.compress(drawn.randbytes(5_000)), b"\x89PNG\r\n\x1a\n" + bytes(9_000)):
        message = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        (item,) = read_warc("x", io.BytesIO(warc("response", message)), LIMIT)
        row = page_row(item, SETTINGS, Lists.of(SETTINGS)) if isinstance(item, Record) else None
        assert row is None or row["kind"] == "reject"


SOUND = (
    "sample_corpus/sample.warc.gz",
    "sample_corpus/sample.warc.wet.gz",
    "warc/commoncrawl__whirlwind-python/whirlwind.warc.gz",
    "warc/commoncrawl__whirlwind-python/whirlwind.warc.wet.gz",
    "warc/commoncrawl__ia-web-commons/html-lang-attribute.warc",
    "warc/commoncrawl__ia-web-commons/link-extraction-test.warc",
    "warc/commoncrawl__ia-web-commons/text-extraction-test.warc",
    "warc/internetarchive__gowarc/test.warc.gz",
    "warc/webrecorder__warcio/example.warc",
    "warc/webrecorder__warcio/example.warc.gz",
    "warc/webrecorder__warcio/example-digest.warc",
    "warc/webrecorder__warcio/example-iana.org-chunked.warc",
    "warc/webrecorder__warcio/example-resource.warc.gz",
    "warc/webrecorder__warcio/example-space-in-target-uri.warc.gz",
    "warc/webrecorder__warcio/example-wget-bad-target-uri.warc.gz",
    "warc/webrecorder__warcio/post-test.warc.gz",
)


@pytest.mark.skipif(not (SHARED / "warc").is_dir(), reason="../shared/data/warc is not there")
@pytest.mark.parametrize("name", SOUND)
def test_of_a_sound_file_as_many_records_are_found_as_warcio_and_fastwarc_find(name: str) -> None:
    path: Path = SHARED / name
    with path.open("rb") as file:
        ours = len(list(read_warc(name, file, LIMIT)))
    with path.open("rb") as file:
        plain = sum(1 for _ in Plain(file))
    with path.open("rb") as file:
        fast = sum(1 for _ in Fast(file, parse_http=False))
    assert (ours, ours) == (plain, fast)
