"""Where events that are not delivered yet outlive the process: the seam for a journal."""

from collections.abc import Sequence
from typing import Protocol

from tocsin.alerts.event import AlertEvent

__all__ = ["MemoryStore", "Store"]


class Store(Protocol):
    """Remembers which events a contact point still has to get. Called on the event loop; does not block."""

    def accepted(self, contact_point: str, event: AlertEvent, published_ns: int) -> None:
        """The event is to be delivered, from now until `finished`."""
        ...

    def finished(self, contact_point: str, event_id: str) -> None:
        """The event was delivered, or is given up."""
        ...

    def unfinished(self, contact_point: str) -> Sequence[tuple[AlertEvent, int]]:
        """Return what a former process left, oldest first, each with its `published_ns`."""
        ...


class MemoryStore:
    """Keeps nothing beyond the queues themselves.

    What is undelivered at the end of the process is lost, and said.
    """

    def accepted(self, contact_point: str, event: AlertEvent, published_ns: int) -> None:
        """Do nothing: the queue holds it."""

    def finished(self, contact_point: str, event_id: str) -> None:
        """Do nothing: the queue let go of it."""

    def unfinished(self, contact_point: str) -> Sequence[tuple[AlertEvent, int]]:  # noqa: D102
        return ()
