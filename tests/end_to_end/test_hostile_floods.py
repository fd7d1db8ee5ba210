"""The real process under floods: out of file descriptors, and with many large messages at once."""

import asyncio
import contextlib
import socket
import sys
import time
from pathlib import Path
from random import Random

import grpc
import pytest
from configurations import write_configuration
from grpc import aio
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService

RULE = """
- name: counted
  metric: count
  window: 1h
  condition: gt
  threshold: 1000000
  notify: [terminal]
"""
MIB = 1024 * 1024
SENDERS, SENT = 40, 40 * MIB
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
FEW_DESCRIPTORS = ("/bin/sh", "-c", 'ulimit -n 100; exec "$@"', "sh", sys.executable, "-m", "tocsin")


def one_request(random: Random) -> bytes:
    return request_of([Call.drawn(random, end=time.time_ns())]).SerializeToString()


def unary(channel: aio.Channel) -> "aio.UnaryUnaryMultiCallable[bytes, bytes]":
    return channel.unary_unary(TRACES)


def served_again(service: RunningService, random: Random) -> None:
    """Return once both receivers take a request; fails after some seconds."""
    for transport in ("grpc", "http"):
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(Exception):
                if transport == "grpc":
                    with Exporter(service.addresses["grpc"]) as export:
                        export(one_request(random))
                    break
                body = one_request(random)
                with socket.create_connection(_address(service, "http"), timeout=5) as connection:
                    connection.sendall(
                        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
                        b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
                    )
                    if connection.recv(100).startswith(b"HTTP/1.1 200"):
                        break
            assert time.monotonic() < deadline, f"{transport} did not recover"


def _address(service: RunningService, name: str) -> tuple[str, int]:
    host, _, port = service.addresses[name].rpartition(":")
    return host, int(port)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["grpc", "http", "api"])
def test_a_service_out_of_file_descriptors_survives_and_recovers(transport: str, tmp_path: Path) -> None:
    random = Random(3)
    config = write_configuration(tmp_path / "c.yaml", RULE)
    with RunningService(config, command=FEW_DESCRIPTORS) as service:
        before = service.metric("process_cpu_seconds_total")
        flood = []
        for _ in range(200):
            with contextlib.suppress(OSError):
                flood.append(socket.create_connection(_address(service, transport), timeout=1))
        time.sleep(2)  # for as long as it has no descriptor left, it must not spin or end
        assert service.process.poll() is None
        for connection in flood:
            connection.close()
        served_again(service, random)
        assert service.metric("process_cpu_seconds_total") - before < 8
        assert service.get("/readyz")
    assert not any("Traceback" in line for line in service.lines)


@pytest.mark.slow
async def test_many_large_messages_at_once_cost_no_more_memory_than_the_limit_allows(tmp_path: Path) -> None:
    config = write_configuration(tmp_path / "c.yaml", RULE, more="limits: {in_flight_bytes: 128MiB}\n")
    random = Random(3)
    message = bytes(SENT)
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with RunningService(config) as service:
        before = peak = service.resident_bytes()

        async def send() -> grpc.StatusCode:
            async with aio.insecure_channel(service.addresses["grpc"], options=options) as channel:
                call: aio.UnaryUnaryCall[bytes, bytes]
                call = unary(channel)(message, timeout=30)
                return await call.code()

        sending = asyncio.gather(*(send() for _ in range(SENDERS)))
        while not sending.done():
            peak = max(peak, service.resident_bytes())
            await asyncio.sleep(0.01)
        assert set(sending.result()) <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE}
        # Two are read at once, in grpcio's memory and then as bytes; windows of 1 MiB; what is in flight; and what the
        # allocator keeps. Without turns it is a gigabyte and more.
        assert peak - before < (2 * 2 * 40 + SENDERS + 128 + 250) * MIB
        with Exporter(service.addresses["grpc"]) as export:
            assert await asyncio.to_thread(export, one_request(random)) == b""
