"""WARC and WET: one item for every record, and one for every stretch that can't be read. ISO 28500 (WARC 1.0, 1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from personalake.corpus.bytesource import CHUNK, ByteSource
from personalake.corpus.http import HTML_TYPES, http_page, looks_like_html, split_headers
from personalake.corpus.records import RAW_CHARS, BadRecord, Ignored, Item, Record, RefusedError, parse_time, shortened

_MAGIC = b"WARC/"
_MAX_HEADER = 1 << 16
# A blank line; or, in a header that has none, the start of the next record.
_HEADER_END = re.compile(rb"\r?\n\r?\n|\nWARC/\d")
_NEXT = re.compile(rb"\nWARC/\d")
_NEXT_LENGTH = 7
_PAGE_KINDS = ("response", "resource", "conversion")
_TWO_NEWLINES = 2


def read_warc(path: str, file: BinaryIO, max_record_bytes: int) -> Iterator[Item]:
    """Yield what *file* holds, in its order; a damage costs its own record and is one :class:`BadRecord`."""
    return _WarcReader(path, file, max_record_bytes).items()


class _WarcReader:
    def __init__(self, path: str, file: BinaryIO, max_record_bytes: int) -> None:
        self.path, self.max_bytes = path, max_record_bytes
        self.source = ByteSource(file)
        self._last_place = -1

    def items(self) -> Iterator[Item]:
        """Go from record to record; where nothing more can be read, say why, and go on behind it."""
        source = self.source
        while True:
            self._skip_newlines()
            if source.ensure(1):
                yield self._next()
            elif source.damage:
                damage = source.damage
                yield BadRecord(self.path, self._place(damage.member), damage.reason, damage.detail)
                source.resume(_MAGIC)
            else:
                return

    def _next(self) -> Item:
        """Read one record: header, body, what follows."""
        source = self.source
        member, place = source.member, self._place(source.member)
        head = self._head()
        if head is None:
            return self._unreadable(place)
        kind, headers = head
        length = int(headers["content-length"])
        wanted = kind in _PAGE_KINDS
        body = self._body(length, keep=wanted and length <= self.max_bytes)
        if body is None:
            return self._cut(place, kind, headers)
        newlines = self._skip_newlines()
        if not source.ensure(1) and source.damage and source.damage.member == member:
            # The checksum at a member's end failed, or is missing: what was read of it can't be trusted.
            return self._cut(place, kind, headers)
        if newlines < _TWO_NEWLINES and not self._at_record():
            source.unread(body)
            self._resync()
            return self._bad(place, "corrupt", "Content-Length does not lead to the next record", headers)
        if wanted and length > self.max_bytes:
            return self._bad(place, "too_large", f"{length} bytes, allowed are {self.max_bytes}", headers)
        return self._page(place, kind, headers, body) if wanted else Ignored(self.path, place, kind)

    def _head(self) -> tuple[str, dict[str, str]] | None:
        """Take a record's header; None (with nothing taken) where none stands here."""
        source = self.source
        if source.ensure(len(_MAGIC)) and not source.buffer.startswith(_MAGIC):
            return None
        end = _HEADER_END.search(source.buffer)
        while end is None and len(source.buffer) < _MAX_HEADER and source.ensure(len(source.buffer) + 1):
            end = _HEADER_END.search(source.buffer)
        if end is None:
            return None
        headers = {} if b"W" in end[0] else split_headers(bytes(source.buffer[: end.start()]).partition(b"\n")[2])
        length, kind = headers.get("content-length", ""), headers.get("warc-type", "").lower()
        if not (length.isascii() and length.isdigit() and kind):
            return None
        source.drop(end.end())
        return kind, headers

    def _body(self, length: int, *, keep: bool) -> bytes | None:
        """Take *length* bytes (returned where *keep*); None where the file, or the gzip member, ends before."""
        source, kept, left = self.source, bytearray(), length
        while left:
            if not source.ensure(1):
                return None
            n = min(left, len(source.buffer), CHUNK)
            start = source.member_start(n, _MAGIC) if source.packing else None
            if start is not None:
                source.drop(start)
                return None
            if keep:
                kept += source.buffer[:n]
            source.drop(n)
            left -= n
        return bytes(kept)

    def _skip_newlines(self) -> int:
        """Move past the line ends that close a record; return how many lines that were."""
        source, lines = self.source, 0
        while source.ensure(1) and source.buffer[0] in b"\r\n":
            lines += source.buffer[0] == ord("\n")
            source.drop(1)
        return lines

    def _at_record(self) -> bool:
        """Whether a record, a member or the end of the file comes next."""
        source = self.source
        source.ensure(len(_MAGIC))
        return _MAGIC.startswith(bytes(source.buffer[: len(_MAGIC)]))

    def _cut(self, place: int, kind: str, headers: dict[str, str]) -> BadRecord:
        """Say that a record isn't whole, and why; go on at the next one."""
        damage = self.source.damage
        if self.source.ensure(1) or damage is None:
            return self._bad(place, "truncated", f"the {kind} record ends before its Content-Length", headers)
        self.source.resume(_MAGIC)
        return self._bad(place, damage.reason, damage.detail, headers)

    def _unreadable(self, place: int) -> BadRecord:
        """Say that no whole record header stands here; go on at the next one."""
        source, damage = self.source, self.source.damage
        raw = shortened(bytes(source.buffer[:RAW_CHARS]))
        header_ends = len(source.buffer) >= _MAX_HEADER or _HEADER_END.search(source.buffer)
        if header_ends or not self._at_record():
            self._resync()
            return BadRecord(self.path, place, "corrupt", "no WARC record with its type and length starts here", raw)
        source.drop(len(source.buffer))
        if damage is None:
            return BadRecord(self.path, place, "truncated", "the file ends within a record's header", raw)
        source.resume(_MAGIC)
        return BadRecord(self.path, place, damage.reason, damage.detail, raw)

    def _resync(self) -> None:
        """Move to the next line, or gzip member, that starts a record; to the end where there is none."""
        source = self.source
        source.ensure(1)
        source.drop(1)
        while source.ensure(_NEXT_LENGTH + 1):
            line = _NEXT.search(source.buffer)
            start = (
                source.member_start(line.start() if line else len(source.buffer), _MAGIC) if source.packing else None
            )
            if start is not None:
                source.drop(start)
                return
            if line:
                source.drop(line.start() + 1)
                return
            source.drop(len(source.buffer) - _NEXT_LENGTH)
        source.drop(len(source.buffer))
        if source.damage:
            source.resume(_MAGIC)

    def _place(self, member: int) -> int:
        """Return the offset of the record that starts here, as :class:`Record` defines it: unique and rising."""
        if not self.source.packing:
            return self.source.position
        self._last_place = max(member, self._last_place + 1)
        return self._last_place

    def _bad(self, place: int, reason: str, detail: str, headers: dict[str, str], raw: bytes = b"") -> BadRecord:
        url = _url(headers)
        return BadRecord(self.path, place, reason, f"{detail}; {url}" if url else detail, shortened(raw))

    def _page(self, place: int, kind: str, headers: dict[str, str], body: bytes) -> Item:
        """Make a page of a response, resource or conversion record, or say why it is none."""
        content_type = headers.get("content-type", "").lower()
        if content_type.startswith("text/dns"):
            return Ignored(self.path, place, "dns")
        try:
            if kind == "conversion":
                return self._text(place, headers, body)
            if kind == "response" and content_type.startswith("application/http"):
                page = http_page(body, headers.get("warc-identified-payload-type"), self.max_bytes)
                return self._html(place, headers, page.html, page.charset, page.headers)
            return self._resource(place, headers, content_type, body)
        except RefusedError as refused:
            return self._bad(place, refused.reason, refused.detail, headers, body)

    def _text(self, place: int, headers: dict[str, str], body: bytes) -> Record:
        if not body.strip():
            raise RefusedError("empty_text", "the conversion record has no text")
        return Record(
            self.path,
            place,
            text=body.decode("utf-8", "replace"),
            url=_url(headers),
            language=headers.get("warc-identified-content-language"),
            fetched_at=parse_time(headers.get("warc-date")),
        )

    def _html(
        self, place: int, headers: dict[str, str], html: bytes, charset: str | None, http: Mapping[str, str]
    ) -> Record:
        time = parse_time(headers.get("warc-date"))
        return Record(self.path, place, html=html, charset=charset, url=_url(headers), fetched_at=time, headers=http)

    def _resource(self, place: int, headers: dict[str, str], content_type: str, body: bytes) -> Record:
        mime = content_type.partition(";")[0].strip()
        if not (mime in HTML_TYPES or (not mime and looks_like_html(body))):
            raise RefusedError("not_html", mime or "no content type")
        if not body.strip():
            raise RefusedError("empty_body", "the record has no body")
        return self._html(place, headers, body, None, {})


def _url(headers: dict[str, str]) -> str | None:
    # wget writes the address in angle brackets, as WARC 1.0's grammar had it by mistake.
    url = headers.get("warc-target-uri", "").strip()
    if url.startswith("<") and url.endswith(">"):
        url = url[1:-1]
    return url or None
