from __future__ import annotations

from fractions import Fraction

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from personalake.dedup.verify import rational, repeats, similarity, sizes


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.9, Fraction(9, 10)), (0.85, Fraction(17, 20)), (1.0, Fraction(1)), (1e-05, Fraction(1, 100_000))],
)
def test_a_threshold_is_the_fraction_that_its_decimals_say(threshold: float, expected: Fraction) -> None:
    assert rational(threshold) == expected


def test_a_threshold_with_many_digits_stays_small_enough_for_64_bits() -> None:
    assert rational(0.12345678901234567).denominator <= 1_000_000


def test_every_pair_of_sizes_is_decided_as_exact_fractions_are(spark: SparkSession) -> None:
    pairs = [(common, union) for union in range(41) for common in range(union + 1)]
    frame = spark.createDataFrame(pairs, "common long, size long")
    for threshold, limit in ((0.9, Fraction(9, 10)), (0.7, Fraction(7, 10)), (1.0, Fraction(1))):
        found = frame.where(repeats(F.col("common"), F.col("size"), threshold)).collect()
        expected = {(c, u) for c, u in pairs if not u or Fraction(c, u) >= limit}
        assert {tuple(row) for row in found} == expected


def test_sizes_and_similarity_of_token_arrays_are_exact(spark: SparkSession) -> None:
    rows = [([1, 2, 3], [2, 3, 4]), ([-5, 7], [-5, 7]), ([], []), ([1], []), ([-(2**63), 2**63 - 1], [2**63 - 1])]
    frame = spark.createDataFrame(rows, "a array<long>, b array<long>")
    intersection, union = sizes(F.col("a"), F.col("b"))
    found = frame.select(intersection, union, similarity(intersection, union)).collect()
    assert [tuple(row) for row in found] == [(2, 4, 0.5), (2, 2, 1.0), (0, 0, 1.0), (0, 1, 0.0), (1, 2, 0.5)]
