"""The real process under floods: out of file descriptors, and with many large messages at once."""

import asyncio
import contextlib
import socket
import sys
import time
from pathlib import Path
from random import Random

import pytest
from configurations import write_configuration
from http2_frames import DATA, END_HEADERS, HEADERS, RawConnection, call_headers, frame, grpc_message
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
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
FEW_DESCRIPTORS = ("/bin/sh", "-c", 'ulimit -n 100; exec "$@"', "sh", sys.executable, "-m", "tocsin")


def one_request(random: Random) -> bytes:
    return request_of([Call.drawn(random, end=time.time_ns())]).SerializeToString()


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
async def test_a_hundred_large_messages_at_once_cost_no_more_memory_than_the_limit_allows(tmp_path: Path) -> None:
    config = write_configuration(tmp_path / "c.yaml", RULE, more="limits: {in_flight_bytes: 128MiB}\n")
    random = Random(3)
    piece = bytes(16000)
    with RunningService(config) as service:
        before = service.resident_bytes()
        async with contextlib.AsyncExitStack() as stack:
            senders = [await stack.enter_async_context(RawConnection(service.addresses["grpc"])) for _ in range(100)]

            async def stall_before_the_end(sender: RawConnection) -> None:
                await sender.greet()
                await sender.send(frame(HEADERS, END_HEADERS, 1, call_headers(TRACES)))
                await sender.send(frame(DATA, 0, 1, grpc_message(b"", announced=60 * MIB)))
                for _ in range(40 * MIB // len(piece)):
                    if not await sender.send(frame(DATA, 0, 1, piece)):
                        return

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):  # most are never read further
                    await asyncio.gather(*(stall_before_the_end(sender) for sender in senders))
            # Two messages of 60 MiB are read at once, beside a window of 1 MiB for each of the others.
            assert service.resident_bytes() - before < (2 * 60 + 100 + 150) * MIB
            # A stranger gets its turn: whoever dawdles loses its own.
            begun = time.monotonic()
            with Exporter(service.addresses["grpc"]) as export:
                answer = await asyncio.to_thread(export, one_request(random))
            assert answer == b""
            assert time.monotonic() - begun < 20
        assert service.process.poll() is None
