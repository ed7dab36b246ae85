"""The bundled corpus, 900 real records and the edge cases of other readers come through as their manifests say."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from personalake.corpus.extract import extract
from personalake.corpus.files import list_files
from personalake.corpus.ingest import LAYOUT, page_reader
from personalake.corpus.language import declared_language, detect_language
from personalake.corpus.rows import rows_of as rows_of_splits
from personalake.corpus.splits import Split
from personalake.settings import CorpusSettings
from tests.corpus.known import f1, known_pages

BUNDLED = Path(__file__).resolve().parents[1] / "data"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SETTINGS = CorpusSettings.model_validate({})
PAGES = {"page", "exact_copy", "near_copy", "exact_duplicate", "near_duplicate", "non_utf8"}

needs_sample = pytest.mark.skipif(
    not (SHARED / "sample_corpus").is_dir(), reason="../shared/data/sample_corpus is not there"
)
needs_warcs = pytest.mark.skipif(not (SHARED / "warc").is_dir(), reason="../shared/data/warc is not there")


def rows_of(*paths: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file, by the file's name."""
    read = page_reader(SETTINGS, "")
    found: dict[str, list[dict[str, Any]]] = {}
    for file in list_files([str(path) for path in paths]):
        rows = [row for batch in rows_of_splits([Split.of(file)], read, LAYOUT.arrow) for row in batch.to_pylist()]
        found[file.path.rpartition("/")[2]] = rows
        places = [row["offset"] for row in rows[:-1]]
        assert places == sorted(set(places)), file.path
        assert rows[-1]["records"] == rows[-1]["pages"] + rows[-1]["refused"] + rows[-1]["ignored"]
    return found


def manifest(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return ((file, list(group)) for file, group in itertools.groupby(rows, key=lambda row: str(row["file"])))


def outcome(kind: str, note: str, row: dict[str, Any]) -> str | None:
    """The reason for which a record of this kind is refused; None where it is a page."""
    if kind == "very_short":
        return "http_status" if "status 404" in (row["detail"] or "") else "too_short"
    reasons = {"empty": "empty_body", "empty_body": "empty_body", "non_html": "not_html", "not_html": "not_html"}
    reasons |= {"not_found": "http_status", "error_page": "http_status", "truncated": "truncated", "cut": "truncated"}
    return None if kind in PAGES else reasons.get(kind, note)


def check(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    for file, expected in manifest(path):
        rows = [row for row in found[file] if row["kind"] != "file"]
        wanted = [item for item in expected if item["kind"] not in ("warcinfo", "request", "metadata")]
        if file == "broken.warc.gz":
            continue
        assert len(rows) == len(wanted), file
        for row, item in zip(rows, wanted, strict=True):
            assert row["reason"] == outcome(item["kind"], item.get("note", ""), row), item
            if row["kind"] == "page":
                assert row["url"] == item["url"]


def test_the_bundled_corpus_is_what_its_manifest_says() -> None:
    check(rows_of(BUNDLED / "corpus"), BUNDLED / "corpus_manifest.jsonl")


@needs_sample
def test_every_good_page_of_the_sample_is_one_and_every_bad_record_says_why() -> None:
    found = rows_of(SHARED / "sample_corpus")
    check(found, SHARED / "sample_corpus_manifest.jsonl")
    counts = {file: {name: rows[-1][name] for name in ("pages", "refused", "ignored")} for file, rows in found.items()}
    assert counts == {
        "broken.warc.gz": {"pages": 10, "refused": 1, "ignored": 2},
        "pages.jsonl.gz": {"pages": 589, "refused": 0, "ignored": 0},
        "sample.warc.gz": {"pages": 170, "refused": 8, "ignored": 6},
        "sample.warc.wet.gz": {"pages": 150, "refused": 0, "ignored": 1},
    }
    assert [row["reason"] for row in found["broken.warc.gz"] if row["kind"] == "reject"] == ["truncated"]


@needs_sample
@pytest.mark.parametrize(("kind", "mean", "least"), [("articles", 0.975, 0.19), ("site_pages", 0.98, 0.75)])
def test_text_out_of_html_is_the_known_one(kind: str, mean: float, least: float) -> None:
    scores = [f1(known, extract(html.encode(), "utf-8").text) for html, known in known_pages()[kind]]
    assert len(scores) >= 150
    assert min(scores) > least
    assert sum(scores) / len(scores) > mean


@needs_sample
def test_detection_agrees_with_the_declared_language_of_99_pages_in_100() -> None:
    found = rows_of(SHARED / "sample_corpus" / "pages.jsonl.gz")["pages.jsonl.gz"]
    pages = [row for row in found if row["kind"] == "page"]
    agree = Counter(detect_language(row["text"]) == declared_language(row["language"]) for row in pages)
    assert agree[True] >= 0.98 * 589


@needs_warcs
def test_edge_cases_of_other_readers_neither_raise_nor_go_silent() -> None:
    found = rows_of(*sorted((SHARED / "warc").iterdir()))
    pages = {file: rows[-1]["pages"] for file, rows in found.items() if rows[-1]["format"] != "unsupported"}
    assert pages["whirlwind.warc.gz"] == pages["whirlwind.warc.wet.gz"] == 1
    assert pages["example.warc"] == pages["example.warc.gz"] == pages["example-wrong-chunks.warc.gz"] == 1
    assert pages["example-bad-non-chunked.warc.gz"] == pages["example-iana.org-chunked.warc"] == 1
    assert [row["reason"] for row in found["example-trunc.warc"] if row["kind"] == "reject"] == ["corrupt"]


@needs_warcs
@pytest.mark.parametrize(
    ("name", "whole", "reason"),
    [
        ("corrupted-mid-record.warc.gz.open", 12, "corrupt"),
        ("corrupted-trailing-bytes.warc.gz.open", 30, "corrupt"),
        ("empty.warc.gz.open", 0, "empty_file"),
        ("good.warc.gz.open", 50, None),
    ],
)
def test_files_that_are_still_being_written_give_their_whole_records(
    tmp_path: Path, name: str, whole: int, reason: str | None
) -> None:
    copy = tmp_path / name.removesuffix(".open")
    copy.write_bytes((SHARED / "warc" / "internetarchive__gowarc" / name).read_bytes())
    rows = rows_of(copy)[copy.name]
    read = [row for row in rows[:-1] if row["reason"] in (None, "too_short", "not_html", "http_status", "empty_body")]
    assert len(read) == whole
    assert {row["reason"] for row in rows[:-1] if row not in read} == ({reason} if reason else set())
