"""The whole line on the bundled corpus, in one real session with Delta, against the embedded endpoint over HTTP."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from personalake.accept import content_id
from personalake.cli import main
from personalake.corpus.ingest import content_hash
from personalake.errors import DeferredError, InputError, StopRunError, StoreError
from personalake.llm.offline import OfflineSettings, plan_of, serving
from personalake.llm.progress import Progress
from personalake.schemas import TABLES as SCHEMAS
from personalake.synthesis.synthesize import example_id
from tests.conftest import ROOT, SHARED
from tests.lake import CORPUS, TABLES, WHOLE, Lake, cut_after, ledger, partitions, same_rows

ONE_FILE = [f"corpus.paths=['{CORPUS / 'pages.jsonl'}']"]
ASK = ("ingest", "infer")


def test_the_run_fills_every_table_of_the_line_and_writes_the_report(lake: Lake) -> None:
    filled = {table: len(lake.rows(table)) for table in TABLES}
    assert all(filled[table] for table in TABLES if table != "pending")
    assert filled["pending"] == 0
    report = (lake.folder / "report.html").read_text()
    assert "stand-in" in report
    assert "ingest" in report


@pytest.mark.parametrize("table", TABLES)
def test_no_two_rows_share_a_key(lake: Lake, table: str) -> None:
    rows = lake.store.read(table).select(*SCHEMAS[table].key)
    assert rows.count() == rows.distinct().count()


def test_every_id_is_the_hash_of_what_it_names(lake: Lake) -> None:
    assert all(row["doc_id"] == content_hash(row["text"]) for row in lake.rows("documents"))
    for row in lake.rows("personas"):
        assert row["persona_id"] == content_id(row["doc_id"], row["request_key"], row["ordinal"])
    assert all(row["example_id"] == example_id(row["task"], row["persona_id"]) for row in lake.rows("examples"))


def test_both_identities_hold_for_every_stage(lake: Lake) -> None:
    runs = [row for row in lake.rows("runs") if row["stage"] != "run"]
    assert {row["stage"].split(".")[0] for row in runs} == {"ingest", "infer", "dedup", "synthesize", "export"}
    for row in runs:
        assert row["requests"] == row["answered"] + row["rejected"] + row["deferred"], row["stage"]
        assert row["items"] == row["accepted"] + row["duplicates"] + row["item_rejects"], row["stage"]


def test_the_counts_of_the_runs_are_the_counts_of_the_tables(lake: Lake) -> None:
    runs = {row["stage"]: row for row in lake.rows("runs")}
    sizes = {table: len(lake.rows(table)) for table in TABLES}
    assert runs["ingest"]["accepted"] == sizes["documents"]
    repeats = Counter(row["kind"] for row in lake.rows("duplicates"))
    assert runs["ingest"]["duplicates"] == sizes["sightings"]
    assert runs["infer"]["accepted"] == sizes["personas"]
    assert (runs["dedup"]["accepted"], runs["dedup"]["duplicates"]) == (sizes["hub"], repeats["persona"])
    refused = sum(row["item_rejects"] + row["rejected"] for stage, row in runs.items() if stage != "run")
    assert refused == sizes["rejects"]
    asked = [row for stage, row in runs.items() if stage != "run"]
    assert sum(row["sent"] for row in asked) == sizes["completions"]
    assert sum(row["cost_microusd"] for row in asked) == sum(r["cost_microusd"] for r in lake.rows("completions"))


def test_every_record_of_the_bundled_corpus_is_a_page_a_sighting_or_a_reject_as_its_manifest_says(lake: Lake) -> None:
    lines = (CORPUS.parent / "corpus_manifest.jsonl").read_text().splitlines()
    kinds = Counter(json.loads(line)["kind"] for line in lines)
    assert len(lake.rows("documents")) == kinds["page"]
    near = [row for row in lake.rows("duplicates") if row["kind"] == "page"]
    assert len(near) == kinds["near_copy"]
    documents = {row["doc_id"] for row in lake.rows("documents")}
    assert all(row["kept_id"] in documents and row["id"] not in documents for row in near)
    assert all(0.8 <= row["similarity"] < 1 and row["method"] == "minhash" for row in near)
    assert len(lake.rows("sightings")) == kinds["exact_copy"] + kinds["near_copy"]
    assert {row["id"] for row in near} <= {row["doc_id"] for row in lake.rows("sightings") if row["url"]}
    reasons = Counter(row["reason"] for row in lake.rows("rejects") if row["stage"] == "ingest")
    assert reasons["too_short"] == kinds["very_short"]
    assert reasons["truncated"] == kinds["truncated"]
    assert reasons["not_html"] == kinds["non_html"]
    assert reasons["http_status"] == kinds["not_found"]
    bad = sum(kinds[k] for k in ("very_short", "empty", "non_html", "not_found", "bad_line", "truncated"))
    assert sum(reasons.values()) == bad
    assert all(row["path"] and row["offset"] is not None for row in lake.rows("rejects") if row["stage"] == "ingest")


def test_every_persona_is_kept_or_repeats_a_kept_one_and_goes_back_to_a_page(lake: Lake) -> None:
    personas = {row["persona_id"]: row for row in lake.rows("personas")}
    hub = {row["persona_id"] for row in lake.rows("hub")}
    dropped = {row["id"]: row for row in lake.rows("duplicates") if row["kind"] == "persona"}
    assert hub | set(dropped) == set(personas)
    assert not hub & set(dropped)
    assert all(row["kept_id"] in hub and row["similarity"] >= 0.9 for row in dropped.values())
    pages = {row["doc_id"]: row for row in lake.rows("documents")}
    for row in personas.values():
        page = pages[row["doc_id"]]
        assert (row["url"], row["licence"], row["source"]) == (page["url"], page["licence"], page["path"])
        assert " ".join(row["evidence"].split()).casefold() in " ".join(page["text"].split()).casefold()


def test_targets_are_met_by_the_lowest_ranks_that_hold(lake: Lake) -> None:
    examples = lake.rows("examples")
    answered = {row["example_id"] for row in lake.rows("solutions")}
    hub = [row["persona_id"] for row in lake.rows("hub")]
    for task in ("math", "instruction"):
        done = [row for row in examples if row["task"] == task and row["example_id"] in answered]
        assert len(done) == 5
        refused = {
            row["input_key"].split("#")[0]
            for row in lake.rows("rejects")
            if row["stage"].startswith(f"synthesize.{task}.")
        }
        ranked = sorted(hub, key=lambda persona_id: content_id("rank", 0, task, persona_id))
        tried = {row["persona_id"] for row in done} | refused
        assert set(ranked[: len(tried)]) == tried


def test_what_is_exported_can_be_trained_on(lake: Lake) -> None:
    for task in ("math", "instruction"):
        folder = lake.folder / "export" / task
        (shard,) = folder.glob("*.jsonl")
        lines = [json.loads(line) for line in shard.read_text().splitlines()]
        assert len(lines) == 5
        for line in lines:
            assert [turn["role"] for turn in line["messages"]] == ["user", "assistant"]
            assert all(turn["content"].strip() for turn in line["messages"])
        assert "offline-rules" in (folder / "README.md").read_text()


def test_a_second_run_sends_nothing_and_commits_only_its_row_in_runs(lake: Lake) -> None:
    before, sent = lake.versions(), ledger(lake.base_url)["requests"]
    done = lake.run()
    after = lake.versions()
    assert done.data["stages"] == []
    assert "nothing new" in done.text
    assert ledger(lake.base_url)["requests"] == sent
    assert after.pop("runs") == before.pop("runs") + 1
    assert after == before


def _read_without_spark(lake: Lake, table: str) -> int:
    arrow = DeltaTable(str(lake.folder / table)).to_pyarrow_table()
    assert duckdb.connect().execute("SELECT count(*) FROM arrow").fetchone() == (arrow.num_rows,)
    assert len(arrow.to_pandas()) == arrow.num_rows
    return int(arrow.num_rows)


def test_deltalake_duckdb_and_pandas_read_every_table(lake: Lake) -> None:
    """`pending` is made when a request first has to wait: the budget's test reads it."""
    written = [table for table in TABLES if table != "pending"]
    rows = [lake.store.read(table).count() for table in written]
    assert [_read_without_spark(lake, table) for table in written] == rows


