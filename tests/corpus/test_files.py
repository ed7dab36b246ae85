"""Files, folders and URIs become the sorted list of what is to be read, or one clear error."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from personalake.corpus.files import CorpusFile, format_of, list_files, open_corpus_file
from personalake.errors import InputError


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.warc", "warc"),
        ("a.WARC.GZ", "warc"),
        ("a.warc.wet.gz", "wet"),
        ("a.wet", "wet"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.warc.wat.gz", "unsupported"),
        ("a.json", "unsupported"),
        ("warc", "unsupported"),
    ],
)
def test_a_name_tells_the_format(name: str, expected: str) -> None:
    assert format_of(name) == expected


def test_a_folder_is_walked_in_order_and_keeps_files_that_it_cannot_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "in/b.jsonl", "in/a/z.warc.gz", "in/notes.pdf", "in/.hidden.jsonl", "in/_SUCCESS", "in/.git/x.jsonl")
    monkeypatch.chdir(tmp_path)
    found = list_files(["./in/", "in/b.jsonl"])
    assert [(file.path, file.format) for file in found] == [
        ("in/a/z.warc.gz", "warc"),
        ("in/b.jsonl", "jsonl"),
        ("in/notes.pdf", "unsupported"),
    ]


def test_a_file_has_its_size_and_the_nanoseconds_of_its_change(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl")
    path = tmp_path / "a.jsonl"
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    assert list_files([str(path)]) == [CorpusFile(str(path), "jsonl", 7, "1234567890123456789")]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    fill(tmp_path, "in/a/b.jsonl")
    (tmp_path / "in/a/up").symlink_to(tmp_path / "in")
    (tmp_path / "other").symlink_to(tmp_path / "in/a/b.jsonl")
    assert [file.path for file in list_files([str(tmp_path / "in")])] == [str(tmp_path / "in/a/b.jsonl")]


def test_a_uri_gives_what_the_folder_gives(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.jsonl", "in/b/c.wet.gz", "in/.x/d.jsonl", "in/e.txt")
    uri = (tmp_path / "in").as_uri()
    local, remote = list_files([str(tmp_path / "in")]), list_files([uri + "/"])
    assert [(f.path.removeprefix(uri), f.format, f.size, f.stamp) for f in remote] == [
        (f.path.removeprefix(str(tmp_path / "in")), f.format, f.size, f.stamp) for f in local
    ]
    with open_corpus_file(remote[0].path) as file:
        assert file.read(3) == b"in/"
        file.seek(1)
        assert file.read() == b"n/a.jsonl"


@pytest.mark.parametrize("prefix", ["{}", "file://{}"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.jsonl", "there is no such file"),
        ("in/notes.pdf", "no format that can be read"),
        ("empty", "there is no file in it"),
        ("in", "none of its 1 files is WARC"),
    ],
)
def test_a_path_that_gives_nothing_to_read_is_an_error(tmp_path: Path, prefix: str, name: str, said: str) -> None:
    fill(tmp_path, "in/notes.pdf")
    (tmp_path / "empty").mkdir()
    path = prefix.format(tmp_path / name)
    with pytest.raises(InputError, match=said) as error:
        list_files([path])
    assert error.value.where == path
    assert error.value.cure


def test_no_path_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match=r"corpus\.paths: nothing is named"):
        list_files([])


def test_an_unknown_scheme_is_an_error() -> None:
    with pytest.raises(InputError, match="nosuch can't be read"):
        list_files(["nosuch://bucket/a.jsonl"])


def test_a_uri_with_a_key_is_refused_without_showing_it() -> None:
    with pytest.raises(InputError, match="carries a key") as error:
        list_files(["s3://name:secret@bucket/pages"])
    assert "secret" not in str(error.value)


def test_names_with_blanks_and_signs_are_found_again_below_a_uri(tmp_path: Path) -> None:
    fill(tmp_path, "in/a b#1%.jsonl")
    (file,) = list_files([(tmp_path / "in").as_uri()])
    with open_corpus_file(file.path) as opened:
        assert opened.read() == b"in/a b#1%.jsonl"


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.jsonl")
    try:
        (tmp_path / "in" / os.fsdecode(b"\xff.jsonl")).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(InputError, match="not UTF-8"):
        list_files([str(tmp_path / "in")])


def test_a_pipe_is_an_error_rather_than_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="no regular file"):
        list_files([str(tmp_path)])


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.jsonl", "in/b.jsonl")
    path = tmp_path / "in/a.jsonl"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="can't be read"):
        list_files([str(tmp_path / "in")])


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.jsonl")
    (tmp_path / "in/b.jsonl").symlink_to(tmp_path / "gone.jsonl")
    with pytest.raises(InputError, match="no such file"):
        list_files([str(tmp_path / "in")])


@pytest.mark.parametrize("prefix", ["{}", "file://{}"])
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("in/**/c*.gz", ["x/c.wet.gz", "x/y/c2.warc.gz"]),
        ("in/[x-z]", ["x/c.wet.gz", "x/d.pdf", "x/y/c2.warc.gz"]),
        ("in/*", ["a.jsonl", "b.jsonl", "x/c.wet.gz", "x/d.pdf", "x/y/c2.warc.gz"]),
    ],
)
def test_a_pattern_means_what_a_shell_means(tmp_path: Path, prefix: str, pattern: str, found: list[str]) -> None:
    fill(tmp_path, "in/a.jsonl", "in/b.jsonl", "in/.h.jsonl", "in/_t/c9.wet.gz")
    fill(tmp_path, "in/x/c.wet.gz", "in/x/d.pdf", "in/x/y/c2.warc.gz")
    files = list_files([prefix.format(tmp_path / pattern)])
    assert [file.path.rpartition("/in/")[2] for file in files] == found
    with pytest.raises(InputError, match="no file matches") as error:
        list_files([prefix.format(tmp_path / "in/*.parquet")])
    assert error.value.cure


def test_a_name_that_looks_like_a_pattern_is_taken_as_it_stands(tmp_path: Path) -> None:
    fill(tmp_path, "in/a[1].jsonl", "in/a1.jsonl")
    assert [file.path for file in list_files([str(tmp_path / "in/a[1].jsonl")])] == [str(tmp_path / "in/a[1].jsonl")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_manifest_lists_what_is_read(tmp_path: Path, packed: bool) -> None:
    fill(tmp_path, "crawl/segments/a.warc.gz", "crawl/segments/b.warc.gz", "crawl/other.warc.gz")
    lines = b"segments/a.warc.gz\n\n# not now: other.warc.gz\nsegments/b.warc.gz\n"
    manifest = tmp_path / ("crawl/warc.paths.gz" if packed else "crawl/warc.paths")
    manifest.write_bytes(gzip.compress(lines) if packed else lines)
    assert [Path(file.path).name for file in list_files([str(manifest)])] == ["a.warc.gz", "b.warc.gz"]
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    manifest.rename(elsewhere / manifest.name)
    below = list_files([str(elsewhere / manifest.name)], prefix=f"{tmp_path}/crawl/")
    assert [Path(file.path).name for file in below] == ["a.warc.gz", "b.warc.gz"]
    with pytest.raises(InputError, match="there is no such file or folder"):
        list_files([str(elsewhere / manifest.name)])


def test_a_manifest_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.paths").write_bytes(b"\x1f\x8bbroken")
    (tmp_path / "b.paths").write_text("a.paths\n")
    for name, said in (("a.paths", "can't be read"), ("b.paths", "lists a manifest"), ("c.paths", "no such manifest")):
        with pytest.raises(InputError, match=said):
            list_files([str(tmp_path / name)])


@pytest.mark.parametrize("uri", [False, True])
def test_a_delta_table_is_one_thing_and_its_files_are_none(tmp_path: Path, uri: bool) -> None:
    fill(tmp_path, "in/t/_delta_log/0.json", "in/t/part-0.parquet", "in/t/x=1/part-1.parquet", "in/t2.jsonl")
    path = (tmp_path / "in").as_uri() if uri else str(tmp_path / "in")
    assert [(file.path.rpartition("/")[2], file.format) for file in list_files([path])] == [
        ("t", "delta"),
        ("t2.jsonl", "jsonl"),
    ]
    assert [file.format for file in list_files([f"{path}/t"])] == ["delta"]
    # Some of a table's files are of older versions, so a pattern that matches them means the table.
    for pattern in ("**/*.parquet", "t/*/*.parquet", "*/part-0.parquet"):
        assert [file.path.rpartition("/")[2] for file in list_files([f"{path}/{pattern}"])] == ["t"]
