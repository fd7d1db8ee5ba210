"""One alert event in words and as the webhook body: what every contact point sends, each in its own form."""

import logging
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify import sentence, template
from tocsin.notify.link import Links, links_of, trace_url_of
from tocsin.notify.observer import Observer, SilentObserver
from tocsin.notify.wording import clean, counted, duration, percent, plain_number, quantity
from tocsin.rules.rule import Condition

__all__ = ["Fact", "Message", "MessageWriter", "TraceLink", "rfc3339", "variables_of", "window_of"]

_logger = logging.getLogger(__name__)

_VALUE_LIMIT = 1024
"""Of a group value in the webhook body; the decoder keeps no more."""
_REMEMBERED = 256
"""Messages kept, so that several contact points share one rendering."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of detail for a person."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class TraceLink:
    """A trace that contributed, for a person to open."""

    trace_id: str
    value: str
    """In the rule's unit, as people read it."""
    url: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """An event, ready to be sent. All texts are clean: one line, no control characters."""

    event: AlertEvent
    title: str
    """`[CRITICAL] runaway-conversation: conversation conv-42`."""
    summary: str
    """One sentence: who, what, how much over which limit."""
    facts: tuple[Fact, ...]
    traces: tuple[TraceLink, ...]
    links: Links
    body: Mapping[str, object] = field(repr=False)
    """The webhook body, version 1; JSON values only."""
    text: str | None = None
    """In place of the summary, by the contact point's template: several lines, in the receiver's own markup."""
    html: str | None = None
    """In place of the text, for a receiver of HTML."""
    document: bytes | None = field(default=None, repr=False)
    """JSON in place of the body, by the contact point's template."""

    @property
    def heading(self) -> str:
        """The title to write before the summary: without the group, where the summary begins with it."""
        subject = sentence.subject_of(self.event)
        return self.title.removesuffix(f": {subject}") if self.summary.startswith(subject) else self.title

    @property
    def content(self) -> bytes:
        """The JSON that a receiver of bodies is sent."""
        return orjson.dumps(self.body) if self.document is None else self.document


class MessageWriter:
    """Makes messages, and remembers the last ones: several contact points are told of one event."""

    def __init__(
        self, *, trace_url: str | None = None, public_url: str | None = None, observer: Observer | None = None
    ) -> None:
        self._trace_url = trace_url
        self._public_url = public_url
        self._observer = observer or SilentObserver()
        self._made: OrderedDict[str, Message] = OrderedDict()

    def adopt(self, other: "MessageWriter") -> None:
        """Take over another's addresses, after a reload; what was made with the old ones is forgotten."""
        self._trace_url = other._trace_url
        self._public_url = other._public_url
        self._made.clear()

    def message_of(self, event: AlertEvent) -> Message:
        """Return the message for an event; a user's template that fails gives way to the default sentence."""
        made = self._made.get(event.id)
        if made is None or made.event != event:
            made = self._write(event)
            self._made[event.id] = made
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return made

    def _write(self, event: AlertEvent) -> Message:
        summary = self._summary(event)
        links = links_of(event, self._public_url, self._dashboard(event))
        return Message(
            event=event,
            title=_title(event),
            summary=summary,
            facts=tuple(_facts(event)),
            traces=tuple(
                TraceLink(
                    clean(trace.trace_id, 64),
                    quantity(trace.value, event.rule.unit),
                    trace_url_of(self._trace_url, clean(trace.trace_id, 64)),
                )
                for trace in event.evidence.traces
            ),
            links=links,
            body=_body(event, summary, links, self._trace_url),
        )

    def _summary(self, event: AlertEvent) -> str:
        written = event.rule.summary
        if written and event.transition is not Transition.TEST:
            try:
                text = template.render(written, variables_of(event))
            except template.TemplateError as error:
                self._failed(event, "summary", error)
            else:
                if text:
                    prefix = _PREFIXES.get(event.transition)
                    return f"{prefix}{text}" if prefix else text
        return sentence.default_summary(event)

    def _dashboard(self, event: AlertEvent) -> str | None:
        if not event.rule.dashboard_url:
            return None
        try:
            return template.render_url(event.rule.dashboard_url, variables_of(event))
        except template.TemplateError as error:
            self._failed(event, "dashboard_url", error)
            return None

    def _failed(self, event: AlertEvent, field_name: str, error: template.TemplateError) -> None:
        self._observer.template_failed(field_name)
        _logger.warning(
            "rule %s/%s: its %s template failed (%s); the default was sent",
            clean(event.rule.project),
            clean(event.rule.name),
            field_name,
            error,
        )


