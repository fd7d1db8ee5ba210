"""The watch over Tocsin itself, tied to a running service: what is observed becomes signals, and events are sent."""

import time
from collections.abc import Callable, Iterable, Mapping

from tocsin.alerts.event import AlertEvent
from tocsin.notify.contact import ContactConfig
from tocsin.notify.history import AttemptRecord
from tocsin.notify.message import MessageWriter
from tocsin.notify.observer import Observer
from tocsin.pricing.unpriced import UnpricedModel
from tocsin.receivers.admission import ReceiverObserver
from tocsin.service.self_alerts.conditions import Kind
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.service.self_alerts.watch import SelfWatch
from tocsin.telemetry import self_alerts as telemetry

__all__ = ["SelfAlerts"]


class SelfAlerts:
    """Owned by the service; called on its event loop."""

    def __init__(
        self,
        config: SelfAlertsConfig,
        contact_points: Mapping[str, ContactConfig],
        publish: Callable[[AlertEvent], None],
        *,
        attempts: Callable[[str], tuple[AttemptRecord, ...]] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make it; nothing is sent before `tick`.

        Args:
            config: `self_alerts:`.
            contact_points: `contact_points:`.
            publish: takes the events; as for those of the engine.
            attempts: what became of an event so far (`Outbox.attempts`): an alert says why a receiver refuses.
            clock: the wall clock, Unix nanoseconds.
        """
        self.watch = SelfWatch(config, contact_points)
        self._publish = publish
        self._attempts = attempts or (lambda _event_id: ())
        self._clock = clock
        self._writer = MessageWriter()

    def deliveries(self, inner: Observer) -> Observer:
        """Return an observer for the outbox that tells `inner` too."""
        return _Deliveries(inner, self.watch, self._attempts)

    def receivers(self, inner: ReceiverObserver) -> ReceiverObserver:
        """Return an observer for the receivers that tells `inner` too."""
        return _Receivers(inner, self.watch)

    def look(
        self,
        *,
        problems: Iterable[str],
        degraded: Mapping[str, str | None],
        ahead: int,
        spans: int,
        unpriced: Iterable[UnpricedModel],
    ) -> None:
        """Note the present state of the service's parts; once a second is often enough.

        Args:
            problems: why the files as they are now can't be used.
            degraded: `journal`, `storage`, `forward` -> why they do not do their work; None while they do. A part
                that is switched off is left out.
            ahead: spans from the future so far (`EngineStatistics.future`).
            spans: spans so far.
            unpriced: the price book's list.
        """
        self.watch.configuration(problems)
        for part, reason in degraded.items():
            self.watch.degraded(part, reason)
        self.watch.future(ahead, spans)
        self.watch.unpriced(unpriced)

    def tick(self) -> None:
        """Tell what changed."""
        for event in self.watch.advance(self._clock()):
            telemetry.self_alert_changed(
                rule=event.rule.name,
                event=event.transition.value,
                text=self._writer.message_of(event).summary,
                group=event.group,
            )
            self._publish(event)
        telemetry.self_alerts_firing(rules=Kind, firing=[name for name, _ in self.watch.firing])


class _Deliveries:
    def __init__(self, inner: Observer, watch: SelfWatch, attempts: Callable[[str], tuple[AttemptRecord, ...]]) -> None:
        self._inner = inner
        self._watch = watch
        self._attempts = attempts

    def delivered(self, contact_point: str, seconds: float, event: AlertEvent) -> None:
        self._inner.delivered(contact_point, seconds, event)
        self._watch.delivery(contact_point, ok=True)

    def failed(self, contact_point: str, event: AlertEvent, *, retryable: bool) -> None:
        self._inner.failed(contact_point, event, retryable=retryable)
        reasons = [record.text for record in self._attempts(event.id) if record.contact_point == contact_point]
        self._watch.delivery(contact_point, ok=False, permanent=not retryable, reason=reasons[-1] if reasons else "")

    def dropped(self, contact_point: str, event: AlertEvent, *, reason: str) -> None:
        self._inner.dropped(contact_point, event, reason=reason)

    def queue_length(self, contact_point: str, length: int) -> None:
        self._inner.queue_length(contact_point, length)

    def template_failed(self, field: str) -> None:
        self._inner.template_failed(field)


class _Receivers:
    def __init__(self, inner: ReceiverObserver, watch: SelfWatch) -> None:
        self._inner = inner
        self._watch = watch

    def received(self, transport: str, size: int) -> None:
        self._inner.received(transport, size)

    def refused(self, transport: str, reason: str) -> None:
        self._inner.refused(transport, reason)
        self._watch.refused(reason)
