"""The HTTP message inside a WARC response: status, headers, and its body as it was before transfer."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass

from fastwarc.stream_io import BrotliReader, ZstdReader

from personalake.corpus.records import RefusedError

HTML_TYPES = ("text/html", "application/xhtml+xml")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_OK = 200
_SNIFFED = 1024
_HEX = re.compile(rb"\s*([0-9A-Fa-f]{1,8})\s*(?:;[^\r\n]*)?\r?\n")


@dataclass(frozen=True)
class HttpPage:
    """A page's bytes, unpacked, the charset that its header names, and the header's fields."""

    html: bytes
    charset: str | None
    headers: dict[str, str]


def split_headers(block: bytes) -> dict[str, str]:
    """Return header lines as lower-case name to value; of repeated names the first counts, folded lines are joined."""
    headers: dict[str, str] = {}
    name = ""
    for line in block.decode("utf-8", "replace").splitlines():
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        name = key.strip().lower() if colon and key.strip().lower() not in headers else ""
        if name:
            headers[name] = value.strip()
    return headers


def http_page(message: bytes, identified_type: str | None, max_bytes: int) -> HttpPage:
    """Return the HTML page in an HTTP response.

    Raises :class:`RefusedError`: `bad_http`, `http_status` (not 200), `not_html`, `bad_encoding`, `too_large` (more
    than *max_bytes* when unpacked), `empty_body`.
    """
    status = _STATUS.match(message)
    if status is None:
        raise RefusedError("bad_http", "no HTTP status line")
    end = _HEADER_END.search(message)
    head, body = (message[: end.start()], message[end.end() :]) if end else (message, b"")
    headers = split_headers(head.partition(b"\n")[2])
    if int(status[1]) != _OK:
        raise RefusedError("http_status", f"status {status[1].decode()}")
    content_type = headers.get("content-type", "")
    mime = (content_type.partition(";")[0].strip() or identified_type or "").lower()
    if mime and mime not in HTML_TYPES:
        raise RefusedError("not_html", mime)
    html = _unpacked(body, headers, max_bytes)
    if not html.strip():
        raise RefusedError("empty_body", "the response has no body")
    if not mime and not looks_like_html(html):
        raise RefusedError("not_html", "no content type, and it does not look like HTML")
    charset = _CHARSET.search(content_type)
    return HttpPage(html, charset[1] if charset else None, headers)


def looks_like_html(body: bytes) -> bool:
    """Whether *body*, which nobody named, begins like an HTML page."""
    head = body[:_SNIFFED].lower()
    return any(tag in head for tag in (b"<!doctype html", b"<html", b"<head", b"<body"))


def _unpacked(body: bytes, headers: dict[str, str], max_bytes: int) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _dechunked(body)
    codings = [coding.strip() for coding in headers.get("content-encoding", "").lower().split(",")]
    for coding in reversed(codings):
        if body and coding not in ("", "identity", "none", "utf-8"):
            body = _decoded(body, coding, max_bytes)
    if len(body) > max_bytes:
        raise RefusedError("too_large", f"unpacks to more than {max_bytes} bytes")
    return body


def _dechunked(body: bytes) -> bytes:
    """Join the chunks. Crawlers often keep the header of a body that they have joined: then it is left as it is.

    What comes before a broken chunk is kept: a crawler that stopped early leaves such bodies, and they are readable.
    """
    joined, at = bytearray(), 0
    while size := _HEX.match(body, at):
        start, length = size.end(), int(size[1], 16)
        joined += body[start : start + length]
        if not length:
            break
        at = start + length
    return bytes(joined) if _HEX.match(body) else body


def _decoded(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Undo one content coding, to at most a byte beyond *max_bytes*; what the crawler had unpacked stays."""
    try:
        if coding in ("gzip", "x-gzip"):
            unpacked = zlib.decompressobj(wbits=31).decompress(body, max_bytes + 1)
        elif coding == "deflate":
            unpacked = _inflated(body, max_bytes + 1)
        elif coding == "br":
            unpacked = _read(BrotliReader(io.BytesIO(body)), max_bytes + 1)
        elif coding == "zstd":
            unpacked = _read(ZstdReader(io.BytesIO(body)), max_bytes + 1)
        else:
            raise RefusedError("bad_encoding", f"content encoding {coding[:40]!r}")
    except (zlib.error, OSError) as error:
        if body.lstrip()[:1] == b"<":
            return body
        raise RefusedError("bad_encoding", f"the body is not {coding}: {error}") from error
    return unpacked


def _inflated(body: bytes, n: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, n)
    except zlib.error:  # RFC 9110 means zlib's format; some servers send the bare stream
        return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(body, n)


def _read(reader: BrotliReader | ZstdReader, n: int) -> bytes:
    out = bytearray()
    while len(out) < n and (piece := reader.read(min(n - len(out), 1 << 16))):
        out += piece
    return bytes(out)
