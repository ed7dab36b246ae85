"""Files become rows that add up, and rows become documents, sightings, refusals and files seen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual, assertSchemaEqual

from personalake.corpus.files import CorpusFile, list_files
from personalake.corpus.ingest import (
    FILES_DDL,
    ROWS_ARROW,
    ROWS_DDL,
    content_hash,
    documents,
    files_frame,
    files_seen,
    read_batches,
    read_pages,
    rejects,
    sightings,
)
from personalake.errors import InputError
from personalake.schemas import DOCUMENTS, FILES_SEEN, REJECTS, SIGHTINGS, Table
from personalake.settings import CorpusSettings

SETTINGS = CorpusSettings.model_validate({"min_chars": 20, "max_chars": 200})
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
    (tmp_path / "in/notes.txt").write_text("to do")
    monkeypatch.chdir(tmp_path)
    return ["in"]


def kernel(paths: list[str], settings: CorpusSettings = SETTINGS) -> list[dict[str, Any]]:
    files = [vars(file) for file in list_files(paths)]
    batches = [pa.RecordBatch.from_pylist(files)]
    return [row for batch in read_batches(batches, settings=settings) for row in batch.to_pylist()]


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
        "language": "en",
        "n_chars": len(TWO),
    }


def test_refusals_name_reason_file_and_place(corpus: list[str]) -> None:
    found = {(row["reason"], row["path"]) for row in kernel(corpus) if row["kind"] == "reject"}
    assert found == {
        ("not_json", "in/b.jsonl"),
        ("too_short", "in/a.jsonl"),
        ("unsupported_file", "in/notes.txt"),
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
    settings = CorpusSettings.model_validate({"min_chars": 20})
    files = [pa.RecordBatch.from_pylist([vars(file) for file in list_files([str(tmp_path)])])]
    sizes = [(batch.num_rows, batch.nbytes) for batch in read_batches(files, settings=settings)]
    assert sum(rows for rows, _ in sizes) == 301
    assert max(rows for rows, _ in sizes) <= 256
    assert max(size for _, size in sizes) < 5_000_000


def test_a_file_that_went_away_stops_the_run(corpus: list[str]) -> None:
    files = [vars(file) for file in list_files(corpus)]
    Path("in/b.jsonl").unlink()
    with pytest.raises(InputError, match=r"in/b\.jsonl: the file can't be read"):
        list(read_batches([pa.RecordBatch.from_pylist(files)], settings=SETTINGS))


def test_the_kernels_rows_have_the_declared_schema() -> None:
    assert ROWS_ARROW.names == [column.split()[0] for column in ROWS_DDL.split(", ")]
    needed = {name for table in (DOCUMENTS, FILES_SEEN) for name in table.names} - {"seq"}
    assert needed <= set(ROWS_ARROW.names)


@pytest.fixture
def rows(spark: SparkSession, corpus: list[str]) -> DataFrame:
    """The kernel's rows of the corpus, as a frame that is read once."""
    table = pa.Table.from_pylist(kernel(corpus), schema=ROWS_ARROW)
    return spark.createDataFrame([tuple(row.values()) for row in table.to_pylist()], ROWS_DDL)


@pytest.fixture
def nothing_known(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], "doc_id string, path string")


@pytest.mark.parametrize("tasks", [1, 3, 16])
def test_reading_gives_the_same_rows_for_any_number_of_tasks(
    spark: SparkSession, rows: DataFrame, corpus: list[str], tasks: int
) -> None:
    files = files_frame(spark, list_files([str(Path(path).resolve()) for path in corpus]))
    assertSchemaEqual(files.schema, spark.createDataFrame([], FILES_DDL).schema)
    read = read_pages(files, SETTINGS, tasks)
    assertSchemaEqual(read.schema, rows.schema)
    here = F.concat(F.lit(f"{Path.cwd().resolve()}/"), "path")
    assertDataFrameEqual(read, rows.withColumn("path", here))


