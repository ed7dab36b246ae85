"""Passes that need no Spark: what they tell, and how much memory they hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from personalake.dedup.blocks import addresses, block_numbers, pack
from personalake.dedup.passes import pairer, parcels, verifier
from personalake.dedup.ragged import Ragged, int64_list

SETS, TOKENS, OWN = 300, 600, 10


def near_copies() -> pa.RecordBatch:
    """As many sets that all resemble each other: rows as blocks hold them, with their addresses."""
    sets = np.array([[*range(TOKENS), *range(10_000 + OWN * row, 10_000 + OWN * (row + 1))] for row in range(SETS)])
    tokens = int64_list(Ragged(sets.ravel(), np.full(SETS, TOKENS + OWN)))
    ids = pa.array([f"{row:064}" for row in range(SETS)])
    columns = [ids, pa.array(np.zeros(SETS)), tokens, pa.array(addresses(3, SETS))]
    return pa.RecordBatch.from_arrays(columns, ["id", "rank", "tokens", "address"])


def test_pairs_of_large_sets_are_verified_without_a_copy_of_their_tokens_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("personalake.dedup.passes._PAIRS", 1_000)
    rows = near_copies()
    left, right = np.triu_indices(SETS, 1)
    pairs = np.stack([rows.column("address").to_numpy()[side] for side in (left, right)])
    given = list(parcels([("rows", 0, pack(rows)), ("pairs", 0, pairs.tobytes())]))
    before, found, most, memory = pa.total_allocated_bytes(), 0, 0, 0
    for batch in verifier(0.9)(iter(given)):
        assert batch.column("similarity").unique().to_pylist() == [TOKENS / (TOKENS + 2 * OWN)]
        memory = max(memory, pa.total_allocated_bytes() - before)
        found, most = found + len(batch), max(most, len(batch))
    assert found == len(left)
    assert most == 1_000
    # With the tokens of both rows of each pair it is 300 times that of the rows.
    assert memory < 4 * rows.nbytes


def test_no_parcel_is_larger_than_a_record_of_spark_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(100, dtype=np.uint64)
    address = addresses(next(block_numbers(3, 0)), 100).view(np.uint64)
    entries = np.stack([np.full(100, 7 << 50, dtype=np.uint64), rows, address])
    given = list(parcels([("entries", 0, entries.tobytes())]))
    once = pa.Table.from_batches(pairer(2, 3, 500)(iter(given)))
    monkeypatch.setattr("personalake.dedup.passes._PARCEL", 800)
    batches = list(pairer(2, 3, 500)(iter(given)))
    cut = pa.Table.from_batches(batches)
    assert len(batches) > 20

    def pairs(found: pa.Table) -> tuple[set[tuple[int, ...]], int]:
        columns = zip(*(found.column(name).to_pylist() for name in found.column_names), strict=True)
        made = [np.frombuffer(held, np.int64).reshape(2, -1).T for kind, _, held in columns if kind == "pairs"]
        return set(map(tuple, np.concatenate(made).tolist())), max(each.nbytes for each in made)

    (whole, _), (parted, largest) = pairs(once), pairs(cut)
    assert len(whole) == 100 * 99 // 2
    assert parted == whole
    assert largest <= 800
