"""The router: one decision an event, made at once and from memory alone, so that routing never delays an alarm.

Who heard of an alert hears its end, whatever holds other messages back by then: an incident that was opened is closed.
What the database knows is loaded at the start; until it is, nothing is held back, for an alarm that nobody hears is
worse than one too many.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.routing.decision import Decision, Held, Reason
from tocsin.notify.routing.inhibition import Inhibitions, InhibitRule
from tocsin.notify.routing.matchers import Matchers, labels_of, matches
from tocsin.notify.routing.silences import Silence, Silences
from tocsin.notify.routing.timings import TimeInterval, muted_by
from tocsin.notify.routing.tree import Destination, Hold, Tree
from tocsin.rules.rule import ROUTED

__all__ = ["Active", "Plan", "Routed", "Router"]

MOST_DECIDED: Final = 500_000
"""Events whose decision is remembered: what a log of the engine's inputs may bring again."""
MOST_ACTIVE: Final = 200_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration says of routing."""

    tree: Tree = field(default_factory=Tree)
    timings: Mapping[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    inhibit_rules: tuple[InhibitRule, ...] = ()
    contact_timings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Contact point -> its own mute timings."""


@dataclass(slots=True)
class Active:
    """An alert that fires."""

    event: AlertEvent
    """Its latest."""
    held: dict[str, Held] = field(default_factory=dict)
    """Contact points that were to hear of it and were not told, and why."""
    acknowledged_by: str | None = None
    told_at: dict[str, int] = field(default_factory=dict)
    """Contact point -> when it was last sent something; wall clock."""

    def note(self, decision: Decision) -> None:
        """Take what was decided of one of its events."""
        for name in decision.contact_points:
            self.told_at[name] = decision.at
            self.held.pop(name, None)
        for held in decision.held:
            self.held[held.contact_point] = held


@dataclass(frozen=True, slots=True)
class Routed:
    """An event as it is to be recorded and sent, and why so."""

    event: AlertEvent
    """Its `notify` are contact points, and nothing else."""
    decision: Decision


