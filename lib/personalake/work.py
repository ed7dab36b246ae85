"""The store's work folder, on any `pyarrow.fs` file system: journals, frozen requests, staged rows, the lease."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from personalake.errors import StoreError

_OBJECT_STORES = ("s3", "gcs", "abfs")
"""Where a folder is there once an object lies in it, and an object shows whole or not at all."""

_ONE_REQUEST = 20
"""The first major version of pyarrow that can write a small S3 object with one request; older ones need three."""

_AT_ONCE = 16

_LOCAL = fs.LocalFileSystem()

_CURES = (
    (
        r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|[Cc]redentials",
        "give credentials that may list, read, write and delete there: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a "
        "profile, or the machine's role",
    ),
    (r"NO_SUCH_BUCKET|Bucket '.*' not found", "create the bucket, or correct the address"),
    (
        r"NETWORK_CONNECTION|curlCode|[Tt]imed? ?out",
        "see that the store answers; AWS_ENDPOINT_URL names one that isn't Amazon's",
    ),
    (r"Unrecognized filesystem type", "local paths, s3://, gs://, abfs:// and hdfs:// are known"),
)
_WRITABLE = "choose a folder that you may write to"


def is_local(address: str) -> bool:
    """Whether *address* is a path of this machine's file system and not a URI of another."""
    return address.startswith("file:") or not re.match(r"^[a-z][a-z0-9+.-]*:/", address)


def absolute(address: str) -> str:
    """The address with a local path made absolute and without `file:`; a trailing slash is dropped."""
    if not is_local(address):
        return address.rstrip("/")
    return str(Path(re.sub(r"^file:(//)?", "", address)).absolute())


def spark_address(address: str) -> str:
    """The address as Spark wants it: `file://` for this machine, `s3a:` for S3.

    Databricks' volumes are mounted paths that Spark knows by the same name, so they stay as they are.
    """
    if is_local(address):
        path = absolute(address)
        return path if path.startswith(("/Volumes/", "/dbfs/")) else f"file://{path}"
    return re.sub(r"^s3:", "s3a:", address)


