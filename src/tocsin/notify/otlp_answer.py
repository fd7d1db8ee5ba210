"""What a collector's answers mean: which of them a retry can help, and how long it wishes to be left alone.

Source: OTLP 1.x specification, "OTLP/gRPC Response" and "OTLP/HTTP Response".
"""

from typing import Final

import grpc
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from grpc import aio

__all__ = ["HTTP_RETRYABLE", "may_succeed_later", "retry_info_of", "status_text_of"]

HTTP_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_GRPC_RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_STATUS_DETAILS: Final = "grpc-status-details-bin"


def may_succeed_later(error: aio.AioRpcError) -> bool:
    """Whether the same request may be taken later; RESOURCE_EXHAUSTED says so by its RetryInfo alone."""
    code = error.code()
    exhausted = code is grpc.StatusCode.RESOURCE_EXHAUSTED
    return code in _GRPC_RETRYABLE or (exhausted and retry_info_of(error) is not None)


def retry_info_of(error: aio.AioRpcError) -> float | None:
    """Return the seconds of a RetryInfo; None where there is none."""
    for key, value in error.trailing_metadata() or ():
        if key != _STATUS_DETAILS or not isinstance(value, bytes):
            continue
        try:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return max(0.0, info.retry_delay.ToNanoseconds() / 1e9)
        except ProtobufDecodeError:
            return None
    return None


def status_text_of(body: bytes) -> str:
    """Return the message of a google.rpc.Status, which errors over HTTP carry; empty where there is none."""
    try:
        return str(Status.FromString(body).message)
    except ProtobufDecodeError:
        return ""
