"""Each line of a JSONL file is a page or says why not, and its offset finds it again."""

from __future__ import annotations

import functools
import gzip
import io
import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.corpus.fields import names_of, record_of
from personalake.corpus.jsonl import read_lines
from personalake.corpus.records import BadRecord, Item, Record

LIMIT = 1 << 20


def read(data: bytes, limit: int = LIMIT) -> list[Item]:
    make = functools.partial(record_of, names=names_of({}))
    return list(read_lines("x.jsonl", io.BytesIO(data), limit, make))


def reasons(items: list[Item]) -> list[str]:
    return [item.reason if isinstance(item, BadRecord) else "page" for item in items]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


@given(st.lists(st.one_of(TEXTS, st.sampled_from(["", "  "]))), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_the_line_at_an_offset_is_the_one_that_was_read(texts: list[str], line_end: str, packed: bool) -> None:
    lines = [json.dumps({"text": text}, ensure_ascii=False) if text.strip() else text for text in texts]
    data = line_end.join(lines).encode()
    found = read(gzip.compress(data) if packed else data)
    again = [json.loads(data[item.offset :].split(b"\n")[0])["text"] for item in found]
    assert (
        again == [item.text for item in found if isinstance(item, Record)] == [text for text in texts if text.strip()]
    )


def test_a_page_has_all_that_its_line_tells() -> None:
    line = {
        "text": "words",
        "html": "<p>words",
        "url": "https://example.org/",
        "title": " A title ",
        "language": "fr-CA",
        "license": "CC0-1.0",
        "attribution": "",
        "subject": 7,
        "date": "2025-11-03T08:12:04.5+02:00",
    }
    assert read(json.dumps(line).encode()) == [
        Record(
            "x.jsonl",
            0,
            text="words",
            url="https://example.org/",
            title="A title",
            language="fr-CA",
            licence="CC0-1.0",
            fetched_at=datetime(2025, 11, 3, 6, 12, 4, 500_000, tzinfo=timezone.utc),
        )
    ]


@pytest.mark.parametrize("text", ["", None])
def test_a_line_without_text_but_with_html_is_a_page_to_extract(text: str | None) -> None:
    (page,) = read(json.dumps({"text": text, "html": "<p>é"}).encode())
    assert isinstance(page, Record)
    assert (page.text, page.html, page.charset) == (None, "<p>é".encode(), "utf-8")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not_json"),
        (b'{"text": "a', "not_json"),
        (b'{"text": "\xff"}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "not_json"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"{}", "no_text"),
        (b'{"text": 5}', "no_text"),
        (b'{"text": null}', "no_text"),
        (b'{"text": " "}', "empty_text"),
        (b'{"html": ""}', "empty_text"),
        (b'{"text": "' + b"a" * LIMIT + b'"}', "too_large"),
    ],
)
def test_a_bad_line_says_why_and_the_next_one_is_read(line: bytes, reason: str) -> None:
    found = read(line + b'\n{"text": "next"}')
    assert reasons(found) == [reason, "page"]
    assert [item.offset for item in found] == [0, len(line) + 1]


@pytest.mark.parametrize("line_end", [b"", b"\n"])
def test_a_line_of_just_the_limit_is_read(line_end: bytes) -> None:
    line = b'{"text": "' + b"a" * 100 + b'"}'
    assert reasons(read(line + line_end, len(line))) == ["page"]
    assert reasons(read(line + line_end, len(line) - 1)) == ["too_large"]


def test_a_refused_line_is_shown_shortened() -> None:
    (bad,) = read(b"no json " * 1_000)
    assert isinstance(bad, BadRecord)
    assert bad.raw == ("no json " * 1_000)[:500]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert reasons(read(b'\xef\xbb\xbf{"text": "a"}\n')) == ["page"]


def test_lone_surrogates_do_not_leave_the_reader() -> None:
    (page,) = read(b'{"text": "a", "title": "\\ud800x"}')
    assert isinstance(page, Record)
    assert page.title == "?x"


LINES = b"".join(json.dumps({"text": f"page {n} {n * 7919 % 10007}"}).encode() + b"\n" for n in range(50))


def test_a_packed_file_cut_anywhere_gives_its_whole_lines_and_one_truncated() -> None:
    packed = gzip.compress(LINES, mtime=0)
    for cut in range(1, len(packed)):
        found = read(packed[:cut])
        assert reasons(found) == ["page"] * (len(found) - 1) + ["truncated"], cut


def test_a_damaged_packed_file_gives_the_lines_before_the_damage() -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[len(packed) // 2] ^= 0xFF
    found = reasons(read(bytes(packed)))
    assert found[-1] == "corrupt"
    assert found.count("page") > 10
