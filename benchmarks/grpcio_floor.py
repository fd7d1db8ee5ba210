"""The floor under a receiver on grpcio: a grpc.aio server that drops what it receives.

What Tocsin takes above it is decoding and evaluation; what this takes is the transport's.
Run: `python -m benchmarks.grpcio_floor --port 4400`.
"""

import argparse
import asyncio
import signal

import grpc

__all__ = ["main"]

_OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # As Tocsin's receiver has them.
    ("grpc.http2.lookahead_bytes", 16 * 1024 * 1024),
    ("grpc.http2.max_frame_size", 2**24 - 1),
    ("grpc.http2.bdp_probe", 0),
]
_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


async def _drop(request: bytes, context: object) -> bytes:
    del request, context
    return b""


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=_OPTIONS)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_drop)
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
