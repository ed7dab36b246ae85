"""Tables and files of text: pages under whatever names, in parts, and each bad row for itself."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalake.corpus.files import list_files
from personalake.corpus.readers import BadRecord, Item, Record, read, read_placed
from personalake.corpus.splits import Split, splits_of
from personalake.settings import CorpusSettings

TEXT = "The lock keeper walks along the towpath every morning, whatever the weather says."


def items(path: Path, **settings: Any) -> list[Item]:
    files = list_files([str(path)])
    return [item for file in files for item in read(Split.of(file), CorpusSettings.model_validate(settings))]


def records(path: Path, **settings: Any) -> list[Record]:
    return [item for item in items(path, **settings) if isinstance(item, Record)]


def reasons(path: Path, **settings: Any) -> list[str]:
    return [item.reason if isinstance(item, BadRecord) else "page" for item in items(path, **settings)]


URL, DAY = "https://a.example/", "2024-02-21T00:00:00Z"
SHAPES = {
    "fineweb": {"text": TEXT, "id": "<urn>", "dump": "CC-MAIN-2024-10", "url": URL, "date": DAY, "language": "en"},
    "redpajama": {"raw_content": TEXT, "url": URL, "date_download": DAY, "language": "en"},
    "c4": {"text": TEXT, "timestamp": DAY, "url": URL},
    "dolma": {"id": "1", "text": TEXT, "source": "cc", "metadata": {"url": URL, "license": "CC0-1.0"}},
}


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_usual_corpora_need_no_mapping(tmp_path: Path, shape: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(SHAPES[shape]) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([SHAPES[shape]]), path)
    (record,) = records(path)
    assert (record.text, record.url) == (TEXT, "https://a.example/")
    if shape != "dolma":
        assert record.fetched_at == dt.datetime(2024, 2, 21, tzinfo=dt.timezone.utc)
    else:
        assert record.licence == "CC0-1.0"


def test_the_settings_name_the_columns_of_a_table(tmp_path: Path) -> None:
    row = {"body": {"main": TEXT}, "text": "not this", "seen": dt.datetime(2024, 5, 1), "page": b"<p>x"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (record,) = records(tmp_path / "a.parquet", columns={"text": "body.main", "fetched_at": "seen"})
    assert (record.text, record.fetched_at) == (TEXT, dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc))
    (record,) = records(tmp_path / "a.parquet", columns={"html": "page", "text": "nowhere"})
    assert (record.html, record.charset) == (b"<p>x", None)


def test_a_column_that_is_no_field_is_refused() -> None:
    with pytest.raises(ValueError, match="'words' is no field of a page"):
        CorpusSettings.model_validate({"columns": {"words": "x"}})


def test_parts_of_a_file_bring_each_row_once(tmp_path: Path) -> None:
    rows = [{"text": f"{TEXT} {n} {'x' * (n * 37 % 500)}"} for n in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=20)
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    settings = CorpusSettings.model_validate({})
    for file in list_files([str(tmp_path)]):
        whole = list(read(Split.of(file), settings))
        assert len(whole) == 300
        for parts in (1, 2, 7, 64, 400):
            bounds = [file.size * n // parts for n in range(parts)]
            ends = [*bounds[1:], None]
            splits = [
                Split(file.path, file.format, file.size, file.stamp, start, end)
                for start, end in zip(bounds, ends, strict=True)
            ]
            assert [item for split in splits for item in read(split, settings)] == whole


def test_only_what_can_be_parted_is(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.jsonl", "c.jsonl.gz", "d.csv", "e.warc", "f.txt"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(200 * 1024 * 1024)
    parts = {file.path.rpartition("/")[2]: len(list(splits_of(file))) for file in list_files([str(tmp_path)])}
    assert parts == {"a.parquet": 6, "b.jsonl": 6, "c.jsonl.gz": 1, "d.csv": 1, "e.warc": 1, "f.txt": 1}


def test_jsonl_that_is_packed_against_its_name_is_read_by_its_first_part(tmp_path: Path) -> None:
    import gzip  # noqa: PLC0415 (here only)

    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(b"".join(json.dumps({"text": f"{TEXT} {n}"}).encode() + b"\n" for n in range(99))))
    (file,) = list_files([str(path)])
    half = file.size // 2
    settings = CorpusSettings.model_validate({})
    first = list(read(Split(file.path, file.format, file.size, file.stamp, 0, half), settings))
    second = list(read(Split(file.path, file.format, file.size, file.stamp, half, None), settings))
    assert (len(first), second) == (99, [])


def test_a_parquet_file_that_is_none_or_is_cut_or_has_other_columns(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all")
    pq.write_table(pa.Table.from_pylist([{"words": TEXT}] * 3), tmp_path / "b.parquet")
    pq.write_table(pa.Table.from_pylist([{"text": 7}]), tmp_path / "c.parquet")
    pq.write_table(pa.Table.from_pylist([{"text": TEXT}, {"text": None}, {"text": " "}]), tmp_path / "d.parquet")
    found = {name: reasons(tmp_path / f"{name}.parquet") for name in "abcd"}
    assert found == {"a": ["not_parquet"], "b": ["no_text"], "c": ["no_text"], "d": ["page", "no_text", "empty_text"]}
    (bad,) = items(tmp_path / "b.parquet")
    assert isinstance(bad, BadRecord)
    assert bad.detail == "none of its 3 rows: its columns are words"


def test_a_broken_row_group_costs_itself(tmp_path: Path) -> None:
    rows = [{"text": f"{TEXT} {n}"} for n in range(40)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10, compression="zstd", write_page_checksum=True)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start + 40 : start + 60] = bytes(20)
    path.write_bytes(content)
    found = reasons(path)
    assert found.count("page") == 30
    assert "corrupt" in found


CSV = '''url;text;date
https://a.example/;"Two lines
of one; page";2024-02-21

https://b.example/;plain;
;"";x
too;many;values;here
'''  # fmt: skip


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_csv_has_its_columns_names_and_a_place_for_each_row(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "a.csv"
    content = "\ufeff" + CSV.replace("\n", ending)
    path.write_bytes(content.encode())
    found = items(path)
    assert [item.url if isinstance(item, Record) else getattr(item, "reason", "") for item in found] == [
        "https://a.example/", "https://b.example/", "no_text", "bad_row",
    ]  # fmt: skip
    assert [content.encode()[item.offset :].decode()[:5] for item in found] == ["https", "https", ';"";x', "too;m"]
    assert isinstance(found[0], Record)
    assert found[0].text == f"Two lines{ending}of one; page"


def test_a_quote_that_is_never_closed_costs_its_line(tmp_path: Path) -> None:
    lines = ["text,url"] + [f"{TEXT.replace(',', '')} {n},u{n}" for n in range(200)]
    lines[50] = '"' + lines[50]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    found = reasons(tmp_path / "a.csv", max_record_bytes=2_000)
    assert (found.count("page"), found.count("too_large")) == (199, 1)


def test_bad_bytes_in_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b"text\tx\n\0\0nul\0s in it\t1\n\xff\xfebroken\t2\n" + b"y" * 5_000 + b"\t3\nlast\t4\n"
    )
    found = items(tmp_path / "a.csv", max_record_bytes=2_000)
    assert [item.reason if isinstance(item, BadRecord) else getattr(item, "text", "") for item in found][::3] == [
        "nuls in it",
        "last",
    ]
    assert isinstance(found[2], BadRecord)
    assert found[2].reason == "too_large"
    (tmp_path / "b.csv").write_bytes(b"")
    assert reasons(tmp_path / "b.csv") == ["empty_file"]


def test_a_text_and_a_markdown_file_are_a_page_each(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Straße am Hafen\n".encode("cp1252"))
    (tmp_path / "b.md").write_text(
        f"---\ntitle: Tides\nlicense: CC0-1.0\nurl: https://a.example/\n---\n# Other\n\n{TEXT}\n"
    )
    (tmp_path / "c.md").write_text(f"Intro\n\n# The *lock* keeper #\n\n{TEXT}\n")
    (tmp_path / "d.md").write_text(f"---\n[broken: yaml\n---\n{TEXT}\n")
    (tmp_path / "e.html").write_text(f"<title>x</title><p>{TEXT}")
    a, b, c, d, e = records(tmp_path)
    assert (a.text, a.title) == ("Straße am Hafen\n", "a.txt")
    assert (b.title, b.licence, b.url, b.text) == ("Tides", "CC0-1.0", "https://a.example/", f"# Other\n\n{TEXT}\n")
    assert (c.title, d.title) == ("The *lock* keeper", "d.md")
    assert (e.html or b"").startswith(b"<title>")


def test_text_files_that_give_no_page_say_why(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"MZ\0\0\1binary")
    (tmp_path / "b.txt").write_bytes(b"  \n")
    (tmp_path / "c.txt").write_bytes(b"x" * 3_000)
    assert [reasons(tmp_path / f"{name}.txt", max_record_bytes=2_000)[0] for name in "abc"] == [
        "not_text", "empty_text", "too_large",
    ]  # fmt: skip


def test_a_plan_can_stop_within_a_file_by_its_bytes(tmp_path: Path) -> None:
    rows = [{"text": f"{TEXT} {n}"} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file in list_files([str(tmp_path)]):
        places = [place for _, place in read_placed(Split.of(file), CorpusSettings.model_validate({}))]
        assert places == sorted(places)
        assert 0.9 * file.size < places[-1] <= file.size
