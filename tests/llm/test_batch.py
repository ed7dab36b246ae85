"""The Batch API over real HTTP: longer than most, for it holds a provider that can be made to go wrong at each step.

The usual way is tried against the embedded endpoint.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalake.errors import DeferredError, PersonalakeError, StopRunError
from personalake.llm.batch import Desk
from personalake.llm.batch_files import Cut, Row, write_files
from personalake.llm.batch_notes import KEYS_FILE, Notes, Submitted, Terms
from personalake.llm.batch_results import Collected
from personalake.llm.batch_wire import Wire
from personalake.llm.client import Endpoint
from personalake.llm.journal import SCHEMA, Journal, segments
from personalake.llm.models import Price
from personalake.llm.offline import OfflineSettings, serving
from personalake.settings import ApiKeySettings
from personalake.work import Folder

PRICE = Price.model_validate({"input": 1.0, "cached_input": None, "output": 2.0, "as_of": "2026-01-01"})
TERMS = {stage: Terms(label=f"my-{stage}", price=PRICE) for stage in ("infer", "expand")}
ENDED = 1_800_000_000
Fault = tuple[int, dict[str, Any]] | str


class Provider:
    """Files and batches in memory; `faults` are what the next calls of a kind come to, in turn."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: list[dict[str, Any]] = []
        self.faults: dict[str, list[Fault]] = {}
        self.calls: list[str] = []
        self.teams: list[str | None] = []
        self.page = 100
        self.base_url = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], content: bytes) -> Fault | bytes:
        parts = path.removeprefix("/v1/").split("/")
        call = f"{method} {parts[0]}" + (f"/id/{'/'.join(parts[2:])}" if len(parts) > 1 else "")
        self.calls.append(call)
        fault = self.faults[call].pop(0) if self.faults.get(call) else None
        if fault not in (None, "made, then silence", "made, then 500"):
            return fault or ""
        done = self._do(method, parts, query, content)
        if fault == "made, then 500":
            return 500, {"error": {"message": "The server had an error."}}
        return "silence" if fault else done

    def _do(self, method: str, parts: list[str], query: dict[str, list[str]], content: bytes) -> Fault | bytes:
        kind = self._file if parts[0] == "files" else self._batch
        return kind(method, parts[1:], query, content)

    def _file(self, method: str, parts: list[str], _: dict[str, list[str]], content: bytes) -> Fault | bytes:
        if not parts and method == "POST":
            name = re.search(rb'filename="([^"]+)"', content)
            body = content.split(b"application/jsonl\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0]
            return 200, {"id": self.keep(body, name[1].decode() if name else "")}
        if not parts:
            return 200, {"data": [{"id": key, "filename": name} for key, (name, _) in self.files.items()]}
        if parts[0] not in self.files:
            return 404, {"error": {"message": f"No such File object: {parts[0]}"}}
        if method == "DELETE":
            del self.files[parts[0]]
            return 200, {"id": parts[0], "deleted": True}
        return self.files[parts[0]][1]

    def _batch(self, method: str, parts: list[str], query: dict[str, list[str]], content: bytes) -> Fault:
        if not parts and method == "POST":
            made = {"id": f"batch_{len(self.batches)}", "status": "validating", "created_at": ENDED - 100}
            self.batches.append({**json.loads(content), **made})
            return 200, self.batches[-1]
        if not parts:
            listed = [b["id"] for b in self.batches[::-1]]
            start = listed.index(query["after"][0]) + 1 if "after" in query else 0
            rows = self.batches[::-1][start : start + self.page]
            return 200, {"data": rows, "has_more": start + self.page < len(listed)}
        found = [b for b in self.batches if b["id"] == parts[0]]
        if found and parts[-1] == "cancel":
            found[0]["status"] = "cancelled"
        return (200, found[0]) if found else (404, {"error": {"message": "No batch found"}})

    def keep(self, content: bytes, name: str = "output") -> str:
        self.files[f"file-{len(self.files) + len(self.calls)}"] = (name, content)
        return next(reversed(self.files))

    def keys(self, batch: dict[str, Any]) -> list[str]:
        lines = self.files[batch["input_file_id"]][1].splitlines()
        return [json.loads(line)["custom_id"] for line in lines]

    def end(self, status: str = "completed", output: Any = None, error: Any = None, **told: Any) -> None:
        """End the last batch with these lines (or this file id) in its files."""
        for name, lines in (("output_file_id", output), ("error_file_id", error)):
            joined = "".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines or [])
            self.batches[-1][name] = self.keep(joined.encode()) if isinstance(lines, list) else lines
        self.batches[-1].update(status=status, **{f"{status}_at": ENDED}, **told)


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            parts = urlsplit(self.path)
            provider.teams.append(self.headers.get("X-Team"))
            told = provider.answer(self.command, parts.path, parse_qs(parts.query), self._body())
            if isinstance(told, str):
                self.close_connection = True
                return
            status, content = (200, told) if isinstance(told, bytes) else (told[0], json.dumps(told[1]).encode())
            self.send_response(status)
            self.send_header(
                "Content-Type", "application/octet-stream" if isinstance(told, bytes) else "application/json"
            )
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        do_GET = do_POST = do_DELETE = _any

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def desk(provider: Provider, tmp_path: Path, waits: list[float]) -> Iterator[Desk]:
    with _desk(provider.base_url, tmp_path, pause=waits.append) as made:
        yield made


