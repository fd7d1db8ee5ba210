"""Where what was notified outlives the process: the outbox's side of the database. Times in Unix nanoseconds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.alerts.event import AlertEvent
from tocsin.notify.history import AttemptRecord, Outcome

__all__ = ["Follower", "MemoryStore", "Store", "Unfinished"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A delivery that is owed and that no queue in this process holds."""

    event: AlertEvent
    published_ns: int
    attempts: int


class Follower(Protocol):
    """Who delivers to one contact point. Called on the event loop; does not block and does not raise."""

    def adopt(self, left: Sequence[Unfinished]) -> None:
        """Deliver these too: a dead letter that is sent again, or what another process left."""
        ...

    def refill(self, left: Sequence[Unfinished], *, complete: bool) -> None:
        """The answer to `Store.more`; complete: there is nothing after these."""
        ...


class Store(Protocol):
    """Remembers what each contact point gets. Called on the event loop; never blocks and never raises.

    Writes are handed to a task of the store's own and reach the disk soon after, in order.
    """

    @property
    def durable(self) -> bool:
        """Whether what is accepted here outlives the process."""
        ...

    @property
    def degraded(self) -> str | None:
        """Why nothing can be written or read at present; None while it can."""
        ...

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
        """Return what a former process left, oldest first: the first ones, if they are many; `more` has the rest."""
        ...

    def told(self, contact_point: str) -> Sequence[str]:
        """Return the ids of alerts that this contact point heard of and not yet the end of, oldest first."""
        ...

    def follow(self, contact_point: str, follower: Follower | None) -> None:
        """Tell `follower` from now on of what is to be delivered to this contact point; None: nobody any more."""
        ...

    def more(self, contact_point: str, after_ns: int, limit: int) -> None:
        """Ask for up to `limit` deliveries published after `after_ns`, oldest first.

        The follower is told once everything that was accepted before this call can be among them.
        """
        ...

    def keep(self, contact_points: Collection[str]) -> None:
        """Make dead letters of everything that waits for any other contact point."""
        ...

    async def resend(self, contact_point: str, event_id: str) -> bool:
        """Let a dead letter be delivered after all, under its old id; return whether there is one.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        ...


class MemoryStore:
    """Keeps nothing beyond the queues themselves.

    What is undelivered at the end of the process is lost, and said.
    """

    durable = False
    degraded: str | None = None

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

    def follow(self, contact_point: str, follower: Follower | None) -> None:
        """Do nothing: there is nothing to tell."""

    def more(self, contact_point: str, after_ns: int, limit: int) -> None:
        """Do nothing: nothing waits but in queues."""

    def keep(self, contact_points: Collection[str]) -> None:
        """Do nothing, for the same reason."""

    async def resend(self, contact_point: str, event_id: str) -> bool:
        """Return False: no dead letter is kept."""
        return False
