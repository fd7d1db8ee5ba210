"""OTLP over gRPC, on grpcio's asyncio server.

Handlers see the message as bytes and parse nothing. They are registered as taking a stream, from which they
read one message: the bytes on the wire are the same, and a message that never arrived whole (over the limit,
cut off, absent) is then seen, bounded in time and counted here instead of vanishing inside grpcio.
What the channel arguments are for is in docs/decisions/0015-grpc-receiver.md.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Never, Protocol

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped] # no stubs in the package
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # no stubs in the package
    reflection,
    reflection_pb2,
)
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tocsin.errors import ConfigError, OverloadedError, TocsinError
from tocsin.receivers.admission import Admission
from tocsin.receivers.authentication import Gate, grpc_credentials
from tocsin.receivers.config import Endpoint as ListenEndpoint
from tocsin.receivers.config import GrpcReceiverConfig, endpoint_of
from tocsin.receivers.health import Health
from tocsin.receivers.intake import Receipt, Signal
from tocsin.receivers.status import (
    INCOMPLETE,
    INTERNAL,
    TIMEOUT,
    TOO_LARGE_OR_LEFT,
    UNKNOWN_METHOD,
    Refusal,
    protobuf_status,
    protobuf_success,
    refusal_of,
)
from tocsin.receivers.turns import Turns
from tocsin.security.certificates import Certificates

__all__ = ["Beside", "grpc_receiver"]

_TRANSPORT: Final = "grpc"
_ACCEPTED: Final = Receipt()
_IDLE_MS: Final = 5 * 60 * 1000
"""Without a call; an exporter sends every few seconds, and one that is told to reconnect does so by itself."""
_STATUS_DETAILS: Final = "grpc-status-details-bin"
_REFLECTION_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
_logger = logging.getLogger(__name__)

_Export = Callable[[object, Any], Awaitable[bytes]]


def _service_name(module: Any, service: str) -> str:  # noqa: ANN401 - generated modules have no common type
    return str(module.DESCRIPTOR.services_by_name[service].full_name)


_TRACES: Final = _service_name(trace_service_pb2, "TraceService")
_LOGS: Final = _service_name(logs_service_pb2, "LogsService")
_METRICS: Final = _service_name(metrics_service_pb2, "MetricsService")
_HEALTH: Final = _service_name(health_pb2, "Health")


class Beside(Protocol):
    """A service that shares the listener, so that applications need one address for both."""

    @property
    def name(self) -> str:
        """As in its .proto, package included."""
        ...

    @property
    def handlers(self) -> Mapping[str, Any]:
        """Path of each method -> its handler."""
        ...

    @property
    def asks(self) -> bool:
        """Whether it asks for tokens itself; else the listener's are asked for."""
        ...

    def drain(self) -> None:
        """End what goes on for long."""
        ...


@asynccontextmanager
async def grpc_receiver(
    config: GrpcReceiverConfig,
    admission: Admission,
    gate: Gate,
    *,
    drain_seconds: float,
    beside: Beside | None = None,
) -> AsyncIterator[ListenEndpoint]:
    """Serve OTLP/gRPC, and what is `beside` it, while the block runs; yield where it listens.

    At the end health turns NOT_SERVING, nothing new is taken, and requests in flight have `drain_seconds`.

    Raises:
        ConfigError: the endpoint can't be listened on, or the certificate can't be used.
    """
    endpoint = endpoint_of(config.endpoint)
    health = Health(("", _TRACES, _LOGS, _METRICS, *(() if beside is None else (beside.name,))))
    async with AsyncExitStack() as stack:
        credentials = None
        if config.tls is not None:
            certificates = await stack.enter_async_context(Certificates(config.tls, "receivers.otlp.grpc").watched())
            credentials = grpc_credentials(certificates)
        server = aio.server(options=_options(config))
        server.add_generic_rpc_handlers((_Methods(config, admission, gate, health, beside),))
        try:
            address = str(endpoint)
            port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError as error:
            text = f"receivers.otlp.grpc.endpoint: cannot listen on {endpoint}; is the port taken?"
            raise ConfigError(text) from error
        await server.start()
        try:
            yield ListenEndpoint(endpoint.host, port)
        finally:
            health.drain()
            if beside is not None:
                beside.drain()
            await server.stop(drain_seconds)


def _options(config: GrpcReceiverConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_request_size),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        # A message has all the window it needs once it is its turn to be read (see turns.py); before that a stream
        # may run so far ahead: enough for 1000 spans and more. Frames may be as large as HTTP/2 allows, and the
        # probe that would find such sizes by itself is off. Measured: 2.8 instead of 3.4 CPU-us a span.
        ("grpc.http2.lookahead_bytes", 1024 * 1024),
        ("grpc.http2.max_frame_size", 2**24 - 1),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.absolute_max_metadata_size", 32 * 1024),
        # A client may ping every 10 s; grpcio's default of 5 min answers the usual 30 s with GOAWAY.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Connections: so many, of which none may be silent from the start (no preface, no SETTINGS) or for ever.
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", round(config.read_timeout.total_seconds() * 1000)),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        # Two processes on one port would each get a part of the spans; better that the second one fails.
        ("grpc.so_reuseport", 0),
    ]


