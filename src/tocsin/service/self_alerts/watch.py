"""The watch over Tocsin itself: signals in, alert events out. Pure: time is an argument.

An alert is one of `tocsin.alerts.state`, so `for`, cooldown, reminder and resolution are those of any rule.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tocsin.alerts.event import AlertEvent, Evidence, Transition
from tocsin.alerts.identity import alert_id, event_id
from tocsin.alerts.state import Alert, AlertState, Change, observe
from tocsin.model.state import State
from tocsin.notify.contact import ContactConfig
from tocsin.pricing.unpriced import UnpricedModel
from tocsin.service.self_alerts import keeping, sentences
from tocsin.service.self_alerts.conditions import Kind, recipients, rule_of
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.service.self_alerts.readings import Deliveries, Faults, Found, Future, Refusals, Unpriced

__all__ = ["SelfWatch"]

_PACE: Final = 1_000_000_000
"""Between two evaluations, nanoseconds; calls between them cost nothing."""
_Key = tuple[Kind, tuple[tuple[str, str], ...]]


class SelfWatch:
    """Keeps the state of the alerts about Tocsin itself. Called on one event loop; nothing blocks or raises."""

    def __init__(self, config: SelfAlertsConfig, contact_points: Mapping[str, ContactConfig]) -> None:
        self._config = config
        self._contacts = dict(contact_points)
        self._deliveries = Deliveries()
        self._faults = Faults()
        self._refusals = Refusals()
        self._future = Future()
        self._unpriced = Unpriced()
        self._alerts: dict[_Key, Alert] = {}
        self._time = 0
        self._moved_at = 0

    # Signals

    def reconfigure(self, config: SelfAlertsConfig, contact_points: Mapping[str, ContactConfig]) -> None:
        """Go on with another configuration; a contact point that changed or went is no longer known to fail."""
        for name in self._contacts:
            if self._contacts[name] != contact_points.get(name):
                self._deliveries.forget(name)
        self._config, self._contacts = config, dict(contact_points)

    def delivery(self, contact_point: str, *, ok: bool, permanent: bool = False, reason: str = "") -> None:
        """Note an attempt at a contact point; `permanent`: it will not be tried again. No secrets in `reason`."""
        if contact_point in self._contacts:
            self._deliveries.add(contact_point, ok=ok, permanent=permanent, reason=reason)

    def refused(self, reason: str, requests: int = 1) -> None:
        """Note requests that were refused as a whole, with the reason that the metric has."""
        self._refusals.add(reason, requests)

    def configuration(self, problems: Iterable[str]) -> None:
        """Note why the files as they are now can't be used; empty: they are in force."""
        self._faults.configuration(problems)

    def degraded(self, part: str, reason: str | None) -> None:
        """Note that `journal`, `storage` or `forward` does not do its work, and why; None: it does."""
        self._faults.degraded(part, reason)

    def future(self, ahead: int, spans: int) -> None:
        """Note the engine's counters since the start: spans from the future, and all spans."""
        self._future.count(ahead, spans)

    def unpriced(self, listed: Iterable[UnpricedModel]) -> None:
        """Note the price book's list of unpriced models as it is now."""
        self._unpriced.listing(listed)

    # Evaluation

    @property
    def firing(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        """Name and group of what fires now."""
        return tuple(
            (kind.value, alert.group) for (kind, _), alert in self._alerts.items() if alert.state is AlertState.FIRING
        )

    def advance(self, now: int) -> list[AlertEvent]:
        """Return what changed; `now` is the wall clock, Unix nanoseconds."""
        if 0 <= now - self._moved_at < _PACE:
            return []
        # A clock that is set back must not hold up a `for`: time goes on from where it was.
        self._time = max(now, self._time + max(0, now - self._moved_at))
        self._moved_at = now
        found = {_key(one.kind, one.group): one for one in self._read()}
        events = []
        for key in [*found, *(key for key in self._alerts if key not in found)]:
            events += self._move(key, found.get(key), now)
        return events

    def _read(self) -> Iterable[Found]:
        for source in (self._deliveries, self._faults, self._refusals, self._future, self._unpriced):
            yield from source.read(self._time)

    def _move(self, key: _Key, found: Found | None, now: int) -> list[AlertEvent]:
        kind, group = key[0], dict(key[1])
        notify = recipients(kind, group, self._config, tuple(self._contacts))
        alert = self._alerts.get(key)
        if found is not None:
            rule = rule_of(kind, notify, self._config, found.sentence)
            if alert is None:
                alert = self._alerts[key] = Alert(rule, group)
            alert.rule = rule
        elif alert is None:
            return []
        level, value = (0, found.value) if found is not None else (-1, 0.0)
        changes = observe(alert, level, value, self._time, hits=0)
        events = [self._event(kind, alert, change, now) for change in changes]
        if alert.state is AlertState.INACTIVE and not self._is_cooling(alert):
            del self._alerts[key]
        return events

    def _is_cooling(self, alert: Alert) -> bool:
        return alert.notified_at is not None and self._time < alert.notified_at + alert.rule.cooldown_ns

    def _event(self, kind: Kind, alert: Alert, change: Change, now: int) -> AlertEvent:
        sentence = sentences.over(kind, alert.group, change.transition, "")
        rule = rule_of(kind, alert.rule.levels[0].notify, self._config, sentence) if sentence else alert.rule
        level, window = rule.levels[change.level], rule.window_ns or 0
        episode = alert_id(rule, alert.group, alert.started_at)
        return AlertEvent(
            id=event_id(episode, change.transition, change.at, change.level),
            alert_id=episode,
            transition=change.transition,
            rule=rule,
            group=dict(alert.group),
            severity=level.severity,
            threshold=float(level.threshold),
            escalated_from=None,
            notify=self._told(kind, alert, change),
            evidence=Evidence(change.value, 1, change.at - window, change.at),
            peak=alert.peak,
            suppressed=change.suppressed,
            started_at=alert.started_at,
            fired_at=alert.fired_at,
            resolved_at=change.at if change.transition is Transition.RESOLVED else None,
            detected_at=now,
            event_to_arrival_ns=None,
            arrival_to_detection_ns=None,
        )

    def _told(self, kind: Kind, alert: Alert, change: Change) -> tuple[str, ...]:
        """Return whom to tell of a change: who is still there, and by a reminder the one that fails.

        Nothing else may be sent to it, and only an attempt shows that it recovered.
        """
        told = [name for name in change.notify if name in self._contacts]
        if kind is Kind.DELIVERY_FAILING and change.transition is Transition.REMINDER:
            told.append(alert.group["contact_point"])
        return tuple(name for name in dict.fromkeys(told) if name in self._contacts)

    # State

    def freeze(self) -> State:
        """Return what `thaw` takes: a few plain values."""
        return keeping.frozen(self._alerts, self._deliveries, self._unpriced)

    def thaw(self, state: State) -> None:
        """Go on where a former process was, so that what it told is not told again, and its end is told.

        What can't be read is left out: the alerts begin anew then.
        """
        for kind, group, alert in keeping.thawed(state, self._deliveries, self._unpriced, self._config):
            self._alerts[_key(kind, group)] = alert


def _key(kind: Kind, group: Mapping[str, str]) -> _Key:
    return kind, tuple(group.items())
