"""Traces: the stages of a request in the caller's trace, and nothing of its content."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from serving_tools import application, jpeg
from tiny_bundle import blob_image, tiny_bundle

from lentigo.errors import ServiceError
from lentigo.serving import traces

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry is not installed (lentigo[otel])")
IMAGE = jpeg(blob_image(1))
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_request_is_a_span_with_its_stages_inside(tmp_path: Path) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    path = str(tmp_path / "doe-jane.jpg")
    bundle = tiny_bundle(tmp_path / "tiny", size=32)

    async def go() -> None:
        async with application(models=(str(bundle.path),), reload_s=0) as (client, service):
            assert service.traces is None  # off unless told
            service.traces = traces.Traces(provider)
            files = [("image", (path, IMAGE, "image/jpeg"))] * 2
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-API-Key": "doe-key"}
            reply = await client.post("/v1/predict?top_k=1", files=files, data={"lesion": "doe"}, headers=headers)
            assert reply.status_code == 200
            spans = {span.name: span for span in kept.get_finished_spans()}
            asked = spans["POST /v1/predict"]
            assert set(spans) == {"read", "decode", "network", "answer", asked.name}
            assert (f"{asked.context.trace_id:032x}", f"{asked.parent.span_id:016x}") == (TRACE, CALLER)
            stages = [spans[name] for name in ("read", "decode", "network", "answer")]
            assert all(span.parent.span_id == asked.context.span_id for span in stages)
            assert [span.start_time for span in stages] == sorted(span.start_time for span in stages)
            assert asked.start_time <= stages[0].start_time
            assert max(span.end_time for span in stages) <= asked.end_time
            assert asked.attributes["http.response.status_code"] == 200
            assert asked.attributes["lentigo.images"] == 2
            assert asked.attributes["lentigo.request_id"] == reply.json()["request_id"]
            assert not any(word in span.to_json() for span in spans.values() for word in ("doe", "top_k", "base64"))
            kept.clear()
            refused = await client.post("/v1/predict", content=b"no image", headers={"traceparent": "doe"})
            (alone,) = [span for span in kept.get_finished_spans() if span.name.startswith("POST")]
            assert alone.attributes["http.response.status_code"] == refused.status_code == 415
            assert alone.parent is None

    asyncio.run(go())


def test_no_request_fails_for_its_trace(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", size=32)

    class Broken(traces.Traces):
        def record(self, *given: object, **more: object) -> None:
            raise RuntimeError("no such collector")

    async def go() -> None:
        async with application(models=(str(bundle.path),), reload_s=0) as (client, service):
            service.traces = Broken(sdk.TracerProvider())
            assert (await client.post("/v1/predict", content=IMAGE)).status_code == 200

    asyncio.run(go())


def test_spans_have_the_time_of_a_clock_that_was_set_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    written = traces.Traces(provider)
    monkeypatch.setattr(time, "time", lambda: 5e9)
    begin = time.monotonic()
    written.record("GET /", begin, [("read", begin, begin)], {"http.response.status_code": 200}, [])
    for span in kept.get_finished_spans():
        assert span.start_time == pytest.approx(5e18, abs=60e9)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(traces, "import_module", missing)
    with pytest.raises(ServiceError, match=r"--traces .* pip install 'lentigo\[otel\]'"):
        traces.require()
