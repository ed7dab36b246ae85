"""WARC 1.1 records as bytes, with dates and ids that depend on their content only (ISO 28500:2017)."""

from __future__ import annotations

import base64
import hashlib
import struct
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.data.page_formats import Page

FIRST_CAPTURE = datetime(2025, 11, 3, 6, 12, 4, tzinfo=timezone.utc)
SECONDS_APART = 7
SERVERS = ("nginx", "Apache/2.4.62 (Debian)", "Caddy", "lighttpd/1.4.76")


def gzip_member(data: bytes) -> bytes:
    """`data` as a gzip member without time, name or system; its deflate bytes may differ between zlib versions."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + body + struct.pack("<II", zlib.crc32(data), len(data))


def sha1_digest(data: bytes) -> str:
    """The digest as WARC files write it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


@dataclass(frozen=True)
class Capture:
    """What a server sent for a URL, less the status line."""

    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"


@dataclass
class Warc:
    """A WARC file in the making: its records, uncompressed, and their manifest rows."""

    file: str
    records: list[bytes] = field(default_factory=list)
    manifest: list[dict[str, object]] = field(default_factory=list)

    def info(self, description: str) -> None:
        """Add the record that describes the file."""
        block = f"software: build_corpus.py\r\nformat: WARC File Format 1.1\r\ndescription: {description}\r\n".encode()
        self._add("warcinfo", None, block, {"Content-Type": "application/warc-fields", "WARC-Filename": self.file})
        self._note("warcinfo", None)

    def response(
        self,
        kind: str,
        capture: Capture,
        page: Page | None = None,
        *,
        of: str | None = None,
        status: str = "200 OK",
    ) -> None:
        """Add what a server answered, HTTP header and all."""
        host = capture.url.split("/")[2]
        choice = zlib.crc32(host.encode())
        http = (
            f"HTTP/1.1 {status}\r\nDate: {format_datetime(self._date(), usegmt=True)}\r\n"
            f"Server: {SERVERS[choice % len(SERVERS)]}\r\nContent-Type: {capture.content_type}\r\n"
            f"Content-Length: {len(capture.body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        headers = {
            "Content-Type": "application/http; msgtype=response",
            "WARC-IP-Address": f"192.0.2.{choice % 200 + 10}",
            "WARC-Payload-Digest": sha1_digest(capture.body),
        }
        self._add("response", capture.url, http + capture.body, headers)
        self._note(kind, capture.url, page, of=of)

    def request(self, page: Page) -> None:
        """Add the request that brought a page."""
        path = page.url.split("/", 3)[3]
        lines = f"GET /{path} HTTP/1.1\r\nHost: {page.host}\r\nUser-Agent: examplebot/1.0\r\nAccept: text/html\r\n\r\n"
        headers = {
            "Content-Type": "application/http; msgtype=request",
            "WARC-Concurrent-To": self._id("response", page.url),
        }
        self._add("request", page.url, lines.encode(), headers)
        self._note("request", page.url)

    def metadata(self, page: Page) -> None:
        """Add what a crawler notes about a fetch."""
        block = b"fetchTimeMs: 184\r\ncharset-detected: UTF-8\r\n"
        headers = {
            "Content-Type": "application/warc-fields",
            "WARC-Concurrent-To": self._id("response", page.url),
        }
        self._add("metadata", page.url, block, headers)
        self._note("metadata", page.url)

    def conversion(self, kind: str, page: Page, text: str, language_code: str, of: str | None = None) -> None:
        """Add a page's plain text, as WET files hold it."""
        headers = {
            "Content-Type": "text/plain",
            "WARC-Refers-To": self._id("response", page.url),
            "WARC-Identified-Content-Language": language_code,
        }
        self._add("conversion", page.url, text.encode(), headers)
        self._note(kind, page.url, page, of=of)

    def _date(self) -> datetime:
        return FIRST_CAPTURE + timedelta(seconds=SECONDS_APART * len(self.records))

    def _id(self, record_type: str, url: str | None) -> str:
        return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{self.file} {record_type} {url}')}>"

    def _add(self, record_type: str, url: str | None, block: bytes, headers: dict[str, str]) -> None:
        fields = {"WARC-Type": record_type, "WARC-Record-ID": self._id(record_type, url)}
        fields["WARC-Date"] = self._date().strftime("%Y-%m-%dT%H:%M:%SZ")
        if url:
            fields["WARC-Target-URI"] = url
        fields |= headers | {"WARC-Block-Digest": sha1_digest(block), "Content-Length": str(len(block))}
        head = "WARC/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        self.records.append(head.encode() + block + b"\r\n\r\n")

    def _note(self, kind: str, url: str | None, page: Page | None = None, of: str | None = None) -> None:
        row: dict[str, object] = {"file": self.file, "ordinal": len(self.manifest), "url": url, "kind": kind}
        row["language"], row["subject"] = (page.language, page.subject) if page else (None, None)
        self.manifest.append(row | ({"page": page.slug} if page else {}) | ({"of": of} if of else {}))