_PREFIXES = {Transition.RESOLVED: "resolved: ", Transition.REMINDER: "still firing: "}
"""Before a user's sentence, which was written for the moment of firing."""


def rfc3339(time_ns: int) -> str:
    """Return UTC with `Z` and microseconds; `time_ns` since the Unix epoch.

    Times outside 1..9999 are clamped.
    """
    seconds, nanos = divmod(time_ns, _NS)
    seconds = min(max(seconds, -62_135_596_800), 253_402_300_799)
    moment = datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=nanos // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment.year >= 1000 else moment.isoformat()[:26] + "Z"


def _title(event: AlertEvent) -> str:
    word = str(event.severity) if event.transition is Transition.FIRING else str(event.transition)
    title = f"[{word.upper()}] {clean(event.rule.name)}"
    if event.group:
        title = f"{title}: {sentence.subject_of(event)}"
    return clean(title)


def _facts(event: AlertEvent) -> list[Fact]:
    rule, evidence = event.rule, event.evidence
    found = [Fact("Rule", clean(f"{rule.project}/{rule.name}")), Fact("Severity", str(event.severity))]
    found += [Fact(clean(label, 80), clean(value) or "(empty)") for label, value in event.group.items()]
    if rule.condition is not Condition.ABSENT:
        unpriced = sentence.unpriced_text(event)
        value = sentence.value_text(event)
        found.append(Fact("Value", f"{value}; {unpriced}" if unpriced else value))
    found.append(Fact("Limit", sentence.condition_text(event)))
    if rule.expression is not None:
        found.append(Fact("Expression", sentence.expression_text(rule)))
    if sentence.has_window(rule) and evidence.window_to > evidence.window_from:
        span = f"{rfc3339(evidence.window_from)[:19]}Z to {rfc3339(evidence.window_to)[:19]}Z"
        named = sentence.window_text(rule)
        found.append(Fact("Window", f"{named}, {span}" if named else span))
    if evidence.samples or rule.expression is None:
        found.append(Fact("Samples", counted(evidence.samples, sentence.sample_noun(rule))))
    if event.peak != evidence.value and math.isfinite(event.peak) and rule.condition is not Condition.ABSENT:
        found.append(Fact("Peak", sentence.in_unit(event.peak, rule)))
    if event.suppressed:
        found.append(Fact("Further breaches", plain_number(event.suppressed)))
    found += [
        Fact(f"Top {clean(driver.attribute, 80)}", f"{clean(driver.value)} ({percent(round(driver.share, 3))})")
        for driver in evidence.drivers[:5]
    ]
    found.append(Fact("Fired", rfc3339(event.fired_at)))
    if event.resolved_at is not None:
        found.append(Fact("Resolved", rfc3339(event.resolved_at)))
    if late := _lateness(event):
        found.append(Fact("Detected", late))
    return found


def _lateness(event: AlertEvent) -> str:
    parts = []
    if event.event_to_arrival_ns is not None:
        parts.append(f"{duration(event.event_to_arrival_ns / _NS)} from the call's end to its arrival")
    if event.arrival_to_detection_ns is not None:
        parts.append(f"{duration(event.arrival_to_detection_ns / _NS)} from arrival to alert")
    return ", ".join(parts)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _milliseconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def variables_of(event: AlertEvent) -> dict[str, object]:
    """Return what a template may name; docs/contact-points.md lists it."""
    rule, evidence = event.rule, event.evidence
    return {
        "rule": {
            "name": clean(rule.name),
            "project": clean(rule.project),
            "description": clean(rule.description, _VALUE_LIMIT),
            "runbook_url": clean(rule.runbook_url or "", _VALUE_LIMIT),
            "labels": {clean(name): clean(value) for name, value in rule.labels.items()},
        },
        "group": {clean(label): clean(value, _VALUE_LIMIT) for label, value in event.group.items()},
        "subject": sentence.subject_of(event),
        "value": _number(evidence.value),
        "value_text": sentence.value_text(event),
        "peak": _number(event.peak),
        "threshold": float(event.threshold),
        "threshold_text": sentence.in_unit(event.threshold, rule),
        "unit": rule.unit,
        "condition": str(rule.condition),
        "window": sentence.window_text(rule),
        "window_seconds": _seconds(event),
        "samples": evidence.samples,
        "suppressed": event.suppressed,
        "unpriced_samples": evidence.unpriced_samples,
        "estimated": evidence.estimated,
        "severity": str(event.severity),
        "event": str(event.transition),
        "trace_ids": [clean(trace.trace_id, 64) for trace in evidence.traces],
        "expression": sentence.expression_text(rule),
        "summary": sentence.default_summary(event),
    }


