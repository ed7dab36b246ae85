"""Runs over a corpus: Delta tables, what changed, what was forgotten, and an ingest that was killed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from personalake.corpus.ingest import content_hash
from personalake.dedup.sketches import page_sketches
from personalake.errors import InputError
from personalake.schemas import TOMBSTONES
from tests.lake import Lake, same_rows

STAGES = ("ingest",)
QUIET = ["dedup.page_threshold=null", "corpus.min_chars=20"]
TABLES = ("documents", "sightings", "rejects", "files_seen")


def page(about: str) -> str:
    return f"A page about {about}, which nobody else has written down before {about} was {about[::-1]}."


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    (tmp_path / "in").mkdir()
    return Lake(spark, tmp_path / "lake", "offline", [f"corpus.paths=['{tmp_path / 'in'}']", *QUIET])


def write(lake: Lake, name: str, *pages: dict[str, Any]) -> Path:
    file = lake.folder.parent / "in" / name
    file.write_text("".join(json.dumps(row) + "\n" for row in pages))
    return file


def balance(lake: Lake) -> None:
    """Every record of every file is somewhere."""
    items, accepted, duplicates, rejected = lake.sums("items", "accepted", "duplicates", "item_rejects")["ingest"]
    assert items == accepted + duplicates + rejected
    assert accepted == len(lake.rows("documents"))
    assert rejected >= len(lake.rows("rejects"))


def test_delta_tables_are_read_by_path_and_by_name_and_only_what_is_new(spark: SparkSession, lake: Lake) -> None:
    table = f"{lake.folder.parent}/in/pages"

    def add(names: list[str], target: str = table) -> None:
        rows = [(page(name), f"https://a.example/{name}", "CC0-1.0") for name in names]
        frame = spark.createDataFrame(rows, "content string, url string, license string").repartition(2)
        frame.write.format("delta").mode("append").save(target)

    add(["tides", "locks", "x"])
    spark.sql(f"DELETE FROM delta.`{table}` WHERE url LIKE '%/locks'")
    spark.sql("CREATE DATABASE IF NOT EXISTS corpus_runs")
    named = f"{lake.folder.parent}/named"
    empty = f"SELECT * FROM delta.`{table}` WHERE false"
    spark.sql(f"CREATE TABLE corpus_runs.pages USING delta LOCATION '{named}' AS {empty}")
    add(["bees", "tides"], named)
    lake.run("corpus.tables=[corpus_runs.pages]", "corpus.min_chars=70", stages=STAGES)
    urls = [row["url"].rpartition("/")[2] for row in lake.rows("documents")]
    assert sorted(urls) == ["bees", "tides"]
    assert [row["url"].rpartition("/")[2] for row in lake.rows("sightings")] == ["tides"]
    assert [row["reason"] for row in lake.rows("rejects")] == ["too_short"]
    assert {row["licence"] for row in lake.rows("documents")} == {"CC0-1.0"}
    balance(lake)

    before = lake.everything()
    assert "nothing new" in lake.run("corpus.tables=[corpus_runs.pages]", "corpus.min_chars=70", stages=STAGES).text
    add(["clocks"])
    lake.run("corpus.tables=[corpus_runs.pages]", "corpus.min_chars=70", stages=STAGES)
    assert len(lake.rows("documents")) == 3
    assert lake.rows("sightings") == before["sightings"]
    # The same rows in other files are neither pages nor sightings.
    spark.sql(f"OPTIMIZE delta.`{table}`")
    lake.run("corpus.tables=[corpus_runs.pages]", "corpus.min_chars=70", stages=STAGES)
    assert len(lake.rows("documents")) == 3
    assert lake.rows("sightings") == before["sightings"]
    spark.sql("DROP TABLE corpus_runs.pages")


def test_a_table_of_html_as_bytes_is_read_in_the_charset_of_each_page(spark: SparkSession, lake: Lake) -> None:
    pages = [f"<meta charset={name}><p>{page('café')}</p>".encode(name) for name in ("windows-1252", "utf-8")]
    rows = [(html, f"https://a.example/{n}") for n, html in enumerate(pages)]
    table = f"{lake.folder.parent}/in/bytes"
    spark.createDataFrame(rows, "html binary, url string").write.format("delta").save(table)
    lake.run(f"corpus.licence={{{lake.folder.parent}/in: CC-BY-4.0}}", stages=STAGES)
    assert [(row["text"], row["licence"]) for row in lake.rows("documents")] == [(page("café"), "CC-BY-4.0")]
    assert len(lake.rows("sightings")) == 1
    balance(lake)


def test_a_table_without_text_or_that_is_none_is_one_clear_line(spark: SparkSession, lake: Lake) -> None:
    spark.range(3).write.format("delta").save(f"{lake.folder.parent}/in/numbers")
    with pytest.raises(InputError, match=r"no column of text among `text`.*it has: id \(bigint\)"):
        lake.run(stages=STAGES)
    with pytest.raises(InputError, match="the table can't be read"):
        lake.run("corpus.paths=[]", "corpus.tables=[nowhere.pages]", stages=STAGES)


def test_a_page_that_changed_is_a_new_version_and_one_seen_again_a_sighting(lake: Lake) -> None:
    url = "https://a.example/tides"
    write(lake, "a.jsonl", {"text": page("tides"), "url": url}, {"text": page("locks"), "url": "https://a.example/l"})
    lake.run(stages=STAGES)
    write(lake, "b.jsonl", {"text": page("more tides"), "url": f"{url}?utm_source=x#top"}, {"text": page("locks")})
    lake.run(stages=STAGES)
    replaces = {row["text"]: row["replaces"] for row in lake.rows("documents")}
    assert replaces == {page("tides"): None, page("locks"): None, page("more tides"): content_hash(page("tides"))}
    assert [row["doc_id"] for row in lake.rows("sightings")] == [content_hash(page("locks"))]
    balance(lake)


def test_tombstones_are_obeyed(spark: SparkSession, lake: Lake) -> None:
    lake.run("corpus.paths=['" + str(write(lake, "z.jsonl", {"text": page("nothing")})) + "']", stages=STAGES)
    gone = [content_hash(page("tides")), hashlib.sha256(b"https://a.example/l").hexdigest()]
    columns = [f"{c.name} {c.type}" for c in TOMBSTONES.columns if c.name != "seq"]
    rows = [(id_, kind, None) for id_, kind in zip(gone, ("document", "url"), strict=True)]
    frame = spark.createDataFrame(rows, ", ".join(columns)).selectExpr(
        "id", "kind", "current_timestamp() AS forgotten_at"
    )
    lake.store.append("tombstones", frame, 1)
    write(
        lake,
        "a.jsonl",
        {"text": page("tides")},
        {"text": page("locks"), "url": "https://a.example/l"},
        {"text": page("bees")},
    )
    lake.run(stages=STAGES)
    assert sorted(row["text"] for row in lake.rows("documents")) == sorted([page("nothing"), page("bees")])
    assert [row["reason"] for row in lake.rows("rejects")] == ["forgotten", "forgotten"]
    balance(lake)


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_killed_ingest_reads_no_file_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        write(lake, f"{n}.jsonl", *({"text": page(f"{n} {word}")} for word in ("tides", "locks", "bees")))
    whole = Lake(lake.spark, lake.folder.parent / "whole", "offline", lake.overrides)
    whole.run(stages=STAGES)
    with monkeypatch.context() as patch:
        patch.setattr("personalake.stages.page_sketches", _dies)
        with pytest.raises(KeyboardInterrupt):
            lake.run(stages=STAGES)
    markers = sorted(lake.folder.rglob("bins/*.json"))
    stamps = {marker: marker.stat().st_mtime_ns for marker in markers}
    assert markers
    with monkeypatch.context() as patch:
        patch.setattr("personalake.stages.page_sketches", _looks(stamps))
        lake.run(stages=STAGES)
    same_rows(whole, lake, TABLES)
    balance(lake)
    assert not list(lake.folder.rglob("bins/*.json"))


def _looks(stamps: dict[Path, int]) -> Any:
    """What stands in for `page_sketches` once: nobody has read again what was read."""

    def looks(*arguments: Any) -> Any:
        assert {marker: marker.stat().st_mtime_ns for marker in stamps} == stamps
        return page_sketches(*arguments)

    return looks
