from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.dedup.blocks import blocks
from personalake.dedup.like import alike_blocks, alike_texts, cosines_to, jaccard, jaccards, near_vectors
from personalake.dedup.passes import Pass
from personalake.dedup.ragged import ragged
from personalake.dedup.tokens import token_hashes, tokens
from personalake.dedup.vectors import cosines, kept, matrix

WORDS = st.lists(st.sampled_from("a nurse who sings 東京都 garden".split())).map(" ".join)
MOST, SIZE = st.integers(1, 5), st.integers(1, 4)


def brute(text: str, wanted: str) -> float:
    one, other = tokens(text), tokens(wanted)
    return len(one & other) / len(one | other) if one | other else 1.0


def hashed(text: str) -> Any:
    return token_hashes(pa.array([text])).values.to_numpy()


def found(task: Pass, rows: pa.RecordBatch, size: int) -> list[tuple[Any, ...]]:
    """What *task* makes of *rows* in batches of so many."""
    batches: Iterator[Any] = iter([rows.slice(low, size) for low in range(0, len(rows), size)])
    return [tuple(row.values()) for batch in task(batches) for row in batch.to_pylist()]


@given(st.lists(WORDS), WORDS)
def test_the_similarity_is_that_of_the_token_sets(texts: list[str], wanted: str) -> None:
    measured = jaccard(ragged(token_hashes(pa.array(texts, pa.string()))), hashed(wanted))
    assert measured.tolist() == pytest.approx([brute(text, wanted) for text in texts])


@given(st.lists(WORDS, max_size=80), st.integers(0, 60))
def test_any_two_of_a_sample_have_the_similarity_of_their_token_sets(texts: list[str], copies: int) -> None:
    texts = [*texts, *texts[:1] * copies]
    found = jaccards(ragged(token_hashes(pa.array(texts, pa.string()))))
    sets = [tokens(text) for text in texts]
    expected = [[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets]
    assert found.tolist() == [pytest.approx(row, abs=1e-6) for row in expected]


@given(st.lists(WORDS), WORDS, MOST, SIZE)
def test_a_task_tells_of_its_best_texts_with_all_their_columns_however_it_gets_them(
    texts: list[str], wanted: str, most: int, size: int
) -> None:
    ids = [f"{n * 7 % 11:02}{n}" for n in range(len(texts))]
    rows = pa.RecordBatch.from_pydict(
        {"persona_id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string()), "more": [[id_] for id_ in ids]}
    )
    best = sorted((-brute(text, wanted), id_, text, [id_]) for id_, text in zip(ids, texts, strict=True))[:most]
    assert found(alike_texts(hashed(wanted), most), rows, size) == [(-value, *row) for value, *row in best]


@given(st.lists(WORDS, min_size=1), WORDS, MOST, SIZE)
def test_blocks_give_the_same_as_their_texts(texts: list[str], wanted: str, most: int, size: int) -> None:
    ids = pa.array([f"{n * 7 % 11:02}{n}" for n in range(len(texts))])
    sets, numbers = ragged(token_hashes(pa.array(texts))), itertools.count()
    ranks = pa.array(np.zeros(len(texts)))
    each = [slice(low, low + size) for low in range(0, len(texts), size)]
    made = [
        blocks(ids[some], ranks[some], sets.take(np.arange(len(texts))[some]), sets.take(np.arange(len(texts))[some]),
               numbers)
        for some in each
    ]  # fmt: skip
    packed = pa.Table.from_batches(made).select(["rows"]).combine_chunks().to_batches()[0]
    rows = pa.RecordBatch.from_arrays([ids, pa.array(texts)], ["persona_id", "text"])
    by_text = [row[:2] for row in found(alike_texts(hashed(wanted), most), rows, len(texts))]
    assert found(alike_blocks(hashed(wanted), most), packed, 2) == by_text


DIRECTIONS = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), min_size=1)


@given(DIRECTIONS, st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), MOST, SIZE)
def test_a_task_tells_of_its_nearest_vectors_by_their_exact_cosines(
    directions: list[list[int]], wanted: list[int], most: int, size: int
) -> None:
    vectors = pa.array(kept(np.array(directions, dtype=np.float64)), pa.binary())
    ids = [f"{n * 7 % 11:02}{n}" for n in range(len(directions))]
    unit = matrix(pa.array(kept(np.array([wanted], dtype=np.float64))))
    rows = pa.RecordBatch.from_pydict({"persona_id": ids, "vector": vectors})
    values = np.stack([np.frombuffer(one, dtype="<f2") for one in vectors.to_pylist()]).astype(np.float32)
    every = [(value, id_) for value, id_ in zip(cosines(values, unit).tolist(), ids, strict=True)]
    assert found(near_vectors(unit, most), rows, size) == sorted(every, key=lambda row: (-row[0], row[1]))[:most]
    assert found(cosines_to(unit), rows, size) == every


def test_rows_without_a_text_share_nothing_and_no_rows_give_none() -> None:
    rows = pa.RecordBatch.from_pydict({"persona_id": ["1", "2"], "text": pa.array([None, "a nurse"], pa.string())})
    assert found(alike_texts(hashed("a nurse"), 2), rows, 2) == [(1.0, "2", "a nurse"), (0.0, "1", None)]
    assert found(alike_texts(hashed("a nurse"), 2), rows.slice(0, 0), 1) == []
    assert found(near_vectors(np.ones((1, 3), np.float32), 2), pa.RecordBatch.from_pydict(
        {"persona_id": pa.array([], pa.string()), "vector": pa.array([], pa.binary())}), 1) == []  # fmt: skip