def _desk(base_url: str, folder: Path, **changes: Any) -> Desk:
    key = ApiKeySettings.model_validate({})
    # Only what a desk needs: the rest of an endpoint is the online transport's.
    endpoint = Endpoint.model_construct(
        base_url=base_url, api_key=key, headers={"X-Team": "a"}, ca_file=None, timeout_s=9
    )
    options = {"attempts": 3, "pause": lambda _: None, **changes}
    return Desk(endpoint, "store-1", Folder(str(folder / "batches")), "https://provider", **options)


def _row(number: int, stage: str = "infer", model: str = "offline-rules", **more: Any) -> Row:
    body = {"model": model, "messages": [{"role": "user", "content": f"Bridge {number} — 橋\u2028"}], **more}
    key = hashlib.sha256(f"{stage}{number}".encode()).hexdigest()
    return Row(key, stage, json.dumps(body, ensure_ascii=False), 10)


def _rows(count: int, **more: Any) -> list[Row]:
    return [_row(number, **more) for number in range(count)]


def _hand_in(desk: Desk, rows: Iterable[Row]) -> Submitted:
    (made,) = desk.submit(rows, TERMS)
    return made


def _answer(row: Row, text: str = "A toll keeper.") -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    body = {"model": "m-1", "choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}
    response = {"status_code": 200, "request_id": "req-1", "body": body}
    return {"id": "x", "custom_id": row.request_key, "response": response, "error": None}


def _failure(row: Row, status: int, **error: Any) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "req-2", "body": {"error": error}}
    return {"id": "x", "custom_id": row.request_key, "response": response, "error": None}


def _unrun(row: Row, code: str) -> dict[str, Any]:
    error = {"code": code, "message": "This request could not be executed."}
    return {"id": "x", "custom_id": row.request_key, "response": None, "error": error}


def _collect(desk: Desk, batch: Submitted, wave: Path) -> tuple[Collected, pa.Table]:
    told = desk.collect(batch, Journal(Folder(str(wave)), "batch", "0"))
    found = segments(Folder(str(wave)))
    tables = [pq.read_table(s.path, schema=SCHEMA, partitioning=None) for s in found]
    return told, pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _sums_up(told: Collected) -> bool:
    return told.final and told.requests == told.answered + told.rejected + told.free


# The usual way


