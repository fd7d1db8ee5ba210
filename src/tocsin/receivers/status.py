"""What a sender is told, in one place: errors and receipts as gRPC statuses, HTTP statuses and OTLP bodies.

An exporter decides by the status whether it sends again. For gRPC it does so on UNAVAILABLE, and for
RESOURCE_EXHAUSTED only with a RetryInfo; for HTTP on 429, 502, 503 and 504.
Source: OTLP 1.x specification, "OTLP/gRPC Response" and "OTLP/HTTP Response".
"""

import random
from dataclasses import dataclass, replace
from typing import Final

import grpc
import orjson
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tocsin.errors import DecodeError, OverloadedError, TocsinError, TooLargeError
from tocsin.receivers.intake import Receipt

__all__ = [
    "AMBIGUOUS",
    "CONTENT_ENCODING",
    "CONTENT_TYPE",
    "FORBIDDEN",
    "INCOMPLETE",
    "INTERNAL",
    "METHOD",
    "METRICS_DROPPED",
    "MOST_SPREAD",
    "REASONS",
    "SHUTTING_DOWN",
    "TIMEOUT",
    "TOO_LARGE_OR_LEFT",
    "TOO_MANY_CONNECTIONS",
    "UNAUTHENTICATED",
    "UNKNOWN_METHOD",
    "UNKNOWN_PATH",
    "Refusal",
    "json_status",
    "json_success",
    "protobuf_status",
    "protobuf_success",
    "refusal_of",
]

METRICS_DROPPED: Final = Receipt(
    rejected=0,
    reason="Tocsin reads traces and logs; these metrics were accepted and dropped. Send metrics elsewhere.",
)
"""The answer to metrics: a warning. Nothing is parsed, so no number of rejected points is claimed."""

MOST_SPREAD: Final = 3.0
"""Those who were refused together are asked to come back after one to three times as long as it takes, not together:
some exporters wait exactly so long, and give up after six times."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not taken, as either transport says it."""

    reason: str
    """The label of `tocsin_refused_requests_total`; bounded."""
    code: grpc.StatusCode
    http: int
    message: str
    retry_after: float | None = None
    """Seconds; None where sending the same again cannot help."""


INCOMPLETE: Final = Refusal(
    "incomplete", grpc.StatusCode.INVALID_ARGUMENT, 400, "the request ended before its message was complete"
)
AMBIGUOUS: Final = Refusal(
    "malformed",
    grpc.StatusCode.INVALID_ARGUMENT,
    400,
    "the request has both Content-Length and Transfer-Encoding; send one of them",
)
TIMEOUT: Final = Refusal(
    "timeout",
    grpc.StatusCode.DEADLINE_EXCEEDED,
    408,
    "the request took longer to arrive than read_timeout allows",
)
UNAUTHENTICATED: Final = Refusal(
    "unauthenticated", grpc.StatusCode.UNAUTHENTICATED, 401, "a bearer token of this listener is needed"
)
FORBIDDEN: Final = Refusal(
    "forbidden", grpc.StatusCode.PERMISSION_DENIED, 403, "this token may not send; use one with the role ingest"
)
UNKNOWN_METHOD: Final = Refusal("unknown_method", grpc.StatusCode.UNIMPLEMENTED, 404, "no such method")
UNKNOWN_PATH: Final = Refusal(
    "unknown_path",
    grpc.StatusCode.NOT_FOUND,
    404,
    "no such path; OTLP is taken at /v1/traces, /v1/logs and /v1/metrics",
)
METHOD: Final = Refusal("method", grpc.StatusCode.UNIMPLEMENTED, 405, "OTLP is sent with POST")
CONTENT_TYPE: Final = Refusal(
    "content_type",
    grpc.StatusCode.INVALID_ARGUMENT,
    415,
    "this Content-Type is not read; send application/x-protobuf or application/json",
)
CONTENT_ENCODING: Final = Refusal(
    "content_encoding",
    grpc.StatusCode.INVALID_ARGUMENT,
    415,
    "this Content-Encoding is not read; send gzip, deflate, zstd or none",
)
TOO_MANY_CONNECTIONS: Final = Refusal(
    "connections",
    grpc.StatusCode.UNAVAILABLE,
    503,
    "max_connections are open; connect again later",
    retry_after=1.0,
)
SHUTTING_DOWN: Final = Refusal(
    "shutting_down",
    grpc.StatusCode.UNAVAILABLE,
    503,
    "the service is shutting down; send again",
    retry_after=1.0,
)
INTERNAL: Final = Refusal(
    "internal", grpc.StatusCode.INTERNAL, 500, "an error inside Tocsin; its log says more", retry_after=None
)
_MALFORMED: Final = Refusal("malformed", grpc.StatusCode.INVALID_ARGUMENT, 400, "")
_TOO_LARGE: Final = Refusal("too_large", grpc.StatusCode.RESOURCE_EXHAUSTED, 413, "")
_PREPARED: Final = (
    AMBIGUOUS,
    INCOMPLETE,
    TIMEOUT,
    UNAUTHENTICATED,
    FORBIDDEN,
    UNKNOWN_METHOD,
    UNKNOWN_PATH,
    METHOD,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    TOO_MANY_CONNECTIONS,
    SHUTTING_DOWN,
    INTERNAL,
    _MALFORMED,
    _TOO_LARGE,
)

