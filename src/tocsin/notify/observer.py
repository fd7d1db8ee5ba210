"""What the service is told of deliveries, to count them.

Label values are names of contact points, so bounded.
"""

from typing import Protocol

from tocsin.alerts.event import AlertEvent

__all__ = ["Observer", "SilentObserver"]


class Observer(Protocol):
    """Counts. Called on the event loop; does not block and does not raise."""

    def delivered(self, contact_point: str, seconds: float, event: AlertEvent) -> None:
        """The receiver took it. `seconds` is how long the attempt took."""
        ...

    def failed(self, contact_point: str, event: AlertEvent, *, retryable: bool) -> None:
        """An attempt failed; it is tried again if `retryable`, and lost to this contact point if not."""
        ...

    def dropped(self, contact_point: str, event: AlertEvent, *, reason: str) -> None:
        """It will not arrive.

        `queue_full`, `expired`, `removed`, `unknown`, `closed`, or `merged` into a later one.
        """
        ...

    def queue_length(self, contact_point: str, length: int) -> None:
        """How many events wait for this contact point."""
        ...

    def template_failed(self, field: str) -> None:
        """A rule's `summary` or `dashboard_url` template failed; the default was used."""
        ...


class SilentObserver:
    """Counts nothing."""

    def delivered(self, contact_point: str, seconds: float, event: AlertEvent) -> None:
        """Do nothing."""

    def failed(self, contact_point: str, event: AlertEvent, *, retryable: bool) -> None:
        """Do nothing."""

    def dropped(self, contact_point: str, event: AlertEvent, *, reason: str) -> None:
        """Do nothing."""

    def queue_length(self, contact_point: str, length: int) -> None:
        """Do nothing."""

    def template_failed(self, field: str) -> None:
        """Do nothing."""
