"""Personas of the user's own: what a row becomes, what is refused and why, and what a file that has changed brings."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from personalake import own_personas
from personalake.cli import main
from personalake.corpus.files import PERSONAS, list_files
from personalake.corpus.records import BadRecord, Ignored
from personalake.corpus.rows import Row
from personalake.corpus.splits import Split
from personalake.errors import InputError, SettingsError
from personalake.settings import PersonasSettings
from tests.lake import PAGE, ROOT, Lake, cut_after, same_rows

DEFAULT = PersonasSettings.model_validate({})
NURSE = "A night-shift nurse who plans the ward's rota and counts every pill twice"
KEEPER = "A retired lighthouse keeper who repairs old sextants in a shed by the sea"
BEEKEEPER = "A beekeeper who sells her honey on the Saturday market and knows each stall by its smell"
STAGES = ("ingest", "dedup")


def _read(path: Path, settings: PersonasSettings = DEFAULT) -> list[Row | BadRecord]:
    (file,) = list_files([str(path)], PERSONAS)
    rows = own_personas.persona_reader(settings, "")(Split.of(file))
    return [row for row in rows if not isinstance(row, Ignored)]


def _personas(path: Path, settings: PersonasSettings = DEFAULT) -> list[Row]:
    rows = _read(path, settings)
    assert not [row for row in rows if isinstance(row, BadRecord)]
    return [row for row in rows if isinstance(row, dict)]


def test_jsonl_csv_and_parquet_bring_the_same_personas(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"persona": f" {NURSE}\n", "occupation": "nurse", "interests": ["rotas", ""], "city": "Bergen"},
        {"persona": KEEPER, "occupation": None, "interests": ["sextants"], "city": "Hamburg"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    first, *others = (_personas(tmp_path / f"a.{ending}") for ending in ("jsonl", "csv", "parquet"))
    place = ("source", "path", "offset")
    for other in others:
        assert [{k: v for k, v in row.items() if k not in place} for row in other] == [
            {k: v for k, v in row.items() if k not in place} for row in first
        ]
    assert (first[0]["text"], first[0]["occupation"], first[0]["interests"]) == (NURSE, "nurse", ["rotas"])
    assert (first[0]["language"], first[0]["hop"], first[0]["licence"]) == ("en", 0, None)
    assert (first[0]["attributes"], first[0]["source"]) == ({"city": "Bergen"}, str(tmp_path / "a.jsonl"))


def test_a_row_states_its_own_licence_and_source_before_the_settings_do(tmp_path: Path) -> None:
    lines = [{"text": NURSE, "license": "MIT", "source": "ward-7"}, {"text": KEEPER}]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    licence = {str(tmp_path / "a"): "CC-BY-4.0", str(tmp_path / "b" / "x.jsonl"): "CC0-1.0"}
    settings = PersonasSettings.model_validate({"licence": licence})
    found = {folder: _personas(tmp_path / folder / "x.jsonl", settings) for folder in ("a", "b")}
    assert [row["licence"] for row in found["a"] + found["b"]] == ["MIT", "CC-BY-4.0", "MIT", "CC0-1.0"]
    assert [row["source"] for row in found["a"]] == ["ward-7", str(tmp_path / "a" / "x.jsonl")]


def test_parts_of_a_file_bring_each_persona_once(tmp_path: Path) -> None:
    rows = [{"persona": f"{NURSE} {n}{'x' * (n * 37 % 90)}", "vector": [0.1] * 8} for n in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=20)
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for file in list_files([str(tmp_path)], PERSONAS):
        read = own_personas.persona_reader(DEFAULT, "")
        bounds = [0, file.size // 3, file.size // 2, file.size]
        parts = [Split(file.path, file.format, file.size, file.stamp, *pair) for pair in itertools.pairwise(bounds)]
        whole = list(read(Split.of(file)))
        assert len(whole) == 300
        assert [row for part in parts for row in read(part)] == whole


def test_an_unknown_field_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "conf" / "local.yaml")
    assert main(["plan", "--config", config, "--set", "personas.columns={words: x}"]) == 2
    told = capsys.readouterr().err
    assert "personas.columns" in told
    assert "'words' is no field of a persona; fields are text, relation, " in told
    assert told.count("\n") == 1


def test_tables_without_a_text_are_refused_before_they_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"bio": [NURSE]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text(f"id,bio\n1\n2,{NURSE}\n")
    for name in ("a.parquet", "b.csv"):
        files = list_files([str(tmp_path / name)], PERSONAS)
        with pytest.raises(
            InputError, match=r"no text in `persona` or `text`; it has: (id, )?bio .*columns=\{text: COLUMN\}"
        ):
            own_personas.check_columns(files, DEFAULT)
        own_personas.check_columns(files, PersonasSettings.model_validate({"columns": {"text": "bio"}}))


def test_a_table_without_a_text_among_good_ones_is_a_refusal(tmp_path: Path) -> None:
    pq.write_table(pa.table({"bio": [NURSE]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"persona": [NURSE]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("persona\n")
    own_personas.check_columns(list_files([str(tmp_path)], PERSONAS), DEFAULT)
    (bad,) = _read(tmp_path / "a.parquet")
    assert isinstance(bad, BadRecord)
    assert (bad.reason, bad.detail) == ("no_text", "none of its 1 rows: its columns are bio")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "not_json"),
        ("[1]", "not_an_object"),
        ('{"name": "x"}', "no_text"),
        ('{"persona": 3}', "no_text"),
        ('{"persona": " "}', "empty_text"),
        ('{"persona": null}', "empty_text"),
    ],
)
def test_a_row_without_a_persona_says_why(line: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{line}\n{json.dumps({'text': NURSE})}\n")
    bad, good = _read(tmp_path / "a.jsonl")
    assert isinstance(bad, BadRecord)
    assert bad.reason == reason
    assert isinstance(good, dict)


def test_a_damaged_parquet_file_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing of the kind")
    (bad,) = _read(tmp_path / "a.parquet")
    assert isinstance(bad, BadRecord)
    assert bad.reason == "not_parquet"


def test_a_corpus_file_is_no_file_of_personas(tmp_path: Path) -> None:
    (tmp_path / "a.warc").touch()
    with pytest.raises(InputError, match=r"personas\.paths"):
        list_files([str(tmp_path / "a.warc")], PERSONAS)


def test_a_file_cannot_be_pages_and_personas_at_once(spark: SparkSession, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": NURSE}) + "\n")
    own = [f"corpus.paths=['{tmp_path}']", f"personas.paths=['{tmp_path / 'a.jsonl'}']"]
    with pytest.raises(SettingsError, match="as a file of pages and as one of personas"):
        Lake(spark, tmp_path / "lake", endpoint, own).run()


def test_own_personas_join_the_hub_beside_those_of_pages_and_a_changed_file_adds_only_what_is_new(
    spark: SparkSession, flawless: str, tmp_path: Path
) -> None:
    own, pages = tmp_path / "own.jsonl", tmp_path / "pages.jsonl"
    lines = [json.dumps({"persona": text}) for text in (NURSE, KEEPER, NURSE)] + ["no json"]
    own.write_text("\n".join(lines) + "\n")
    pages.write_text(json.dumps({"text": PAGE}))
    settings = [f"corpus.paths=['{pages}']", f"personas.paths=['{own}']", "synthesize.tasks=[]"]
    lake = Lake(spark, tmp_path / "lake", flawless, settings)
    done = {stage["stage"]: stage for stage in lake.run().data["stages"]}
    imported = done["import"]
    assert [imported[name] for name in ("items", "accepted", "duplicates", "item_rejects")] == [4, 2, 1, 1]
    assert done["dedup"]["items"] == done["infer"]["accepted"] + 2
    hub = lake.rows("hub")
    assert {row["text"] for row in hub if row["doc_id"] is None} == {NURSE, KEEPER}
    assert any(row["doc_id"] for row in hub)
    (again,) = lake.rows("sightings")
    (refused,) = [row for row in lake.rows("rejects") if row["stage"] == "import"]
    assert (again["path"], refused["reason"], refused["path"]) == (str(own), "not_json", str(own))
    own.write_text("\n".join([*lines[:3], json.dumps({"persona": BEEKEEPER})]) + "\n")
    assert [stage["accepted"] for stage in lake.run().data["stages"]] == [1, 1]
    assert len(lake.rows("hub")) == len(hub) + 1
    assert len(lake.rows("sightings")) == 1


def test_imported_personas_reach_the_hub_with_licence_source_and_attributes(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    rows = [
        {"persona": NURSE, "city": "Bergen", "source": "ward-7"},
        {"persona": f"{NURSE}.", "city": "Oslo", "occupation": "nurse"},
        {"persona": KEEPER, "city": "Hamburg", "licence": "CC0-1.0"},
    ]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    settings = ["corpus.paths=[]", f"personas.paths=['{file}']", f"personas.licence={{'{tmp_path}': CC-BY-4.0}}"]
    lake = Lake(spark, tmp_path / "lake", endpoint, settings)
    lake.run(stages=STAGES)
    hub = {row["text"]: row for row in lake.rows("hub")}
    assert {text: (row["licence"], row["source"], row["attributes"]) for text, row in hub.items()} == {
        f"{NURSE}.": ("CC-BY-4.0", str(file), {"city": "Oslo"}),
        KEEPER: ("CC0-1.0", str(file), {"city": "Hamburg"}),
    }
    (kept,) = [row["kept_id"] for row in lake.rows("duplicates")]
    assert kept == hub[f"{NURSE}."]["persona_id"]


def test_a_changed_file_whose_rows_name_another_source_is_not_seen_elsewhere(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"persona": NURSE, "source": "ward-7"}) + "\n")
    lake = Lake(spark, tmp_path / "lake", endpoint, ["corpus.paths=[]", f"personas.paths=['{file}']"])
    lake.run(stages=STAGES)
    file.write_text(file.read_text() + json.dumps({"persona": KEEPER, "source": "harbour"}) + "\n")
    lake.run(stages=STAGES)
    assert sorted(row["source"] for row in lake.rows("personas")) == ["harbour", "ward-7"]
    assert lake.rows("sightings") == []


def test_delta_tables_of_personas_are_read_by_path_and_by_name_and_only_what_is_new(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    table, named = f"{tmp_path}/in/personas", f"{tmp_path}/named"

    def add(texts: list[str], target: str) -> None:
        rows = [(text, 71, ["rowing"], [0.5]) for text in texts]
        frame = spark.createDataFrame(rows, "persona string, age int, interests array<string>, vector array<double>")
        frame.write.format("delta").mode("append").save(target)

    add([NURSE, " "], table)
    add([KEEPER, NURSE], named)
    spark.sql("CREATE DATABASE IF NOT EXISTS own_personas")
    spark.sql(f"CREATE TABLE own_personas.more USING delta LOCATION '{named}'")
    own = ["corpus.paths=[]", f"personas.paths=['{tmp_path}/in']", "personas.tables=[own_personas.more]"]
    licences = f"personas.licence={{'{tmp_path}/in': CC-BY-4.0, own_personas.more: MIT}}"
    lake = Lake(spark, tmp_path / "lake", endpoint, [*own, licences])
    (stage,) = lake.run(stages=("ingest",)).data["stages"]
    assert [stage[name] for name in ("items", "accepted", "duplicates", "item_rejects")] == [4, 2, 1, 1]
    found = {row["text"]: (row["source"], row["licence"], row["age_band"]) for row in lake.rows("personas")}
    assert found == {NURSE: (table, "CC-BY-4.0", "senior"), KEEPER: ("own_personas.more", "MIT", "senior")}
    assert {(row["interests"][0], row["attributes"]["age"]) for row in lake.rows("personas")} == {("rowing", "71")}
    assert [row["reason"] for row in lake.rows("rejects")] == ["empty_text"]
    assert "nothing new" in lake.run(stages=("ingest",)).text
    add([BEEKEEPER], table)
    spark.sql(f"OPTIMIZE delta.`{table}`")
    lake.run(stages=("ingest",))
    assert {row["text"] for row in lake.rows("personas")} == {NURSE, KEEPER, BEEKEEPER}
    assert len(lake.rows("sightings")) == 1
    spark.sql("DROP TABLE own_personas.more")


def test_a_table_of_personas_without_a_text_is_one_clear_line(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    spark.range(3).selectExpr("id", "id AS persona").write.format("delta").save(f"{tmp_path}/in")
    lake = Lake(spark, tmp_path / "lake", endpoint, ["corpus.paths=[]", f"personas.paths=['{tmp_path}/in']"])
    with pytest.raises(InputError, match=r"no text in `persona` or `text`; it has: id \(bigint\), persona \(bigint\)"):
        lake.run(stages=("ingest",))


@pytest.mark.faults
def test_an_import_that_is_cut_off_after_any_of_its_commits_ends_with_the_same_rows(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"persona": t}) + "\n" for t in (NURSE, KEEPER, NURSE)))
    own = ["corpus.paths=[]", f"personas.paths=['{tmp_path / 'own.jsonl'}']"]
    whole = Lake(spark, tmp_path / "whole", endpoint, own)
    whole.run(stages=("ingest",))
    for saves in (1, 2, 3):
        cut = Lake(spark, tmp_path / f"cut-{saves}", endpoint, own)
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, saves)
            with pytest.raises(KeyboardInterrupt):
                cut.run(stages=("ingest",))
        cut.run(stages=("ingest",))
        same_rows(whole, cut, ("personas", "sightings", "rejects", "files_seen"))
