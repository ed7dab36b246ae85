"""The HTTP message in a response record gives the page's bytes, or the reason why there are none."""

from __future__ import annotations

import gzip
import io
import zlib

import pytest
from fastwarc.stream_io import BrotliWriter, ZstdWriter

from personalake.corpus.http import http_page
from personalake.corpus.records import RefusedError

HTML = b"<html><body>caf\xc3\xa9</body></html>"
LIMIT = 10_000


def message(body: bytes, *headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *headers, "", ""]).encode() + body


def packed(writer: type[BrotliWriter] | type[ZstdWriter], body: bytes) -> bytes:
    target = io.BytesIO()
    stream = writer(target)
    stream.write(body)
    stream.close()
    return target.getvalue()


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def refusal(data: bytes, identified: str | None = None) -> str:
    with pytest.raises(RefusedError) as refused:
        http_page(data, identified, LIMIT)
    return refused.value.reason


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html; charset=utf-8", "utf-8"),
        ('Text/HTML;charset="ISO-8859-1"; x=y', "ISO-8859-1"),
        ("application/xhtml+xml", None),
    ],
)
def test_html_comes_with_the_charset_that_its_header_names(content_type: str, charset: str | None) -> None:
    page = http_page(message(HTML, f"Content-Type: {content_type}"), None, LIMIT)
    assert (page.html, page.charset, page.headers["content-type"]) == (HTML, charset, content_type)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(HTML)),
        ("x-gzip", gzip.compress(HTML)),
        ("deflate", zlib.compress(HTML)),
        ("deflate", raw_deflate(HTML)),
        ("br", packed(BrotliWriter, HTML)),
        ("zstd", packed(ZstdWriter, HTML)),
        ("deflate, gzip", gzip.compress(zlib.compress(HTML))),
        ("identity", HTML),
        ("gzip", HTML),
        ("br", HTML),
    ],
    ids=["gzip", "x-gzip", "zlib", "deflate", "br", "zstd", "two", "identity", "unpacked_gzip", "unpacked_br"],
)
def test_a_content_coding_is_undone_unless_the_crawler_did(coding: str, body: bytes) -> None:
    data = message(body, "Content-Type: text/html", f"Content-Encoding: {coding}")
    assert http_page(data, None, LIMIT).html == HTML


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\n<html\r\n1a;x=y\r\n" + HTML[5:] + b"\r\n0\r\n\r\n",
        b"5\r\n<html\r\n1A\r\n" + HTML[5:],
        b"1f\r\n" + HTML + b"\r\nnonsense",
        HTML,
    ],
    ids=["whole", "no_end", "broken_end", "joined_by_the_crawler"],
)
def test_chunks_are_joined_unless_the_crawler_did(body: bytes) -> None:
    data = message(body, "Content-Type: text/html", "Transfer-Encoding: chunked")
    assert http_page(data, None, LIMIT).html == HTML


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "bad_http"),
        (HTML, "bad_http"),
        (message(HTML, "Content-Type: text/html", status="HTTP/1.0 404 Not Found"), "http_status"),
        (message(b"", "Location: /", status="HTTP/1.1 301 Moved"), "http_status"),
        (message(b"%PDF-1.7", "Content-Type: application/pdf"), "not_html"),
        (message(b"no markup"), "not_html"),
        (message(b" \r\n", "Content-Type: text/html"), "empty_body"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html", "empty_body"),
        (message(b"garbage", "Content-Type: text/html", "Content-Encoding: gzip"), "bad_encoding"),
        (message(b"garbage", "Content-Type: text/html", "Content-Encoding: br"), "bad_encoding"),
        (message(HTML, "Content-Type: text/html", "Content-Encoding: lzma"), "bad_encoding"),
    ],
)
def test_a_response_without_a_page_says_why(data: bytes, reason: str) -> None:
    assert refusal(data) == reason


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("deflate", zlib.compress(bytes(50_000_000))),
        ("br", packed(BrotliWriter, bytes(50_000_000))),
        ("zstd", packed(ZstdWriter, bytes(50_000_000))),
        ("identity", b"<p>" * LIMIT),
    ],
    ids=["gzip", "deflate", "br", "zstd", "identity"],
)
def test_a_body_that_unpacks_beyond_the_limit_is_refused(coding: str, body: bytes) -> None:
    assert refusal(message(body, "Content-Type: text/html", f"Content-Encoding: {coding}")) == "too_large"


def test_without_a_content_type_the_crawlers_or_the_page_itself_decides() -> None:
    assert http_page(message(b"<p>caf"), "text/html", LIMIT).html == b"<p>caf"
    assert http_page(message(HTML), None, LIMIT).html == HTML
    assert refusal(message(HTML), "application/pdf") == "not_html"
