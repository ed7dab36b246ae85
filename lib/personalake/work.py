"""The store's work folder, on any `pyarrow.fs` file system: journals, frozen requests, staged rows, the lease."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from personalake.errors import StoreError


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
def _filesystem(root: str) -> tuple[fs.FileSystem, str]:
    if is_local(root):
        return fs.LocalFileSystem(), absolute(root)
    found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(re.sub(r"^s3a:", "s3:", root))
    return found


@dataclass(frozen=True)
class Folder:
    """A folder on any file system; it travels into Spark's tasks as its address alone."""

    address: str

    @property
    def filesystem(self) -> fs.FileSystem:
        """The file system that the folder is on."""
        return _filesystem(self.address)[0]

    @property
    def path(self) -> str:
        """The folder's path on that file system."""
        return _filesystem(self.address)[1]

    @property
    def for_spark(self) -> str:
        """The folder's address as Spark wants it."""
        return spark_address(self.address)

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.address}/{name}")

    def exists(self) -> bool:
        """Whether there is a file or folder at this address."""
        found: bool = self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound
        return found

    def make(self) -> Folder:
        """Create the folder and its parents where they are missing; raises :class:`StoreError`."""
        try:
            self.filesystem.create_dir(self.path, recursive=True)
        except OSError as error:
            raise StoreError(
                f"cannot be created: {reason(error)}", where=self.address, cure="choose a folder that you may write to"
            ) from error
        return self

    def files(self) -> list[fs.FileInfo]:
        """Every file below the folder, sorted by path; none where there is no folder."""
        selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(found, key=lambda info: str(info.path))

    def folders(self) -> list[str]:
        """Names of the folders directly below, sorted."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        return sorted(i.base_name for i in self.filesystem.get_file_info(selector) if i.type == fs.FileType.Directory)

    def read(self, name: str) -> bytes | None:
        """The content of the file *name*, null where there is none."""
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write the file *name* so that a reader sees all of it or none; raises :class:`StoreError`."""
        self.make()
        target, beside = f"{self.path}/{name}", f"{self.path}/.{name}.part"
        try:
            with self.filesystem.open_output_stream(beside) as stream:
                stream.write(content)
            self.filesystem.move(beside, target)
        except OSError as error:
            raise StoreError(
                f"{name} cannot be written: {reason(error)}",
                where=self.address,
                cure="choose a folder that you may write to",
            ) from error

    def prune(self) -> None:
        """Delete the folder and those below it as far as they are empty; on an object store, if there is no object."""
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
            self.filesystem.delete_dir(self.path)

    def delete_file(self, name: str) -> None:
        """Delete the file *name*; nothing happens where there is none."""
        if self.filesystem.get_file_info(f"{self.path}/{name}").type == fs.FileType.File:
            self.filesystem.delete_file(f"{self.path}/{name}")


def reason(error: OSError) -> str:
    """What the operating system said, in its own words."""
    return error.strerror or str(error).splitlines()[0]
