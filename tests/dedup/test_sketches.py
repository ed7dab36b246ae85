"""Sketches: datasketch's own byte for byte, merged in any order, and as near to exact counts as they say."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasketch import HyperLogLogPlusPlus, LeanMinHash, MinHash
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from personalake.corpus.files import CorpusFile
from personalake.corpus.ingest import content_hash
from personalake.dedup import contained, sketches
from personalake.dedup.contained import Share, in_other, known
from personalake.dedup.coverage import COUNT_ERROR, Counted, count, coverage
from personalake.dedup.registers import (
    PERMUTATIONS,
    PRECISION,
    Hashes,
    Registers,
    empty_registers,
    minima,
    packed_minima,
    packed_registers,
    parted,
    places_and_ranks,
    raise_registers,
)
from personalake.dedup.sketches import HOSTS, PAGE_NGRAMS, PAGES, PERSONA_NGRAMS, PERSONAS, SOURCE
from personalake.dedup.tokens import token_list, token_runs
from personalake.errors import StoreError
from personalake.planning.overlap import new_crawl, sample
from personalake.settings import CorpusSettings
from tests.bench.personas import personas

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=60)

SETTINGS = CorpusSettings.model_validate({"quality": {"letters": None}})
"""Half of what these pages say are digits."""


@functools.cache
def drawn(number: int, seed: int) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64 - 1, number, dtype=np.uint64)


def as_hashes(values: list[int]) -> Hashes:
    return np.array(values, dtype=np.uint64)


@given(HASHES)
def test_a_hyperloglog_is_datasketchs_own_byte_for_byte(values: list[int]) -> None:
    theirs = HyperLogLogPlusPlus(PRECISION, hashfunc=int)
    for value in values:
        theirs.update(value)
    buffer = bytearray(theirs.bytesize())
    theirs.serialize(buffer)
    ours = empty_registers()
    raise_registers(ours, as_hashes(values))
    assert packed_registers(ours) == bytes(buffer)
    assert HyperLogLogPlusPlus.deserialize(packed_registers(ours)) == theirs


@given(HASHES.filter(bool))
def test_a_minhash_is_datasketchs_own_byte_for_byte(values: list[int]) -> None:
    theirs = MinHash(PERMUTATIONS, hashfunc=int, scheme="affine64")
    theirs.update_batch(values)
    lean = LeanMinHash(theirs)
    buffer = bytearray(lean.bytesize("<"))
    lean.serialize(buffer, "<")
    ours = packed_minima(minima(as_hashes(values)))
    assert ours == bytes(buffer)
    assert LeanMinHash.deserialize(ours, "<") == lean


def test_several_hyperloglogs_that_share_what_they_count_are_each_datasketchs() -> None:
    values, whole = drawn(5000, 1), empty_registers(4)
    raise_registers(whole, values)
    places, _ = places_and_ranks(values, whole)
    assert np.array_equal(places >> PRECISION, values >> np.uint64(62))
    assert all(np.count_nonzero(part) > 1000 for part in parted(whole))
    assert count(whole) == pytest.approx(5000, rel=4 * COUNT_ERROR)


@given(st.lists(HASHES, min_size=1, max_size=4))
def test_what_is_merged_is_what_the_whole_would_have_made(parts: list[list[int]]) -> None:
    whole = sketches.Sketches()
    everything = as_hashes([value for part in parts for value in part])
    whole.count(PAGES, everything, len(everything))
    whole.resemble(f"{SOURCE}a", everything, len(everything))
    partial = []
    for part in parts:
        one = sketches.Sketches()
        one.count(PAGES, as_hashes(part), len(part))
        one.resemble(f"{SOURCE}a", as_hashes(part), len(part))
        partial.append(one.batch())
    for order in (partial, partial[::-1]):
        (merged,) = sketches.merger(iter(order))
        assert merged.equals(whole.batch())


def test_a_sketch_of_other_parameters_is_refused_with_what_to_do() -> None:
    batch = sketches.Sketches()
    batch.count(HOSTS, drawn(3, 1), 3)
    row = batch.batch().to_pylist()[0] | {"family": "hyperloglog++ p=14 of xxh64 of the host"}
    with pytest.raises(StoreError, match=r"'hosts' was made as 'hyperloglog\+\+ p=14 .* version that made it, or"):
        list(sketches.merger(iter([pa.RecordBatch.from_pylist([row], schema=batch.batch().schema)])))


@functools.cache
def fresh_registers(number: int, seed: int, parts: int = 16) -> Registers:
    registers = empty_registers(parts)
    raise_registers(registers, drawn(number, seed))
    return registers


@pytest.mark.parametrize("stored", [1_000, 100_000, 1_500_000])
@pytest.mark.parametrize("number", [400, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_the_share_of_a_batch_that_was_counted_is_within_its_interval_whatever_the_sizes(
    stored: int, number: int, share: float
) -> None:
    store = drawn(stored, stored)
    registers, inside, errors = fresh_registers(stored, stored), 0, []
    tries = 20
    for seed in range(tries):
        old = min(stored, round(share * number))
        picked = np.random.default_rng(seed).choice(stored, old, replace=False)
        batch = np.concatenate([store[picked], drawn(number - old, 10_000 + seed)])
        found = known([contained.tested(batch, registers)], whole=True)
        inside += found.low - 1e-9 <= old / number <= found.high + 1e-9
        errors.append(found.value - old / number)
    weight = contained.tested(drawn(number, 5), registers).weight
    # Of 20 intervals of 95 %, fewer than 16 hold the truth once in 1,400.
    assert inside >= 16
    assert abs(np.mean(errors)) < 4 / np.sqrt(weight * tries) + 1e-3
    assert np.std(errors) < 2 / np.sqrt(weight)


def test_a_batch_too_small_for_its_store_is_said_to_tell_too_little() -> None:
    registers = fresh_registers(3_000_000, 1, parts=1)
    found = known([contained.tested(drawn(100, 2), registers)], whole=True)
    assert not found.tells
    assert str(found).startswith("too little to tell (0.0 % to ")
    none = known([contained.tested(drawn(20_000, 2), registers)], whole=True)
    assert str(none).startswith("too little overlap to tell (below ")
    assert none.high < 0.15


def test_files_that_differ_make_a_sample_of_them_say_less() -> None:
    store, registers = drawn(2_000, 1), fresh_registers(2_000, 1)
    parts = [contained.tested(each, registers) for each in (store[:500], store[500:1000], drawn(500, 2), drawn(500, 3))]
    whole, sampled = known(parts, whole=True), known(parts, whole=False)
    assert whole.value == sampled.value == pytest.approx(0.5, abs=0.01)
    assert whole.high - whole.low < 0.02
    assert sampled.high - sampled.low > 0.4


def test_the_share_of_one_set_in_another_is_within_its_interval() -> None:
    common, inside = drawn(3_000, 1), 0
    for seed in range(20):
        one = minima(np.concatenate([common, drawn(2_000, 100 + seed)]))
        other = minima(np.concatenate([common, drawn(5_000, 200 + seed)]))
        found, back = in_other(one, other), in_other(other, one)
        inside += (found.low <= 3 / 5 <= found.high) + (back.low <= 3 / 8 <= back.high)
    assert inside >= 34
    small = in_other(minima(common[:5]), minima(drawn(100_000, 3)))
    assert not small.tells


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("crawl/2024/a.warc", "crawl/2024"),
        ("crawl/2024/01/a.warc", "crawl/2024"),
        ("crawl/a.warc", "crawl"),
        ("one.jsonl", "one.jsonl"),
        ("s3://bucket/cc/CC-1/x/y.wet.gz?region=eu", "s3://bucket/cc/CC-1"),
        ("elsewhere/x/a.warc", "elsewhere/x"),
        ("crawler/a.warc", "crawler"),
    ],
)
def test_a_source_is_what_was_given_and_the_first_folder_below_it(path: str, source: str) -> None:
    assert sketches.source_of(path, ["crawl/", "./one.jsonl", "s3://bucket/cc/?region=eu"]) == source


def test_copies_have_the_same_print_and_near_copies_mostly() -> None:
    words = [f"w{number}" for number in range(120)]
    same, near = 0, 0
    for seed in range(200):
        page = random.Random(seed).choices(words, k=200)
        other = [*page[:100], "something", "else", *page[104:]]  # 12 of about 205 runs differ: J = 0.92
        runs = token_runs(pa.array([" ".join(page), " ".join(page).upper(), " ".join(other)]), 5)[0]
        prints = sketches.prints(runs)
        same += prints[0] == prints[1]
        near += prints[0] == prints[2]
    assert same == 200
    assert 120 < near < 190  # 0.92 ** 4 = 0.72


def _pages(number: int, seed: int) -> list[str]:
    """Pages of 60 to 160 words from a vocabulary of 2,000."""
    chance = random.Random(seed)
    vocabulary = [f"word{chance.randrange(10**6)}" for _ in range(2_000)]
    return [" ".join(chance.choices(vocabulary, k=chance.randint(60, 160))) for _ in range(number)]


def _rows(texts: Sequence[str], folder: str) -> list[tuple[str, str, str, str]]:
    return [
        (content_hash(text), text, f"https://host{n % 7}.example/{n}", f"{folder}/{n}.jsonl")
        for n, text in enumerate(texts)
    ]


PAGE_COLUMNS = "doc_id string, text string, url string, path string"


def test_growth_is_how_many_there_were_after_each_run_those_before_the_last_ones_included() -> None:
    counted = Counted("personas", 130.0, ((5, 40.0, 30.0), (6, 20.0, 0.0), (7, 25.0, 20.0)))
    assert counted.growth == ((5, 110.0), (6, 110.0), (7, 130.0))
    assert Counted("personas", 0.0, ()).growth == ()


def test_counts_and_overlaps_of_pages_are_as_near_to_exact_ones_as_they_say(spark: SparkSession) -> None:
    texts = _pages(900, 1)
    sources = {"c/a": texts[:500], "c/b": texts[300:700], "c/d": texts[700:]}
    rows = [row for name, own in sources.items() for row in _rows(own, name)]
    frame = spark.createDataFrame(rows, PAGE_COLUMNS)
    found = sketches.page_sketches(frame.repartition(3), ["c"]).selectExpr("*", "1L AS seq")
    told = coverage(found)
    about = {one.subject: one.about for one in told.counted}
    exact = {
        PAGES: len(texts),
        HOSTS: 7,
        PAGE_NGRAMS: len({run for text in texts for run in _runs(text, 5)}),
    }
    for subject, number in exact.items():
        assert about[subject] == pytest.approx(number, rel=3 * COUNT_ERROR), subject
    (pair,) = told.overlaps
    assert (pair.one, pair.other, told.sources) == ("c/a", "c/b", 3)
    assert pair.jaccard == pytest.approx(200 / 700, abs=3 * np.sqrt(2 / 7 * 5 / 7 / PERMUTATIONS))
    assert pair.of_one.low <= 200 / 500 <= pair.of_one.high
    assert pair.of_other.low <= 200 / 400 <= pair.of_other.high


def _runs(text: str, length: int) -> Iterator[tuple[str, ...]]:
    tokens = token_list(text)
    return (tuple(tokens[at : at + length]) for at in range(len(tokens) - length + 1))


def test_counts_of_personas_are_as_near_to_exact_ones_as_they_say(spark: SparkSession) -> None:
    (batch,) = personas(20_000)
    texts = batch.column(1).to_pylist()
    rows = [(hashlib.sha256(text.encode()).hexdigest(), text) for text in texts]
    frame = spark.createDataFrame(rows, "text_hash string, text string").repartition(4)
    told = coverage(sketches.persona_sketches(frame).selectExpr("*", "1L AS seq"))
    about = {one.subject: one.about for one in told.counted}
    exact = {PERSONAS: len(set(texts))}
    for length, name in PERSONA_NGRAMS.items():
        exact[name] = len({run for text in texts for run in _runs(text, length)})
    for subject, number in exact.items():
        assert about[subject] == pytest.approx(number, rel=3 * COUNT_ERROR), subject


def test_growth_by_run_counts_what_earlier_runs_had_not(spark: SparkSession) -> None:
    texts = _pages(600, 2)
    parts = [texts[:300], texts[200:500], texts[:100]]
    frames = [sketches.page_sketches(spark.createDataFrame(_rows(part, "c/x"), PAGE_COLUMNS), ["c"]) for part in parts]
    every = [frame.selectExpr("*", f"{seq + 3}L AS seq") for seq, frame in enumerate(frames)]
    told = coverage(every[0].unionByName(every[1]).unionByName(every[2]))
    pages = next(one for one in told.counted if one.subject == PAGES)
    for (run, about, new), exact in zip(pages.by_run, [(3, 300, 300), (4, 300, 200), (5, 100, 0)], strict=True):
        assert (run, round(about), round(new)) == pytest.approx(exact, abs=2)
    repeated = dict(told.repeated)
    assert repeated[4].low <= 1 / 3 <= repeated[4].high
    assert repeated[5].value == 1


def _files(folder: Path, texts: Sequence[str], number: int) -> list[CorpusFile]:
    found = []
    for file in range(number):
        path = folder / (f"{file}.jsonl" if file else "packed.jsonl.gz")
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts[file::number]).encode()
        path.write_bytes(lines if file else gzip.compress(lines))
        found.append(CorpusFile(str(path), "jsonl", path.stat().st_size, "1"))
    return found


def _near_copy(text: str) -> str:
    words = text.split()
    words[len(words) // 2] = "changed"  # 5 runs of some 105 go, and 5 others come: J = 0.91
    return " ".join(words)


def test_a_new_crawl_is_told_apart_word_for_word_near_and_new_from_the_sketches_alone(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which files a sample has is drawn by their paths.
    monkeypatch.chdir(tmp_path)
    old, new = _pages(1_500, 3), _pages(600, 4)
    stored = spark.createDataFrame(_rows(old, "c/x"), PAGE_COLUMNS)
    sketched = sketches.page_sketches(stored, ["c"])
    crawl = [*old[:300], *map(_near_copy, old[300:500]), *new[:500]]
    files = _files(Path(), random.Random(1).sample(crawl, len(crawl)), 4)
    told = new_crawl(sketched, files, SETTINGS, seed=0)
    assert told is not None
    assert not told.sampled
    assert (told.pages_read, round(told.pages), told.distinct) == (1000, 1000, 1)
    assert told.same.low <= 0.3 <= told.same.high
    assert told.same.value == pytest.approx(0.3, abs=0.01)
    assert told.near.low <= 0.2 <= told.near.high
    assert told.near.value == pytest.approx(0.2, abs=0.05)
    assert 0.5 <= told.new < 0.6
    before = {run for text in old for run in _runs(text, 5)}
    runs = {run for text in crawl for run in _runs(text, 5)}
    assert told.ngrams.value == pytest.approx(len(runs & before) / len(runs), abs=0.02)
    assert any("word for word: about 30." in line or "word for word: about 29." in line for line in told.lines())

    part = new_crawl(sketched, files, SETTINGS, seed=0, most=2 * told.whole_bytes // 3)
    assert part is not None
    assert part.sampled
    assert part.files_read < 4
    assert part.pages == pytest.approx(1000, rel=0.15)
    assert part.same.low <= 0.3 <= part.same.high
    assert "a sample: " in part.lines()[0]


def test_the_files_of_a_sample_are_the_same_again_and_fit_its_bytes() -> None:
    files = [CorpusFile(f"{n}.warc", "warc", 3 << 20, "1") for n in range(100)]
    chosen = sample(files, 7, 16 << 20)
    assert chosen == sample(files[::-1], 7, 16 << 20)
    assert [bytes_ for _, bytes_ in chosen] == [1 << 20] * 16
    assert {file.path for file, _ in chosen} != {file.path for file, _ in sample(files, 8, 16 << 20)}
    assert sample(files[:2], 7, 16 << 20) != []
    assert [bytes_ for _, bytes_ in sample(files[:2], 7, 4 << 20)] == [2 << 20] * 2


def test_a_share_says_no_more_than_is_known() -> None:
    assert str(Share(0.412, 0.39, 0.434)) == "about 41.2 % (39.0 % to 43.4 %)"
    assert str(Share(0.0, 0.0, 0.04)) == "too little overlap to tell (below 4.0 %)"
    assert str(Share(0.3, 0.0, 0.8)) == "too little to tell (0.0 % to 80.0 %)"
    assert str(Share(0.25, 0.25, 0.25)) == "25.0 %"