def test_a_batch_is_answered_and_journaled_at_the_price_given_and_its_files_are_deleted(tmp_path: Path) -> None:
    with serving(OfflineSettings(flaws=0, batch_seconds=0.02)) as url, _desk(url, tmp_path) as desk:
        rows = [*_rows(5), _row(9, n=99)]
        batch = _hand_in(desk, rows)
        assert (batch.stage, batch.model, batch.requests, batch.worst_microusd) == ("infer", "offline-rules", 6, 60)
        assert sorted(desk.waiting_keys()) == sorted(row.request_key for row in rows)
        assert pq.read_table(desk.keys_files()[0].removeprefix("file://")).num_rows == 6
        deadline, told, table = time.monotonic() + 20, Collected("", "", "", False, 0), SCHEMA.empty_table()
        while not told.final and time.monotonic() < deadline:
            told, table = _collect(desk, batch, tmp_path / "wave")
        assert (told.status, told.answered, told.answered + told.rejected + told.free) == ("completed", 5, 6)
        answered = [row for row in table.to_pylist() if row["error"] is None]
        assert {row["request_key"] for row in answered} == {row.request_key for row in rows[:5]}
        for row in answered:
            assert (row["stage"], row["model"], row["endpoint"]) == ("infer", "my-infer", "https://provider")
            assert (row["attempts"], row["latency_ms"], row["request_id"] is None) == (1, None, False)
            assert row["cost_microusd"] == PRICE.microusd(row["prompt_tokens"], 0, row["completion_tokens"])
        desk.settle(batch, delete_files=True)
        assert (list(desk.waiting_keys()), desk.open_batches()) == ([], [])
        with pytest.raises(PersonalakeError, match=r"output file of batch .* isn't there"):
            desk.collect(batch, Journal(Folder(str(tmp_path / "late")), "batch", "0"))


def test_files_are_cut_by_rows_and_bytes_and_hold_one_stage_and_model(tmp_path: Path) -> None:
    mixed = [
        row for n in range(5) for row in (_row(n), _row(n, "expand"), _row(100 + n, model="other", note="two\nlines"))
    ]
    files = list(write_files([*mixed, mixed[-1]], tmp_path, Cut(rows=2)))
    assert Counter((f.stage, f.model, len(f.keys)) for f in files) == {
        (stage, model, size): count
        for stage, model in (("infer", "offline-rules"), ("expand", "offline-rules"), ("infer", "other"))
        for size, count in ((2, 2), (1, 1))
    }
    lines = [json.loads(line) for f in files for line in f.path.read_bytes().split(b"\n")[:-1]]
    assert {line["custom_id"]: line["body"] for line in lines} == {r.request_key: json.loads(r.body) for r in mixed}
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert files[0].digest == hashlib.sha256(files[0].path.read_bytes()).hexdigest()
    size = files[0].size
    small = list(write_files(_rows(4), tmp_path / "small", Cut(size=size)))
    assert [(len(f.keys), f.size, f.path.stat().st_size) for f in small] == [(2, size, size)] * 2


def test_an_open_batch_is_only_looked_at(desk: Desk, provider: Provider, tmp_path: Path) -> None:
    batch = _hand_in(desk, _rows(2))
    provider.batches[-1].update(status="in_progress", request_counts={"total": 2, "completed": 1, "failed": 0})
    told, table = _collect(desk, batch, tmp_path / "wave")
    assert (told.final, told.status, told.done, table.num_rows) == (False, "in_progress", 1, 0)
    assert provider.batches[0]["metadata"] == {
        "store": "store-1",
        "submission": batch.submission,
        "stage": "infer",
        "digest": batch.digest,
    }


