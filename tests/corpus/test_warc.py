"""Every record of a WARC or WET file is one item, whole or refused, however the file is broken."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from personalake.corpus.records import BadRecord, Ignored, Item, Record
from personalake.corpus.warc import read_warc

LIMIT = 1 << 20
HTML = b"<html><body>a page</body></html>"


def warc_record(kind: str, url: str, block: bytes, content_type: str = "", length: int | None = None) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Target-URI: {url}", "WARC-Date: 2025-11-03T06:12:04Z"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines.append(f"Content-Length: {len(block) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + block + b"\r\n\r\n"


def response(number: int, body: bytes = HTML, length: int | None = None) -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    return warc_record("response", f"https://example.org/{number}", http, "application/http", length)


def read(data: bytes, limit: int = LIMIT) -> list[Item]:
    return list(read_warc("x.warc", io.BytesIO(data), limit))


def members(records: list[bytes]) -> list[bytes]:
    return [gzip.compress(record, mtime=0) for record in records]


def brief(items: list[Item]) -> list[tuple[str, str | None]]:
    """Kind or reason of each item, with the last part of its address."""
    found: list[tuple[str, str | None]] = []
    for item in items:
        if isinstance(item, Record):
            found.append(("page", (item.url or "").rpartition("/")[2]))
        else:
            found.append((item.reason, None) if isinstance(item, BadRecord) else (item.kind, None))
    return found


RECORDS = [
    warc_record("warcinfo", "", b"software: test\r\n", "application/warc-fields"),
    response(1),
    warc_record("request", "https://example.org/1", b"GET / HTTP/1.1\r\n\r\n", "application/http"),
    response(2),
    response(3),
]
WHOLE = [("warcinfo", None), ("page", "1"), ("request", None), ("page", "2"), ("page", "3")]


@pytest.mark.parametrize(
    "data",
    [
        b"".join(RECORDS),
        b"".join(members(RECORDS)),
        gzip.compress(b"".join(RECORDS)),
        b"".join(members(RECORDS)) + bytes(70_000),
        b"".join(record.removesuffix(b"\r\n\r\n") for record in RECORDS),
        gzip.compress(b"".join(RECORDS)[:700]) + gzip.compress(b"".join(RECORDS)[700:]),
    ],
    ids=["plain", "member_per_record", "one_member", "zero_padding", "no_lines_between", "member_within_record"],
)
def test_all_records_of_a_sound_file_are_read_in_their_order(data: bytes) -> None:
    assert brief(read(data)) == WHOLE
    assert len({item.offset for item in read(data)}) == len(WHOLE)


def test_header_lines_may_end_in_bare_line_feeds() -> None:
    data = b"WARC/1.0\nWARC-Type: resource\nContent-Type: text/html\nContent-Length: 32\n\n" + HTML + b"\n\n"
    assert brief(read(data * 2)) == [("page", ""), ("page", "")]


def test_a_page_has_its_bytes_address_charset_and_time() -> None:
    page = read(RECORDS[1])[0]
    time = datetime(2025, 11, 3, 6, 12, 4, tzinfo=timezone.utc)
    assert page == Record(
        "x.warc",
        0,
        html=HTML,
        charset="utf-8",
        url="https://example.org/1",
        fetched_at=time,
        headers={"content-type": "text/html; charset=utf-8"},
    )


def test_an_offset_in_a_plain_file_is_where_the_record_starts() -> None:
    data = b"".join(RECORDS)
    assert [item.offset for item in read(data)] == [data.index(record) for record in RECORDS]


def test_an_offset_in_a_packed_file_is_where_the_gzip_member_starts() -> None:
    packed = members(RECORDS)
    assert [item.offset for item in read(b"".join(packed))] == [len(b"".join(packed[:n])) for n in range(5)]


def test_an_offset_counts_records_where_a_member_holds_several() -> None:
    first, second = gzip.compress(b"".join(RECORDS[:3])), gzip.compress(b"".join(RECORDS[3:]))
    assert [item.offset for item in read(first + second)] == [0, 1, 2, len(first), len(first) + 1]


def test_a_packed_file_cut_anywhere_gives_its_whole_records_and_one_truncated() -> None:
    packed = members(RECORDS)
    ends = [len(b"".join(packed[: n + 1])) for n in range(5)]
    for cut in range(1, ends[-1]):
        whole = WHOLE[: sum(end <= cut for end in ends)]
        expected = whole if cut in ends else [*whole, ("truncated", None)]
        assert brief(read(b"".join(packed)[:cut])) == expected, cut


def test_a_plain_file_cut_anywhere_gives_its_whole_records_and_one_truncated() -> None:
    ends = [len(b"".join(RECORDS[: n + 1])) for n in range(5)]
    for cut in range(1, ends[-1]):
        # Without the two line ends behind it, a record is whole all the same.
        whole = WHOLE[: sum(end - 4 <= cut for end in ends)]
        at_an_end = any(end - 4 <= cut <= end for end in ends)
        expected = whole if at_an_end else [*whole, ("truncated", None)]
        assert brief(read(b"".join(RECORDS)[:cut])) == expected, cut


def test_a_flipped_byte_costs_at_most_its_own_record() -> None:
    packed = members(RECORDS)
    start, end = len(b"".join(packed[:3])), len(b"".join(packed[:4]))
    sound = read(b"".join(packed))
    for at in range(start, end):
        data = bytearray(b"".join(packed))
        data[at] ^= 0xFF
        found = read(bytes(data))
        assert found[:3] == sound[:3], at
        assert found[-1] == sound[-1], at
        # A flip that no checksum covers (gzip's own header), or that only adds to a record, leaves that as it was.
        assert len(found) > 4, at
        assert all(item == sound[3] or isinstance(item, BadRecord) for item in found[3:-1]), at


def test_records_before_a_damage_in_a_shared_member_are_kept() -> None:
    numbered = [response(n, body=f"<p>{n * 7919 % 10007} {n * n}</p>".encode()) for n in range(200)]
    data = bytearray(gzip.compress(b"".join(numbered)))
    data[len(data) * 3 // 4] ^= 0xFF
    found = read(bytes(data))
    pages = [item for item in found if isinstance(item, Record)]
    assert [(page.url, page.html) for page in pages[:140]] == [
        (page.url, page.html) for page in read(b"".join(numbered))[:140] if isinstance(page, Record)
    ]
    assert "corrupt" in [kind for kind, _ in brief(found)]


@pytest.mark.parametrize("packed", [False, True])
def test_garbage_between_records_is_one_refusal(packed: bool) -> None:
    data = [RECORDS[1], b"this is no record\r\nnor is this\r\n", RECORDS[3]]
    found = read(b"".join(members(data) if packed else data))
    assert brief(found) == [("page", "1"), ("corrupt", None), ("page", "2")]


def test_bytes_behind_the_last_gzip_member_are_one_refusal() -> None:
    assert brief(read(members(RECORDS[1:2])[0] + b"trailing")) == [("page", "1"), ("corrupt", None)]


@pytest.mark.parametrize("off", [-5, 30, 300])
def test_a_wrong_length_costs_its_own_record_only(off: int) -> None:
    wrong = response(1, length=len(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + HTML) + off)
    assert brief(read(wrong + RECORDS[3] + RECORDS[4])) == [("corrupt", None), ("page", "2"), ("page", "3")]


def test_a_length_beyond_its_gzip_member_costs_its_own_record_only() -> None:
    found = read(b"".join(members([response(1, length=5_000), *RECORDS[3:]])))
    assert brief(found) == [("truncated", None), ("page", "2"), ("page", "3")]


def test_a_short_record_before_a_damaged_one_are_two_refusals() -> None:
    short, damaged, sound = members([response(1, length=5_000), RECORDS[3], RECORDS[4]])
    found = read(short + damaged[:-30] + bytes([damaged[-30] ^ 0xFF]) + damaged[-29:] + sound)
    assert brief(found) == [("truncated", None), ("corrupt", None), ("page", "3")]


@pytest.mark.parametrize(
    "header",
    [
        b"WARC/1.0\r\nWARC-Type: response\r\n\r\n",
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: many\r\n\r\n",
        b"WARC/1.0\r\nContent-Length: 0\r\n\r\n",
        b"WARC/1.0\r\nContent-Length: 0\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=["no_length", "length_no_number", "no_type", "endless"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_is_none_costs_its_own_record_only(header: bytes, packed: bool) -> None:
    data = [header + b"\r\n\r\n", RECORDS[3]]
    assert brief(read(b"".join(members(data) if packed else data))) == [("corrupt", None), ("page", "2")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_beyond_the_limit_is_passed_over(packed: bool) -> None:
    data = [response(1, body=bytes(300_000)), RECORDS[3]]
    found = read(b"".join(members(data) if packed else data), limit=100_000)
    assert brief(found) == [("too_large", None), ("page", "2")]


def test_a_large_record_behind_the_read_ahead_is_whole() -> None:
    body = b"<p>" + b"0123456789" * 30_000
    page = read(b"".join(members([*RECORDS, response(9, body=body)])))[-1]
    assert isinstance(page, Record)
    assert page.html == body


@pytest.mark.parametrize("kind", ["warcinfo", "request", "metadata", "revisit", "continuation", "new-kind"])
def test_a_record_that_is_no_page_by_its_kind_is_ignored(kind: str) -> None:
    assert read(warc_record(kind, "https://example.org/", b"anything")) == [Ignored("x.warc", 0, kind)]


def test_the_answers_of_name_servers_are_ignored() -> None:
    assert read(warc_record("response", "dns:example.org", b"20251103", "text/dns")) == [Ignored("x.warc", 0, "dns")]


def test_a_conversion_record_is_text_with_its_language() -> None:
    data = warc_record("conversion", "<https://example.org/t>", "Grüße".encode(), "text/plain")
    data = data.replace(b"Content-Type", b"WARC-Identified-Content-Language: deu,eng\r\nContent-Type")
    page = read(data)[0]
    assert isinstance(page, Record)
    assert (page.text, page.language, page.url) == ("Grüße", "deu,eng", "https://example.org/t")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (warc_record("conversion", "https://example.org/", b" \n", "text/plain"), "empty_text"),
        (warc_record("resource", "https://example.org/", b"\x89PNG", "image/png"), "not_html"),
        (warc_record("resource", "https://example.org/", b"", "text/html"), "empty_body"),
        (warc_record("response", "https://example.org/", b"not http", "application/http"), "bad_http"),
    ],
)
def test_a_record_that_gives_no_page_says_why_and_where(record: bytes, reason: str) -> None:
    (bad,) = read(record)
    assert isinstance(bad, BadRecord)
    assert bad.reason == reason
    assert "https://example.org/" in bad.detail


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", ""])
def test_a_resource_record_with_html_is_a_page(content_type: str) -> None:
    assert brief(read(warc_record("resource", "https://example.org/7", HTML, content_type))) == [("page", "7")]


@pytest.mark.parametrize("make", [bytes, lambda n: b"\x1f\x8b" + bytes(n), lambda n: b"WARC/1.0\r\n" * (n // 10)])
def test_a_file_of_nonsense_ends(make: Callable[[int], bytes]) -> None:
    assert all(isinstance(item, BadRecord) for item in read(make(200_000)))
