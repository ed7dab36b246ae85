from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.dedup.minhash import HASH_PRIME, Bands, Coefficients, band_keys, choose_bands, signatures
from personalake.dedup.ragged import Ragged, int64_list
from personalake.errors import SettingsError

INT64 = st.integers(-(2**63), 2**63 - 1)


def coefficients(tables: int, seed: int = 0) -> Coefficients:
    drawn = np.random.default_rng(seed)
    return Coefficients(drawn.integers(1, HASH_PRIME, tables), drawn.integers(0, HASH_PRIME - 1, tables))


def hashes(rows: list[list[int]]) -> Ragged:
    return Ragged(np.array([value for row in rows for value in row], np.int64), np.array([len(r) for r in rows], int))


def as_lists(rows: Ragged) -> list[list[int]]:
    found: list[list[int]] = int64_list(rows).to_pylist()
    return found


def by_hand(row: list[int], family: Coefficients) -> list[int]:
    pairs = list(zip(family.a.tolist(), family.b.tolist(), strict=True))
    return [
        min((((1 + value % HASH_PRIME) * a + b) % HASH_PRIME for value in row), default=HASH_PRIME) for a, b in pairs
    ]


@given(st.lists(st.lists(INT64, max_size=12, unique=True), max_size=12))
def test_signatures_are_the_formula_in_exact_integers(rows: list[list[int]]) -> None:
    family = coefficients(7)
    assert signatures(hashes(rows), family).tolist() == [by_hand(row, family) for row in rows]


def test_the_largest_coefficients_and_indices_do_not_overflow() -> None:
    top = HASH_PRIME - 1
    family = Coefficients(np.array([top, top, 1]), np.array([top, 0, top]))
    rows = [[top], [-1], [top - 1, 0], [-(2**63)], [2**63 - 1]]
    assert signatures(hashes(rows), family).tolist() == [by_hand(row, family) for row in rows]


def test_more_rows_than_one_block_keep_their_order() -> None:
    drawn = np.random.default_rng(3)
    rows = [drawn.integers(-(2**63), 2**63 - 1, drawn.integers(0, 9)).tolist() for _ in range(1_300)]
    family = coefficients(5)
    assert signatures(hashes(rows), family).tolist() == [by_hand(row, family) for row in rows]


def test_rows_without_tokens_share_every_key_and_none_with_other_rows() -> None:
    keys = as_lists(band_keys(signatures(hashes([[], [1], []]), coefficients(128)), Bands(12, 10, 0.99)))
    assert keys[0] == keys[2]
    assert not set(keys[0]) & set(keys[1])


@pytest.mark.parametrize(
    ("threshold", "recall", "tables", "expected"),
    [
        (0.9, 0.99, 128, (12, 10)),
        (0.9, 0.9, 128, (9, 14)),
        (0.8, 0.99, 128, (21, 6)),
        (0.5, 0.99, 128, (42, 3)),
        (1.0, 0.99, 128, (1, 128)),
        (0.9, 0.9, 1, (1, 1)),
    ],
)
def test_the_longest_bands_that_reach_the_recall_are_chosen(
    threshold: float, recall: float, tables: int, expected: tuple[int, int]
) -> None:
    bands = choose_bands(threshold, recall, tables)
    assert (bands.b, bands.r) == expected
    assert bands.recall >= recall


def test_the_recall_of_twelve_bands_of_ten_is_stated() -> None:
    assert choose_bands(0.9, 0.99, 128).recall == pytest.approx(1 - (1 - 0.9**10) ** 12)


def test_a_recall_out_of_reach_is_refused_with_what_to_change() -> None:
    with pytest.raises(
        SettingsError, match=r"8 hash tables find 0\.5695 of pairs at 0\.1, not 0\.99 \(raise dedup\.tables"
    ):
        choose_bands(0.1, 0.99, 8)


def test_rows_share_the_keys_of_exactly_the_bands_in_which_they_agree() -> None:
    one = np.arange(12, dtype=np.int32).reshape(1, 12)
    other = one.copy()
    other[0, 4] += 1  # the second of three bands of four
    first, second = as_lists(band_keys(np.concatenate([one, other]), Bands(3, 4, 0.5)))
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_the_same_values_in_another_band_make_another_key() -> None:
    keys = as_lists(band_keys(np.full((1, 6), 7, dtype=np.int32), Bands(3, 2, 0.5)))[0]
    assert len(set(keys)) == 3


def test_rows_of_a_signature_beyond_the_bands_do_not_count() -> None:
    rows = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]], dtype=np.int32)
    first, second = as_lists(band_keys(rows, Bands(2, 2, 0.5)))
    assert first == second


def test_keys_are_those_that_stores_already_hold() -> None:
    rows = np.arange(6, dtype=np.int32).reshape(1, 6)
    assert as_lists(band_keys(rows, Bands(2, 3, 0.5))) == [[-1960081357125299542, -1788429802750443081]]
