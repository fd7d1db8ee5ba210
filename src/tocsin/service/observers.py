"""What receivers and contact points tell the service, handed to telemetry."""

from collections.abc import Callable, Sequence

from tocsin import telemetry
from tocsin.alerts.event import AlertEvent
from tocsin.notify.history import AttemptRecord
from tocsin.service.self_alerts.watch import SelfWatch

__all__ = ["DeliveryTelemetry", "ReceiverTelemetry"]


class ReceiverTelemetry:
    """A `ReceiverObserver`."""

    def __init__(self, watch: SelfWatch) -> None:
        self._watch = watch

    def received(self, transport: str, size: int) -> None:
        """Count a request that arrived in full."""
        telemetry.bytes_received(transport=transport, size=size)

    def refused(self, transport: str, reason: str) -> None:
        """Count a request that was not taken."""
        telemetry.request_refused(transport=transport, reason=reason)
        self._watch.refused(reason)


class DeliveryTelemetry:
    """An `Observer` of the outbox."""

    def __init__(self, watch: SelfWatch, attempts: Callable[[str], Sequence[AttemptRecord]] | None = None) -> None:
        """Make one.

        Args:
            watch: is told how it goes with each contact point.
            attempts: what became of an event so far (`Outbox.attempts`), so that an alert can say why it failed.
        """
        self._watch = watch
        self._attempts = attempts or (lambda _event_id: ())

    def delivered(self, contact_point: str, seconds: float, event: AlertEvent) -> None:
        """Count a notification that was taken."""
        telemetry.notification_delivered(contact_point=contact_point, seconds=seconds)
        self._watch.delivery(contact_point, ok=True)

    def failed(self, contact_point: str, event: AlertEvent, *, retryable: bool) -> None:
        """Count an attempt that failed."""
        telemetry.notification_failed(contact_point=contact_point, retryable=retryable)
        reasons = [record.text for record in self._attempts(event.id) if record.contact_point == contact_point]
        reason = reasons[-1] if reasons else ""
        self._watch.delivery(contact_point, ok=False, permanent=not retryable, reason=reason)

    def dropped(self, contact_point: str, event: AlertEvent, *, reason: str) -> None:
        """Count a notification that will not arrive."""
        telemetry.notification_dropped(contact_point=contact_point, reason=reason)

    def queue_length(self, contact_point: str, length: int) -> None:
        """Note how many wait."""
        telemetry.notifications_waiting(contact_point=contact_point, length=length)

    def template_failed(self, field: str) -> None:
        """Count a template that failed."""
        telemetry.template_failed(field_name=field)
