"""What the watch over Tocsin itself finds, told to people, and to the log and the metrics whether anybody is told."""

from collections.abc import Callable

from tocsin.alerts.event import AlertEvent
from tocsin.notify.message import MessageWriter
from tocsin.service.self_alerts.conditions import Kind
from tocsin.service.self_alerts.watch import SelfWatch
from tocsin.telemetry import self_alerts as telemetry

__all__ = ["tell"]


def tell(watch: SelfWatch, now: int, publish: Callable[[AlertEvent], None]) -> None:
    """Evaluate at `now`, wall clock, and tell what changed; about once a second, on the loop of the outbox."""
    for event in watch.advance(now):
        telemetry.self_alert_changed(
            rule=event.rule.name,
            event=event.transition.value,
            text=MessageWriter().message_of(event).summary,
            group=event.group,
        )
        publish(event)
    telemetry.self_alerts_firing(rules=Kind, firing=[name for name, _ in watch.firing])
