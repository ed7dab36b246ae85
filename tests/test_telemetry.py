from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
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


def test_without_the_extra_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: dict[str, Any] = {"opentelemetry": None}
    for name, module in hidden.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with telemetry.exporting(), telemetry.span("run") as span:
        assert span is None
        telemetry.count({"requests": 1})
        telemetry.ended("stage", dt.datetime.now(dt.timezone.utc))