def _body(event: AlertEvent, summary: str, links: Links, trace_url: str | None) -> dict[str, object]:
    rule, evidence = event.rule, event.evidence
    return {
        "version": "1",
        "id": event.id,
        "event": str(event.transition),
        "rule": _rule_part(event),
        "group": {clean(label): clean(value, _VALUE_LIMIT) for label, value in event.group.items()},
        "summary": summary,
        "value": _number(evidence.value),
        "unit": rule.unit,
        "condition": str(rule.condition),
        "threshold": None if rule.condition is Condition.PRESENT else _number(event.threshold),
        "window": window_of(event),
        "samples": evidence.samples,
        "suppressed": event.suppressed,
        "started_at": rfc3339(event.started_at),
        "fired_at": rfc3339(event.fired_at),
        "resolved_at": None if event.resolved_at is None else rfc3339(event.resolved_at),
        "detected_at": rfc3339(event.detected_at),
        **_evidence_part(event, trace_url),
        "delay_ms": {
            "event_to_arrival": _milliseconds(event.event_to_arrival_ns),
            "arrival_to_detection": _milliseconds(event.arrival_to_detection_ns),
        },
        "unpriced_samples": evidence.unpriced_samples,
        "estimated": evidence.estimated,
        "links": {
            "rule": links.rule,
            "alert": links.alert,
            "dashboard": links.dashboard,
            "silence": links.silence,
        },
    }


def _rule_part(event: AlertEvent) -> dict[str, object]:
    rule = event.rule
    return {
        "project": clean(rule.project),
        "name": clean(rule.name),
        "description": clean(rule.description, _VALUE_LIMIT),
        "severity": str(event.severity),
        "runbook_url": rule.runbook_url and clean(rule.runbook_url, _VALUE_LIMIT),
        "labels": {clean(name): clean(value) for name, value in rule.labels.items()},
    }


def window_of(event: AlertEvent) -> dict[str, object] | None:
    """Return the window of an event as JSON: its length in seconds, and its bounds; None for a rule without one."""
    seconds = _seconds(event)
    if seconds is None:
        return None
    return {
        "seconds": _whole(seconds),
        "from": rfc3339(event.evidence.window_from),
        "to": rfc3339(event.evidence.window_to),
    }


def _seconds(event: AlertEvent) -> float | None:
    """How long the window is; of the calendar and of expressions, how long it was at that moment."""
    rule, evidence = sentence.measured(event.rule), event.evidence
    if rule.window_ns is not None:
        return rule.window_ns / _NS
    length = evidence.window_to - evidence.window_from
    return length / _NS if sentence.has_window(rule) and length > 0 else None


def _evidence_part(event: AlertEvent, trace_url: str | None) -> dict[str, object]:
    return {
        "traces": [
            {
                "trace_id": clean(trace.trace_id, 64),
                "value": _number(trace.value),
                "url": trace_url_of(trace_url, clean(trace.trace_id, 64)),
            }
            for trace in event.evidence.traces
        ],
        "drivers": [
            {
                "attribute": clean(one.attribute),
                "value": clean(one.value, _VALUE_LIMIT),
                "share": _number(one.share),
            }
            for one in event.evidence.drivers
        ],
    }


def _whole(seconds: float) -> int | float:
    return int(seconds) if seconds == int(seconds) else seconds
