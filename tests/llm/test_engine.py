"""The paying task over real HTTP against the embedded endpoint, without Spark."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from personalake.errors import PersonalakeError
from personalake.llm.journal import Journal, Segment, record, segments
from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.llm.outcome import Kind, Outcome
from personalake.llm.wave_plan import STOP_FILE
from personalake.settings import ApiKeySettings
from personalake.work import Folder
from tests.llm.asking import journaled, ledger, plan, requests, run


@pytest.fixture
def endpoint() -> Iterator[str]:
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        yield base_url


def test_every_request_is_answered_and_journaled_with_its_cost(endpoint: str, tmp_path: Path) -> None:
    tally = run(plan(endpoint, tmp_path), requests(23))
    table = journaled(tmp_path)
    assert (tally["done"], tally["deferred"], tally["outcome"]) == (23, 0, None)
    assert table.num_rows == len(set(table["request_key"].to_pylist())) == 23
    assert all(cost > 0 for cost in table["cost_microusd"].to_pylist())
    assert all(table["reply"].to_pylist())


def test_the_names_of_the_segments_add_up_to_what_is_in_them(endpoint: str, tmp_path: Path) -> None:
    run(plan(endpoint, tmp_path), requests(23))
    table, found = journaled(tmp_path), segments(Folder(str(tmp_path)))
    assert len(found) > 1
    assert sum(s.rows for s in found) == table.num_rows
    assert sum(s.microusd for s in found) == sum(table["cost_microusd"].to_pylist())


def test_a_second_attempt_asks_only_for_what_the_first_did_not_journal(endpoint: str, tmp_path: Path) -> None:
    batches = requests(20)
    run(plan(endpoint, tmp_path), [batches[0].slice(0, 12)])
    second = run(plan(endpoint, tmp_path), batches, attempt="a1")
    assert (second["sent"], second["done"]) == (8, 8)
    assert journaled(tmp_path).num_rows == 20


def test_a_wrong_key_stops_the_part_and_pays_nothing(tmp_path: Path) -> None:
    with serving(OfflineSettings(api_keys=("right",))) as base_url:
        tally = run(plan(base_url, tmp_path), requests(30))
    assert (tally["outcome"], tally["reason"]) == ("stop", "wrong_key")
    assert tally["done"] == 0
    assert tally["deferred"] == 30
    assert journaled(tmp_path).num_rows == 0


def test_an_unknown_model_stops_the_part(endpoint: str, tmp_path: Path) -> None:
    tally = run(plan(endpoint, tmp_path), requests(3, model="gpt-unknown"))
    assert (tally["outcome"], tally["reason"]) == ("stop", "unknown_model")


def test_the_key_is_read_where_the_task_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "right")
    with serving(OfflineSettings(api_keys=("right",))) as base_url:
        asked = plan(base_url, tmp_path, llm={"api_key": ApiKeySettings(env="CANARY", file=None)})
        assert "right" not in asked.model_dump_json()
        assert run(asked, requests(3))["done"] == 3


def test_a_key_that_a_worker_lacks_stops_the_part_before_it_sends(endpoint: str, tmp_path: Path) -> None:
    asked = plan(endpoint, tmp_path, llm={"api_key": ApiKeySettings(env="NOT_ON_THIS_WORKER", file=None)})
    tally = run(asked, requests(3))
    assert (tally["outcome"], tally["reason"], tally["sent"], tally["deferred"]) == ("stop", "no_key", 0, 3)


def test_rate_limits_and_server_errors_are_retried_to_the_end(tmp_path: Path) -> None:
    faults = plan_of(
        {"rates": {"429": 0.3, "500": 0.2}, "retry_style": "retry-after-ms", "retry_after_s": 0.01}, "test"
    )
    with serving(OfflineSettings(faults=faults)) as base_url:
        tally = run(plan(base_url, tmp_path, max_attempts=12, patience_s=30.0, backoff_s=0.001), requests(30))
        told = ledger(base_url)
    assert tally["done"] == 30
    assert tally["sent"] == 30 + tally["failed_sends"] == told["requests"]
    assert tally["failed_sends"] > 5


def test_an_endpoint_that_refuses_connections_defers_everything(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tally = run(plan(f"http://127.0.0.1:{port}/v1", tmp_path, llm={"in_flight": 16}), requests(40))
    assert (tally["outcome"], tally["reason"]) == ("defer", "endpoint_down")
    assert (tally["done"], tally["deferred"]) == (0, 40)
    assert tally["sent"] < 40


def test_a_stop_file_ends_the_part_and_keeps_what_came(tmp_path: Path) -> None:
    faults = plan_of({"latency": 20}, "test")
    with serving(OfflineSettings(faults=faults)) as base_url:
        (tmp_path / STOP_FILE).touch()
        tally = run(plan(base_url, tmp_path, llm={"in_flight": 1}, flush_s=0.05), requests(200))
    assert (tally["outcome"], tally["reason"]) == ("defer", "interrupted")
    assert 0 < tally["done"] < 200
    assert tally["done"] + tally["deferred"] == 200
    assert journaled(tmp_path).num_rows == tally["done"] == tally["sent"]


def test_a_journal_that_cannot_be_written_fails_the_part_and_loses_no_row(tmp_path: Path) -> None:
    blocked = tmp_path / "wave"
    blocked.write_text("a file where the folder should be")
    journal = Journal(Folder(str(blocked)), "00000", "a0")
    journal.add(record("k", "infer", "m", "e", Outcome(Kind.ANSWERED, reply="hi"), 1, 0.1))
    with pytest.raises(PersonalakeError, match="cannot be created"):
        journal.flush()
    assert journal.unflushed == 1


def test_half_written_and_foreign_files_are_no_segments() -> None:
    assert Segment.of("w/part=0/attempt=1/000003-12-3400-560.parquet") == Segment(
        "w/part=0/attempt=1/000003-12-3400-560.parquet", 12, 3400, 560
    )
    assert Segment.of("w/part=0/attempt=1/.000003-12-3400-560.parquet.part") is None
    assert Segment.of("w/stop") is None


class _Recorder(BaseHTTPRequestHandler):
    """A server that knows nothing of ours: it keeps what arrives and answers as the protocol says."""

    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        reply = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "other-1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        }
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return


def test_what_arrives_is_the_protocol_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "k-123")
    seen: list[tuple[str, dict[str, str], bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("R", (_Recorder,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    batches = requests(2)
    try:
        llm = {"api_key": ApiKeySettings(env="OTHER_KEY", file=None), "headers": {"X-Team": "maths"}}
        asked = plan(f"http://127.0.0.1:{server.server_address[1]}/v1", tmp_path, llm=llm)
        assert run(asked, batches)["done"] == 2
    finally:
        server.shutdown()
        server.server_close()
    bodies = batches[0].column("body").to_pylist()
    keys = batches[0].column("request_key").to_pylist()
    assert sorted(body.decode() for _, _, body in seen) == sorted(bodies)
    for path, headers, body in seen:
        assert path == "/v1/chat/completions"
        assert headers["authorization"] == "Bearer k-123"
        assert headers["content-type"] == "application/json"
        assert headers["x-team"] == "maths"
        assert headers["x-client-request-id"] == keys[bodies.index(body.decode())]
    assert journaled(tmp_path)["model_answered"].to_pylist() == ["other-1", "other-1"]
