"""The bytes of a corpus file in bounded memory, unpacked where they are packed, with what is damaged and where.

Why not a library's iterator: cut anywhere, a WARC file ends without a word in 99 of 100 places under fastwarc 2.0.1,
and the cut record comes out as if it were whole; after one damaged gzip member the rest of the file is given up; and
where a member holds several records they share one offset. Each of these breaks a promise of `rejects`. It costs 0.05
ms a record more, where extraction and language take about 1.5 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from personalake.corpus.packing import Decompressor, Packing, dictionary_of, packing_of

CHUNK = 1 << 14
_SCAN = 1 << 20


@dataclass(frozen=True)
class Damage:
    """Where reading stopped: *reason* is `truncated` or `corrupt`, *member* that of the broken member or frame."""

    reason: str
    detail: str
    member: int


class ByteSource:
    """A window over a file's bytes: look ahead with `ensure`, then `take` or `drop`.

    The packing is told by its first bytes, not by the file's name. Bytes before a damage are all handed out; then
    `ensure` returns False, *damage* says why, and `resume` goes on at the next sound member.
    """

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        """Begin at byte *start* of *file*, which must not be packed if that isn't its beginning."""
        self.buffer = bytearray()
        self.position = start
        self.damage: Damage | None = None
        self._file, self._ended = file, False
        if start:
            file.seek(start)
        self._raw, self._raw_at = file.read(CHUNK), start  # what isn't unpacked yet, and where it lies
        self.packing: Packing | None = None if start else packing_of(self._raw)
        self._dictionary = b""
        if self.packing and (dictionary := dictionary_of(self._raw, file.read)):
            self._dictionary = dictionary
            file.seek(len(self._raw))
        self._decompressor: Decompressor | None = None
        self._member = 0
        self._starts: list[tuple[int, int]] = []

    def ensure(self, n: int) -> bool:
        """Fill the buffer up to *n* bytes; False where the file ends, or is damaged, before."""
        while len(self.buffer) < n and not self._ended:
            if self.packing:
                self.buffer += self._next_unpacked(self.packing)
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
        """File offset of the member in which the next byte lies; 0 for a file that isn't packed."""
        self._forget_members()
        return self._starts[0][1] if self._starts else 0

    def member_start(self, n: int, prefix: bytes) -> int | None:
        """Return where, within the next *n* bytes, a member begins with *prefix*; None where none does."""
        for position, _ in list(self._starts):
            at = position - self.position
            if 0 <= at < n and self.ensure(at + len(prefix)) and self.buffer.startswith(prefix, at):
                return at
        return None

    def resume(self, prefix: bytes) -> bool:
        """Go on after a damage, at the next member that unpacks to *prefix*; False where there is none.

        The search begins behind the first byte of the broken member, since broken data may have swallowed its
        successors.
        """
        damage, self.damage = self.damage, None
        self.drop(len(self.buffer))
        found = self._find_member(damage.member + 1, prefix) if damage else None
        if found is None:
            self._ended = True
            return False
        self._file.seek(found)
        self._raw, self._raw_at, self._decompressor, self._ended = b"", found, None, False
        return True

    def _forget_members(self) -> None:
        """Drop the members that lie wholly behind, so that the first one kept is that of the next byte."""
        while len(self._starts) > 1 and self._starts[1][0] <= self.position:
            self._starts.pop(0)

    def _next_unpacked(self, packing: Packing) -> bytes:
        if self._decompressor is None:
            self._raw = self._raw or self._file.read(CHUNK)
            self._decompressor = self._open_member(packing)
            if self._decompressor is None:
                return b""
        member, raw = self._decompressor, b""
        if member.needs_input:
            raw, self._raw = self._raw or self._file.read(CHUNK), b""
            self._raw_at += len(raw)
            if not raw:
                self._stop("truncated", f"the file ends within a {packing.name} member")
                return b""
        try:
            out = member.decompress(raw, CHUNK)
        except packing.errors as error:
            self._stop("corrupt", f"{packing.name}: {error}")
            return b""
        if member.eof:
            unused = member.unused_data or b""
            self._raw = unused + self._raw
            self._raw_at -= len(unused)
            self._decompressor = None
        return out

    def _open_member(self, packing: Packing) -> Decompressor | None:
        """Start on the next member; null at the end of the file, or where something else stands there."""
        while True:
            padding = len(self._raw) - len(self._raw.lstrip(b"\0"))
            self._raw, self._raw_at = self._raw[padding:], self._raw_at + padding
            if self._raw and len(self._raw) < len(packing.magic[0]):
                self._raw += self._file.read(CHUNK)
            if self._raw or not padding:
                break
            self._raw = self._file.read(CHUNK)
        if not self._raw:
            self._ended = True
            return None
        self._member = self._raw_at
        if not packing.begins(self._raw[: len(packing.magic[0])]):
            name = packing.name
            self._stop("corrupt", f"bytes that are not {name} stand between or behind the {name} members")
            return None
        self._starts.append((self.position + len(self.buffer), self._member))
        return packing.decompressor(self._dictionary)

    def _find_member(self, start: int, prefix: bytes) -> int | None:
        """Return the offset, from *start* on, of the first member that unpacks to *prefix*."""
        packing, at = self.packing, start
        if packing is None:
            return None
        magic = packing.magic[0]
        while True:
            self._file.seek(at)
            window = self._file.read(_SCAN)
            found = window.find(magic)
            while found >= 0:
                self._file.seek(at + found)
                if packing.unpacks_to(self._file.read(packing.probe), prefix, self._dictionary):
                    return at + found
                found = window.find(magic, found + 1)
            if len(window) < len(magic):
                return None
            at += len(window) - len(magic) + 1

    def _stop(self, reason: str, detail: str) -> None:
        self.damage, self._ended = Damage(reason, detail, self._member), True
