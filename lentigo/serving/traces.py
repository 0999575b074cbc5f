"""Traces of requests by OpenTelemetry (extra ``otel``), off by default.

A span a request, and within it one for each stage: reading its body, decoding, network, answer. They hold routes,
status, figures and the request's id, and nothing of its content. The variables of OpenTelemetry
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME``) say where they go and how many.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from lentigo import __version__
from lentigo.errors import ServiceError

Stage = tuple[str, float, float]
"""A part of a request: its name, begin and end by the monotonic clock."""
_PARENT = (b"traceparent", b"tracestate")
_FLUSH_S = 1.0


def require() -> None:
    """Check that OpenTelemetry is installed.

    Raises:
        ServiceError: it is missing; the message says how to get it.
    """
    try:
        import_module("opentelemetry.sdk.trace")
        import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise ServiceError("--traces needs OpenTelemetry; to have it: pip install 'lentigo[otel]'") from None


class Traces:
    """Writes the spans of answered requests, once each is over: nothing is in the way of the request itself.

    Args:
        provider: an OpenTelemetry tracer provider; one that sends OTLP over HTTP where none is given.
    """

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider or _make_provider()
        self._tracer = self._provider.get_tracer("lentigo", __version__)

    def record(
        self,
        name: str,
        begin: float,
        stages: Sequence[Stage],
        attributes: Mapping[str, Any],
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        """Write the spans of a request that ends now.

        Args:
            name: method and route.
            begin: by the monotonic clock.
            stages: its parts.
            attributes: of the request's span.
            headers: of the request; a valid ``traceparent`` among them makes it part of the caller's trace.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        offset = time.time() - time.monotonic()  # now: the clock may have been set since the start

        def stamp(moment: float) -> int:
            return int((moment + offset) * 1e9)

        carrier = {key.decode(): value.decode("latin-1") for key, value in headers if key in _PARENT}
        context = TraceContextTextMapPropagator().extract(carrier)
        span = self._tracer.start_span(
            name, context, kind=SpanKind.SERVER, attributes=attributes, start_time=stamp(begin)
        )
        within = set_span_in_context(span, context)
        for stage, start, end in stages:
            self._tracer.start_span(stage, within, start_time=stamp(start)).end(stamp(end))
        if attributes["http.response.status_code"] >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(stamp(time.monotonic()))

    def flush(self) -> None:
        """Send what is left, for a moment."""
        sending = threading.Thread(target=self._provider.force_flush, daemon=True)  # which may wait far longer
        sending.start()
        sending.join(_FLUSH_S)


def _make_provider() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = Resource({"service.name": "lentigo", "service.version": __version__})
    # Its own end would wait for a collector that does not answer.
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
