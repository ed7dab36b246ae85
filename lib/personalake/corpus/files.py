"""Which files make up a corpus: local files and folders, and any object store that `pyarrow.fs` reaches."""

from __future__ import annotations

import fnmatch
import glob
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast
from urllib.parse import quote, urlsplit

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from personalake.errors import InputError

UNSUPPORTED = "unsupported"
"""Format of a file whose name says nothing: found in a folder, it becomes a row in `rejects`."""

DELTA = "delta"
"""Format of a Delta table, by its folder: Spark reads it, since only its log says which of its files count."""

_REMOTE_READ = 4 * 1024 * 1024
_PACKED = r"(\.(gz|zst|lz4))"
_FORMATS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("wet", rf"\.wet{_PACKED}?$"),
        ("warc", rf"\.warc{_PACKED}?$"),
        # C4 and RedPajama name their packed JSON lines .json.gz; a bare .json is mostly one object of many lines.
        ("jsonl", rf"\.(jsonl|ndjson){_PACKED}?$|\.json{_PACKED}$"),
        ("parquet", r"\.parquet$"),
        ("csv", rf"\.(csv|tsv){_PACKED}?$"),
        ("markdown", rf"\.(md|markdown){_PACKED}?$"),
        ("text", rf"\.(txt|text){_PACKED}?$"),
        ("html", rf"\.x?html?{_PACKED}?$"),
    )
)
_MANIFEST = re.compile(r"\.(paths|manifest)(\.gz)?$", re.IGNORECASE)
_WILD = re.compile(r"[*?\[]")
_DELTA_LOG = "_delta_log"
_LOOKUPS_AT_ONCE = 32


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
    "corpus.paths",
    "WARC, WET, JSONL, Parquet, CSV, text, Markdown or HTML",
    ("wet", "warc", "jsonl", "parquet", "csv", "markdown", "text", "html"),
    "*.warc, *.wet, *.jsonl, *.ndjson, *.csv, *.tsv, *.txt, *.md, *.html (each also .gz, .zst, .lz4), *.parquet",
)
"""A corpus."""

