"""The peer that most Python services are: official stubs, upb messages walked by attribute, one sum.

It does far less than Tocsin (no windows, no rules), and shows what decoding into message objects costs.
Run: `python -m benchmarks.upb_server --port 4400`.
"""

import argparse
import asyncio
import signal
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["UpbServer", "main"]

_LIMIT = 64 * 1024 * 1024


class UpbServer(trace_service_pb2_grpc.TraceServiceServicer):
    """Reads every attribute of every span into a dict, as generic consumers do; sums by conversation."""

    def __init__(self) -> None:
        self.tokens: dict[str, int] = defaultdict(int)

    async def Export(  # noqa: N802  # the generated base names it
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: object,
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take one request."""
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    found = _attributes(span.attributes)
                    used = found["gen_ai.usage.input_tokens"] + found["gen_ai.usage.output_tokens"]
                    self.tokens[found["gen_ai.conversation.id"]] += used
        return trace_service_pb2.ExportTraceServiceResponse()


def _attributes(items: Iterable[KeyValue]) -> dict[str, Any]:
    return {item.key: _value(item.value) for item in items}


def _value(value: AnyValue) -> Any:  # noqa: ANN401  # any of seven kinds
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", _LIMIT)])
    register = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(UpbServer(), server)  # type: ignore[no-untyped-call]  # generated without types
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(grace=1)


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
