"""What a reader finds in a corpus file: a page-to-be, something refused, or a record that is no page by its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

RAW_CHARS = 500
"""Characters of a refused page that are kept in `rejects`: enough to see what it was."""


_FRACTION = re.compile(r"\.(\d{1,6})\d*")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Record:
    """A page as its file has it, text or HTML, before extraction and filters.

    Exactly one of *text* and *html* is given. *offset* is unique in its file and finds the record again:

    - WARC, JSONL and CSV that aren't packed: the byte where the record or line starts;
    - packed WARC and WET: the byte where its gzip member (or frame) starts, as in a CDX index; where a member holds
      several records, against the standard, plus the number of records before it in that member;
    - packed JSONL and CSV: the byte of the line in the unpacked file, since the whole is one member;
    - Parquet: the number of the row in its file.

    *headers* are those of the HTTP response, with lower-case names.
    """

    path: str
    offset: int
    text: str | None = None
    html: bytes | None = None
    charset: str | None = None
    url: str | None = None
    title: str | None = None
    language: str | None = None
    licence: str | None = None
    attribution: str | None = None
    subject: str | None = None
    fetched_at: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadRecord:
    """A record, line or stretch of a file that gives no page: a typed *reason*, and what exactly for a person."""

    path: str
    offset: int
    reason: str
    detail: str
    raw: str | None = None


@dataclass(frozen=True)
class Ignored:
    """A record that is no page by its *kind*: warcinfo, request, metadata, revisit, ..."""

    path: str
    offset: int
    kind: str


Item = Record | BadRecord | Ignored


class RefusedError(Exception):
    """Why a single page can't be used; caught where its row of `rejects` is made, never shown as an error."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)


def shortened(raw: str | bytes) -> str | None:
    """Return the beginning of *raw* as printable text, None where it is binary."""
    head = raw[: 4 * RAW_CHARS]
    if isinstance(head, bytes):
        if b"\0" in head or head.startswith(b"%PDF"):
            return None
        head = head.decode("utf-8", "replace")
    return _UNPRINTABLE.sub("\ufffd", head[:RAW_CHARS]) or None


def parse_time(value: object) -> datetime | None:
    """Return an ISO 8601 time (`WARC-Date`, a JSONL field) in UTC, None where it isn't one."""
    if not isinstance(value, str):
        return None
    try:
        # Python 3.10 knows neither `Z` nor fractions of other than 3 or 6 digits, both of which WARC 1.1 allows.
        plain = _FRACTION.sub(lambda digits: "." + digits[1].ljust(6, "0"), value.strip().replace("Z", "+00:00"))
        time = datetime.fromisoformat(plain)
        return time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
