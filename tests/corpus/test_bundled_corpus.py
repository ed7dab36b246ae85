"""The bundled corpus is what its builder writes, and as large and as varied as it says."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
SENTENCE_WORDS = 8
WORDS_IN_A_ROW = 10


def read_pages() -> dict[str, dict[str, str]]:
    """Front matter and body of each page, by its path."""
    pages = {}
    for path in sorted((DATA / "pages").glob("*/*.md")):
        _, front, body = path.read_text("utf-8").split("---\n", 2)
        fields = dict(line.split(": ", 1) for line in front.splitlines())
        pages[path.relative_to(DATA / "pages").as_posix()] = fields | {"body": body.strip()}
    return pages


def gunzip_members(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole gzip members, unpacked, and what could be unpacked of a last one that is cut."""
    members: list[bytes] = []
    while data:
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = unpack.decompress(data)
        if not unpack.eof:
            return members, content
        members.append(content)
        data = unpack.unused_data
    return members, b""


def manifest() -> list[dict[str, str]]:
    """The rows of the committed manifest."""
    return [json.loads(line) for line in (DATA / "corpus_manifest.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the corpus was built anew, by the command that the README gives."""
    target = tmp_path_factory.mktemp("rebuilt")
    command = [sys.executable, "-m", "tests.data.build_corpus", str(target)]
    subprocess.run(command, check=True, timeout=60, cwd=DATA.parents[1])
    return target


@pytest.mark.parametrize("name", ["corpus/crawl.warc.gz", "corpus/text.warc.wet.gz"])
def test_rebuilding_gives_the_committed_records(rebuilt: Path, name: str) -> None:
    """Compared unpacked: two zlib versions may pack the same bytes differently."""
    assert gunzip_members((rebuilt / name).read_bytes()) == gunzip_members((DATA / name).read_bytes())


@pytest.mark.parametrize("name", ["corpus/pages.jsonl", "corpus_manifest.jsonl"])
def test_rebuilding_gives_the_committed_lines(rebuilt: Path, name: str) -> None:
    """Byte for byte, since nothing is packed here."""
    assert (rebuilt / name).read_bytes() == (DATA / name).read_bytes()


def test_the_cut_file_holds_three_whole_records_and_a_piece_of_the_fourth(rebuilt: Path) -> None:
    """How much of the piece unpacks depends on zlib; that it is the head of the same record does not."""
    members, piece = gunzip_members((DATA / "corpus/cut.warc.gz").read_bytes())
    again, piece_again = gunzip_members((rebuilt / "corpus/cut.warc.gz").read_bytes())
    assert len(members) == 3
    assert members == again
    assert piece.startswith(b"WARC/1.1\r\nWARC-Type: response\r\n")
    assert piece.startswith(piece_again) or piece_again.startswith(piece)


def test_the_folder_holds_no_other_file(rebuilt: Path) -> None:
    """What is committed in `corpus/` is what the builder writes there."""
    names = {path.name for path in (DATA / "corpus").iterdir()}
    assert names == {path.name for path in (rebuilt / "corpus").iterdir()}


def test_the_manifest_counts_every_record_of_every_file() -> None:
    """One row per record or line, numbered from 0 in file order."""
    ordinals: dict[str, list[int]] = {}
    for row in manifest():
        ordinals.setdefault(row["file"], []).append(int(row["ordinal"]))
    lengths = {"pages.jsonl": len((DATA / "corpus/pages.jsonl").read_bytes().splitlines())}
    for path in (DATA / "corpus").glob("*.gz"):
        members, piece = gunzip_members(path.read_bytes())
        lengths[path.name] = len(members) + bool(piece)
    assert ordinals == {file: list(range(length)) for file, length in lengths.items()}


def test_every_page_stands_whole_in_the_corpus_once_and_copies_name_what_they_copy() -> None:
    """64 pages, each of kind `page` in one file only."""
    rows = manifest()
    whole = {row["url"]: row for row in rows if row["kind"] == "page"}
    assert sorted(whole) == sorted(page["url"] for page in read_pages().values())
    assert Counter(row["kind"] for row in rows)["page"] == len(whole)
    copies = [row for row in rows if row["kind"] in {"exact_copy", "near_copy", "truncated"}]
    assert {row["of"] for row in copies} <= set(whole)


def test_odd_records_are_as_many_as_the_readme_says() -> None:
    """What a reader has to survive, by kind."""
    kinds = Counter(row["kind"] for row in manifest())
    del kinds["page"]
    assert kinds == {
        "warcinfo": 2,
        "exact_copy": 4,
        "near_copy": 3,
        "very_short": 2,
        "empty": 2,
        "non_html": 1,
        "not_found": 1,
        "request": 1,
        "metadata": 1,
        "bad_line": 4,
        "truncated": 1,
    }


def test_there_are_sixty_pages_of_150_to_500_words_over_20_subjects_and_4_languages() -> None:
    """The size and breadth that the README promises."""
    pages = read_pages()
    lengths = {name: len(page["body"].split()) for name, page in pages.items()}
    assert len(pages) >= 60
    assert {name: length for name, length in lengths.items() if not 150 <= length <= 500} == {}
    assert len({page["subject"] for page in pages.values()}) >= 20
    assert Counter(page["language"] for page in pages.values()) == {"en": 40, "es": 8, "de": 8, "fr": 8}


def test_every_page_is_free_and_lives_on_an_example_host() -> None:
    """No licence but CC0, no host that could be somebody's."""
    for name, page in read_pages().items():
        assert page["licence"] == "CC0-1.0", name
        assert name.startswith(page["language"] + "/")
        assert re.match(r"https://([a-z-]+\.)?example\.(org|com|net)/\S+$", page["url"]), name


def test_no_two_pages_share_a_long_sentence_or_ten_words_in_a_row() -> None:
    """Pages are written one by one, not from a template."""
    seen: dict[tuple[str, ...], str] = {}
    shared = []
    for name, page in read_pages().items():
        words = re.findall(r"\w+", page["body"].casefold())
        runs = {tuple(words[start : start + WORDS_IN_A_ROW]) for start in range(len(words) - WORDS_IN_A_ROW + 1)}
        sentences = (tuple(re.findall(r"\w+", part)) for part in re.split(r"[.!?:]\s|\n", page["body"].casefold()))
        for run in itertools.chain(runs, {words for words in sentences if len(words) >= SENTENCE_WORDS}):
            if seen.setdefault(run, name) != name:
                shared.append((seen[run], name, " ".join(run)))
    assert shared == []


def test_one_page_carries_an_address_and_one_an_injection_and_none_a_telephone_number() -> None:
    """What the checks on personas need to have met, and nothing that could reach anybody."""
    pages = read_pages()
    assert [name for name, page in pages.items() if "@" in page["body"]] == ["en/allotment-minutes.md"]
    assert [name for name, page in pages.items() if "ignore your instructions" in page["body"]] == [
        "en/poisoned-ticket.md"
    ]
    assert [
        name for name, page in pages.items() if re.search(r"\+\d{2}[\d ]{5,}|\d{3,}[ /-]\d{4,}", page["body"])
    ] == []
