from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from personalake.cli import main
from personalake.errors import InputError, PersonalakeError, SettingsError
from personalake.own_data import dedup_files
from personalake.settings import Settings

WORDS = " ".join(f"word{n}" for n in range(20))
ROWS: list[dict[str, Any]] = [
    {"key": 30, "text": WORDS, "more": [1, 2]},
    {"key": 4, "text": f"{WORDS} another", "more": None},
    {"key": 5, "text": WORDS.upper(), "more": []},
    {"key": 6, "text": "a gardener", "more": [3]},
    {"key": 7, "text": None, "more": None},
    {"key": 8, "text": "!!!", "more": None},
]


def settings(method: str = "exact") -> Settings:
    return Settings.model_validate({"store": {"path": "unused"}, "dedup": {"method": method}})


def dedup(
    spark: SparkSession, path: Path, out: Path, id_column: str | None = "key", method: str = "exact"
) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]], dict[str, Any]]:
    """The kept rows, the duplicates, and what `--json` would print."""
    shown = dedup_files(settings(method), str(path), "text", id_column, str(out), say=lambda _: None, spark=spark)
    assert not (out / "_work").exists()
    kept = [row.asDict(recursive=True) for row in spark.read.format("delta").load(str(out / "kept")).collect()]
    duplicates = (
        spark.read.format("delta").load(str(out / "duplicates")).select("id", "kept_id", "method", "similarity")
    )
    return sorted(kept, key=json.dumps), sorted(map(tuple, duplicates.collect())), shown.data


def jsonl(folder: Path, rows: list[dict[str, Any]] = ROWS, name: str = "rows.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


@pytest.mark.parametrize("format_", ["jsonl", "parquet", "delta"])
def test_kept_has_the_columns_of_the_input_and_duplicates_the_evidence(
    spark: SparkSession, tmp_path: Path, format_: str
) -> None:
    path = jsonl(tmp_path)
    if format_ != "jsonl":
        spark.read.json(str(path)).write.format(format_).save(str(tmp_path / "table"))
        path = tmp_path / "table"
    kept, duplicates, told = dedup(spark, path, tmp_path / "out")
    # Ids are compared as text: 4 is not below 30.
    assert duplicates == [("4", "30", "exact", 20 / 21), ("5", "30", "identical", 1.0), ("8", "7", "identical", 1.0)]
    assert sorted(row["key"] for row in kept) == [6, 7, 30]
    assert set(kept[0]) == {"key", "text", "more"}
    assert next(row for row in kept if row["key"] == 30) == ROWS[0]
    assert (told["rows"], told["kept"], told["duplicates"]) == (6, 3, {"exact": 1, "identical": 2})


def test_without_ids_the_first_of_the_rows_that_repeat_each_other_stays(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    jsonl(folder, ROWS[:3], "a.jsonl")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS[3:]).encode()))
    kept, duplicates, _ = dedup(spark, folder, tmp_path / "out", None, "minhash")
    assert sorted(row["key"] for row in kept) == [6, 7, 30]
    assert set(kept[0]) == {"key", "text", "more"}
    assert [method for _, _, method, _ in duplicates] == ["minhash", "identical", "identical"]


def test_ids_that_are_not_unique_are_told_and_no_table_is_left(spark: SparkSession, tmp_path: Path) -> None:
    rows = [*ROWS, {"key": 5, "text": "somebody else", "more": None}]
    with pytest.raises(InputError, match=r"--id key: its ids are not unique, or null: 3 rows repeat another, but 4"):
        dedup(spark, jsonl(tmp_path, rows), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/_delta_log"))


def test_a_row_without_an_id_that_repeats_another_is_told(spark: SparkSession, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"key": None, "text": "a gardener"}, {"key": None, "text": "gardener, a"}]
    with pytest.raises(InputError, match=r"not unique, or null: 1 rows repeat another, but 0 have their ids"):
        dedup(spark, jsonl(tmp_path, rows), tmp_path / "out")


