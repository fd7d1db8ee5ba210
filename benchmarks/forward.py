"""Forwarding: adding costs, the queue, and all of it at 10,000 spans a second to a collector in another process.

Run: `python -m benchmarks.forward [DIRECTORY]`; the queue is made below the directory, whose disk is what is measured.
"""

import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
from grpc import aio, unary_unary_rpc_method_handler
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.forward import splice_reference
from tocsin.forward.config import OtlpForwardConfig
from tocsin.forward.forwarder import Forwarder
from tocsin.forward.splice import splice

SPANS_A_SECOND = 10_000
SECONDS = 5.0
RANDOM = random.Random(1)
NOW = 1_790_000_000_000_000_000


def request_of(spans: int, body: int = 0) -> bytes:
    """Model calls of one client, each with `body` bytes of text."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.instance.id").value.string_value = str(RANDOM.random())
    scope = resource.scope_spans.add()
    for _ in range(spans):
        span = scope.spans.add(trace_id=RANDOM.randbytes(16), span_id=RANDOM.randbytes(8), name="chat gpt-4o")
        span.start_time_unix_nano, span.end_time_unix_nano = NOW - 10**9, NOW
        for key in ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"):
            span.attributes.add(key=key).value.string_value = "gpt-4o"
        for key in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
            span.attributes.add(key=key).value.int_value = 1000
        if body:
            span.attributes.add(key="gen_ai.input.messages").value.string_value = "x" * body
    return request.SerializeToString()


def seconds_of(work: Callable[[], object], least: float = 0.3) -> float:
    """Return the seconds of the fastest call: others share the machine."""
    times: list[float] = []
    while sum(times) < least:
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def measure_splice() -> None:
    """Print microseconds a span, both ways."""
    for body in (0, 2048):
        request, costs = request_of(512, body), np.full(512, 0.001)
        listed = costs.tolist()
        native = seconds_of(partial(splice, request, costs))
        plain = seconds_of(partial(splice_reference.splice, request, listed))
        print(f"splice, {body} B of text: {native / 512e-6:.2f} us a span, reference {plain / 512e-6:.1f} us")


async def measure_forwarder(port: int, spans: int, directory: Path, sync: timedelta) -> None:
    """Print the CPU of forwarding at a fixed rate, and how long it takes until a request is on disk."""
    requests = [request_of(spans) for _ in range(20)]
    config = OtlpForwardConfig(endpoint=f"http://127.0.0.1:{port}")
    forwarder = Forwarder(config, directory, sync=sync)
    waits: list[float] = []

    async def offer(data: bytes) -> None:
        begun = time.perf_counter()
        kept = forwarder.offer("traces", data)
        if kept is not None:
            await kept
        waits.append(time.perf_counter() - begun)

    async with forwarder.running(), asyncio.TaskGroup() as tasks:
        await offer(requests[0])
        await forwarder.drain(5)
        waits.clear()
        begun, cpu, sent = time.perf_counter(), time.process_time(), 0
        while (passed := time.perf_counter() - begun) < SECONDS:
            while sent < passed * SPANS_A_SECOND / spans:
                tasks.create_task(offer(requests[sent % len(requests)]))
                sent += 1
            await asyncio.sleep(0.005)
        left = await forwarder.drain(20)
        used = time.process_time() - cpu
    waits.sort()
    print(
        f"forwarding {SPANS_A_SECOND} spans/s, {spans} a request, sync {sync.total_seconds():g} s:"
        f" {used / SECONDS:.1%} of a core, {used / sent * 1e6:.0f} us a request;"
        f" on disk after p50 {waits[len(waits) // 2] * 1e3:.2f} ms, p99 {waits[len(waits) * 99 // 100] * 1e3:.2f} ms;"
        f" {left} not sent"
    )


async def serve() -> None:
    """Be the next collector."""

    class Methods:
        def service(self, _details: object) -> object:
            async def export(_data: bytes, _context: object) -> bytes:
                return b""

            return unary_unary_rpc_method_handler(export)

    server = aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Methods(),))  # type: ignore[arg-type]  # its one method is there
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Run all."""
    if sys.argv[1:] == ["--serve"]:
        asyncio.run(serve())
        return
    measure_splice()
    command = [sys.executable, "-m", "benchmarks.forward", "--serve"]
    with (
        tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as directory,
        subprocess.Popen(command, stdout=subprocess.PIPE) as collector,
    ):
        assert collector.stdout is not None
        port = int(collector.stdout.readline())
        try:
            for spans in (512, 10):
                for sync in (1.0, 0.0):
                    queue = Path(directory) / f"{spans}-{sync}"
                    asyncio.run(measure_forwarder(port, spans, queue, timedelta(seconds=sync)))
        finally:
            collector.terminate()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
