"""The probe pairs each span that it sends with the webhook that comes back for its conversation."""

import http.client
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.load.generator import probe
from benchmarks.load.servers import free_port

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="the load generator is built with Go"),
]

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@contextmanager
def alarm(webhook: int) -> Iterator[int]:
    """A server that rings when a conversation has had more than 100 million tokens of output."""
    tokens: dict[str, int] = {}

    def export(data: bytes, context: grpc.ServicerContext) -> bytes:
        del context
        for span in ExportTraceServiceRequest.FromString(data).resource_spans[0].scope_spans[0].spans:
            found = {item.key: item.value for item in span.attributes}
            conversation = found["gen_ai.conversation.id"].string_value
            tokens[conversation] = tokens.get(conversation, 0) + found["gen_ai.usage.output_tokens"].int_value
            if tokens[conversation] > 100_000_000:
                ring(webhook, conversation, tokens[conversation])
        return b""

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None).wait()


def ring(port: int, conversation: str, value: float) -> None:
    body = {
        "event": "firing",
        "rule": {"name": "spent"},
        "group": {"conversation": conversation},
        "value": value,
        "samples": 1,
        "delay_ms": {"event_to_arrival": None, "arrival_to_detection": 0.5},
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/hook", json.dumps(body), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()


def test_each_span_that_crosses_is_paired_with_its_webhook() -> None:
    webhook = free_port()
    with alarm(webhook) as port:
        report = probe(port, webhook, "-count=20", "-interval=2ms", "-prefix=one")
    assert {hit["conversation"] for hit in report["hits"]} == {f"one-{number:06}" for number in range(20)}
    assert report["errors"] == {}
    assert report["detection_ms"]["count"] == 20
    assert 0 < report["detection_ms"]["p50"] < 1000
    assert report["arrival_to_detection_ms"]["p50"] == 0.5
    assert all(hit["sent"] < hit["received"] for hit in report["hits"])


def test_spans_of_one_conversation_cross_together() -> None:
    webhook = free_port()
    with alarm(webhook) as port:
        flags = ["-count=2", "-same", "-prefix=both", "-output-tokens=60000000", "-interval=2ms"]
        report = probe(port, webhook, *flags)
    assert [(hit["conversation"], hit["value"]) for hit in report["hits"]] == [("both", 120_000_000)]
