from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from personalake.dedup.vectors import NoVectorError, cosines, kept, matrix, of_reply


def _reply(values: list[float]) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")


@given(arrays(np.float64, (3, 40), elements=st.floats(-1, 1)).filter(lambda m: (abs(m).max(axis=1) > 1e-3).all()))
def test_a_vector_is_kept_in_its_direction_and_a_cosine_within_a_thousandth(values: np.ndarray) -> None:
    rows = matrix(pa.array(kept(values), pa.binary()))
    exact = values / np.linalg.norm(values, axis=1, keepdims=True)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.abs(cosines(rows[:1], rows[1:2]) - (exact[0] * exact[1]).sum()).max() < 1e-3


def test_a_slice_of_a_column_and_its_chunks_are_read_where_they_lie() -> None:
    rows = np.random.default_rng(1).standard_normal((9, 8))
    column = pa.array(kept(rows), pa.binary())
    whole = matrix(column)
    assert np.array_equal(matrix(column.slice(4, 3)), whole[4:7])
    assert np.array_equal(matrix(pa.chunked_array([column.slice(0, 2), column.slice(7)])), whole[[0, 1, 7, 8]])
    assert matrix(column.slice(0, 0)).shape == (0, 0)


def test_equal_vectors_have_a_cosine_of_exactly_one() -> None:
    rows = matrix(pa.array(kept(np.random.default_rng(2).standard_normal((50, 384))), pa.binary()))
    assert (cosines(rows, rows) == 1.0).all()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (_reply([0.0, 0.0]), "zero_vector"),
        (_reply([]), "zero_vector"),
        (_reply([1.0, float("nan")]), "not_finite"),
        (_reply([float("inf"), 1.0]), "not_finite"),
        ("no base64!", "no_vector"),
        (base64.b64encode(b"12345").decode(), "no_vector"),
    ],
)
def test_a_reply_that_is_no_direction_says_why(reply: str, reason: str) -> None:
    with pytest.raises(NoVectorError) as caught:
        of_reply(reply)
    assert caught.value.reason == reason


def test_a_vector_of_very_small_or_large_numbers_keeps_its_direction() -> None:
    for scale in (1e-30, 1e30):
        row = matrix(pa.array([of_reply(_reply([3.0 * scale, 4.0 * scale]))], pa.binary()))
        assert np.allclose(row, [[0.6, 0.8]], atol=1e-3)