def test_a_try_that_was_cut_off_is_done_again_and_finished_tables_are_not_touched(
    spark: SparkSession, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dedup(spark, jsonl(tmp_path, ROWS[3:]), out)
    with pytest.raises(InputError, match=r"holds tables already \(delete them, or give another --out\)"):
        dedup(spark, jsonl(tmp_path), out)
    (out / "_work").mkdir()
    kept, duplicates, _ = dedup(spark, jsonl(tmp_path), out)
    assert (len(kept), len(duplicates)) == (3, 3)


@pytest.mark.parametrize(
    ("rows", "column", "id_column", "said"),
    [
        ([{"a": "x"}], "text", None, r"has no column 'text' \(--column\) \(it has a\)"),
        ([{"text": 3}], "text", None, r"column 'text' is bigint, not text"),
        ([{"text": "x"}], "text", "key", r"has no column 'key' \(--id\)"),
    ],
)
def test_columns_that_cannot_be_used_are_told(
    spark: SparkSession, tmp_path: Path, rows: list[dict[str, Any]], column: str, id_column: str | None, said: str
) -> None:
    path = jsonl(tmp_path, rows)
    with pytest.raises(InputError, match=said):
        dedup_files(settings(), str(path), column, id_column, str(tmp_path / "out"), say=lambda _: None, spark=spark)
    assert not (tmp_path / "out").exists()


def test_a_line_that_is_no_json_is_told_and_shown(spark: SparkSession, tmp_path: Path) -> None:
    path = jsonl(tmp_path)
    path.write_text(path.read_text() + '{"text": "cut o\n')
    with pytest.raises(InputError, match=r"not every line is a JSON object: '\{\"text\": \"cut o'"):
        dedup(spark, path, tmp_path / "out")


def test_a_file_that_spark_cannot_read_is_one_line_and_leaves_no_table(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(PersonalakeError, match=r"^[^\n]*rows\.parquet[^\n]*$"):
        dedup(spark, path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/_delta_log"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "nowhere.parquet", "--column", "text", "--out", "out"], "nowhere.parquet: there is no such file"),
        (["--input", "rows.csv", "--column", "text", "--out", "out"], "is neither Parquet nor JSONL nor a Delta table"),
        (["--input", "rows.jsonl"], "--input needs --column and --out"),
        (["--column", "text", "--out", "out"], "--column, --id and --out go with --input"),
        (["--rebuild", "--input", "rows.jsonl", "--column", "text", "--out", "out"], "--rebuild is for a store's hub"),
    ],
)
def test_what_cannot_work_is_told_in_one_line_before_spark_starts(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(__file__).resolve().parents[1] / "conf" / "local.yaml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text\n")
    assert main(["dedup", "--config", str(config), *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["exact", "minhash"])
def test_texts_of_every_odd_kind_are_each_kept_or_named(spark: SparkSession, tmp_path: Path, method: str) -> None:
    odd = [
        "", None, "same " * 5_000, "Same", "x" * 1_000_000, " ".join(f"w{n}" for n in range(150_000)), "東京都の庭師",
        "東京都の庭師。", "данные and 東京 mixed हिन्दी", "\ud800 lone", "\ud800 LONE", "🎉", "e\u0301t\u00e9 x y",
        "ÉTÉ X Y", "\x00 nul", "a\u0000",
    ]  # fmt: skip
    rows = [{"key": f"{n:02}", "text": text} for n, text in enumerate(odd)]
    kept, duplicates, told = dedup(spark, jsonl(tmp_path, rows), tmp_path / "out", "key", method)
    assert sorted([row["key"] for row in kept] + [row[0] for row in duplicates]) == [row["key"] for row in rows]
    assert [(id_, kept_id, how) for id_, kept_id, how, _ in duplicates] == [
        ("01", "00", "identical"), ("03", "02", "identical"), ("07", "06", "identical"), ("10", "09", "identical"),
        ("11", "00", "identical"), ("13", "12", "identical"),
    ]  # fmt: skip
    assert told["rows"] == len(odd)


def test_a_table_of_ones_own_is_not_compared_by_vectors_and_that_is_said(tmp_path: Path) -> None:
    settings = Settings.model_validate({"store": {"path": "x"}, "dedup": {"embedding": {"model": "some-model"}}})
    with pytest.raises(SettingsError, match=r"by its words alone.*--set dedup\.embedding=null"):
        dedup_files(settings, "rows.jsonl", "text", None, str(tmp_path / "out"), say=lambda _: None)
    assert not (tmp_path / "out").exists()
