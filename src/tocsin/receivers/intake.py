"""What receivers ask of the service: take these bytes, and say what became of them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Intake", "Receipt", "Signal"]


class Signal(StrEnum):
    """The OTLP signals that are used; metrics are accepted and dropped by the receivers themselves."""

    TRACES = "traces"
    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request that was accepted."""

    rejected: int = 0
    """Spans or log records that could not be used; the rest was."""
    reason: str = ""
    """Why, for `partial_success.error_message`; may be set as a warning with `rejected` 0."""


class Intake(Protocol):
    """The way from a receiver to the engine."""

    async def offer(self, signal: Signal, data: bytes, *, transport: str) -> Receipt:
        """Take a serialized ExportTraceServiceRequest or ExportLogsServiceRequest; return when it is counted.

        Args:
            signal: which of the two `data` is.
            data: protobuf, decompressed.
            transport: `grpc` or `http`, for metrics.

        Raises:
            DecodeError: the bytes are not OTLP.
            OverloadedError: a limit is reached; nothing was taken.
        """
        ...
