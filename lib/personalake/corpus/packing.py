"""How a corpus file is packed (gzip, Zstandard, LZ4), told by its first bytes; one kind of decompressor for all."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:  # the same module, for older versions of Python
    from backports import zstd


class Decompressor(Protocol):
    """A member (of gzip) or frame (of the others): the interface that `bz2`, `lzma` and `zstd` of Python share."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether more of it can only come from more bytes."""

    @property
    def unused_data(self) -> bytes | None:
        """What was given beyond its end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most *max_length* bytes of what it holds."""


@dataclass(frozen=True)
class Packing:
    """A way in which files are packed.

    Every member begins with one of *magic*. *errors* is what broken data raises; to tell what a member unpacks to takes
    up to *probe* bytes of it, the largest block of the format.
    """

    name: str
    magic: tuple[bytes, ...]
    decompressor: Callable[[bytes], Decompressor]
    errors: tuple[type[Exception], ...]
    probe: int

    def begins(self, data: bytes) -> bool:
        """Whether a member can begin with *data*, which may be shorter than the magic number."""
        return any(data.startswith(magic[: len(data)]) for magic in self.magic)

    def unpacks_to(self, data: bytes, prefix: bytes, dictionary: bytes) -> bool:
        """Whether a member that begins with *data* begins with *prefix* when unpacked."""
        try:
            return self.decompressor(dictionary).decompress(data, len(prefix)) == prefix
        except self.errors:
            return False


class _Gzip:
    """`zlib` with the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._tail, self._full = b"", False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not (self._tail or self._full or self.eof)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """As `zlib` does, but where it raises, what unpacks before the error comes first, and the error next time."""
        given = self._tail + data if self._tail else data
        before = self._inner.copy()
        try:
            out = self._inner.decompress(given, max_length)
        except zlib.error:
            out, self._inner, given = _salvaged(before, given)
            if not out:
                raise
            self._tail, self._full = given, True
            return out
        self._tail, self._full = self._inner.unconsumed_tail, len(out) == max_length
        return out


def _salvaged(inflater: zlib._Decompress, raw: bytes) -> tuple[bytes, zlib._Decompress, bytes]:
    """What unpacks of *raw* before the error, since `zlib` throws away the output of a call that fails."""
    out = bytearray()
    for step in (4096, 64, 1):
        while True:
            before = inflater.copy()
            try:
                piece = inflater.decompress(raw, step)
            except zlib.error:
                inflater = before
                break
            if not piece:
                return bytes(out), inflater, raw
            out += piece
            raw = inflater.unconsumed_tail
    return bytes(out), inflater, raw


def _zstandard(dictionary: bytes) -> Decompressor:
    found: Decompressor = zstd.ZstdDecompressor(zstd.ZstdDict(dictionary) if dictionary else None)
    return found


GZIP = Packing("gzip", (b"\x1f\x8b\x08",), lambda _: _Gzip(), (zlib.error,), 4096)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A skippable frame is sixteen magic numbers; of WARC's, the dictionary.
_SKIPPABLE = tuple(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))
ZSTD = Packing("zstd", (_ZSTD_MAGIC, *_SKIPPABLE), _zstandard, (zstd.ZstdError,), 1 << 17)
LZ4 = Packing("lz4", (b"\x04\x22\x4d\x18",), lambda _: lz4.frame.LZ4FrameDecompressor(), (RuntimeError,), 1 << 22)
_DICTIONARY = b"\x5d\x2a\x4d\x18"
_MOST_DICTIONARY = 1 << 26


def packing_of(head: bytes) -> Packing | None:
    """The packing of a file that begins with *head*; null for one that isn't packed."""
    return next((packing for packing in (GZIP, ZSTD, LZ4) if head and packing.begins(head[:4])), None)


def dictionary_of(head: bytes, read: Callable[[int], bytes]) -> bytes:
    """The dictionary that a `.warc.zst` file begins with; nothing where it begins with none.

    *head* is what was read of it, *read* reads on. Source: iipc.github.io/warc-specifications, WARC with Zstandard.
    """
    if not head.startswith(_DICTIONARY) or len(head) < len(_DICTIONARY) + 4:
        return b""
    size = struct.unpack_from("<I", head, len(_DICTIONARY))[0]
    content = head[len(_DICTIONARY) + 4 :][:size]
    if size > _MOST_DICTIONARY:
        return b""
    content += read(size - len(content))
    if not content.startswith(_ZSTD_MAGIC):
        return content
    try:
        return bytes(zstd.ZstdDecompressor().decompress(content, _MOST_DICTIONARY))
    except zstd.ZstdError:
        return b""
