from __future__ import annotations

import datetime as dt
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from personalake import telemetry


class _Seen:
    def __init__(self) -> None:
        self.spans, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracing = TracerProvider()
        self.tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.metering = MeterProvider(metric_readers=[self.reader])

    def counters(self) -> dict[str, int]:
        found: dict[str, int] = {}
        data = self.reader.get_metrics_data()
        for scope in data.resource_metrics[0].scope_metrics if data else ():
            for metric in scope.metrics:
                points: Any = metric.data.data_points
                found[metric.name] = sum(int(point.value) for point in points)
        return found


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Seen]:
    """OpenTelemetry with providers of this test's own: the global ones can be set once a process."""
    seen = _Seen()
    monkeypatch.setattr(trace, "get_tracer", seen.tracing.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", seen.metering.get_meter)
    yield seen
    seen.metering.shutdown()
    seen.tracing.shutdown()


def test_spans_lie_within_each_other_and_carry_counts_only(seen: _Seen) -> None:
    with telemetry.span("run", stages="infer"), telemetry.span("wave", requests=12):
        telemetry.ended("stage", dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), accepted=3)
    wave, run = (span for span in seen.spans.get_finished_spans() if span.name != "personalake.stage")
    assert (run.name, wave.name) == ("personalake.run", "personalake.wave")
    assert wave.parent is not None
    assert run.context is not None
    assert wave.parent.span_id == run.context.span_id
    assert dict(wave.attributes or {}) == {"requests": 12}


def test_counters_add_up(seen: _Seen) -> None:
    telemetry.count({"requests": 5, "cost_microusd": 70}, stage="infer")
    telemetry.count({"requests": 7}, stage="infer")
    assert seen.counters() == {"personalake.requests": 12, "personalake.cost_microusd": 70}


def test_without_the_extra_nothing_happens_and_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: dict[str, Any] = {"opentelemetry": None}
    for name, module in hidden.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    said: list[str] = []
    with telemetry.exporting(said.append), telemetry.span("run") as span:
        assert span is None
        telemetry.count({"requests": 1})
        telemetry.ended("stage", dt.datetime.now(dt.timezone.utc))
    assert len(said) == 1
    assert "personalake[otel]" in said[0]


_EXPORTS = """
from personalake import telemetry
with telemetry.exporting(print), telemetry.span("run", stages="infer"):
    telemetry.count({"requests": 5}, stage="infer")
"""


class _Collector(ThreadingHTTPServer):
    """What the OTLP exporter sends over HTTP, decoded."""

    def __init__(self) -> None:
        self.spans: list[str] = []
        self.counters: dict[str, int] = {}
        self.services: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Received)

    def got(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for traces in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.services |= {each.value.string_value for each in traces.resource.attributes}
                self.spans += [span.name for scope in traces.scope_spans for span in scope.spans]
        else:
            for metrics_of in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in metrics_of.scope_metrics for metric in scope.metrics):
                    self.counters[metric.name] = sum(point.as_int for point in metric.sum.data_points)


class _Received(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def _export(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _EXPORTS],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_environment_s_collector_gets_spans_and_counters() -> None:
    """In a process of its own: OpenTelemetry's providers can be set once."""
    with _Collector() as collector:
        serving = threading.Thread(target=collector.serve_forever)
        serving.start()
        try:
            done = _export(f"http://127.0.0.1:{collector.server_port}")
        finally:
            collector.shutdown()
            serving.join()
    assert done.returncode == 0, done.stderr
    assert collector.spans == ["personalake.run"]
    assert collector.counters == {"personalake.requests": 5}
    assert "personalake" in collector.services


def test_a_collector_that_is_away_stops_nothing() -> None:
    done = _export("http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
