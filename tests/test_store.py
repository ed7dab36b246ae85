from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from personalake.errors import StoreError
from personalake.schemas import TABLES
from personalake.settings import StoreSettings
from personalake.store import Store, conform, struct

SIGHTING = "doc_id string, url string, path string, offset long"


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> Store:
    return Store(spark, StoreSettings.model_validate({"path": str(tmp_path / "lake")})).open()


def _sightings(store: Store, *offsets: int) -> None:
    rows = store.spark.createDataFrame([("d", "u", "p", offset) for offset in offsets], SIGHTING)
    store.append("sightings", rows, seq=1)


def test_a_table_has_the_columns_comments_and_properties_of_its_schema(store: Store) -> None:
    _sightings(store, 1)
    table = store.spark.read.format("delta").load(store.table_address("sightings"))
    wanted = struct(TABLES["sightings"])
    assert [(f.name, f.dataType) for f in table.schema.fields] == [(f.name, f.dataType) for f in wanted.fields]
    assert [f.metadata.get("comment") for f in table.schema.fields] == [c.comment for c in TABLES["sightings"].columns]
    name = f"delta.`{store.table_address('sightings')}`"
    properties = {row["key"]: row["value"] for row in store.spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}
    assert properties["delta.enableDeletionVectors"] == "false"
    assert properties["personalake.layout"] == "1"


def test_a_table_that_was_never_written_reads_as_empty(store: Store) -> None:
    rows = store.read("hub")
    assert rows.columns == list(TABLES["hub"].names)
    assert rows.count() == 0


def test_an_append_under_a_name_that_has_landed_does_nothing(store: Store) -> None:
    rows = store.spark.createDataFrame([("d", "u", "p", 1)], SIGHTING)
    for _ in range(2):
        store.append("sightings", rows, seq=1, txn="wave/abc")
    store.append("sightings", rows, seq=1, txn="wave/def")
    assert store.read("sightings").count() == 2


def test_rows_that_a_cut_off_run_landed_are_not_landed_again(store: Store) -> None:
    _sightings(store, 1, 2)
    again = store.spark.createDataFrame([("d", "u", "p", offset) for offset in (1, 2, 3)], SIGHTING)
    store.append_new("sightings", again, seq=2, after_seq=0)
    assert sorted(row["offset"] for row in store.read("sightings").collect()) == [1, 2, 3]


def test_a_stage_reads_the_runs_that_it_asks_for(store: Store) -> None:
    for seq in (1, 2, 3):
        store.append("sightings", store.spark.createDataFrame([("d", "u", "p", seq)], SIGHTING), seq=seq)
    assert {row["seq"] for row in store.read("sightings", after_seq=1).collect()} == {2, 3}
    assert {row["seq"] for row in store.read("sightings", until_seq=1).collect()} == {1}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("doc_id string, url string, path string, seq long", "offset is missing"),
        (f"{SIGHTING}, seq long, colour string", "colour is not a column"),
        ("doc_id string, url string, path string, offset string, seq long", "offset is string, not bigint"),
    ],
)
def test_rows_that_do_not_fit_their_table_are_refused(spark: SparkSession, columns: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        conform(spark.createDataFrame([], columns), TABLES["sightings"])


def test_replacing_the_rows_of_a_stage_leaves_the_others(store: Store) -> None:
    _sightings(store, 1, 2)
    store.replace("sightings", store.spark.createDataFrame([("d", "other", "p", 1)], SIGHTING), 2, where="offset = 1")
    assert {(row["url"], row["offset"]) for row in store.read("sightings").collect()} == {("other", 1), ("u", 2)}


def test_rows_are_deleted_and_changed_by_their_keys_a_second_time_without_effect(store: Store) -> None:
    _sightings(store, 1, 2, 3)
    two = store.spark.createDataFrame([("p", 2), ("p", 2), ("p", 9)], "path string, offset long")
    for _ in range(2):
        store.delete("sightings", two)
        store.change("sightings", two.selectExpr("path", "offset + 1 AS offset"), {"url": "'new'", "path": "t.url"})
    found = {(row["url"], row["path"], row["offset"], row["seq"]) for row in store.read("sightings").collect()}
    assert found == {("u", "p", 1, 1), ("new", "u", 3, 1)}
    store.delete("verdicts", store.spark.createDataFrame([("x",)], "subject_id string"))
    assert not store.exists("verdicts")


def test_a_store_whose_work_folder_was_lost_is_known_by_its_tables(store: Store, spark: SparkSession) -> None:
    _sightings(store, 1)
    store.work.delete()
    assert Store(spark, store.settings).open().read("sightings").count() == 1
