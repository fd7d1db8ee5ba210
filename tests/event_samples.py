"""Alert events with ids of their own: single ones, and the lives of whole alerts."""

import dataclasses
import hashlib

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.sample import sample_event

__all__ = ["event_of", "life"]

_AT = 1_767_669_250_000_000_000
_MINUTE = 60_000_000_000


def event_of(number: int, *, transition: Transition = Transition.FIRING, **changes: object) -> AlertEvent:
    """The event of this number; the same number is the same event."""
    made = dataclasses.replace(
        sample_event("hook", _AT),
        id=f"evt_{number:032x}",
        alert_id=f"alt_{number:032x}",
        transition=transition,
        group={"conversation": f"conv-{number}"},
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # fields of any type


def life(name: str, *, at: int = _AT) -> tuple[AlertEvent, AlertEvent, AlertEvent]:
    """It fires with value 1, reminds with 2 after a minute, and is resolved with 3 a minute later."""
    alert = hashlib.blake2b(f"{name} {at}".encode(), digest_size=16).hexdigest()
    made = []
    for step, transition in enumerate((Transition.FIRING, Transition.REMINDER, Transition.RESOLVED)):
        event = event_of(0, transition=transition)
        moment = at + step * _MINUTE
        evidence = dataclasses.replace(
            event.evidence, value=float(step + 1), window_from=moment - _MINUTE, window_to=moment
        )
        made.append(
            dataclasses.replace(
                event,
                id=f"evt_{alert[:-1]}{step}",
                alert_id=f"alt_{alert}",
                group={"conversation": name},
                evidence=evidence,
                peak=float(step + 1),
                started_at=at,
                fired_at=at,
                resolved_at=moment if transition is Transition.RESOLVED else None,
                detected_at=moment,
            )
        )
    firing, reminder, resolved = made
    return firing, reminder, resolved
