"""Vectors as they are kept: unit length, in half precision; and their cosines, exact for what is kept.

Half precision turns a vector by less than 0.0005, so a cosine changes by less than 0.001 (some 0.00002 as a rule), and
halves what is stored and moved.
"""

from __future__ import annotations

import base64
import binascii

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Matrix = npt.NDArray[np.float32]
"""Unit vectors, a row each."""

Floats = npt.NDArray[np.float64]

_DECIMALS = 12
"""A cosine is rounded here: its last bits depend on the machine."""


class NoVectorError(ValueError):
    """A reply that is no vector to compare by; `reason` says in a word why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def of_reply(reply: str) -> bytes:
    """The vector in a *reply* (base64 of 32-bit floats) as it is kept; raises :class:`NoVectorError`."""
    try:
        content = base64.b64decode(reply, validate=True)
        values = np.frombuffer(content, dtype="<f4")
    except (binascii.Error, ValueError):
        raise NoVectorError("no_vector", "not base64 of 32-bit floats") from None
    return kept(values[None, :].astype(np.float64))[0]


def kept(values: Floats) -> list[bytes]:
    """Vectors, a row each, as they are kept; raises :class:`NoVectorError` for one without a direction."""
    if not np.isfinite(values).all():
        raise NoVectorError("not_finite", "a number of the vector is infinite or none")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not values.shape[1] or (lengths == 0).any():
        raise NoVectorError("zero_vector", "the vector has no direction")
    return [row.tobytes() for row in (values / lengths).astype("<f2")]


def halves(vectors: pa.Array) -> npt.NDArray[np.float16]:
    """Kept vectors, all of one dimension, as they lie there: a row each, without a copy."""
    if not len(vectors):
        return np.zeros((0, 0), dtype="<f2")
    width = len(vectors[0].as_py())
    held = vectors.combine_chunks() if isinstance(vectors, pa.ChunkedArray) else vectors
    content = np.frombuffer(held.buffers()[2], dtype=np.uint8)
    start = np.frombuffer(held.buffers()[1], dtype=np.int32)[held.offset]
    found: npt.NDArray[np.float16] = content[start : start + len(held) * width].view("<f2").reshape(len(held), -1)
    return found


def matrix(vectors: pa.Array) -> Matrix:
    """Kept vectors, all of one dimension, as unit vectors in single precision."""
    rows = halves(vectors).astype(np.float32)
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows


def cosines(one: Matrix, other: Matrix) -> Floats:
    """The cosine of each row of *one* to the same row of *other*, to 12 decimals."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    found: Floats = np.minimum(np.round((a * b).sum(axis=1) / lengths, _DECIMALS), 1.0)
    return found
