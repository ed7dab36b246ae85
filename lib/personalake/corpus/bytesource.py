"""The bytes of a corpus file in bounded memory, unpacked where they are gzip, with what is damaged and where.

Why not a library's iterator: cut anywhere, a WARC file ends without a word in 99 of 100 places under fastwarc 2.0.1,
and the cut record comes out as if it were whole; after one damaged gzip member the rest of the file is given up; and
where a member holds several records they share one offset. Each of these breaks a promise of `rejects`. It costs 0.05
ms a record more, where extraction and language take about 1.5 ms.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 1 << 14
GZIP = b"\x1f\x8b\x08"
_SCAN = 1 << 20
_PROBE = 4096


@dataclass(frozen=True)
class Damage:
    """Where reading stopped: *reason* is `truncated` or `corrupt`, *member* the offset of the broken gzip member."""

    reason: str
    detail: str
    member: int


class ByteSource:
    """A window over a file's bytes: look ahead with `ensure`, then `take` or `drop`.

    gzip is told by its first bytes, not by the file's name. Bytes before a damage are all handed out; then `ensure`
    returns False, *damage* says why, and `resume` goes on at the next sound gzip member.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.buffer = bytearray()
        self.position = 0
        self.damage: Damage | None = None
        self._file, self._raw_at, self._ended = file, 0, False
        self._raw = file.read(CHUNK)
        self.gzip = bool(self._raw) and GZIP[:2].startswith(self._raw[:2])
        self._inflater: zlib._Decompress | None = None
        self._member = 0
        self._starts: list[tuple[int, int]] = []

    def ensure(self, n: int) -> bool:
        """Fill the buffer up to *n* bytes; False where the file ends, or is damaged, before."""
        while len(self.buffer) < n and not self._ended:
            if self.gzip:
                self.buffer += self._next_unpacked()
            else:
                self.buffer += self._raw
                self._raw = self._file.read(CHUNK)
                self._ended = not self._raw
        return len(self.buffer) >= n

    def take(self, n: int) -> bytes:
        """Return the next *n* bytes (which `ensure` has seen) and move past them."""
        taken = bytes(self.buffer[:n])
        self.drop(n)
        return taken

    def drop(self, n: int) -> None:
        """Move past the next *n* bytes, which `ensure` has seen."""
        del self.buffer[:n]
        self.position += n
        self._forget_members()

    def unread(self, data: bytes) -> None:
        """Put *data*, which was taken last, back in front."""
        self.buffer[:0] = data
        self.position -= len(data)

    @property
    def member(self) -> int:
        """File offset of the gzip member in which the next byte lies; 0 for a file that isn't gzip."""
        self._forget_members()
        return self._starts[0][1] if self._starts else 0

    def member_start(self, n: int, prefix: bytes) -> int | None:
        """Return where, within the next *n* bytes, a gzip member begins with *prefix*; None where none does."""
        for position, _ in list(self._starts):
            at = position - self.position
            if 0 <= at < n and self.ensure(at + len(prefix)) and self.buffer.startswith(prefix, at):
                return at
        return None

    def resume(self, prefix: bytes) -> bool:
        """Go on after a damage, at the next gzip member that unpacks to *prefix*; False where there is none.

        The search begins behind the first byte of the broken member, since broken data may have swallowed its
        successors.
        """
        damage, self.damage = self.damage, None
        self.drop(len(self.buffer))
        found = _find_member(self._file, damage.member + 1, prefix) if damage else None
        if found is None:
            self._ended = True
            return False
        self._file.seek(found)
        self._raw, self._raw_at, self._inflater, self._ended = b"", found, None, False
        return True

    def _forget_members(self) -> None:
        """Drop the members that lie wholly behind, so that the first one kept is that of the next byte."""
        while len(self._starts) > 1 and self._starts[1][0] <= self.position:
            self._starts.pop(0)

    def _next_unpacked(self) -> bytes:
        if not self._raw:
            self._raw = self._file.read(CHUNK)
        if self._inflater is None and not self._open_member():
            return b""
        inflater = self._inflater
        assert inflater is not None
        before = inflater.copy()
        try:
            out = inflater.decompress(self._raw, CHUNK)
        except zlib.error as error:
            self._stop("corrupt", f"gzip: {error}")
            return _salvaged(before, self._raw)
        if not out and not self._raw and not inflater.eof:
            self._stop("truncated", "the file ends within a gzip member")
        rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        self._raw_at += len(self._raw) - len(rest)
        self._raw = rest
        if inflater.eof:
            self._inflater = None
        return out

    def _open_member(self) -> bool:
        """Start on the next gzip member; False at the end of the file, or where something else stands there."""
        while True:
            padding = len(self._raw) - len(self._raw.lstrip(b"\0"))
            self._raw, self._raw_at = self._raw[padding:], self._raw_at + padding
            if self._raw and len(self._raw) < len(GZIP):
                self._raw += self._file.read(CHUNK)
            if self._raw or not padding:
                break
            self._raw = self._file.read(CHUNK)
        if not self._raw:
            self._ended = True
            return False
        self._member = self._raw_at
        if not self._raw.startswith(GZIP[: len(self._raw)]):
            self._stop("corrupt", "bytes that are not gzip stand between or behind the gzip members")
            return False
        self._inflater = zlib.decompressobj(wbits=31)
        self._starts.append((self.position + len(self.buffer), self._member))
        return True

    def _stop(self, reason: str, detail: str) -> None:
        self.damage, self._ended = Damage(reason, detail, self._member), True


def _salvaged(inflater: zlib._Decompress, raw: bytes) -> bytes:
    """Return what unpacks of *raw* before the error: zlib itself throws away the output of a call that fails."""
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
                return bytes(out)
            out += piece
            raw = inflater.unconsumed_tail
    return bytes(out)


def _find_member(file: BinaryIO, start: int, prefix: bytes) -> int | None:
    """Return the offset, from *start* on, of the first gzip member that unpacks to *prefix*."""
    at = start
    while True:
        file.seek(at)
        window = file.read(_SCAN)
        found = window.find(GZIP)
        while found >= 0:
            file.seek(at + found)
            if _unpacks_to(file.read(_PROBE), prefix):
                return at + found
            found = window.find(GZIP, found + 1)
        if len(window) < len(GZIP):
            return None
        at += len(window) - len(GZIP) + 1


def _unpacks_to(raw: bytes, prefix: bytes) -> bool:
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, len(prefix)) == prefix
    except zlib.error:
        return False