def _copy(lake: Lake, folder: Path) -> Lake:
    """The same store once more, so that a test may go on with it: a run costs most of a minute."""
    shutil.copytree(lake.folder, folder / "lake")
    return Lake(lake.spark, folder / "lake", lake.base_url, lake.overrides)


def test_more_pages_add_rows_and_change_none(lake: Lake, tmp_path: Path) -> None:
    own, before = _copy(lake, tmp_path), lake.everything()
    texts = [
        f"The {what} is mended on a day of its own. Whoever brings it waits outside, and hears from the window how the "
        f"smith talks to it while he works. Nobody else in the street has ever seen him mend any {what} before noon, "
        f"and nobody asks."
        for what in ("rake", "kettle", "ladder")
    ]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    own.run(f"corpus.paths=['{CORPUS}', '{tmp_path / 'more.jsonl'}']")
    after = own.everything()
    assert len(after["documents"]) == len(before["documents"]) + 3
    for table in ("documents", "personas", "hub", "completions", "examples"):
        assert [row for row in after[table] if row in before[table]] == before[table], table


def test_the_rows_are_the_same_in_16_partitions_as_in_one(lake: Lake, spark: SparkSession, tmp_path: Path) -> None:
    """Three are what the next test runs in."""
    other = Lake(spark, tmp_path / "lake", lake.base_url, WHOLE)
    with partitions(spark, 16):
        other.run("llm.tasks=16", stages=("ingest", "infer", "dedup", "synthesize"))
    same_rows(lake, other)


