"""The peer that most Python services are: grpc.aio, every message walked with the official classes, one sum.

The walk is that of `benchmarks.decode`. It does far less than Tocsin: no prices, no windows, no rules.
Run: `python -m benchmarks.upb_server --port 4400`.
"""

import argparse
import asyncio
import signal
from collections import defaultdict

import grpc

from benchmarks.decode import walk

__all__ = ["main"]

_LIMIT = 64 * 1024 * 1024
_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class _Sums:
    """Tokens by conversation."""

    def __init__(self) -> None:
        self.tokens: dict[str, int] = defaultdict(int)

    async def export(self, request: bytes, context: object) -> bytes:
        """Take one request; the answer is an empty ExportTraceServiceResponse."""
        del context
        for span in walk(request):
            used = span["gen_ai.usage.input_tokens"] + span["gen_ai.usage.output_tokens"]
            self.tokens[span["gen_ai.conversation.id"]] += used
        return b""


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", _LIMIT)])
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_Sums().export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
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