PERSONAS = Kinds(
    "personas.paths",
    "JSONL, CSV or Parquet",
    ("jsonl", "csv", "parquet"),
    "*.jsonl, *.ndjson, *.csv, *.tsv (each also .gz, .zst, .lz4), *.parquet",
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


def list_files(paths: Sequence[str], kinds: Kinds = PAGES, prefix: str | None = None) -> list[CorpusFile]:
    """Return the files of these *kinds* that *paths* name, sorted by path, each once.

    A path is a file, a folder, a Delta table's folder, a pattern (`*`, `?`, `[...]`, and `**` for folders at any
    depth), or a manifest, `*.paths` or `*.manifest` (also .gz): a list of paths, one a line, below *prefix* (default:
    the manifest's own folder) as Common Crawl's are; local, or `s3://`, `gs://`, `abfs://`, `hdfs://`. Folders are
    walked to the bottom, links followed; names that begin with `.` or `_` are passed over, as Spark does. Raises
    :class:`InputError` for a path that is missing, unreadable or of an unknown format, and where there is no file of a
    known format.
    """
    if not paths:
        raise InputError("nothing is named", where=kinds.setting, cure=kinds.cure)
    found: dict[str, CorpusFile] = {}
    for path in paths:
        for file in _named(path, kinds, prefix):
            found[file.path] = file
    files = sorted(found.values(), key=lambda file: file.path)
    if all(file.format == UNSUPPORTED for file in files):
        what = f"none of its {len(files)} files is {kinds.what}" if files else "there is no file in it"
        raise InputError(what, where=", ".join(paths), cure=kinds.cure)
    return files


def _named(path: str, kinds: Kinds, prefix: str | None) -> Iterator[CorpusFile]:
    if _MANIFEST.search(path):
        yield from _listed(path, kinds, prefix)
    elif "://" in path:
        yield from _remote(path, kinds)
    elif _WILD.search(path) and not os.path.lexists(path):
        yield from _matched(path, kinds)
    else:
        yield from _local(path, kinds)


def _matched(pattern: str, kinds: Kinds) -> Iterator[CorpusFile]:
    """The files that a local pattern matches; a Delta table's stand for the table, whose log says which count."""
    base, _ = _fixed_part(pattern)
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise InputError("no file matches", where=pattern, cure=f"correct `{kinds.setting}`")
    tables: dict[str, str | None] = {}
    for match in matches:
        if any(map(_hidden, match[len(base) :].split("/"))):
            continue
        table = _table_around(match, base, tables)
        if table is not None:
            yield CorpusFile(os.path.normpath(table), DELTA, 0, "")
        else:
            yield from _local(match, kinds, asked=not _WILD.search(os.path.basename(pattern)))


def _table_around(path: str, base: str, known: dict[str, str | None]) -> str | None:
    """The Delta table below *base* that a path lies in; null for none. *known* keeps what was found of folders."""
    folder = os.path.dirname(path)
    if folder == path or len(folder) < len(base):
        return None
    if folder not in known:
        is_table = os.path.isdir(os.path.join(folder, _DELTA_LOG))
        known[folder] = folder if is_table else _table_around(folder, base, known)
    return known[folder]


def _listed(manifest: str, kinds: Kinds, prefix: str | None) -> Iterator[CorpusFile]:
    """The files that a manifest lists; looked up many at once, since on an object store each is a request."""
    try:
        with open_corpus_file(manifest) as file:
            content = file.read()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        lines = [line.strip() for line in content.decode().splitlines()]
    except FileNotFoundError as error:
        raise InputError("there is no such manifest", where=manifest, cure=f"correct `{kinds.setting}`") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        what = f"the manifest can't be read: {error}"
        raise InputError(what, where=manifest, cure="it is a list of paths, one a line, plain or gzipped") from error
    base = manifest.rpartition("/")[0] if prefix is None else prefix.rstrip("/")
    names = [line for line in lines if line and not line.startswith("#")]
    paths = [name if "://" in name or name.startswith("/") else f"{base}/{name}" if base else name for name in names]
    nested = next((path for path in paths if _MANIFEST.search(path)), None)
    if nested is not None:
        raise InputError("a manifest lists a manifest", where=nested, cure="list files and folders in it")
    with ThreadPoolExecutor(_LOOKUPS_AT_ONCE) as pool:
        for files in pool.map(lambda path: list(_named(path, kinds, None)), paths):
            yield from files


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


def exists(path: str, base: str = "") -> bool:
    """Whether there is a file at a path or URI."""
    try:
        open_corpus_file(path, base).close()
    except OSError:
        return False
    return True


def _known(path: str, kinds: Kinds, *, where: str) -> str:
    """Return the format of a file that was named itself, for which a wrong name is a mistake."""
    known = format_of(path, kinds)
    if known == UNSUPPORTED:
        raise InputError("its name tells no format that can be read", where=where, cure=kinds.cure)
    return known


def _local(given: str, kinds: Kinds, *, asked: bool = True) -> Iterator[CorpusFile]:
    """The files at a local path; a file that was *asked* for by its own name must be of a known format."""
    path = os.path.normpath(given)
    try:
        if os.path.isdir(path):
            for name, is_table in _walk(path, frozenset()):
                yield CorpusFile(name, DELTA, 0, "") if is_table else _local_file(name, format_of(name, kinds))
        else:
            os.stat(path)
            yield _local_file(path, _known(path, kinds, where=given) if asked else format_of(path, kinds))
    except FileNotFoundError as error:
        raise InputError("there is no such file or folder", where=given, cure=f"correct `{kinds.setting}`") from error
    except OSError as error:
        cure = "give this user the right to read it, or leave it out"
        raise InputError(f"it can't be read: {error.strerror}", where=error.filename or given, cure=cure) from error


def _walk(folder: str, above: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Yield the files below *folder*, and its Delta tables (true); a link to a folder around it isn't followed again.

    A table's files aren't files of the corpus: some of them are of older versions.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    if os.path.isdir(os.path.join(folder, _DELTA_LOG)):
        yield folder, True
        return
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if _hidden(name):
            continue
        if os.path.isdir(path):
            yield from _walk(path, above | {real})
        else:
            yield path, False


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
    base, mark, options = given.partition("?")
    pattern: list[str] = []
    if "*" in base or "[" in base:  # In an address a `?` begins its options.
        base, pattern = _fixed_part(base)
    try:
        system, inner = arrow_fs.FileSystem.from_uri(base + mark + options)
        top = system.get_file_info(inner)
        if top.type == arrow_fs.FileType.NotFound:
            raise InputError("there is no such file or folder", where=given, cure=f"correct `{kinds.setting}`")
        if top.type == arrow_fs.FileType.File:
            _known(inner, kinds, where=given)
            yield _remote_file(given, top, kinds)
            return
        start = len(inner.rstrip("/")) + 1
        listing = system.get_file_info(arrow_fs.FileSelector(inner, recursive=True))
        below = [(info.path[start:], info) for info in listing]
        found = list(_remote_files(base.rstrip("/"), below, pattern, f"{mark}{options}", kinds))
        if pattern and not found:
            raise InputError("no file matches", where=given, cure=f"correct `{kinds.setting}`")
        yield from found
    except (OSError, ArrowException) as error:
        cure = "check the address, the credentials of this process, and the network"
        raise InputError(f"{parts.scheme} can't be read: {error}", where=given, cure=cure) from error


def _remote_files(
    base: str, below: Sequence[tuple[str, arrow_fs.FileInfo]], pattern: Sequence[str], options: str, kinds: Kinds
) -> Iterator[CorpusFile]:
    """What *pattern* matches of what lies *below* the address *base*: files, and Delta tables for their files."""
    tables = {name.split(_DELTA_LOG)[0].rstrip("/") for name, _ in below if _DELTA_LOG in name.split("/")}
    for name, info in below:
        parts = name.split("/")
        if not _matches(pattern, parts):
            continue
        table = next((above for n in range(len(parts)) if (above := "/".join(parts[:n])) in tables), None)
        if table is not None:
            yield CorpusFile(f"{base}/{table}".rstrip("/"), DELTA, 0, "")
        elif info.type == arrow_fs.FileType.File and not any(map(_hidden, parts)):
            yield _remote_file(f"{base}/{quote(name)}{options}", info, kinds)


def _fixed_part(address: str) -> tuple[str, list[str]]:
    """The folder of an address with a pattern up to which nothing is one, and the rest."""
    parts = address.split("/")
    first = next(n for n, part in enumerate(parts) if _WILD.search(part))
    return "/".join(parts[:first]), parts[first:]


def _matches(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a path, or a folder above it, fits a pattern, both given part by part."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(pattern[1:], names[n:]) for n in range(len(names)))
    return bool(names) and fnmatch.fnmatchcase(names[0], pattern[0]) and _matches(pattern[1:], names[1:])


def _remote_file(path: str, info: arrow_fs.FileInfo, kinds: Kinds) -> CorpusFile:
    stamp = str(info.mtime_ns if info.mtime_ns is not None else "")
    return CorpusFile(path, format_of(info.path, kinds), info.size, stamp)


def normal(path: str) -> str:
    """A *path* that a user gave, as the files below it begin: no `~`, `.`, query or closing slash."""
    whole = path if "://" in path else os.path.normpath(os.path.expanduser(path))
    return whole.partition("?")[0].rstrip("/")


def root_of(path: str, roots: Iterable[str]) -> str | None:
    """The longest of *roots* (see :func:`normal`) that *path* is or lies below; null for none."""
    return max((each for each in roots if path == each or path.startswith(f"{each}/")), key=len, default=None)
