"""Where what was notified outlives the process: the outbox's side of the database. Times in Unix nanoseconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.alerts.event import AlertEvent
from tocsin.notify.history import AttemptRecord, Outcome

__all__ = ["MemoryStore", "Store", "Unfinished"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A delivery that a former process left."""

    event: AlertEvent
    published_ns: int
    attempts: int


class Store(Protocol):
    """Remembers what each contact point gets. Called on the event loop; never blocks and never raises.

    Writes are handed to a task of the store's own and reach the disk soon after, in order.
    """

    def accepted(self, contact_point: str, event: AlertEvent, published_ns: int) -> bool:
        """The event is to be delivered, from now until `finished`; return whether that is new.

        False: it was accepted before, perhaps by a former process, whose log the engine has read again.
        """
        ...

    def attempted(self, event: AlertEvent, record: AttemptRecord) -> None:
        """Something became of a delivery; `record.contact_point` says of which."""
        ...

    def finished(self, contact_point: str, event: AlertEvent, outcome: Outcome, text: str) -> None:
        """The event was DELIVERED or MERGED into a later one, or it FAILED or was DROPPED: then it is a dead letter."""
        ...

    def unfinished(self, contact_point: str) -> Sequence[Unfinished]:
        """Return what a former process left, oldest first."""
        ...

    def told(self, contact_point: str) -> Sequence[str]:
        """Return the ids of alerts that this contact point heard of and not yet the end of, oldest first."""
        ...


class MemoryStore:
    """Keeps nothing beyond the queues themselves.

    What is undelivered at the end of the process is lost, and said.
    """

    def accepted(self, contact_point: str, event: AlertEvent, published_ns: int) -> bool:
        """Do nothing: the queue holds it."""
        return True

    def attempted(self, event: AlertEvent, record: AttemptRecord) -> None:
        """Do nothing: the outbox remembers the last ones."""

    def finished(self, contact_point: str, event: AlertEvent, outcome: Outcome, text: str) -> None:
        """Do nothing: the queue let go of it."""

    def unfinished(self, contact_point: str) -> Sequence[Unfinished]:  # noqa: D102
        return ()

    def told(self, contact_point: str) -> Sequence[str]:  # noqa: D102
        return ()
