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

KNOWN_NAMES = "*.warc, *.wet, *.jsonl, *.ndjson (each also .gz)"

_REMOTE_READ = 4 * 1024 * 1024
_FORMATS = (
    ("wet", re.compile(r"\.wet(\.gz)?$", re.IGNORECASE)),
    ("warc", re.compile(r"\.warc(\.gz)?$", re.IGNORECASE)),
    ("jsonl", re.compile(r"\.(jsonl|ndjson)(\.gz)?$", re.IGNORECASE)),
)
_CURE = f"give files named {KNOWN_NAMES}, or folders of them, in `corpus.paths`"


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


def list_files(paths: Sequence[str]) -> list[CorpusFile]:
    """Return the files that *paths* (files, folders, `s3://`, `gs://`, ... ) name, each once, sorted by path.

    Folders are walked to the bottom, links followed; names that begin with `.` or `_` are passed over, as Spark does.
    Raises :class:`InputError` for a path that is missing, unreadable or of an unknown format, and for a corpus
    without a file of a known format.
    """
    if not paths:
        raise InputError("no corpus is named", where="corpus.paths", cure=_CURE)
    found: dict[str, CorpusFile] = {}
    for path in paths:
        for file in _remote(path) if "://" in path else _local(path):
            found[file.path] = file
    files = sorted(found.values(), key=lambda file: file.path)
    if all(file.format == UNSUPPORTED for file in files):
        what = f"none of its {len(files)} files is WARC, WET or JSONL" if files else "the corpus is empty"
        raise InputError(what, where=", ".join(paths), cure=_CURE)
    return files


def format_of(path: str) -> str:
    """Return the format that a file's name tells, :data:`UNSUPPORTED` where it tells none."""
    return next((name for name, pattern in _FORMATS if pattern.search(path)), UNSUPPORTED)


def open_corpus_file(path: str) -> BinaryIO:
    """Open a local path or a URI for reading; seekable. Raises :class:`OSError`."""
    if "://" not in path:
        return open(path, "rb")
    try:
        system, inner = arrow_fs.FileSystem.from_uri(path)
        # Every read of an object store is a request: few large ones.
        return io.BufferedReader(cast(io.RawIOBase, system.open_input_file(inner)), _REMOTE_READ)
    except ArrowException as error:
        raise OSError(str(error)) from error


def _named(path: str, *, where: str) -> str:
    """Return the format of a file that was named itself, for which a wrong name is a mistake."""
    known = format_of(path)
    if known == UNSUPPORTED:
        raise InputError("its name tells no format that can be read", where=where, cure=_CURE)
    return known


def _local(given: str) -> Iterator[CorpusFile]:
    path = os.path.normpath(given)
    try:
        if os.path.isdir(path):
            for name in _walk(path, frozenset()):
                yield _local_file(name, format_of(name))
        else:
            os.stat(path)
            yield _local_file(path, _named(path, where=given))
    except FileNotFoundError as error:
        raise InputError("there is no such file or folder", where=given, cure="correct `corpus.paths`") from error
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


def _remote(given: str) -> Iterator[CorpusFile]:
    parts = urlsplit(given)
    if parts.username or parts.password:
        # It would stand in every row of the tables and in every message.
        cure = "leave it out, and give every worker its credentials in its environment"
        raise InputError("the address carries a key", where=f"{parts.scheme}://{parts.hostname}", cure=cure)
    try:
        system, inner = arrow_fs.FileSystem.from_uri(given)
        top = system.get_file_info(inner)
        if top.type == arrow_fs.FileType.NotFound:
            raise InputError("there is no such file or folder", where=given, cure="correct `corpus.paths`")
        if top.type == arrow_fs.FileType.File:
            _named(inner, where=given)
            yield _remote_file(given, top)
            return
        base, mark, options = given.partition("?")
        for info in system.get_file_info(arrow_fs.FileSelector(inner, recursive=True)):
            below = info.path[len(inner.rstrip("/")) + 1 :]
            if info.type == arrow_fs.FileType.File and not any(map(_hidden, below.split("/"))):
                yield _remote_file(f"{base.rstrip('/')}/{quote(below)}{mark}{options}", info)
    except (OSError, ArrowException) as error:
        cure = "check the address, the credentials of this process, and the network"
        raise InputError(f"{parts.scheme} can't be read: {error}", where=given, cure=cure) from error


def _remote_file(path: str, info: arrow_fs.FileInfo) -> CorpusFile:
    return CorpusFile(path, format_of(info.path), info.size, str(info.mtime_ns if info.mtime_ns is not None else ""))
