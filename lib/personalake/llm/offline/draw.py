"""Random choices that are a function of a key: the same request draws the same reply on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_SPAN = 1 << 64


class Draw:
    """A source of labelled choices under one key; labels are independent of each other and of their order."""

    __slots__ = ("_key",)

    def __init__(self, *parts: object) -> None:
        joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
        self._key = hashlib.blake2b(joined, digest_size=16).digest()

    def number(self, label: str) -> int:
        """Return an integer in ``[0, 2**64)``."""
        return int.from_bytes(hashlib.blake2b(label.encode(), key=self._key, digest_size=8).digest(), "little")

    def unit(self, label: str) -> float:
        """Return a float in ``[0, 1)``."""
        return self.number(label) / _SPAN

    def pick(self, label: str, choices: Sequence[T]) -> T:
        """Return one of *choices*, which must not be empty."""
        return choices[self.number(label) % len(choices)]

    def between(self, label: str, low: int, high: int) -> int:
        """Return an integer in ``[low, high]``."""
        return low + self.number(label) % (high - low + 1)

    def order(self, label: str, choices: Sequence[T]) -> list[T]:
        """Return *choices* in an order of this key's own."""
        seed = self.number(label)
        ranked = sorted([(_mixed(seed + index), index) for index in range(len(choices))])
        return [choices[index] for _, index in ranked]

    def hex(self, label: str, size: int = 12) -> str:
        """Return *size* bytes in hexadecimal."""
        return hashlib.blake2b(label.encode(), key=self._key, digest_size=size).hexdigest()


def _mixed(value: int) -> int:
    """Return the finaliser of splitmix64: neighbouring values end far apart."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _SPAN - 1
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _SPAN - 1
    return value ^ value >> 31