def test_named_tables_and_calls_from_the_driver_bring_the_same_rows_and_show_how_far_they_are(
    lake: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    named = f"store={{catalog: spark_catalog, schema: named, work: '{tmp_path / 'work'}'}}"
    with serving(OfflineSettings(faults=plan_of({"latency": 100}, "test"))) as base_url:
        own = Lake(
            spark, tmp_path, base_url, [*WHOLE, named, "llm.run_on=driver", "llm.in_flight=4", "llm.flush_s=0.1"]
        )
        try:
            own.run(progress=seen.append)
            assert ledger(base_url)["max_in_flight"] == 4
            same_rows(lake, own)
            tables = {row["tableName"] for row in spark.sql("SHOW TABLES IN spark_catalog.named").collect()}
            assert "hub" in tables
            done = own.run()
            assert "nothing new" in done.text
        finally:
            spark.sql("DROP SCHEMA IF EXISTS spark_catalog.named CASCADE")
        with pytest.raises(StoreError, match="doesn't know the tables of this store any more"):
            own.run()
        spark.sql("DROP SCHEMA spark_catalog.named")
    # 64 pages at 4 in flight take 16 times the latency, and the journal is looked at twice a second.
    inferred = [now for now in seen if now.stages == ("infer",)]
    assert any(0 < now.done < now.total == 64 and now.tokens and now.microusd for now in inferred)


def _cut_and_go_on(lake: Lake, cuts: Iterator[int]) -> int:
    """Run until a run gets through, dying after the next number of commits each time; returns how often it died."""
    died = 0
    for saves in cuts:
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, saves)
            try:
                lake.run()
                return died
            except KeyboardInterrupt:
                died += 1
    lake.run()
    return died


