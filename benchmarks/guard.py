"""The kill switch: from the span that crosses a threshold to the refused next call.

Run: `python -m benchmarks --only kill-switch`, or `python -m benchmarks.guard [--calls 200]` to see all cuts. The real
service in a process of its own with the journal on, spans over OTLP/gRPC, and a `Guard` beside the sender. The clock
starts before the span is sent and ends when the guard, asked every 0.2 ms, refuses. Beside it: a question to the guard,
and one over HTTP on a connection that stays open.
"""

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from benchmarks.outcome import Effort, Outcome
from tocsin.guard import Guard

__all__ = ["main", "run"]

_CONFIG = """
receivers: {otlp: {grpc: {endpoint: 127.0.0.1:0}, http: null}}
api: {endpoint: 127.0.0.1:0}
contact_points: {terminal: {type: log}}
rules:
  - name: runaway
    metric: cost
    window: 5m
    group_by: conversation
    condition: gt
    threshold: $1
    notify: [terminal]
    actions: [{block: conversation, ttl: 1h}]
"""
_ADDRESS = re.compile(r"(grpc|api) (127\.0\.0\.1:\d+)")
_ASK_SECONDS = 0.0002
_QUESTIONS = 20_000


def run(effort: Effort) -> list[Outcome]:
    """Return the rows of the table; half of the probes that other latencies take, as each waits for a call's time."""
    found = _measured(effort.probes // 2)
    refused, asked = _cuts(found.refused), _cuts(found.asked)
    return [
        Outcome("span sent to the next call refused, p50", refused[49] * 1e3, "ms", target="<= 20"),
        Outcome("span sent to the next call refused, p99", refused[98] * 1e3, "ms"),
        Outcome("a question to a guard", found.question * 1e6, "µs"),
        Outcome("a question over HTTP, both ends, p50", asked[49] * 1e3, "ms"),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what came out in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    found = _measured(parser.parse_args(arguments).calls)
    _say("span sent to call refused", found.refused)
    print(f"Guard.is_blocked: {found.question * 1e6:.2f} us")
    _say("GET /blocks/check, both ends", found.asked)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Seconds."""

    refused: list[float]
    question: float
    asked: list[float]


def _measured(calls: int) -> _Measured:
    with (
        _serving() as addresses,
        Guard(addresses["grpc"]) as guard,
        grpc.insecure_channel(addresses["grpc"]) as channel,
    ):
        export: Any = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        taken = [_until_refused(guard, export, f"conv-{number}") for number in range(calls)]
        begun = time.perf_counter()
        for _ in range(_QUESTIONS):
            guard.is_blocked(conversation="free", tenant="acme")
        question = (time.perf_counter() - begun) / _QUESTIONS
        return _Measured(taken, question, _over_http(addresses["api"], 10 * calls))


def _until_refused(guard: Guard, export: Any, conversation: str) -> float:  # noqa: ANN401  # as the stubs type it
    data = _span(conversation)
    guard.check(conversation=conversation)
    begun = time.perf_counter()
    sent = export.future(data)
    while not guard.is_blocked(conversation=conversation):
        time.sleep(_ASK_SECONDS)
    taken = time.perf_counter() - begun
    sent.result()
    time.sleep(0.02)  # as a model call would take: the pipeline is idle when the next one comes
    return taken


def _span(conversation: str) -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="chat gpt-4o", kind=3)
    span.end_time_unix_nano = time.time_ns()
    span.start_time_unix_nano = span.end_time_unix_nano - 1_000_000_000
    span.span_id = threading.get_ident().to_bytes(8, "big")
    span.trace_id = conversation.encode().rjust(16, b"x")
    texts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.conversation.id": conversation,
    }
    span.attributes.extend(KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in texts.items())
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 1_000_000
    return request.SerializeToString()


def _over_http(address: str, number: int) -> list[float]:
    connection = http.client.HTTPConnection(address, timeout=10)
    taken = []
    for _ in range(number):
        begun = time.perf_counter()
        connection.request("GET", "/api/v1/blocks/check?conversation=conv-1")
        connection.getresponse().read()
        taken.append(time.perf_counter() - begun)
    connection.close()
    return taken


@contextmanager
def _serving() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "tocsin.yaml"
        config.write_text(_CONFIG)
        command = [sys.executable, "-m", "tocsin", "serve", "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=directory)
        try:
            assert process.stdout
            yield dict(_ADDRESS.findall(process.stdout.readline()))
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _cuts(seconds: list[float]) -> list[float]:
    return statistics.quantiles(seconds, n=100)


def _say(what: str, seconds: list[float]) -> None:
    cuts = _cuts(seconds)
    print(f"{what}: p50 {cuts[49] * 1e3:.2f} ms, p95 {cuts[94] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
