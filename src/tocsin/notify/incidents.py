"""The incidents that one contact point hears of: which alerts of each fire, and when the next message is due."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.incident import incident_message
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.routing.tree import Hold

__all__ = ["Alone", "Grouping", "Incidents"]

MOST_KEPT: Final = 10_000
"""Incidents, and alerts in them, of one contact point."""


class Grouping(Protocol):
    """Says which events go into one message. Called on the event loop; does not block and does not raise."""

    def hold(self, contact_point: str, event: AlertEvent) -> Hold | None:
        """Return the incident in whose messages a contact point hears of an event; None: in one of its own."""
        ...

    def hold_of_alert(self, contact_point: str, alert_id: str) -> Hold | None:
        """Return the incident of an alert that fires, by its id; None where it does not, or is alone."""
        ...


class Alone:
    """Every alert has messages of its own."""

    def hold(self, contact_point: str, event: AlertEvent) -> Hold | None:
        """Return None."""
        return None

    def hold_of_alert(self, contact_point: str, alert_id: str) -> Hold | None:
        """Return None."""
        return None


@dataclass(slots=True)
class _Incident:
    firing: dict[str, None] = field(default_factory=dict)
    """Alerts that the contact point was told of, and not of their end."""
    told_at: float | None = None
    """Monotonic seconds."""
    worst: int = -1
    """Rank of the most severe event that was told or waits."""


class Incidents:
    """Of one lane. What a former process told is known from the alerts that the contact point heard of."""

    def __init__(self, contact_point: str, grouping: Grouping) -> None:
        self._contact_point = contact_point
        self._grouping = grouping
        self._incidents: OrderedDict[str, _Incident] = OrderedDict()
        self._holds: OrderedDict[str, Hold] = OrderedDict()
        """Alert -> its incident, until its end is told: other routes in between change neither."""

    def heard(self, alert_id: str) -> None:
        """Note that the contact point heard of an alert before this process began."""
        hold = self._grouping.hold_of_alert(self._contact_point, alert_id)
        if hold is not None:
            self._keep(alert_id, hold)
            self._of(hold).firing[alert_id] = None

    def hold_of(self, event: AlertEvent) -> Hold | None:
        """Return the incident in whose messages an event goes."""
        known = self._holds.get(event.alert_id)
        if known is not None:
            return known
        hold = self._grouping.hold(self._contact_point, event)
        if hold is not None:
            self._keep(event.alert_id, hold)
        return hold

    def due(self, hold: Hold, event: AlertEvent, now: float) -> float:
        """Return when the message with this event is due: monotonic seconds.

        The first of an incident after its wait, later ones an interval after the one before; but what is worse than
        everything before it does not wait that long.
        """
        if hold.notice:
            return now
        incident = self._of(hold)
        worse = event.transition is Transition.FIRING and event.severity.rank > incident.worst
        if event.transition is not Transition.RESOLVED:
            incident.worst = max(incident.worst, event.severity.rank)
        if incident.told_at is None or worse:
            return now + hold.wait
        return max(now, incident.told_at + hold.interval)

    def message(self, writer: MessageWriter, hold: Hold, events: Sequence[AlertEvent]) -> Message:
        """Return one message about events of an incident."""
        return incident_message(writer, hold, events, len(self._after(hold, events)))

    def told(self, hold: Hold, events: Sequence[AlertEvent], now: float) -> None:
        """Note that a message about these events was taken."""
        if hold.notice:
            return
        after = self._after(hold, events)
        for event in events:
            if event.transition is Transition.RESOLVED:
                self._holds.pop(event.alert_id, None)
        if not after:
            self._incidents.pop(hold.key, None)  # the next alert begins another one, and rings at once
            return
        incident = self._of(hold)
        incident.firing = after
        incident.told_at = now

    def _after(self, hold: Hold, events: Sequence[AlertEvent]) -> dict[str, None]:
        """Return the alerts that fire after these events."""
        known = self._incidents.get(hold.key)
        firing = dict(known.firing) if known is not None else {}
        for event in events:
            if event.transition is Transition.RESOLVED:
                firing.pop(event.alert_id, None)
            else:
                firing[event.alert_id] = None
        return firing

    def _of(self, hold: Hold) -> _Incident:
        incident = self._incidents.get(hold.key)
        if incident is None:
            incident = self._incidents[hold.key] = _Incident()
            if len(self._incidents) > MOST_KEPT:
                self._incidents.popitem(last=False)
        return incident

    def _keep(self, alert_id: str, hold: Hold) -> None:
        self._holds[alert_id] = hold
        if len(self._holds) > MOST_KEPT:
            self._holds.popitem(last=False)
