"""A page per file: plain text, Markdown and HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import yaml

from personalake.corpus.bytesource import ByteSource
from personalake.corpus.extract import decode
from personalake.corpus.fields import NAMES, record_of
from personalake.corpus.records import BadRecord, Item, Record, RefusedError, shortened

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_HEADING_WITHIN = 2_000
_PROBE = 4_096


def read_whole(path: str, file: BinaryIO, max_bytes: int, format: str) -> Iterator[Item]:
    """Yield the page that a file of *format* (`text`, `markdown`, `html`) is, or why it is none."""
    source = ByteSource(file)
    source.ensure(max_bytes + 1)
    content = source.take(min(len(source.buffer), max_bytes + 1))
    if source.damage:
        yield BadRecord(path, 0, source.damage.reason, source.damage.detail, shortened(content))
    elif len(content) > max_bytes:
        yield BadRecord(path, 0, "too_large", f"more than {max_bytes} bytes", shortened(content))
    elif not content.strip():
        yield BadRecord(path, 0, "empty_text", "the file has no text")
    elif format == "html":
        yield Record(path, 0, html=content)
    elif b"\0" in content[:_PROBE] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield BadRecord(path, 0, "not_text", "it has NUL bytes: a binary file by another name")
    else:
        yield _page(path, decode(content), markdown=format == "markdown")


def _page(path: str, text: str, *, markdown: bool) -> Item:
    about: Mapping[str, Any] = {}
    if markdown:
        text = text.replace("\r\n", "\n")
        if front := _FRONT_MATTER.match(text):
            about, text = _parsed(front[1]), text[front.end() :]
        heading = _HEADING.search(text, 0, _HEADING_WITHIN)
        about = {"title": heading[1] if heading else None, **about}
    title = about.get("title") or PurePosixPath(unquote(urlsplit(path).path if "://" in path else path)).name
    try:
        return record_of(path, 0, {**about, "title": str(title), "text": text}, NAMES)
    except RefusedError as refused:
        return BadRecord(path, 0, refused.reason, refused.detail, shortened(text))


def _parsed(front: str) -> Mapping[str, Any]:
    """What Markdown's front matter says; nothing where it isn't YAML's `key: value`."""
    try:
        found = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
