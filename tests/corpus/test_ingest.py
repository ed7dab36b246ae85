"""Files become rows that add up, and rows become documents, sightings, refusals and files seen."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.testing import assertDataFrameEqual, assertSchemaEqual

from personalake.corpus.files import CorpusFile, list_files
from personalake.corpus.ingest import (
    LAYOUT,
    content_hash,
    files_seen,
    forgotten,
    kept,
    page_reader,
    rejects,
    repeats,
    sightings,
    versions,
    with_versions,
)
from personalake.corpus.ingest import reading as ingest_reading
from personalake.corpus.lists import Lists
from personalake.corpus.rows import Reading, rows_of
from personalake.corpus.splits import Split
from personalake.errors import InputError
from personalake.schemas import DOCUMENTS, FILES_SEEN, REJECTS, SIGHTINGS, Table
from personalake.settings import CorpusSettings
from personalake.work import Folder

SETTINGS = CorpusSettings.model_validate({"min_chars": 20, "max_chars": 200, "quality": {"repeated_lines": None}})
ONE = "The lock keeper walks along the towpath every morning."
TWO = "The baker at the corner opens her shop long before the sun is up."


def write_lines(path: Path, *lines: dict[str, Any] | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(text), encoding="utf-8", newline="")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two files with copies within and across, three refusals, and a file of no known format; paths are relative."""
    write_lines(
        tmp_path / "in/b.jsonl",
        {"text": ONE, "url": "https://example.org/b0", "licence": "CC0-1.0"},
        {"text": TWO, "url": "https://example.org/b1", "language": "en-GB"},
        "no json",
        {"text": f" {ONE}\n", "url": "https://example.org/b3"},
    )
    write_lines(
        tmp_path / "in/a.jsonl",
        {"text": TWO.replace(" ", "\n"), "url": "https://example.org/a0"},
        {"text": "short"},
        {"text": "The 水位 is written down in a book that no one but her has ever read to its end."},
    )
    (tmp_path / "in/notes.pdf").write_text("to do")
    monkeypatch.chdir(tmp_path)
    return ["in"]


def kernel(paths: list[str], settings: CorpusSettings = SETTINGS) -> list[dict[str, Any]]:
    splits = [Split.of(file) for file in list_files(paths)]
    read = page_reader(settings, "")
    return [row for batch in rows_of(splits, read, LAYOUT.arrow) for row in batch.to_pylist()]


def test_rows_of_a_file_add_up(corpus: list[str]) -> None:
    rows = kernel(corpus)
    for seen in (row for row in rows if row["kind"] == "file"):
        mine = Counter(row["kind"] for row in rows if row["path"] == seen["path"])
        assert (seen["pages"], seen["refused"]) == (mine["page"], mine["reject"])
        assert seen["records"] == seen["pages"] + seen["refused"] + seen["ignored"]
    assert Counter(row["kind"] for row in rows) == {"page": 5, "reject": 3, "file": 3}


def test_a_page_row_has_what_its_record_tells(corpus: list[str]) -> None:
    row = next(row for row in kernel(corpus) if row["url"] == "https://example.org/b1")
    del row["fetched_at"]
    assert {name: value for name, value in row.items() if value is not None} == {
        "kind": "page",
        "doc_id": hashlib.sha256(TWO.encode()).hexdigest(),
        "text": TWO,
        "url": "https://example.org/b1",
        "path": "in/b.jsonl",
        "offset": len(json.dumps({"text": ONE, "url": "https://example.org/b0", "licence": "CC0-1.0"})) + 1,
        "canonical_url": "https://example.org/b1",
        "language": "en",
        "n_chars": len(TWO),
        "scrubbed": 0,
    }


def test_refusals_name_reason_file_and_place(corpus: list[str]) -> None:
    found = {(row["reason"], row["path"]) for row in kernel(corpus) if row["kind"] == "reject"}
    assert found == {
        ("not_json", "in/b.jsonl"),
        ("too_short", "in/a.jsonl"),
        ("unsupported_file", "in/notes.pdf"),
    }


