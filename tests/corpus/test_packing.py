"""gzip, Zstandard and LZ4 bring the same records; damage costs what it hits, and is told with its place."""

from __future__ import annotations

import gzip
import io
import struct
import sys
from collections.abc import Callable

import lz4.frame
import pytest

from personalake.corpus.bytesource import ByteSource
from personalake.corpus.records import BadRecord, Item, Record
from personalake.corpus.warc import read_warc

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
}
BODY = b"<html><body><p>A page about the %s tide tables that a harbour pilot keeps in her coat.</p></body></html>"
packings = pytest.mark.parametrize("name", list(PACK))
packed = pytest.mark.parametrize("name", ["gzip", "zstd", "lz4"])


def record(number: int) -> bytes:
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + BODY % str(number).encode()
    head = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.org/{number}\r\n"
    head += f"Content-Type: application/http\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def read(data: bytes) -> list[Item]:
    return list(read_warc("x", io.BytesIO(data), 1 << 20))


@packings
def test_records_and_their_places_are_found(name: str) -> None:
    parts = [PACK[name](record(number)) for number in range(50)]
    found = read(b"".join(parts))
    assert [item.url for item in found if isinstance(item, Record)] == [f"https://example.org/{n}" for n in range(50)]
    assert [item.offset for item in found] == [sum(map(len, parts[:n])) for n in range(50)]


@packed
def test_a_broken_member_costs_itself(name: str) -> None:
    parts = [PACK[name](record(number)) for number in range(6)]
    middle = bytearray(parts[2])
    middle[len(middle) // 2 :] = bytes(len(middle) - len(middle) // 2)
    found = read(b"".join([*parts[:2], bytes(middle), *parts[3:]]))
    urls = [item.url for item in found if isinstance(item, Record)]
    assert urls == [f"https://example.org/{n}" for n in (0, 1, 3, 4, 5)]
    assert next(item.offset for item in found if isinstance(item, BadRecord)) == len(parts[0] + parts[1])


@packed
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_file_that_ends_early_says_so(name: str, kept: float) -> None:
    parts = [PACK[name](record(number)) for number in range(3)]
    cut = parts[2][: int(len(parts[2]) * kept)]
    found = read(parts[0] + parts[1] + cut)
    assert [type(item) for item in found] == [Record, Record, BadRecord]
    assert isinstance(found[2], BadRecord)
    assert (found[2].reason, found[2].offset) == ("truncated", len(parts[0] + parts[1]))


@packed
def test_memory_stays_small_whatever_a_file_unpacks_to(name: str) -> None:
    bomb = PACK[name](bytes(200_000_000))
    assert len(bomb) < 2_000_000
    source, most, total = ByteSource(io.BytesIO(bomb)), 0, 0
    while source.ensure(1):
        most, total = max(most, len(source.buffer)), total + len(source.buffer)
        source.drop(len(source.buffer))
    assert (total, source.damage) == (200_000_000, None)
    assert most <= 1 << 20


@pytest.mark.parametrize("squeezed", [False, True])
def test_a_warc_with_a_dictionary_of_its_own(squeezed: bool) -> None:
    trained = zstd.train_dict([record(number) for number in range(200)], 2_000)
    parts = [zstd.compress(record(number), zstd_dict=trained) for number in range(20)]
    content = zstd.compress(trained.dict_content) if squeezed else trained.dict_content
    head = struct.pack("<II", 0x184D2A5D, len(content)) + content
    found = read(head + b"".join(parts))
    assert [item.url for item in found if isinstance(item, Record)] == [f"https://example.org/{n}" for n in range(20)]
    assert len(found) == 20


def test_bytes_between_members_are_told_and_what_follows_is_read() -> None:
    for pack in (gzip.compress, zstd.compress, lz4.frame.compress):
        found = read(pack(record(0)) + b"garbage" * 20 + pack(record(1)))
        assert [type(item) for item in found] == [Record, BadRecord, Record]