def test_each_file_is_a_task_of_its_own(spark: SparkSession) -> None:
    files = files_frame(spark, [CorpusFile(f"in/{n:02}.jsonl", "unsupported", 0, "0") for n in range(12)])
    read = read_pages(files, SETTINGS, 12).where("kind = 'file'").groupBy(F.spark_partition_id()).count()
    assert {row["count"] for row in read.collect()} == {1}


def test_the_first_of_equal_pages_is_the_document_and_the_others_are_sightings(
    rows: DataFrame, nothing_known: DataFrame
) -> None:
    first = {row["doc_id"]: (row["path"], row["url"]) for row in documents(rows, nothing_known).collect()}
    again = [(row["doc_id"], row["path"], row["url"]) for row in sightings(rows, nothing_known).collect()]
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
        [(content_hash(ONE), "before.jsonl"), (content_hash("else"), "before.jsonl")], "doc_id string, path string"
    )
    new, again = documents(rows, known), sightings(rows, known)
    assert content_hash(ONE) not in {row["doc_id"] for row in new.collect()}
    assert Counter(row["doc_id"] for row in again.collect()) == {content_hash(ONE): 2, content_hash(TWO): 1}
    assert new.count() + again.count() == 5


def test_a_file_that_is_read_again_is_no_sighting_of_what_it_was_the_origin_of(
    spark: SparkSession, rows: DataFrame
) -> None:
    known = spark.createDataFrame([(content_hash(ONE), "in/b.jsonl")], "doc_id string, path string")
    again = {(row["doc_id"], row["url"]) for row in sightings(rows, known).collect()}
    assert (content_hash(ONE), "https://example.org/b3") in again
    assert (content_hash(ONE), "https://example.org/b0") not in again


@pytest.mark.parametrize("partitions", [1, 3, 16])
def test_no_transform_depends_on_the_partitioning(rows: DataFrame, nothing_known: DataFrame, partitions: int) -> None:
    spread = rows.repartition(partitions)
    assertDataFrameEqual(documents(spread, nothing_known), documents(rows, nothing_known))
    assertDataFrameEqual(sightings(spread, nothing_known), sightings(rows, nothing_known))
    assertDataFrameEqual(rejects(spread), rejects(rows))


def without_seq(spark: SparkSession, table: Table) -> DataFrame:
    ddl = ", ".join(f"{column.name} {column.type}" for column in table.columns if column.name != "seq")
    return spark.createDataFrame([], ddl)


def test_each_transform_gives_its_tables_columns(
    spark: SparkSession, rows: DataFrame, nothing_known: DataFrame
) -> None:
    for frame, table in (
        (documents(rows, nothing_known), DOCUMENTS),
        (sightings(rows, nothing_known), SIGHTINGS),
        (rejects(rows), REJECTS),
        (files_seen(rows), FILES_SEEN),
    ):
        assertSchemaEqual(frame.schema, without_seq(spark, table).schema, ignoreNullable=True)


def test_a_refusal_is_keyed_by_stage_place_and_reason(rows: DataFrame) -> None:
    row = rejects(rows).where("reason = 'unsupported_file'").collect()[0]
    assert row["reject_id"] == hashlib.sha256(b"ingest|in/notes.txt#0|unsupported_file").hexdigest()
    assert (row["stage"], row["input_key"], row["prompt_tokens"]) == ("ingest", "in/notes.txt#0", None)


def test_files_seen_has_the_counts_of_each_file(rows: DataFrame) -> None:
    found = {row["path"]: row.asDict() for row in files_seen(rows).collect()}
    assert {path: (row["records"], row["pages"], row["refused"]) for path, row in found.items()} == {
        "in/a.jsonl": (3, 2, 1),
        "in/b.jsonl": (4, 3, 1),
        "in/notes.txt": (1, 0, 1),
    }
    assert found["in/b.jsonl"]["size"] == Path("in/b.jsonl").stat().st_size