@functools.lru_cache(maxsize=64)
def _filesystem(root: str, endpoint: str | None) -> tuple[fs.FileSystem, str]:
    """The file system at *root*, an address without its path, and the path that *root* itself has there."""
    if not root.startswith("s3:"):
        patience = "?retry_limit_seconds=60" if root.startswith(("gs:", "gcs:")) else ""  # Else fifteen minutes.
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(f"{root}/{patience}")
        return found
    bucket = root.removeprefix("s3://")
    where = {"endpoint_override": endpoint} if endpoint else {"region": fs.resolve_s3_region(bucket)}
    # Not from the URI: what comes from there tries again after failed connections only, and "503 Slow Down", which S3
    # says to anybody now and then, would end the run.
    options: dict[str, Any] = {"retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=4), "connect_timeout": 5}
    if int(pa.__version__.split(".")[0]) >= _ONE_REQUEST:
        options["allow_delayed_open"] = True
    return fs.S3FileSystem(**where, **options), bucket


@dataclass(frozen=True)
class Folder:
    """A folder on any file system; it travels into Spark's tasks as its address alone.

    `s3://bucket/path` is opened with what AWS's own tools find in the environment, on each machine for itself:
    `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile or the machine's role; and `AWS_ENDPOINT_URL` for a store
    that isn't Amazon's, which Spark's `s3a` obeys too. The bucket has to be there.

    Every method raises :class:`StoreError` where the file system refuses or doesn't answer.
    """

    address: str

    @property
    def filesystem(self) -> fs.FileSystem:
        """The file system that the folder is on."""
        return self._place()[0]

    @property
    def path(self) -> str:
        """The folder's path on that file system."""
        return self._place()[1]

    @property
    def for_spark(self) -> str:
        """The folder's address as Spark wants it."""
        return spark_address(self.address)

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.address}/{name}")

    def exists(self) -> bool:
        """Whether there is a file or folder at this address."""
        with self._told("cannot be looked at"):
            found: bool = self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound
            return found

    def written(self) -> int | None:
        """When the file at this address was written, by its file system's clock, in nanoseconds; null for none."""
        with self._told("cannot be looked at"):
            found: int | None = self.filesystem.get_file_info(self.path).mtime_ns
            return found

    def make(self) -> Folder:
        """Create the folder and its parents where they are missing; an object store has nothing to create."""
        if not self._of_objects:
            with self._told("cannot be created", _WRITABLE):
                self.filesystem.create_dir(self.path, recursive=True)
        return self

    def files(self) -> list[fs.FileInfo]:
        """Every file below the folder, sorted by path; none where there is no folder."""
        with self._told("cannot be listed"):
            selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
            found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(found, key=lambda info: str(info.path))

    def folders(self) -> list[str]:
        """Names of the folders directly below, sorted."""
        with self._told("cannot be listed"):
            found = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def read(self, name: str) -> bytes | None:
        """The content of the file *name*, null where there is none."""
        with self._told(f"{name} cannot be read"):
            try:
                with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None
            except OSError:
                # S3's client looks and then reads; of an object that is deleted in between it says "internal failure".
                if (self / name).exists():
                    raise
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write the file *name* so that a reader sees all of it or none."""
        self.make()
        target, beside = f"{self.path}/{name}", f"{self.path}/.{name}.part"
        with self._told(f"{name} cannot be written", _WRITABLE):
            # An object store's "move" would be a second copy of what already shows whole or not at all.
            with self.filesystem.open_output_stream(target if self._of_objects else beside) as stream:
                stream.write(content)
            if not self._of_objects:
                self.filesystem.move(beside, target)

    def prune(self) -> None:
        """Delete the folder and those below it as far as they are empty; on an object store, if there is no object.

        What somebody writes to an object store while this looks and deletes, some milliseconds, goes with it.
        """
        if not is_local(self.address):
            if not self.files():
                self.delete()
            return
        for folder, _, _ in os.walk(self.path, topdown=False):
            with contextlib.suppress(OSError):  # Not empty: somebody wrote into it just now.
                os.rmdir(folder)

    def delete(self) -> None:
        """Delete the folder and all below it; nothing happens where there is none."""
        if self.exists():
            with self._told("cannot be deleted", _WRITABLE), contextlib.suppress(FileNotFoundError):
                self.filesystem.delete_dir(self.path)

    def delete_file(self, name: str) -> None:
        """Delete the file *name*; nothing happens where there is none."""
        self._drop(f"{self.path}/{name}")

    def delete_files(self, paths: Iterable[str]) -> None:
        """Delete the files at *paths*, as :meth:`files` gives them, and no others; those that are gone don't matter."""
        # Several at once, since S3 takes three requests for each: is it there, delete, keep the folder.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._drop, paths))

    def _drop(self, path: str) -> None:
        with self._told("a file cannot be deleted", _WRITABLE), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(path)

    def _place(self) -> tuple[fs.FileSystem, str]:
        if is_local(self.address):
            return _LOCAL, absolute(self.address)
        root, path = re.sub(r"^s3a:", "s3:", self.address), ""
        if match := re.match(r"([^/]+//[^/]*)(/.*)", root):
            root, path = match.groups()
        if root.startswith("s3:") and "@" in root:
            # Without the address, since it holds the key.
            raise StoreError("a key doesn't belong in an address", cure="put it into AWS_ACCESS_KEY_ID")
        with self._told("cannot be opened"):
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            files, base = _filesystem(root, endpoint)
        return files, base.rstrip("/") + path

    @property
    def _of_objects(self) -> bool:
        return self.filesystem.type_name in _OBJECT_STORES

    @contextlib.contextmanager
    def _told(self, what: str, cure: str = "") -> Iterator[None]:
        """Say an error of the file system in one line; *cure* is that of what isn't told by the error."""
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            said = reason(error)
            known = next((text for pattern, text in _CURES if re.search(pattern, said)), cure)
            raise StoreError(f"{what}: {said}", where=self.address, cure=known) from error


def reason(error: Exception) -> str:
    """What the operating system or the store said, in its own words and on one line."""
    words = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r" \(Request ID: [^)]*\)", "", words)
