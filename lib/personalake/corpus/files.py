"""Which files make up a corpus: local files and folders, and any object store that `pyarrow.fs` reaches."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast
from urllib.parse import quote, urlsplit

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from personalake.errors import InputError

UNSUPPORTED = "unsupported"
"""Format of a file whose name says nothing: found in a folder, it becomes a row in `rejects`."""

_REMOTE_READ = 4 * 1024 * 1024
_FORMATS = (
    ("wet", re.compile(r"\.wet(\.gz)?$", re.IGNORECASE)),
    ("warc", re.compile(r"\.warc(\.gz)?$", re.IGNORECASE)),
    ("jsonl", re.compile(r"\.(jsonl|ndjson)(\.gz)?$", re.IGNORECASE)),
    ("parquet", re.compile(r"\.parquet$", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Kinds:
    """Which files a setting takes: their formats, in words for a person, and the names that tell them."""

    setting: str
    what: str
    formats: tuple[str, ...]
    names: str

    @property
    def cure(self) -> str:
        """What to do about a file that isn't one of them."""
        return f"give files named {self.names}, or folders of them, in `{self.setting}`"


PAGES = Kinds(
    "corpus.paths", "WARC, WET or JSONL", ("wet", "warc", "jsonl"), "*.warc, *.wet, *.jsonl, *.ndjson (each also .gz)"
)
"""A corpus."""

PERSONAS = Kinds(
    "personas.paths", "JSONL or Parquet", ("jsonl", "parquet"), "*.jsonl, *.ndjson (each also .gz), *.parquet"
)
"""Personas of the user's own."""


@dataclass(frozen=True)
class CorpusFile:
    """A file of the corpus.

    *path* is what the user gave, plus the path below it: two machines with the same relative paths get the same rows.
    *size* is in bytes; *stamp* is the modification time in ns (object stores: that of the object, as `pyarrow.fs`
    has no ETag).
    """

    path: str
    format: str
    size: int
    stamp: str


def list_files(paths: Sequence[str], kinds: Kinds = PAGES) -> list[CorpusFile]:
    """Return the files of these *kinds* that *paths* (files, folders, `s3://`, `gs://`, ... ) name, sorted by path.

    Each comes once. Folders are walked to the bottom, links followed; names that begin with `.` or `_` are passed over,
    as Spark does. Raises :class:`InputError` for a path that is missing, unreadable or of an unknown format, and where
    there is no file of a known format.
    """
    if not paths:
        raise InputError("nothing is named", where=kinds.setting, cure=kinds.cure)
    found: dict[str, CorpusFile] = {}
    for path in paths:
        for file in _remote(path, kinds) if "://" in path else _local(path, kinds):
            found[file.path] = file
    files = sorted(found.values(), key=lambda file: file.path)
    if all(file.format == UNSUPPORTED for file in files):
        what = f"none of its {len(files)} files is {kinds.what}" if files else "there is no file in it"
        raise InputError(what, where=", ".join(paths), cure=kinds.cure)
    return files


def format_of(path: str, kinds: Kinds = PAGES) -> str:
    """Return the format that a file's name tells, :data:`UNSUPPORTED` where it tells none of these *kinds*."""
    found = next((name for name, pattern in _FORMATS if pattern.search(path)), UNSUPPORTED)
    return found if found in kinds.formats else UNSUPPORTED


def open_corpus_file(path: str, base: str = "") -> BinaryIO:
    """Open a local path, relative to *base*, or a URI for reading; seekable. Raises :class:`OSError`."""
    if "://" not in path:
        return open(os.path.join(base, path), "rb")
    try:
        system, inner = arrow_fs.FileSystem.from_uri(path)
        # Every read of an object store is a request: few large ones.
        return io.BufferedReader(cast(io.RawIOBase, system.open_input_file(inner)), _REMOTE_READ)
    except ArrowException as error:
        raise OSError(str(error)) from error


def _named(path: str, kinds: Kinds, *, where: str) -> str:
    """Return the format of a file that was named itself, for which a wrong name is a mistake."""
    known = format_of(path, kinds)
    if known == UNSUPPORTED:
        raise InputError("its name tells no format that can be read", where=where, cure=kinds.cure)
    return known


def _local(given: str, kinds: Kinds) -> Iterator[CorpusFile]:
    path = os.path.normpath(given)
    try:
        if os.path.isdir(path):
            for name in _walk(path, frozenset()):
                yield _local_file(name, format_of(name, kinds))
        else:
            os.stat(path)
            yield _local_file(path, _named(path, kinds, where=given))
    except FileNotFoundError as error:
        raise InputError("there is no such file or folder", where=given, cure=f"correct `{kinds.setting}`") from error
    except OSError as error:
        cure = "give this user the right to read it, or leave it out"
        raise InputError(f"it can't be read: {error.strerror}", where=error.filename or given, cure=cure) from error


def _walk(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Yield the files below *folder*; a link to a folder that it lies in isn't followed again."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if _hidden(name):
            continue
        if os.path.isdir(path):
            yield from _walk(path, above | {real})
        else:
            yield path


def _local_file(path: str, format_: str) -> CorpusFile:
    status = os.stat(path)
    shown = path.encode("utf-8", "replace").decode()
    if shown != path:
        raise InputError("its name is not UTF-8, so no table can hold it", where=shown, cure="rename it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("it is no regular file", where=path, cure="give files or folders of files")
    with open(path, "rb"):  # said now rather than by a task
        pass
    return CorpusFile(path, format_, status.st_size, str(status.st_mtime_ns))


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _remote(given: str, kinds: Kinds) -> Iterator[CorpusFile]:
    parts = urlsplit(given)
    if parts.username or parts.password:
        # It would stand in every row of the tables and in every message.
        cure = "leave it out, and give every worker its credentials in its environment"
        raise InputError("the address carries a key", where=f"{parts.scheme}://{parts.hostname}", cure=cure)
    try:
        system, inner = arrow_fs.FileSystem.from_uri(given)
        top = system.get_file_info(inner)
        if top.type == arrow_fs.FileType.NotFound:
            raise InputError("there is no such file or folder", where=given, cure=f"correct `{kinds.setting}`")
        if top.type == arrow_fs.FileType.File:
            _named(inner, kinds, where=given)
            yield _remote_file(given, top, kinds)
            return
        base, mark, options = given.partition("?")
        for info in system.get_file_info(arrow_fs.FileSelector(inner, recursive=True)):
            below = info.path[len(inner.rstrip("/")) + 1 :]
            if info.type == arrow_fs.FileType.File and not any(map(_hidden, below.split("/"))):
                yield _remote_file(f"{base.rstrip('/')}/{quote(below)}{mark}{options}", info, kinds)
    except (OSError, ArrowException) as error:
        cure = "check the address, the credentials of this process, and the network"
        raise InputError(f"{parts.scheme} can't be read: {error}", where=given, cure=cure) from error


def _remote_file(path: str, info: arrow_fs.FileInfo, kinds: Kinds) -> CorpusFile:
    stamp = str(info.mtime_ns if info.mtime_ns is not None else "")
    return CorpusFile(path, format_of(info.path, kinds), info.size, stamp)
