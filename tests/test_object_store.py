"""The work folder on an object store: what a disk does for it elsewhere, over the real client and a real protocol."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalake.corpus.files import list_files
from personalake.corpus.readers import Record, read
from personalake.corpus.splits import Split
from personalake.errors import StoreError
from personalake.lease import Lease
from personalake.llm.journal import Journal, forget_segments, record, replies, segments
from personalake.llm.outcome import Kind, Outcome, Usage
from personalake.settings import CorpusSettings
from personalake.work import Folder
from tests.conftest import ROOT
from tests.lake import WHOLE, Lake, same_rows
from tests.s3 import Server, s3_server, s3_session_conf
from tests.test_lease import a_killed_holder_gives_way, a_silent_holder_gives_way_after_its_expiry, one_of_twenty_holds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def work(server: Server, request: pytest.FixtureRequest) -> Folder:
    """A folder of this test's own."""
    return Folder(f"{server.address}/{request.node.name}/work")


def test_a_folder_is_there_once_something_lies_in_it(work: Folder) -> None:
    folder = work.make() / "a"
    assert (folder.exists(), folder.files(), folder.folders(), folder.read("x")) == (False, [], [], None)
    folder.write("x", b"one")
    folder.write("x", b"two")
    (folder / "b" / "c").write("y", b"")
    assert folder.read("x") == b"two"
    assert (folder.exists(), (folder / "x").exists(), (folder / "b").exists()) == (True, True, True)
    assert (folder.folders(), work.folders()) == (["b"], ["a"])
    assert [str(file.path).rpartition("/a/")[2] for file in folder.files()] == ["b/c/y", "x"]
    assert folder.for_spark == folder.address.replace("s3://", "s3a://")
    written = (folder / "x").written()
    assert written is not None
    assert abs(time.time_ns() - written) < 60e9
    assert (folder / "z").written() is None


def test_files_and_folders_are_deleted_alone_and_what_is_gone_does_not_matter(work: Folder) -> None:
    for name in ("x", "y", "z"):
        work.write(name, b"1")
    (work / "b").write("deep", b"2")
    work.delete_file("x")
    work.delete_file("x")
    work.delete_files([str(file.path) for file in work.files() if file.base_name in "xyz"])
    assert [file.base_name for file in work.files()] == ["deep"]
    work.prune()
    assert work.exists()
    (work / "b").delete()
    (work / "b").delete()
    assert (work.files(), (work / "b").exists()) == ([], False)
    work.prune()
    assert not work.exists()


class _Deletes:
    """The file system, on which everything is deleted between being found and being read."""

    def __init__(self, filesystem: Any) -> None:
        self._real = filesystem

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def open_input_stream(self, path: str) -> Any:
        stream = self._real.open_input_stream(path)
        self._real.delete_file(path)
        return stream


def test_an_object_that_is_deleted_while_it_is_read_is_none(work: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    work.write("x", b"1")
    real = work.filesystem
    monkeypatch.setattr(Folder, "filesystem", property(lambda _: _Deletes(real)))
    assert work.read("x") is None


def test_an_object_is_written_with_one_request_and_never_copied(server: Server, work: Folder) -> None:
    work.write("before", b"")  # The client's own start is over.
    before = len(server.received())
    work.write("x", b"content")
    (request,) = server.received()[before:]
    assert request.startswith("PUT ")


def test_a_listing_takes_a_request_for_every_thousand_objects(server: Server, work: Folder) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: (work / f"part={n % 7}").write(f"{n}", b""), range(1_010)))
    before = len(server.received())
    assert len(work.files()) == 1_010
    assert len(server.received()) - before == 2


def _journaled(wave: Folder, part: str, keys: list[str]) -> None:
    journal = Journal(wave, part, "0")
    for key in keys:
        outcome = Outcome(Kind.ANSWERED, reply=f"reply to {key}", usage=Usage(prompt=3, completion=2, microusd=7))
        journal.add(record(key, "infer", "label", "http://there", outcome, 1, 0.5))
    journal.flush()


def test_a_journal_is_read_by_the_next_attempt_and_forgotten_segment_by_segment(work: Folder) -> None:
    wave = work / "journal" / "wave=1"
    _journaled(wave, "0", ["a", "b"])
    _journaled(wave, "1", ["c"])
    landed = segments(wave)
    assert [(segment.rows, segment.tokens, segment.microusd) for segment in landed] == [(2, 10, 14), (1, 5, 7)]
    assert [replies(segment.path, wave).column("request_key").to_pylist() for segment in landed] == [["a", "b"], ["c"]]
    assert Journal(wave, "0", "1").answered() == {"a", "b"}
    _journaled(wave, "2", ["late"])
    forget_segments(wave, landed)
    left = segments(wave)
    assert Journal(wave, "2", "1").answered() == {"late"}
    assert replies(landed[0].path, wave).num_rows == 0
    forget_segments(wave, left)
    assert (work / "journal").folders() == []