def test_what_was_asked_for_by_another_run_keeps_its_label_price_and_stage(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    rows = _rows(1)
    _hand_in(desk, rows)
    provider.end(output=[_answer(rows[0])])
    with _desk(provider.base_url, tmp_path) as later:
        (batch,) = later.open_batches()
        told, table = _collect(later, batch, tmp_path / "wave")
    assert (told.answered, told.microusd, table["model"][0].as_py()) == (1, 120, "my-infer")
    assert table["answered_at"][0].as_py() == dt.datetime.fromtimestamp(ENDED, dt.timezone.utc)


def test_a_local_provider_is_reached_past_a_proxy_and_gets_our_headers(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with _desk(provider.base_url, tmp_path) as desk:
        _hand_in(desk, _rows(1))
    assert set(provider.teams) == {"a"}


# Odd ends


def test_a_second_collection_journals_the_same_rows_to_the_last_byte(
    desk: Desk, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personalake.llm.batch_results._FLUSH_ROWS", 2)
    rows = _rows(5)
    batch = _hand_in(desk, rows)
    provider.end(output=[_answer(row) for row in rows])
    first, second = (_collect(desk, batch, tmp_path / name) for name in ("one", "two"))
    assert first[1].num_rows == 5
    assert first[0] == second[0]
    assert first[1].equals(second[1])
    names = [[Path(s.path).name for s in segments(Folder(str(tmp_path / n)))] for n in ("one", "two")]
    assert names[0] == names[1]
    assert len(names[0]) == 3


def test_each_line_of_the_files_comes_to_what_it_says(desk: Desk, provider: Provider, tmp_path: Path) -> None:
    rows = _rows(10)
    batch = _hand_in(desk, rows)
    cut = _answer(rows[1])
    cut["response"]["body"]["choices"][0]["finish_reason"] = "length"
    odd = _answer(rows[2])
    odd["response"]["body"]["choices"] = ["?"]
    bare = _answer(rows[7], "half a pair \ud800")
    del bare["response"]["status_code"]
    told_in_error = {**_unrun(rows[8], "content_filter"), "response": {"status_code": 400, "body": {}}}
    output = [_answer(rows[0]), _answer(rows[0], "again"), cut, odd, "{half a line\n", "[]\n", "\n"]
    output += [{**_answer(rows[0]), "custom_id": other} for other in ("who?", ["a list"])]
    output += [{"custom_id": rows[9].request_key, "response": None}]
    error = [
        _failure(rows[3], 400, message="Too long.", code="context_length_exceeded"),
        _failure(rows[4], 429, message="Slow down.", code="rate_limit_exceeded"),
        _failure(rows[5], 500, message="Oops."),
        _failure(rows[0], 500, message="Late."),
        bare,
        told_in_error,
    ]
    provider.end(output=output, error=error)
    told, table = _collect(desk, batch, tmp_path / "wave")
    by_key = {row["request_key"]: (row["error"], row["cost_microusd"]) for row in table.to_pylist()}
    expected = [(0, None, 120), (1, "length", 120), (3, "too_long", 0), (7, None, 120), (8, "content_filter", 0)]
    assert by_key == {rows[n].request_key: (reason, cost) for n, reason, cost in expected}
    assert "again" not in table["reply"].to_pylist()
    assert told.ignored == {"repeated": 2, "garbage": 2, "unknown": 2}
    assert told.freed == {"http_500": 1, "missing": 1, "no_response": 1, "rate_limited": 1, "unusable_reply": 1}
    assert (told.answered, told.rejected, told.missing, told.stop) == (2, 3, 1, None)
    assert (told.microusd, told.wasted_microusd) == (360, 120)
    assert _sums_up(told)
    assert told.detail.startswith("completed: 2 answered, 3 rejected, ")


def test_an_answer_that_follows_a_failure_of_the_same_row_counts(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    rows = _rows(1)
    batch = _hand_in(desk, rows)
    provider.end(output=[_failure(rows[0], 500, message="Oops."), _answer(rows[0])])
    told, _ = _collect(desk, batch, tmp_path / "wave")
    assert (told.answered, told.freed) == (1, {})


@pytest.mark.parametrize(("status", "code"), [("expired", "batch_expired"), ("cancelled", "batch_cancelled")])
def test_what_was_answered_before_a_batch_expired_or_was_cancelled_is_kept(
    desk: Desk, provider: Provider, tmp_path: Path, status: str, code: str
) -> None:
    rows = _rows(3)
    batch = _hand_in(desk, rows)
    provider.end(status, output=[_answer(rows[0])], error=[_unrun(rows[1], code)])
    told, table = _collect(desk, batch, tmp_path / "wave")
    assert (told.status, told.answered, told.freed) == (status, 1, {code: 1, "missing": 1})
    assert table["request_key"].to_pylist() == [rows[0].request_key]
    assert _sums_up(told)


def test_a_completed_batch_whose_rows_all_failed_alike_stops_the_run_and_frees_them(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    rows = _rows(25)
    batch = _hand_in(desk, rows)
    provider.end(error=[_failure(row, 400, message="Bad shape.", code="odd_shape") for row in rows], output="")
    told, table = _collect(desk, batch, tmp_path / "wave")
    assert (told.freed, table.num_rows, _sums_up(told)) == ({"odd_shape": 25}, 0, True)
    assert str(told.stop).startswith(f"{provider.base_url}: odd_shape: Bad shape.")


@pytest.mark.parametrize("count", [3, 25])
def test_a_completed_batch_whose_rows_failed_each_for_itself_rejects_them(
    desk: Desk, provider: Provider, tmp_path: Path, count: int
) -> None:
    rows = _rows(count)
    batch = _hand_in(desk, rows)
    code = "content_filter" if count == 25 else "odd_shape"
    provider.end(error=[_failure(row, 400, message="No.", code=code) for row in rows])
    told, table = _collect(desk, batch, tmp_path / "wave")
    assert (told.rejected, told.free, told.stop, table.num_rows) == (count, 0, None, count)


def test_a_model_that_nobody_knows_stops_the_run_after_what_is_good_was_journaled(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    rows = _rows(2)
    batch = _hand_in(desk, rows)
    error = [_failure(rows[1], 404, message="The model does not exist.", code="model_not_found")]
    provider.end(output=[_answer(rows[0])], error=error)
    told, table = _collect(desk, batch, tmp_path / "wave")
    assert (told.answered, told.freed, table.num_rows) == (1, {"unknown_model": 1}, 1)
    assert "set llm.model" in str(told.stop)


def test_a_completed_batch_without_any_file_frees_its_rows(desk: Desk, provider: Provider, tmp_path: Path) -> None:
    batch = _hand_in(desk, _rows(2))
    provider.end(error="", request_counts={"total": 2, "completed": 0, "failed": 2})
    told, _ = _collect(desk, batch, tmp_path / "wave")
    assert (told.missing, _sums_up(told)) == (2, True)


def test_a_batch_that_has_answers_and_names_no_file_yet_stays_open(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    batch = _hand_in(desk, _rows(2))
    provider.end(request_counts={"total": 2, "completed": 2, "failed": 0})
    told, _ = _collect(desk, batch, tmp_path / "wave")
    assert (told.final, told.done) == (False, 2)


def _line_errors(count: int, code: str) -> list[dict[str, Any]]:
    return [{"code": code, "message": f"Line {n} is wrong.", "param": None, "line": n + 1} for n in range(count)]


@pytest.mark.parametrize(
    ("errors", "requests", "deferred", "stop"),
    [
        ([{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}], 2, "Enqueued token", None),
        ([{"code": "billing_hard_limit_reached", "message": "Pay."}], 2, "insufficient_quota: Pay.", None),
        (_line_errors(1, "invalid_request"), 2, "line 1: invalid_request: Line 0 is wrong.; ask these one by", None),
        (_line_errors(2, "invalid_request"), 2, None, "line 1: invalid_request: Line 0 is wrong. (and 1 more)"),
        (_line_errors(20, "invalid_request"), 30, None, "(and 19 more)"),
        ([{"code": "empty_file", "message": "The file is empty."}], 2, None, "empty_file: The file is empty."),
        ([{"code": "model_not_found", "message": "No such model.", "line": 1}], 2, None, ": No such model."),
        (None, 2, "without a reason", None),
    ],
)
def test_a_failed_batch_frees_its_rows_and_says_whether_to_wait_or_to_stop(
    desk: Desk,
    provider: Provider,
    tmp_path: Path,
    errors: Any,
    requests: int,
    deferred: str | None,
    stop: str | None,
) -> None:
    batch = _hand_in(desk, _rows(requests))
    provider.end("failed", errors={"object": "list", "data": errors} if errors else None)
    told, table = _collect(desk, batch, tmp_path / "wave")
    assert (told.status, told.freed, table.num_rows) == ("failed", {"not_run": requests}, 0)
    assert told.deferred is None if deferred is None else deferred in str(told.deferred)
    assert told.stop is None if stop is None else stop in str(told.stop)


def test_an_output_file_that_is_gone_leaves_the_batch_open_and_journals_nothing(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    rows = _rows(2)
    batch = _hand_in(desk, rows)
    provider.end(output=[_answer(rows[0])], error="file-gone")
    with pytest.raises(PersonalakeError, match=f"the error file of batch .* isn't there .*delete .*{batch.submission}"):
        _collect(desk, batch, tmp_path / "wave")
    assert segments(Folder(str(tmp_path / "wave"))) == []
    assert desk.open_batches() == [batch]


def test_a_batch_of_another_address_or_key_is_named_and_stays_open(
    desk: Desk, provider: Provider, tmp_path: Path
) -> None:
    batch = _hand_in(desk, _rows(1))
    with pytest.raises(PersonalakeError, match=r"lies at https://elsewhere .*set llm.base_url"):
        desk.collect(batch.model_copy(update={"endpoint": "https://elsewhere"}), Journal(Folder(""), "b", "0"))
    provider.batches.clear()
    with pytest.raises(PersonalakeError, match="the batch batch_0 isn't there"):
        _collect(desk, batch, tmp_path / "wave")
    assert desk.open_batches() == [batch]


# Failing calls


def test_calls_that_are_safe_to_repeat_are_tried_again_after_a_wait(
    desk: Desk, provider: Provider, tmp_path: Path, waits: list[float]
) -> None:
    busy: Fault = (503, {"error": {"message": "Busy."}})
    provider.faults = {
        "POST files": ["made, then silence", busy],
        "POST batches": [
            (429, {"error": {"message": "Slow down."}}),
            (400, {"error": {"message": "Cannot find file f"}}),
        ],
        "GET batches/id/": [busy, "silence"],
        "GET files/id/content": ["silence", busy],
    }
    rows = _rows(2)
    batch = _hand_in(desk, rows)
    provider.end(output=[_answer(row) for row in rows])
    told, _ = _collect(desk, batch, tmp_path / "wave")
    assert (told.answered, len(provider.batches), len(waits)) == (2, 1, 8)
    assert provider.calls.count("GET batches") == 0


@pytest.mark.parametrize(
    ("call", "fault", "error", "said"),
    [
        ("POST files", (401, {"error": {"message": "Wrong key sk-abcdef1"}}), StopRunError, "HTTP 401: Wrong key sk-…"),
        (
            "POST files",
            (400, {"error": {"message": "File is too large."}}),
            StopRunError,
            "set a smaller llm.batch_rows",
        ),
        ("POST files", (404, {"detail": "Not Found"}), StopRunError, "leave llm.transport=batch out"),
        ("POST files", (503, {}), DeferredError, "a batch file cannot be uploaded: HTTP 503"),
        ("POST batches", (429, {"error": {"code": "insufficient_quota"}}), DeferredError, "a batch cannot be made"),
        ("POST batches", (400, {"error": {"message": "No such endpoint"}}), StopRunError, "No such endpoint"),
        ("POST batches", (500, {}), DeferredError, "a batch could not be made"),
        ("POST batches", (200, {"odd": 1}), DeferredError, "a batch could not be made"),
    ],
)
def test_a_submission_that_fails_ends_with_a_clear_error_and_frees_its_rows_at_the_next_look(
    desk: Desk, provider: Provider, call: str, fault: Fault, error: type[PersonalakeError], said: str
) -> None:
    provider.faults = {call: [fault] * 3}
    with pytest.raises(error) as raised:
        _hand_in(desk, _rows(2))
    assert said in str(raised.value)
    assert "Bridge" not in str(raised.value)
    assert len(list(desk.waiting_keys())) == 2
    assert desk.adopt() == []
    assert (list(desk.waiting_keys()), provider.files, provider.batches) == ([], {}, [])


@pytest.mark.parametrize("fault", ["made, then silence", "made, then 500"])
def test_a_batch_that_was_made_in_silence_is_found_and_not_made_again(
    desk: Desk, provider: Provider, fault: Fault
) -> None:
    provider.faults = {"POST batches": [fault]}
    batch = _hand_in(desk, _rows(2))
    assert (batch.batch_id, len(provider.batches)) == ("batch_0", 1)


def test_a_second_batch_of_one_file_is_cancelled_at_the_next_look(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.faults = {"POST batches": ["made, then silence"]}
    monkeypatch.setattr(Desk, "_find", lambda *_: {})  # A list that lags behind.
    batch = _hand_in(desk, _rows(2))
    monkeypatch.undo()
    assert (batch.batch_id, batch.doubtful) == ("batch_1", True)
    assert desk.adopt() == []
    assert [b["status"] for b in provider.batches] == ["cancelled", "validating"]
    calls = len(provider.calls)
    assert desk.adopt() == []
    assert len(provider.calls) == calls


# Kills


class Killed(BaseException):
    """The process dies here."""


def _dies(before: bool, call: Callable[..., Any], when: Callable[..., bool] = lambda *_, **__: True) -> Any:
    def dying(*args: Any, **options: Any) -> Any:
        if not when(*args, **options):
            return call(*args, **options)
        if not before:
            call(*args, **options)
        raise Killed

    return dying


def _makes(_: Wire, method: str, path: str, *__: Any, **___: Any) -> bool:
    return (method, path) == ("POST", "/batches")


@pytest.mark.parametrize("metadata_kept", [True, False])
@pytest.mark.parametrize(
    ("point", "adopted"),
    [
        ((Notes, "write", True, None), 0),
        ((Notes, "write", False, None), 0),
        ((Wire, "upload", True, None), 0),
        ((Wire, "upload", False, None), 0),
        ((Desk, "_create", True, None), 0),
        ((Wire, "once", True, _makes), 0),
        ((Wire, "once", False, _makes), 1),
        ((Desk, "_made", True, None), 1),
        ((Desk, "_made", False, None), 0),
    ],
)
def test_no_key_is_handed_in_twice_wherever_the_process_dies(
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: tuple[type, str, bool, Callable[..., bool] | None],
    adopted: int,
    metadata_kept: bool,
) -> None:
    (owner, name, before, when), provider.page = point, 1
    rows = _rows(4)
    with _desk(provider.base_url, tmp_path, cut=Cut(rows=2)) as desk:
        submitting = desk.submit(rows, TERMS)
        next(submitting)
        dying = _dies(before, getattr(owner, name), *([when] if when else []))
        monkeypatch.setattr(owner, name, dying)
        with pytest.raises(Killed):
            next(submitting)
        monkeypatch.undo()
    for batch in provider.batches:
        batch.update({} if metadata_kept else {"metadata": None})
    provider.batches += [{"id": f"other_{n}", "created_at": n, "status": "completed"} for n in range(2)]
    with _desk(provider.base_url, tmp_path, cut=Cut(rows=2)) as desk:
        assert len(desk.adopt()) == adopted
        waiting = set(desk.waiting_keys())
        again = list(desk.submit([row for row in rows if row.request_key not in waiting], TERMS))
        made = [b for b in provider.batches if b["id"].startswith("batch_")]
        assert sorted(k for b in made for k in provider.keys(b)) == sorted(r.request_key for r in rows)
        assert len(desk.open_batches()) == 2
        assert len(again) == (0 if adopted or (owner, name, before) == (Desk, "_made", False) else 1)
        assert len(provider.files) == 2
        assert desk.adopt() == []


def test_a_settled_batch_is_gone_even_where_only_its_note_could_be_deleted(
    desk: Desk, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = _hand_in(desk, _rows(2))
    monkeypatch.setattr(Folder, "delete", _dies(True, Folder.delete))
    with pytest.raises(Killed):
        desk.settle(batch)
    monkeypatch.undo()
    assert (desk.open_batches(), list(desk.waiting_keys()), desk.keys_files()) == ([], [], [])
    assert (tmp_path / "batches" / batch.submission / KEYS_FILE).exists()
    assert desk.adopt() == []
    assert not (tmp_path / "batches" / batch.submission).exists()
