"""A real OpenTelemetry Collector as the next one: what it writes to its file is what was offered, in order."""

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from grpc import ssl_server_credentials
from made_certificates import Authority
from next_collector import NextCollector, forwarding, grpc_collector, http_collector, read_request, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from recorded_requests import TRACES, request_of

from benchmarks.peers import collector_path, in_ci
from tocsin.decode.json import traces_from_json
from tocsin.forward.splice import splice


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def collector_binary() -> Path:
    found = collector_path()
    if found is None:
        missing = "no collector is built; run `make peers` (needs Go 1.26 or later)"
        if in_ci():
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def configured(directory: Path, grpc_port: int, http_port: int) -> tuple[Path, Path]:
    """Return a collector's configuration and the file that it writes to."""
    written = directory / "spans.jsonl"
    protocols = {"grpc": {"endpoint": f"127.0.0.1:{grpc_port}"}, "http": {"endpoint": f"127.0.0.1:{http_port}"}}
    config = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {"file": {"path": str(written), "append": True}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    }
    file = directory / "collector.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    return file, written


@asynccontextmanager
async def collector(config: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        str(collector_binary()),
        f"--config={config}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


def received(file: Path) -> list[ExportTraceServiceRequest]:
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [ExportTraceServiceRequest.FromString(traces_from_json(line)) for line in lines]


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_collector_that_restarts_gets_everything_in_order(protocol: str, tmp_path: Path) -> None:
    grpc_port, http_port = free_port(), free_port()
    config, written = configured(tmp_path, grpc_port, http_port)
    sent = [request("a", number) for number in range(90)]
    port = grpc_port if protocol == "grpc" else http_port
    async with forwarding(
        protocol, port, tmp_path / "queue", retry={"initial": "50ms", "max": "300ms"}, compression="gzip"
    ) as forwarder:
        for data in sent[:30]:
            forwarder.offer("traces", data)
        async with collector(config):
            assert await forwarder.drain(30) == 0
            for data in sent[30:60]:
                forwarder.offer("traces", data)
        for data in sent[60:]:
            forwarder.offer("traces", data)
        async with collector(config):
            assert await forwarder.drain(30) == 0
    arrived = [read_request(message.SerializeToString())[1] for message in received(written)]
    assert sorted(set(arrived)) == list(range(90))
    firsts = list(dict.fromkeys(arrived))
    assert firsts == sorted(firsts)


@pytest.mark.peer
@pytest.mark.slow
async def test_a_collector_reads_costs_that_were_added_to_recorded_requests(tmp_path: Path) -> None:
    config, written = configured(tmp_path, port := free_port(), free_port())
    sent: list[ExportTraceServiceRequest] = []
    async with forwarding("grpc", port, tmp_path / "queue", in_flight=1) as forwarder:
        for entry in TRACES[:12]:
            data = request_of(entry["file"])
            parsed = ExportTraceServiceRequest.FromString(data)
            spans = sum(len(scope.spans) for resource in parsed.resource_spans for scope in resource.scope_spans)
            with_costs = splice(data, np.arange(1, spans + 1) / 8)
            forwarder.offer("traces", with_costs)
            sent.append(ExportTraceServiceRequest.FromString(with_costs))
        async with collector(config):
            assert await forwarder.drain(30) == 0
    arrived = received(written)
    assert len(arrived) == len(sent)
    for left, right in zip(arrived, sent, strict=True):
        assert _spans(left) == _spans(right)


def _spans(request: ExportTraceServiceRequest) -> list[tuple[str, bytes, list[tuple[str, bytes]]]]:
    return [
        (span.name, span.span_id, [(pair.key, pair.value.SerializeToString()) for pair in span.attributes])
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


# Who is stopped in the middle of a handshake leaves the connection to the collector of garbage: so does anyio.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual tls"])
async def test_requests_go_over_tls_to_who_is_trusted_alone(protocol: str, mutual: bool, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "strange")
    server, client = authority.issue("server"), authority.issue("client")
    taken = NextCollector()
    if protocol == "grpc":
        root = authority.ca_file.read_bytes() if mutual else None
        pair = [(server.key.read_bytes(), server.cert.read_bytes())]
        serving = grpc_collector(
            taken, credentials=ssl_server_credentials(pair, root_certificates=root, require_client_auth=mutual)
        )
    else:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file if mutual else None)
        context.load_cert_chain(server.cert, server.key)
        context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
        serving = http_collector(taken, tls=context)
    async with serving as port:
        ours = {"ca_file": str(authority.ca_file)}
        if mutual:
            ours |= {"cert_file": str(client.cert), "key_file": str(client.key)}
        for tls in ({"ca_file": str(stranger.ca_file)}, *([{"ca_file": str(authority.ca_file)}] if mutual else [])):
            async with forwarding(
                protocol, port, tmp_path / "queue", endpoint=f"https://127.0.0.1:{port}", tls=tls
            ) as forwarder:
                forwarder.offer("traces", request("a", 1))
                assert await forwarder.drain(0.7) > 0
                assert forwarder.failing
        assert not taken.taken
        async with forwarding(
            protocol, port, tmp_path / "queue", endpoint=f"https://127.0.0.1:{port}", tls=ours
        ) as forwarder:
            assert await forwarder.drain(10) == 0
    assert set(taken.requests) == {request("a", 1)}