class _Methods(grpc.GenericRpcHandler):
    """Every method that is served, by path; any other is counted, and grpcio says UNIMPLEMENTED."""

    def __init__(
        self, config: GrpcReceiverConfig, admission: Admission, gate: Gate, health: Health, beside: Beside | None
    ) -> None:
        self._observer = admission.observer
        self._gate = gate
        wait = config.read_timeout.total_seconds()
        turns = Turns(admission.budget, config.max_request_size)
        self._handlers: dict[str, Any] = {
            f"/{method}/Export": grpc.stream_unary_rpc_method_handler(_exporter(signal, admission, turns, wait))
            for method, signal in ((_TRACES, Signal.TRACES), (_LOGS, Signal.LOGS), (_METRICS, None))
        }
        self._handlers |= {
            f"/{_HEALTH}/Check": grpc.unary_unary_rpc_method_handler(
                health.check,
                health_pb2.HealthCheckRequest.FromString,
                health_pb2.HealthCheckResponse.SerializeToString,
            ),
            f"/{_HEALTH}/Watch": grpc.unary_stream_rpc_method_handler(
                health.watch,
                health_pb2.HealthCheckRequest.FromString,
                health_pb2.HealthCheckResponse.SerializeToString,
            ),
        }
        self._asked_there: frozenset[str] = frozenset()
        names: tuple[str, ...] = (_TRACES, _LOGS, _METRICS, _HEALTH, *_REFLECTION_SERVICES)
        if beside is not None:
            self._handlers |= beside.handlers
            self._asked_there = frozenset(beside.handlers) if beside.asks else frozenset()
            names = (*names, beside.name)
        servicer = reflection.aio.ReflectionServicer(service_names=names)
        for service in _REFLECTION_SERVICES:  # v1 is v1alpha under another package: same messages, same numbers
            self._handlers[f"/{service}/ServerReflectionInfo"] = grpc.stream_stream_rpc_method_handler(
                servicer.ServerReflectionInfo,
                reflection_pb2.ServerReflectionRequest.FromString,
                reflection_pb2.ServerReflectionResponse.SerializeToString,
            )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
        handler = self._handlers.get(handler_call_details.method)
        if handler is None:
            self._observer.refused(_TRANSPORT, UNKNOWN_METHOD.reason)
        elif handler_call_details.method in self._asked_there:
            pass
        elif not handler_call_details.method.startswith(f"/{_HEALTH}/"):  # which probes ask, without a token
            metadata = handler_call_details.invocation_metadata or ()
            refusal = self._gate.refusal(value for key, value in metadata if key == "authorization")
            if refusal is not None:
                self._observer.refused(_TRANSPORT, refusal.reason)
                return grpc.stream_unary_rpc_method_handler(_refusing(refusal))
        return handler


def _refusing(refusal: Refusal) -> Any:  # noqa: ANN401 - as the stubs type it
    """Return a method that reads nothing."""

    async def refuse(_: object, context: Any) -> Never:  # noqa: ANN401 - the stubs type it by message
        await context.abort(refusal.code, refusal.message, ((_STATUS_DETAILS, protobuf_status(refusal)),))
        raise AssertionError("abort always raises")

    return refuse


def _exporter(signal: Signal | None, admission: Admission, turns: Turns, wait: float) -> _Export:
    """Return the Export method of a signal; None stands for metrics, which are passed on or dropped."""
    intake, observer, budget = admission.intake, admission.observer, admission.budget

    async def export(_: object, context: Any) -> bytes:  # noqa: ANN401 - the stubs type it by message
        try:
            budget.admit()
            async with turns.turn(context.peer(), wait):
                data = await context.read()
        except TimeoutError:
            await _refuse(context, TIMEOUT)
        except OverloadedError as error:
            await _refuse(context, refusal_of(error))
        except asyncio.CancelledError:
            observer.refused(_TRANSPORT, TOO_LARGE_OR_LEFT)
            raise
        if data is aio.EOF:
            await _refuse_nothing(context)
        observer.received(_TRANSPORT, len(data))
        outcome = await _offered(signal, data)
        # A refusal is raised through here, and its traceback would keep the message until cycles are collected.
        del data
        if isinstance(outcome, Refusal):
            await _refuse(context, outcome)
        return b"" if outcome == _ACCEPTED else protobuf_success(outcome)

    async def _offered(signal: Signal | None, data: bytes) -> Receipt | Refusal:
        size = len(data)
        try:
            budget.take(size)
            try:
                if signal is None:
                    return await admission.pass_on(data)
                return await intake.offer(signal, data, transport=_TRANSPORT)
            finally:
                budget.give_back(size)
        except TocsinError as error:
            error.__traceback__ = None  # its frames hold the message, in a cycle with whoever waited for the answer
            return refusal_of(error)
        except Exception as error:
            _logger.exception("a request could not be taken because of an error inside Tocsin")
            error.__traceback__ = None
            return INTERNAL

    async def _refuse(context: Any, refusal: Refusal) -> Never:  # noqa: ANN401 - see above
        observer.refused(_TRANSPORT, refusal.reason)
        details = ((_STATUS_DETAILS, protobuf_status(refusal)),)
        try:
            await context.abort(refusal.code, refusal.message, details)
        except aio.InternalError as error:
            # The call ended before we could say so: the sender left, or grpcio refused the message by its size. It
            # is cancelled, then, and grpcio takes this end without a stack trace in the log.
            raise asyncio.CancelledError from error
        raise AssertionError("abort always raises")

    async def _refuse_nothing(context: Any) -> Never:  # noqa: ANN401
        """Refuse a call that brought no message."""
        try:
            await context.abort(INCOMPLETE.code, INCOMPLETE.message)
        except (aio.InternalError, asyncio.CancelledError) as error:
            # Not ours to answer: grpcio refused the message by its size, or the sender left. It does not say which.
            observer.refused(_TRANSPORT, TOO_LARGE_OR_LEFT)
            raise asyncio.CancelledError from error
        except aio.AbortError:
            observer.refused(_TRANSPORT, INCOMPLETE.reason)
            raise
        raise AssertionError("abort always raises")

    return export