TOO_LARGE_OR_LEFT: Final = "too_large_or_left"
"""A gRPC call that ended before its message was read: grpcio answers one over the limit itself, and does not
tell it from a sender that left."""
REASONS: Final = frozenset(refusal.reason for refusal in _PREPARED) | {"in_flight_bytes", "reading", TOO_LARGE_OR_LEFT}
"""The reasons that receivers give themselves; an `OverloadedError` from the intake brings its own."""


def refusal_of(error: TocsinError) -> Refusal:
    """Return what makes an OTLP exporter do the right thing about an error."""
    match error:
        case DecodeError():
            return replace(_MALFORMED, message=str(error))
        case TooLargeError():
            return replace(_TOO_LARGE, message=str(error))
        case OverloadedError():
            retry_after = error.retry_after * random.uniform(1, MOST_SPREAD)  # noqa: S311  # nothing secret
            return Refusal(error.reason, grpc.StatusCode.UNAVAILABLE, 503, str(error), retry_after)
        case _:
            return INTERNAL


def protobuf_status(refusal: Refusal) -> bytes:
    """Return a serialized google.rpc.Status, with RetryInfo where a retry can help."""
    status = Status(code=refusal.code.value[0], message=refusal.message)
    if refusal.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(refusal.retry_after * 1e9))
        detail = Any()
        detail.Pack(RetryInfo(retry_delay=delay))
        status.details.append(detail)
    return bytes(status.SerializeToString())


def json_status(refusal: Refusal) -> bytes:
    """Return the same Status in protobuf's JSON mapping."""
    status: dict[str, object] = {"code": refusal.code.value[0], "message": refusal.message}
    if refusal.retry_after is not None:
        delay = f"{refusal.retry_after:.9f}".rstrip("0").rstrip(".") + "s"
        status["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    return orjson.dumps(status)


def protobuf_success(receipt: Receipt) -> bytes:
    """Return a serialized Export…ServiceResponse, the same for all signals.

    The three responses share their shape: partial_success is field 1, of it rejected_… 1 and error_message 2.
    """
    if not receipt.rejected and not receipt.reason:
        return b""
    partial = ExportTracePartialSuccess(rejected_spans=receipt.rejected, error_message=receipt.reason)
    return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


def json_success(receipt: Receipt, rejected_key: str) -> bytes:
    """Return the response in JSON; `rejected_key` is `rejectedSpans` or what its signal has in its place."""
    if not receipt.rejected and not receipt.reason:
        return b"{}"
    partial: dict[str, str] = {}
    if receipt.rejected:
        partial[rejected_key] = str(receipt.rejected)  # an int64 is a string in protobuf's JSON
    if receipt.reason:
        partial["errorMessage"] = receipt.reason
    return orjson.dumps({"partialSuccess": partial})