def test_a_run_cut_off_again_and_again_in_3_partitions_ends_with_the_same_rows_and_asks_nothing_twice(
    lake: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    with serving(OfflineSettings()) as base_url, partitions(spark, 3):
        other = Lake(spark, tmp_path / "lake", base_url, [*WHOLE, "llm.tasks=3"])
        assert _cut_and_go_on(other, iter([2, 6, 8, 9])) >= 3
        assert ledger(base_url)["max_per_request"] == 1
    same_rows(lake, other)


@pytest.mark.faults
def test_a_run_that_dies_again_and_again_one_commit_later_each_time_ends_with_thesame_rows(
    lake: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    with serving(OfflineSettings()) as base_url:
        other = Lake(spark, tmp_path / "lake", base_url, WHOLE)
        assert _cut_and_go_on(other, iter(range(1, 200))) >= 7
        assert ledger(base_url)["max_per_request"] == 1
    same_rows(lake, other)


class _Stranger(BaseHTTPRequestHandler):
    """An endpoint that knows nothing of ours: it keeps what arrives, and says the same of every page."""

    seen: list[tuple[str, str, dict[str, Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, self.headers["Authorization"], body))
        page = body["messages"][-1]["content"].split(" ===\n")[1].split()
        persona: dict[str, Any] = {
            "evidence": " ".join(page[:5]), "relation": "read", "domain": "other",
            "persona": "A person who reads pages on that very subject.",
            "occupation": None, "expertise": None, "interests": [], "age_band": None, "region": None,
        }  # fmt: skip
        message = {"role": "assistant", "content": json.dumps({"personas": [persona]})}
        reply = json.dumps(
            {
                "id": "x-1", "object": "chat.completion", "created": 1, "model": "stranger-1-2026",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
        ).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(reply)))
        self.send_header("X-Request-Id", f"req-{len(self.seen)}")
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:
        return


def test_a_run_against_somebody_elses_endpoint_sends_the_protocol_and_keeps_what_came(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("k-123")
    seen: list[tuple[str, str, dict[str, Any]]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Stranger", (_Stranger,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        own = [*ONE_FILE, f"llm.api_key.file={tmp_path / 'key'}", "llm.model=stranger-1", "infer.language=en"]
        lake = Lake(spark, tmp_path / "lake", f"http://127.0.0.1:{server.server_address[1]}/v1", own)
        lake.run(stages=ASK)
    finally:
        server.shutdown()
        server.server_close()
    pages = len(lake.rows("documents"))
    assert len(seen) == pages == len(lake.rows("personas"))
    for path, key, body in seen:
        assert (path, key) == ("/v1/chat/completions", "Bearer k-123")
        assert set(body) == {"model", "messages", "max_tokens", "temperature", "response_format"}
        assert body["model"] == "stranger-1"
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert body["response_format"]["json_schema"]["strict"] is True
    completions = lake.store.read("completions").collect()
    assert {row["model_answered"] for row in completions} == {"stranger-1-2026"}
    assert {row["request_id"] for row in completions} == {f"req-{n + 1}" for n in range(pages)}
    assert sum(row["prompt_tokens"] for row in completions) == 100 * pages


def _untouched(lake: Lake) -> bool:
    return not any(lake.rows(table) for table in ("completions", "personas", "pending"))


def test_a_wrong_key_ends_the_run_before_anything_is_paid(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary-key")
    with serving(OfflineSettings(api_keys=("right",))) as base_url:
        lake = Lake(spark, tmp_path / "lake", base_url, [*ONE_FILE, f"llm.api_key.file={tmp_path / 'key'}"])
        with pytest.raises(StopRunError, match="wrong_key") as caught:
            lake.run(stages=ASK)
        received = ledger(base_url)
        assert (received["requests"], received["cost_usd"]) == (0, 0)
    assert "canary-key" not in str(caught.value)
    assert _untouched(lake)


def test_an_unknown_model_ends_the_run_before_anything_is_paid(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    lake = Lake(spark, tmp_path / "lake", endpoint, [*ONE_FILE, "llm.model=gpt-unknown"])
    with pytest.raises(StopRunError, match="unknown_model"):
        lake.run(stages=ASK)
    assert _untouched(lake)


def test_an_endpoint_that_refuses_connections_defers_the_run_and_the_next_one_goes_on(
    lake: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    other = Lake(spark, tmp_path / "lake", lake.base_url, WHOLE)
    with pytest.raises(DeferredError, match="connection"):
        other.run("llm.base_url=http://127.0.0.1:9/v1", stages=ASK)
    assert _untouched(other)
    other.run(stages=ASK)
    assert other.rows("personas") == lake.rows("personas")


def test_a_budget_defers_what_it_cannot_pay_and_a_larger_one_goes_on_without_asking_again(
    lake: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    with serving(OfflineSettings()) as base_url:
        other = Lake(spark, tmp_path / "lake", base_url, [*WHOLE, "llm.wave_rows=25"])
        with pytest.raises(DeferredError, match="budget"):
            other.run("budget_usd=0.006", stages=ASK)
        paid = sum(row["cost_microusd"] for row in other.rows("completions"))
        assert 0 < paid <= 6_000
        assert _read_without_spark(other, "pending") == len(other.rows("pending")) > 0
        other.run("budget_usd=1", stages=ASK)
        assert ledger(base_url)["max_per_request"] == 1
    assert other.rows("pending") == []
    assert other.rows("personas") == lake.rows("personas")


def test_status_and_report_say_what_the_store_covers(lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={lake.folder}"]
    assert main(["status", *config, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)["coverage"]
    about = {each["subject"]: each["about"] for each in told["different"]}
    pages = {row["doc_id"] for table in ("documents", "sightings") for row in lake.rows(table)}
    assert about["pages"] == pytest.approx(len(pages), abs=1)
    assert about["personas"] == pytest.approx(len(lake.rows("hub")), abs=1)
    assert '<h2 id="coverage">' in (lake.folder / "report.html").read_text()


def test_the_report_of_a_first_run_tells_its_diversity_by_source_and_counts_every_language(lake: Lake) -> None:
    report = " ".join((lake.folder / "report.html").read_text().split())
    hub = lake.rows("hub")
    assert '<h2 id="diversity">' in report
    assert "personas of each</caption>" in report
    for source, number in Counter(row["source"] for row in hub).items():
        assert f'<th scope="row"><bdi>{source}</bdi></th><td class="num"><bdi>{number}</bdi></td>' in report
    for name, number in Counter(row["domain"] for row in hub).most_common(3):
        assert f'<th scope="row"><bdi>{name}</bdi></th><td class="num">{number}</td>' in report
    assert f"{len(hub)} kept personas by language" in report
    # One run is no growth.
    assert 'id="growth"' not in report


def test_a_licence_that_is_not_known_is_told_by_the_run_and_refused_by_export(lake: Lake, tmp_path: Path) -> None:
    own = _copy(lake, tmp_path)
    examples = own.store.read("examples").drop("seq").withColumn("licence", F.lit(None).cast("string"))
    own.store.replace("examples", examples, 1, where="seq = 1")
    shutil.rmtree(own.folder / "export")
    done = own.run()
    assert any("--accept-licence" in warning for warning in done.data["warnings"])
    assert not (own.folder / "export" / "math").exists()
    with pytest.raises(InputError, match="--accept-licence"):
        own.run(stages=("export",))
    own.run("export.accept_licence=true", stages=("export",))
    assert (own.folder / "export" / "math").exists()


@pytest.mark.parametrize(("where", "said"), [("nope = 1", "`nope`"), ("hop =", "Syntax error")])
def test_a_condition_that_is_no_sql_is_one_line(
    lake: Lake, capfd: pytest.CaptureFixture[str], where: str, said: str
) -> None:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={lake.folder}"]
    assert main(["hub", *config, "--where", where]) == 2
    told = capfd.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert lake.store.read("hub").count() > 0, "a session that was there before stays open"


def test_the_personas_that_resemble_a_text_are_shown_most_alike_first(
    lake: Lake, capfd: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(ROOT / "conf" / "local.yaml"), "--set", f"store.path={lake.folder}"]
    persona = lake.rows("hub")[3]
    assert main(["hub", *config, "--json", "--limit", "3", "--like", persona["text"].upper() + "!"]) == 0
    found = json.loads(capfd.readouterr().out)["rows"]
    assert (found[0]["persona_id"], found[0]["similarity"]) == (persona["persona_id"], 1.0)
    assert len(found) == 3
    assert 1 > found[1]["similarity"] >= found[2]["similarity"] > 0


@pytest.mark.skipif(not SHARED.exists(), reason="the real pages are not part of the project")
def test_the_real_pages_are_read_whole(spark: SparkSession, endpoint: str, tmp_path: Path) -> None:
    corpus = SHARED / "sample_corpus"
    lake = Lake(spark, tmp_path / "lake", endpoint, [f"corpus.paths=['{corpus}']"])
    lake.run(stages=("ingest",))
    manifest = [json.loads(line) for line in (SHARED / "sample_corpus_manifest.jsonl").read_text().splitlines()]
    good = {"page", "exact_duplicate", "near_duplicate", "non_utf8"}
    rejects = [row for row in lake.rows("rejects") if row["stage"] == "ingest"]
    for name in ("sample.warc.gz", "sample.warc.wet.gz"):
        records = [record for record in manifest if record["file"] == name]
        seen = next(row for row in lake.rows("files_seen") if row["path"].endswith(name))
        assert seen["pages"] == sum(record["kind"] in good for record in records)
        bad = {record["url"] for record in records if record["kind"] not in good}
        told = [row for row in rejects if row["path"].endswith(name)]
        assert len(told) == len(bad)
        assert all(any(url in (row["detail"] or "") for row in told) for url in bad)
    near = [row for row in lake.rows("duplicates") if row["kind"] == "page"]
    assert len(near) >= sum(record["kind"] == "near_duplicate" for record in manifest)
    pages = len(lake.rows("documents")) + len(lake.rows("sightings"))
    assert pages == sum(row["pages"] for row in lake.rows("files_seen"))
    assert Counter(row["reason"] for row in rejects)["truncated"] == 1
