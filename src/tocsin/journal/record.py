"""What is logged: everything that the engine was given and that its alerts depend on, in the order in which it came.

An engine that is given the same records again has the same windows and finds the same alerts with the same ids.
"""

from dataclasses import dataclass
from enum import IntEnum

from tocsin.model.batch import SpanBatch

__all__ = ["Record", "RecordKind"]


class RecordKind(IntEnum):
    """What the engine was given."""

    SPANS = 1
    """A priced batch."""
    TIME = 2
    """The passing of time, where it changed an alert."""
    RULES = 3
    """Other rules."""


@dataclass(frozen=True, slots=True)
class Record:
    """One input of the engine."""

    wall: int
    """The wall clock that the engine was told, Unix nanoseconds."""
    time: int
    """Event time: before SPANS and RULES were taken, and up to which TIME went."""
    batch: SpanBatch | None = None
    """Of SPANS: after pricing, exactly as the engine was given it."""
    rules: bytes | None = None
    """Of RULES: a document that only its writer reads."""

    @property
    def kind(self) -> RecordKind:
        """What this is."""
        if self.batch is not None:
            return RecordKind.SPANS
        return RecordKind.TIME if self.rules is None else RecordKind.RULES