class Router:
    """Decides. All methods are called on one event loop, and none waits.

    Args:
        heard: whether a contact point was told of an alert and not yet of its end.
    """

    def __init__(self, heard: Callable[[str, str], bool]) -> None:
        self._heard = heard
        self._plan = Plan()
        self._inhibitions = Inhibitions()
        self._decided: OrderedDict[str, None] = OrderedDict()
        self._active: OrderedDict[str, Active] = OrderedDict()
        self.silences = Silences()

    @property
    def active(self) -> Mapping[str, Active]:
        """The alerts that fire, by id."""
        return self._active

    def adopt(self, plan: Plan) -> None:
        """Go on with another configuration; what fires is looked at anew."""
        self._plan = plan
        self._inhibitions = Inhibitions(plan.inhibit_rules)
        for alert_id, active in self._active.items():
            self._inhibitions.fires(alert_id, labels_of(active.event))

    def load(self, active: Iterable[tuple[str, Active]], decided: Iterable[str]) -> None:
        """Take what a former process left: alerts that fire, and events that were decided. What is known here stays."""
        for alert_id, one in active:
            if alert_id not in self._active:
                self._active[alert_id] = one
                self._inhibitions.fires(alert_id, labels_of(one.event))
        for event_id in decided:
            self._decided.setdefault(event_id)

    def decide(self, event: AlertEvent, now: int) -> Routed | None:
        """Return where an event goes; None where that was decided before, perhaps by a former process.

        Args:
            event: as the engine made it.
            now: the wall clock, Unix nanoseconds.
        """
        if event.transition is Transition.TEST:
            return Routed(event, Decision(event.id, event.alert_id, now, event.notify))
        labels = labels_of(event)
        active = self._follow(event, labels)
        if event.id in self._decided:
            return None
        self._decided[event.id] = None
        if len(self._decided) > MOST_DECIDED:
            self._decided.popitem(last=False)
        decision = self._decision(event, active, labels, now)
        active.note(decision)
        return Routed(replace(event, notify=decision.contact_points), decision)

    def hold(self, contact_point: str, event: AlertEvent) -> Hold | None:
        """Return the incident in whose messages a contact point hears of an event; None: in one of its own."""
        if not self._plan.tree or not _is_routed(event):
            return None
        for one in self._plan.tree.destinations(labels_of(event)):
            if one.contact_point == contact_point:
                return one.hold
        return None

    def hold_of_alert(self, contact_point: str, alert_id: str) -> Hold | None:
        """Return the incident of an alert that fires; None where it does not, or is alone."""
        active = self._active.get(alert_id)
        return None if active is None else self.hold(contact_point, active.event)

    def acknowledge(self, alert_id: str, who: str) -> Active | None:
        """Note that somebody looks after an alert: no reminders; None where it does not fire."""
        active = self._active.get(alert_id)
        if active is not None:
            active.acknowledged_by = who
        return active

    def matching(self, matchers: Matchers) -> list[AlertEvent]:
        """Return the latest events of the alerts that fire and that a silence would hold back."""
        return [one.event for one in self._active.values() if matches(matchers, labels_of(one.event))]

    def after(self, silence: Silence, now: int) -> list[Routed]:
        """Return what to tell at a silence's end: alerts that it held back and that still fire.

        Not what another silence covers, or what is muted or inhibited now. The ids are functions of silence and
        alert, so a second process finds the same ones.
        """
        told = []
        for alert_id, active in self._active.items():
            names = [name for name, held in active.held.items() if name and held.by == silence.id]
            if not names:
                continue
            event = replace(
                active.event,
                id=_after_id(silence.id, alert_id, silence.ends_at),
                transition=Transition.REMINDER,
                escalated_from=None,
                notify=tuple(names),
                event_to_arrival_ns=None,
                arrival_to_detection_ns=None,
                detected_at=now,
            )
            if event.id in self._decided or active.acknowledged_by is not None:
                continue
            routed = self.decide(event, now)
            if routed is not None and routed.event.notify:
                told.append(routed)
        return told

    def _follow(self, event: AlertEvent, labels: Mapping[str, str]) -> Active:
        """Keep what fires up to date, and return what is known of this alert."""
        known = self._active.get(event.alert_id)
        if event.transition is Transition.RESOLVED:
            self._active.pop(event.alert_id, None)
            self._inhibitions.ends(event.alert_id)
            return known or Active(event)
        if known is None:
            known = self._active[event.alert_id] = Active(event)
            if len(self._active) > MOST_ACTIVE:
                gone, _ = self._active.popitem(last=False)
                self._inhibitions.ends(gone)
        else:
            known.event = event
        if not event.rule.shadow:
            self._inhibitions.fires(event.alert_id, labels)
        return known

    def _decision(self, event: AlertEvent, active: Active, labels: Mapping[str, str], now: int) -> Decision:
        wanted = self._wanted(event, labels)
        told: list[str] = []
        held: list[Held] = []
        if ROUTED in event.notify and not wanted:
            held.append(Held("", Reason.NO_ROUTE, ""))
        if event.transition is Transition.RESOLVED:
            held += self._split_end(event, active, wanted, told)
        else:
            above = self._held_for_all(event, active, labels, now)
            for name, destination in wanted.items():
                why = above or self._held_for_one(event, active, name, destination, now)
                if why is None:
                    told.append(name)
                else:
                    held.append(replace(why, contact_point=name))
        routes = dict.fromkeys(one.route for one in wanted.values() if one is not None)
        incidents = {
            name: found.hold.key for name in told if (found := wanted.get(name)) is not None and found.hold is not None
        }
        return Decision(event.id, event.alert_id, now, tuple(told), tuple(held), tuple(routes), incidents)

    def _wanted(self, event: AlertEvent, labels: Mapping[str, str]) -> dict[str, Destination | None]:
        """Return who is to hear of an event, and by which route; None: because the rule says so."""
        wanted: dict[str, Destination | None] = {name: None for name in event.notify if name != ROUTED}
        if ROUTED in event.notify:
            for one in self._plan.tree.destinations(labels):
                wanted.setdefault(one.contact_point, one)
        return wanted

    def _split_end(
        self, event: AlertEvent, active: Active, wanted: Mapping[str, Destination | None], told: list[str]
    ) -> list[Held]:
        """Tell an alert's end to who heard of it, also where its route is another by now; return who is not told."""
        heard = [name for name in active.told_at if self._heard(name, event.alert_id)] if event.notify else []
        held = []
        for name in dict.fromkeys((*wanted, *heard)):
            if name in active.held and not self._heard(name, event.alert_id):
                held.append(Held(name, Reason.UNHEARD, active.held[name].by))
            else:
                told.append(name)
        return held

    def _held_for_all(self, event: AlertEvent, active: Active, labels: Mapping[str, str], now: int) -> Held | None:
        silences = self.silences.matching(labels, now)
        if silences:
            return Held("", Reason.SILENCED, silences[0])
        source = self._inhibitions.source_of(event.alert_id, labels)
        if source is not None:
            return Held("", Reason.INHIBITED, source)
        if active.acknowledged_by is not None and event.transition is Transition.REMINDER:
            return Held("", Reason.ACKNOWLEDGED, active.acknowledged_by)
        return None

    def _held_for_one(
        self, event: AlertEvent, active: Active, name: str, destination: Destination | None, now: int
    ) -> Held | None:
        timings = (*self._plan.contact_timings.get(name, ()), *(destination.mute_timings if destination else ()))
        muted = muted_by(timings, self._plan.timings, now)
        if muted is not None:
            return Held(name, Reason.MUTED, muted)
        if destination is not None and event.transition is Transition.REMINDER:
            last = active.told_at.get(name)
            if last is not None and now - last < destination.repeat_seconds * 1e9:
                return Held(name, Reason.REPEAT, destination.route)
        return None


def _is_routed(event: AlertEvent) -> bool:
    return any(ROUTED in level.notify for level in event.rule.levels)


def _after_id(silence_id: str, alert_id: str, ends_at: int) -> str:
    text = f"{silence_id} {alert_id} {ends_at}"
    return "evt_" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
