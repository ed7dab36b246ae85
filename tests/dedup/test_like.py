from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from personalake.dedup.like import jaccard, jaccards, similarities
from personalake.dedup.ragged import ragged
from personalake.dedup.tokens import token_hashes, tokens

WORDS = st.lists(st.sampled_from("a nurse who sings 東京都 garden".split())).map(" ".join)


@given(st.lists(WORDS), WORDS)
def test_the_similarity_is_that_of_the_token_sets(texts: list[str], wanted: str) -> None:
    found = jaccard(
        ragged(token_hashes(pa.array(texts, pa.string()))), token_hashes(pa.array([wanted])).values.to_numpy()
    )
    expected = [
        len(tokens(text) & tokens(wanted)) / len(tokens(text) | tokens(wanted))
        if tokens(text) | tokens(wanted)
        else 1.0
        for text in texts
    ]
    assert found.tolist() == pytest.approx(expected)


@given(st.lists(WORDS, max_size=80), st.integers(0, 60))
def test_any_two_of_a_sample_have_the_similarity_of_their_token_sets(texts: list[str], copies: int) -> None:
    texts = [*texts, *texts[:1] * copies]
    found = jaccards(ragged(token_hashes(pa.array(texts, pa.string()))))
    sets = [tokens(text) for text in texts]
    expected = [[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets]
    assert found.tolist() == [pytest.approx(row, abs=1e-6) for row in expected]


def test_rows_get_their_similarity_whatever_their_key(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1, "a nurse"), (2, "A nurse, who sings"), (3, None)], "key int, text string")
    found = {row["key"]: row["similarity"] for row in similarities(rows, "key", "nurse who sings").collect()}
    assert found == {1: 0.25, 2: 0.75, 3: 0.0}