def test_a_lease_leaves_nothing_behind(work: Folder) -> None:
    with Lease(work, "one") as lease:
        lease.check()
    assert work.files() == []


def test_of_twenty_that_start_at_once_exactly_one_holds(work: Folder) -> None:
    one_of_twenty_holds(work.address)


def test_a_holder_that_was_killed_gives_way_at_once(work: Folder) -> None:
    a_killed_holder_gives_way(work.address)


def test_a_holder_that_was_stopped_loses_its_lease_to_another_machine(
    work: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_silent_holder_gives_way_after_its_expiry(work.address, monkeypatch)


class _Refuses(BaseHTTPRequestHandler):
    """A store that knows nobody."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def _refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_missing_bucket_is_told_with_its_cure(server: Server) -> None:
    nowhere = Folder("s3://no-such-bucket/work")
    assert (nowhere.exists(), nowhere.read("x"), nowhere.files()) == (False, None, [])
    with pytest.raises(StoreError, match="create the bucket") as caught:
        nowhere.make().write("x", b"1")
    assert "\n" not in str(caught.value)


def test_a_store_that_refuses_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with _refusing() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        refused = Folder("s3://bucket/work")
        for ask in (refused.exists, refused.files, lambda: refused.write("x", b"1"), lambda: refused.read("x")):
            with pytest.raises(StoreError, match="give credentials that may") as caught:
                ask()
            assert "\n" not in str(caught.value)


def test_a_store_that_is_not_there_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # And not listening.
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(StoreError, match="see that the store answers") as caught:
            Folder("s3://bucket/work").exists()
    assert time.monotonic() - began < 15
    assert "\n" not in str(caught.value)


def test_an_address_with_a_key_in_it_is_refused_without_repeating_it() -> None:
    with pytest.raises(StoreError, match="a key doesn't belong in an address") as caught:
        Folder("s3://name:canary@bucket/work").exists()
    assert "canary" not in str(caught.value)


def test_a_file_system_that_nobody_knows_is_refused() -> None:
    with pytest.raises(StoreError, match="are known"):
        Folder("floppy://a/work").files()


@pytest.mark.faults
def test_a_run_whose_work_folder_is_on_an_object_store_brings_the_same_rows(
    lake: Lake, server: Server, endpoint: str, tmp_path: Path
) -> None:
    work = Folder(f"{server.address}/run")
    jars = "{" + ", ".join(f"{key}: '{value}'" for key, value in s3_session_conf().items()) + "}"
    overrides = [f"store.path={tmp_path / 'lake'}", f"store.work={work.address}", f"llm.base_url={endpoint}"]
    command = [sys.executable, "-m", "personalake.cli", "run", "--config", str(ROOT / "conf" / "local.yaml")]
    command += ["--set", *WHOLE, *overrides, f"spark={jars}"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    same_rows(lake, Lake(lake.spark, tmp_path / "lake", endpoint, WHOLE))
    assert any(".parquet" in request and "/journal/" in request for request in server.received())
    left = {str(file.path).removeprefix("bucket/run/").partition("/")[0] for file in work.files()}
    assert left == {"store.json", "minhash"}


def test_a_corpus_on_an_object_store_is_listed_and_read_as_one_on_a_disk(server: Server, tmp_path: Path) -> None:
    rows = [{"text": f"A page of the {word} that nobody else has written down."} for word in ("tides", "locks", "bees")]
    (tmp_path / "in/x").mkdir(parents=True)
    (tmp_path / "in/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "in/x/b.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[0]).encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in/x/c.parquet")
    (tmp_path / "in/_x.jsonl").write_text("hidden")
    (tmp_path / "in/some.paths").write_text("x/c.parquet\na.jsonl\n")
    top = Folder(f"{server.address}/corpus")
    for path in sorted((tmp_path / "in").rglob("*.*")):
        top.write(str(path.relative_to(tmp_path / "in")), path.read_bytes())
    settings = CorpusSettings.model_validate({})
    for what, named in ((".", ["a.jsonl", "some.paths", "x/b.jsonl.gz", "x/c.parquet"]), ("x/*.gz", ["x/b.jsonl.gz"])):
        files = list_files([f"{top.address}/{what}".removesuffix("/.")])
        assert [file.path.removeprefix(f"{top.address}/") for file in files] == named
    for file in list_files([f"{top.address}/some.paths"]):
        found = [item.text for item in read(Split.of(file), settings) if isinstance(item, Record)]
        assert found == [row["text"] for row in rows]
