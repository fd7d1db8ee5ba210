"""What became of each event at each contact point: the last attempts, bounded, for people who ask."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AttemptRecord", "History", "Outcome"]


class Outcome(StrEnum):
    """How an attempt, or the lack of one, ended."""

    DELIVERED = "delivered"
    RETRYING = "retrying"
    FAILED = "failed"
    DROPPED = "dropped"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One line of an event's history."""

    contact_point: str
    outcome: Outcome
    number: int
    """Of the attempt; 0 where none was made."""
    at_ns: int
    """Wall clock, Unix nanoseconds."""
    seconds: float
    """How long it took."""
    text: str
    """The receiver's answer, or why it failed; no secrets."""


class History:
    """The last events and, of each, its last records."""

    def __init__(self, *, events: int = 10_000, records: int = 50) -> None:
        self._events = events
        self._records = records
        self._kept: OrderedDict[str, deque[AttemptRecord]] = OrderedDict()

    def add(self, event_id: str, record: AttemptRecord) -> None:
        """Keep a record; the event that was touched longest ago makes room."""
        records = self._kept.setdefault(event_id, deque(maxlen=self._records))
        records.append(record)
        self._kept.move_to_end(event_id)
        if len(self._kept) > self._events:
            self._kept.popitem(last=False)

    def of(self, event_id: str) -> tuple[AttemptRecord, ...]:
        """Return an event's records, the oldest first."""
        return tuple(self._kept.get(event_id, ()))