def test_a_long_page_is_cut_and_hashed_as_cut(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", {"text": f"{ONE} " * 10})
    row = kernel([str(tmp_path)])[0]
    assert row["text"] == f"{ONE} {ONE} {ONE}"
    assert row["n_chars"] == len(row["text"])
    assert row["doc_id"] == content_hash(row["text"])


def test_an_empty_file_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(b"")
    rows = kernel([str(tmp_path)])
    assert [(row["kind"], row["reason"], row["records"]) for row in rows] == [
        ("reject", "empty_file", None),
        ("file", None, 1),
    ]


def test_batches_are_bounded_in_rows_and_in_text(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", *({"text": f"{n} {'long words ' * 9_000}"} for n in range(300)))
    settings = CorpusSettings.model_validate({"min_chars": 20, "quality": {"repeated_words": None}})
    splits = [Split.of(file) for file in list_files([str(tmp_path)])]
    batches = rows_of(splits, page_reader(settings, ""), LAYOUT.arrow)
    sizes = [(batch.num_rows, batch.nbytes) for batch in batches]
    assert sum(rows for rows, _ in sizes) == 301
    assert max(rows for rows, _ in sizes) <= 256
    assert max(size for _, size in sizes) < 5_000_000


def test_a_file_that_went_away_is_a_refusal_and_was_not_seen(corpus: list[str]) -> None:
    splits = [Split.of(file) for file in list_files(corpus)]
    Path("in/b.jsonl").unlink()
    gone: list[str] = []
    batches = rows_of(splits, page_reader(SETTINGS, ""), LAYOUT.arrow, gone)
    rows = [row for batch in batches for row in batch.to_pylist() if row["path"] == "in/b.jsonl"]
    assert [(row["kind"], row["reason"]) for row in rows] == [("reject", "vanished")]
    assert gone == ["in/b.jsonl"]


def test_the_kernels_rows_have_the_declared_schema() -> None:
    needed = {name for table in (DOCUMENTS, FILES_SEEN) for name in table.names} - {"seq"}
    assert needed <= set(LAYOUT.arrow.names)


@pytest.fixture
def rows(spark: SparkSession, corpus: list[str]) -> DataFrame:
    """The kernel's rows of the corpus, as a frame that is read once."""
    table = pa.Table.from_pylist(kernel(corpus), schema=LAYOUT.arrow)
    return spark.createDataFrame([tuple(row.values()) for row in table.to_pylist()], LAYOUT.ddl)


@pytest.fixture
def nothing_known(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], "doc_id string, origin string")


def reading(folder: Path) -> Reading:
    return ingest_reading(Folder(str(folder)), SETTINGS)


@pytest.mark.parametrize("small", [1, 300, 1 << 20])
def test_reading_gives_the_same_rows_however_files_are_parted_and_put_together(
    spark: SparkSession, rows: DataFrame, corpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr("personalake.corpus.splits.PART_BYTES", small)
    monkeypatch.setattr("personalake.corpus.rows._LEAST_BYTES", small)
    read = reading(tmp_path / "work").read(spark, list_files(corpus))
    assertDataFrameEqual(read.where("kind != 'file'"), rows.where("kind != 'file'"))
    assertDataFrameEqual(files_seen(read), files_seen(rows))


def test_a_killed_reading_goes_on_at_file_grain(
    spark: SparkSession, rows: DataFrame, corpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personalake.corpus.rows._LEAST_BYTES", 1)
    files = list_files(corpus)
    reading(tmp_path / "work").read(spark, files[:2])
    # A task that was killed leaves rows without their marker; another version of a file leaves a marker too many.
    (done,) = tmp_path.glob("work/*")
    a_part = next(done.glob("rows/*.parquet"))
    (done / "rows/f00d-0.parquet").write_bytes(a_part.read_bytes())
    path = Path("in/a.jsonl")
    before = path.read_bytes()
    path.write_bytes(before + b'{"text": "more"}')
    reading(tmp_path / "work").read(spark, list_files([str(path)]))
    path.write_bytes(before)
    again = list_files(corpus)
    kernel_rows = reading(tmp_path / "work")
    read = kernel_rows.read(spark, again)
    assertDataFrameEqual(read.where("kind != 'file'"), rows.where("kind != 'file'"))
    # What a marker names is not read again: nobody finds the files any more, and all their rows are there.
    for file in again:
        Path(file.path).rename(f"{file.path}.away")
    assertDataFrameEqual(kernel_rows.read(spark, again).where("kind != 'file'"), read.where("kind != 'file'"))
    kernel_rows.end()
    assert not (tmp_path / "work").exists()


def test_a_file_that_only_the_workers_do_not_find_stops_the_run(
    spark: SparkSession, corpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [*list_files(corpus), CorpusFile("in/never.jsonl", "jsonl", 5, "1")]
    monkeypatch.setattr("personalake.corpus.rows.exists", lambda _: True)
    with pytest.raises(InputError, match=r"in/never\.jsonl: a worker finds no such file"):
        reading(tmp_path / "work").read(spark, files)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    rows = reading(tmp_path / "work").read(spark, files)
    assert [row["path"] for row in rows.where("reason = 'vanished'").collect()] == ["in/never.jsonl"]


def documents(rows: DataFrame, known: DataFrame) -> DataFrame:
    return kept(rows, repeats(rows, known, "doc_id"), DOCUMENTS)


def seen_again(rows: DataFrame, known: DataFrame) -> DataFrame:
    return sightings(repeats(rows, known, "doc_id"))


def test_the_first_of_equal_pages_is_the_document_and_the_others_are_sightings(
    rows: DataFrame, nothing_known: DataFrame
) -> None:
    first = {row["doc_id"]: (row["path"], row["url"]) for row in documents(rows, nothing_known).collect()}
    again = [(row["doc_id"], row["path"], row["url"]) for row in seen_again(rows, nothing_known).collect()]
    assert first[content_hash(ONE)] == ("in/b.jsonl", "https://example.org/b0")
    assert first[content_hash(TWO)] == ("in/a.jsonl", "https://example.org/a0")
    assert len(first) == 3
    assert sorted(again) == sorted(
        [
            (content_hash(ONE), "in/b.jsonl", "https://example.org/b3"),
            (content_hash(TWO), "in/b.jsonl", "https://example.org/b1"),
        ]
    )


def test_pages_whose_text_is_known_are_sightings_only(spark: SparkSession, rows: DataFrame) -> None:
    known = spark.createDataFrame(
        [(content_hash(ONE), "before.jsonl"), (content_hash("else"), "before.jsonl")], "doc_id string, origin string"
    )
    new, again = documents(rows, known), seen_again(rows, known)
    assert content_hash(ONE) not in {row["doc_id"] for row in new.collect()}
    assert Counter(row["doc_id"] for row in again.collect()) == {content_hash(ONE): 2, content_hash(TWO): 1}
    assert new.count() + again.count() == 5


def test_a_file_that_is_read_again_is_no_sighting_of_what_it_was_the_origin_of(
    spark: SparkSession, rows: DataFrame
) -> None:
    known = spark.createDataFrame([(content_hash(ONE), "in/b.jsonl")], "doc_id string, origin string")
    again = {(row["doc_id"], row["url"]) for row in seen_again(rows, known).collect()}
    assert (content_hash(ONE), "https://example.org/b3") in again
    assert (content_hash(ONE), "https://example.org/b0") not in again


@pytest.mark.parametrize("partitions", [1, 3, 16])
def test_no_transform_depends_on_the_partitioning(rows: DataFrame, nothing_known: DataFrame, partitions: int) -> None:
    spread = rows.repartition(partitions)
    assertDataFrameEqual(documents(spread, nothing_known), documents(rows, nothing_known))
    assertDataFrameEqual(seen_again(spread, nothing_known), seen_again(rows, nothing_known))
    assertDataFrameEqual(rejects(spread), rejects(rows))


def without_seq(spark: SparkSession, table: Table) -> DataFrame:
    ddl = ", ".join(f"{column.name} {column.type}" for column in table.columns if column.name != "seq")
    return spark.createDataFrame([], ddl)


def test_each_transform_gives_its_tables_columns(
    spark: SparkSession, rows: DataFrame, nothing_known: DataFrame
) -> None:
    for frame, table in (
        (documents(rows, nothing_known), DOCUMENTS),
        (seen_again(rows, nothing_known), SIGHTINGS),
        (rejects(rows), REJECTS),
        (files_seen(rows), FILES_SEEN),
    ):
        assertSchemaEqual(frame.schema, without_seq(spark, table).schema, ignoreNullable=True)


def test_a_refusal_is_keyed_by_stage_place_and_reason(rows: DataFrame) -> None:
    row = rejects(rows).where("reason = 'unsupported_file'").collect()[0]
    assert row["reject_id"] == hashlib.sha256(b"ingest|in/notes.pdf#0|unsupported_file").hexdigest()
    assert (row["stage"], row["input_key"], row["prompt_tokens"]) == ("ingest", "in/notes.pdf#0", None)


def test_files_seen_has_the_counts_of_each_file(rows: DataFrame) -> None:
    found = {row["path"]: row.asDict() for row in files_seen(rows).collect()}
    assert {path: (row["records"], row["pages"], row["refused"]) for path, row in found.items()} == {
        "in/a.jsonl": (3, 2, 1),
        "in/b.jsonl": (4, 3, 1),
        "in/notes.pdf": (1, 0, 1),
    }
    assert found["in/b.jsonl"]["size"] == Path("in/b.jsonl").stat().st_size


def test_a_page_that_changed_is_a_new_version_of_the_one_before(spark: SparkSession) -> None:
    ddl = (
        "doc_id string, canonical_url string, replaces string, seq long, fetched_at timestamp, path string, offset long"
    )
    at = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    days = [at + dt.timedelta(days=n) for n in range(3)]
    old = [("a0", "https://a", None, 1, days[2], "x", 0), ("b0", "https://b", None, 1, None, "x", 1)]
    new = [
        ("a2", "https://a", None, None, days[1], "y", 0),
        ("a1", "https://a", None, None, days[0], "y", 9),
        ("c0", "https://c", None, None, None, "y", 2),
        ("c1", "https://c", None, None, None, "y", 3),
        ("d0", None, None, None, None, "y", 4),
        ("d1", None, None, None, None, "y", 5),
    ]
    frame, known = spark.createDataFrame(new, ddl).drop("seq"), spark.createDataFrame(old, ddl)
    named = with_versions(frame, versions(frame, known))
    assert named.columns == frame.columns
    found = {row["doc_id"]: row["replaces"] for row in named.collect()}
    assert found == {"a1": "a0", "a2": "a1", "c0": None, "c1": "c0", "d0": None, "d1": None}


def test_what_was_forgotten_is_refused_by_its_text_or_its_address(spark: SparkSession, rows: DataFrame) -> None:
    ids = [content_hash(TWO), hashlib.sha256(b"https://example.org/b3").hexdigest()]
    gone = forgotten(rows, spark.createDataFrame([(id_,) for id_ in ids], "id string"))
    assert sorted((row["path"], row["reason"]) for row in gone.collect()) == [
        ("in/a.jsonl", "forgotten"),
        ("in/b.jsonl", "forgotten"),
        ("in/b.jsonl", "forgotten"),
    ]
    assert rejects(gone).select("reject_id").distinct().count() == 3


def test_a_file_that_vanishes_between_two_of_its_parts_was_not_seen(spark: SparkSession) -> None:
    ddl = (
        "kind string, reason string, path string, size long, stamp string, format string, records long, pages long, "
        "refused long, ignored long"
    )
    part = ("file", None, "a.parquet", 9, "1", "parquet", 3, 3, 0, 0)
    gone = ("reject", "vanished", "a.parquet", None, None, None, None, None, None, None)
    other = ("file", None, "b.parquet", 9, "1", "parquet", 3, 3, 0, 0)
    found = files_seen(spark.createDataFrame([part, gone, other, other], ddl)).collect()
    assert [(row["path"], row["records"]) for row in found] == [("b.parquet", 6)]


def test_lists_that_have_changed_are_read_again_and_so_are_the_files(tmp_path: Path) -> None:
    words = tmp_path / "words"
    settings = CorpusSettings.model_validate({"blocked_words": [str(words)]})
    found = []
    for content in ("one", "two", "one"):
        words.write_text(content)
        found.append((Lists.of(settings).words, Lists.of(settings).digest))
    assert found[0] == found[2] != found[1]
