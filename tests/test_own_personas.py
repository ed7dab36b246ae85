"""Personas of the user's own: what a row becomes, what is refused and why, and what a file that has changed brings."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from personalake import own_personas
from personalake.corpus.files import PERSONAS, list_files
from personalake.corpus.records import BadRecord, Ignored
from personalake.corpus.rows import Row
from personalake.corpus.splits import Split
from personalake.errors import InputError, SettingsError
from personalake.settings import PersonasSettings
from tests.lake import PAGE, Lake, cut_after, same_rows

DEFAULT = PersonasSettings.model_validate({})
NURSE = "A night-shift nurse who plans the ward's rota and counts every pill twice"
KEEPER = "A retired lighthouse keeper who repairs old sextants in a shed by the sea"


def _read(path: Path, settings: PersonasSettings = DEFAULT) -> list[Row | BadRecord]:
    (file,) = list_files([str(path)], PERSONAS)
    rows = own_personas.persona_reader(settings, "")(Split.of(file))
    return [row for row in rows if not isinstance(row, Ignored)]


def test_jsonl_and_parquet_bring_the_same_personas(tmp_path: Path) -> None:
    rows = [{"persona": f" {NURSE}\n", "occupation": "nurse", "interests": ["rotas", ""]}, {"persona": KEEPER}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    first, second = _read(tmp_path / "a.jsonl"), _read(tmp_path / "a.parquet")
    place = ("source", "path", "offset")
    for one, other in zip(first, second, strict=True):
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        assert {k: v for k, v in one.items() if k not in place} | {"interests": None} == {
            k: v for k, v in other.items() if k not in place
        } | {"interests": None}
    assert isinstance(first[0], dict)
    assert (first[0]["text"], first[0]["occupation"], first[0]["interests"]) == (NURSE, "nurse", ["rotas"])
    assert (first[0]["language"], first[0]["hop"], first[0]["licence"]) == ("en", 0, None)


def test_the_settings_name_the_column_and_the_licence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"who": NURSE, "text": "other", "license": "MIT"}) + "\n")
    settings = PersonasSettings.model_validate({"column": "who", "licence": "CC0-1.0"})
    (row,) = _read(tmp_path / "a.jsonl", settings)
    assert isinstance(row, dict)
    assert (row["text"], row["licence"]) == (NURSE, "MIT")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "not_json"),
        ("[1]", "not_an_object"),
        ('{"name": "x"}', "no_text"),
        ('{"persona": 3}', "no_text"),
        ('{"persona": " "}', "empty_text"),
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
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    own, pages = tmp_path / "own.jsonl", tmp_path / "pages.jsonl"
    lines = [json.dumps({"persona": text}) for text in (NURSE, KEEPER, NURSE)] + ["no json"]
    own.write_text("\n".join(lines) + "\n")
    pages.write_text(json.dumps({"text": PAGE}))
    settings = [f"corpus.paths=['{pages}']", f"personas.paths=['{own}']", "synthesize.tasks=[]"]
    lake = Lake(spark, tmp_path / "lake", endpoint, settings)
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
    more = "A beekeeper who sells her honey on the Saturday market and knows each stall by its smell"
    own.write_text("\n".join([*lines[:3], json.dumps({"persona": more})]) + "\n")
    assert [stage["accepted"] for stage in lake.run().data["stages"]] == [1, 1]
    assert len(lake.rows("hub")) == len(hub) + 1
    assert len(lake.rows("sightings")) == 1


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
