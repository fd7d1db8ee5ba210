"""What a service receives goes on to the next collector, whatever it is."""

import time
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import pytest
from next_collector import NextCollector, collecting
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import Call, request_of

from tocsin.service.loading import load_text
from tocsin.service.serve import Service

SERVICE = "/opentelemetry.proto.collector.{0}.v1.{1}Service/Export"


@pytest.mark.parametrize("add_cost", [False, True])
async def test_spans_and_metrics_reach_the_next_collector(
    add_cost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spans = request_of([Call.drawn(Random(3), end=time.time_ns())]).SerializeToString()
    message = ExportMetricsServiceRequest()
    message.resource_metrics.add().scope_metrics.add().metrics.add(name="gen_ai.client.token.usage")
    metrics = message.SerializeToString()
    collector = NextCollector()
    async with collecting("grpc", collector) as port:
        service = Service(
            load_text(
                "receivers: {otlp: {grpc: {endpoint: 127.0.0.1:0}, http: null}}\napi: {endpoint: 127.0.0.1:0}\n"
                f"forward: {{otlp: {{endpoint: 'http://127.0.0.1:{port}', add_cost: {str(add_cost).lower()}}}}}\n"
            )
        )
        async with service.running() as status, grpc.aio.insecure_channel(status.receivers["grpc"]) as channel:
            for names, data in ((("trace", "Trace"), spans), (("metrics", "Metrics"), metrics)):
                export: Any = channel.unary_unary(SERVICE.format(*names))
                assert await export(data, timeout=10) == b""
            await collector.has(2)
    assert metrics in collector.requests
    [passed_on] = [data for data in collector.requests if data != metrics]
    assert (passed_on == spans) is not add_cost
    [span] = ExportTraceServiceRequest.FromString(passed_on).resource_spans[0].scope_spans[0].spans
    costs = [each.value.double_value for each in span.attributes if each.key == "app.llm.cost_usd"]
    assert len(costs) == add_cost
    assert all(cost > 0 for cost in costs)
