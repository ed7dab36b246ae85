"""OpenTelemetry from the driver, where its packages are installed (extra `otel`); nothing at all where they aren't.

Spans for a run, its stages and their waves; counters for requests, tokens and money. A span for each request would be
a hundred million of them: what a single request took is in `completions`. No attribute holds a prompt, reply or key.

A process that has set up OpenTelemetry itself (a notebook, `opentelemetry-instrument`) gets them as they are; else
`OTEL_EXPORTER_OTLP_ENDPOINT` in the environment sets it up here.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_NAME = "personalake"
_COUNTERS = {
    "requests": "{request}", "failed_sends": "{request}", "rate_limited": "{request}", "prompt_tokens": "{token}",
    "completion_tokens": "{token}", "cost_microusd": "{microdollar}",
}  # fmt: skip


def _api() -> tuple[Any, Any] | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 (an extra; most installations lack it)
    except ImportError:
        return None
    return trace, metrics


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[Any]:
    """A span around what the context does; gives it, or null where there is no OpenTelemetry."""
    api = _api()
    if api is None:
        yield None
        return
    with api[0].get_tracer(_NAME).start_as_current_span(f"{_NAME}.{name}", attributes=attributes) as current:
        yield current


def ended(name: str, started_at: dt.datetime, **attributes: str | int | float) -> None:
    """A span of something that has just ended."""
    api = _api()
    if api is not None:
        began = round(started_at.timestamp() * 1e9)
        api[0].get_tracer(_NAME).start_span(f"{_NAME}.{name}", start_time=began, attributes=attributes).end()


def count(amounts: dict[str, int], **attributes: str) -> None:
    """Add *amounts* to the counters of these names (`requests`, `failed_sends`, `cost_microusd`, ...)."""
    api = _api()
    if api is None:
        return
    meter = api[1].get_meter(_NAME)
    for name, amount in amounts.items():
        # The same instrument each time: the API keeps one of a name.
        meter.create_counter(f"{_NAME}.{name}", unit=_COUNTERS[name]).add(amount, attributes)


@contextmanager
def exporting(say: Callable[[str], None]) -> Iterator[None]:
    """Export to `OTEL_EXPORTER_OTLP_ENDPOINT` while the context lasts, where that is set and nobody else does."""
    try:
        providers = _providers() if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else []
    except ImportError:
        say("OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is exported: that takes `pip install 'personalake[otel]'`")
        providers = []
    try:
        yield
    finally:
        for provider in providers:
            provider.shutdown()


def _providers() -> list[Any]:
    from opentelemetry import metrics, trace  # noqa: PLC0415 (as above)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return []
    resource = Resource.create({} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": _NAME})
    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metering = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(metering)
    return [tracing, metering]
