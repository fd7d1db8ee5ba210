"""The load generator's traffic is what the benchmarks say it is, and it goes to this machine only."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.load import servers
from benchmarks.load.generator import Traffic, dump, generator_path, send

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="the load generator is built with Go"),
]


def spans_of(requests: list[bytes]) -> list[Span]:
    decoded = map(ExportTraceServiceRequest.FromString, requests)
    return [span for one in decoded for group in one.resource_spans[0].scope_spans for span in group.spans]


def text_of(span: Span, key: str) -> str:
    return next(item.value.string_value for item in span.attributes if item.key == key)


def test_spans_are_new_and_recent_and_of_the_promised_shape(tmp_path: Path) -> None:
    spans = spans_of(dump(tmp_path / "requests.bin", 3, Traffic(spans=200, conversations=50, tenants=5)))
    assert len(spans) == 600
    assert len({span.trace_id for span in spans}) == 600
    assert len({span.span_id for span in spans}) == 600
    assert len({text_of(span, "gen_ai.response.id") for span in spans}) == 600
    assert {len(span.attributes) for span in spans} == {22}
    assert {text_of(span, "gen_ai.conversation.id") for span in spans} <= {f"conv-{n:09}" for n in range(50)}
    assert {text_of(span, "app.tenant.id") for span in spans} == {f"tenant-{n:05}" for n in range(5)}
    assert len({text_of(span, "gen_ai.response.model") for span in spans}) == 8
    now = time.time_ns()
    assert all(now - 60e9 < span.end_time_unix_nano <= now for span in spans)
    assert all(0.2e9 <= span.end_time_unix_nano - span.start_time_unix_nano <= 4.2e9 for span in spans)


def test_a_body_is_two_more_attributes_of_that_size_together(tmp_path: Path) -> None:
    for span in spans_of(dump(tmp_path / "requests.bin", 1, Traffic(spans=10, body=2048))):
        assert len(span.attributes) == 24
        read, written = (text_of(span, f"gen_ai.{side}.messages") for side in ("input", "output"))
        assert len(read) + len(written) == 2048


def test_every_span_is_acknowledged_by_a_server_that_takes_it() -> None:
    with servers.drain() as server:
        report = send(server.grpc_port, Traffic(spans=7, total=700), 20)
    assert (report["spans"], report["acknowledged"], report["rejected"]) == (700, 700, 0)
    assert report["latency_ms"]["count"] == 100
    assert report["usd"] > 0


def test_a_fixed_rate_is_kept() -> None:
    with servers.drain() as server:
        report = send(server.grpc_port, Traffic(spans=10, rate=2000), 1)
    assert report["spans"] == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("command", [["send", "-target=192.0.2.1:4317"], ["drain", "-listen=0.0.0.0:0"]])
def test_another_machine_is_refused(command: list[str]) -> None:
    whole = [str(generator_path()), *command]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=9, check=False)  # noqa: S603  # ours
    assert done.returncode == 1
    assert "not on this machine" in done.stderr
