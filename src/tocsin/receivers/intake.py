"""What receivers ask of the service: take these bytes, and say what became of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

__all__ = ["Intake", "MetricsIntake", "Receipt", "Signal"]


class Signal(StrEnum):
    """The OTLP signals that are evaluated; metrics are passed on or dropped."""

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


MetricsIntake: TypeAlias = Callable[[bytes], Awaitable[bool]]
"""Takes a serialized ExportMetricsServiceRequest to be passed on; False: metrics are not passed on, and dropped."""
