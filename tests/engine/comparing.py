"""The engine and the oracle on the same history, and what they say differently."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from hypothesis import strategies as st
from oracle import Oracle
from oracle_alerts import Said
from oracle_values import pane_of
from samples import EPOCH, SECOND, Span, batch_of

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.rules.rule import Rule

__all__ = ["HORIZON", "Call", "at", "deliveries", "differences", "play", "play_oracle", "said_of", "story", "tell"]

HORIZON = EPOCH + 3 * 3600 * SECOND
"""By then everything that a history began has ended, but for reminders."""


def at(second: float) -> int:
    """Return a moment by its second in the history, Unix nanoseconds."""
    return EPOCH + round(second * SECOND)


@dataclass(frozen=True)
class Call:
    """One call of `ingest`, or of `advance` where it brings nothing."""

    now: int
    spans: tuple[Span, ...] = ()

    def __repr__(self) -> str:
        return f"Call({(self.now - EPOCH) / SECOND:g}, {[(span.trace, span.span) for span in self.spans]})"


@st.composite
def deliveries(draw: st.DrawFn, spans: Sequence[Span], *, singly: bool = False) -> list[Call]:
    """A history, its instants apart, in requests in order of time; time passes in between and long after.

    `singly` makes a request of every span: with more in one, the oracle knows of all when it judges the first.
    """
    own = _apart(spans)
    cuts = draw(st.lists(st.integers(0, len(own)), max_size=8))
    bounds = sorted({0, len(own), *cuts}) if not singly and draw(st.booleans()) else range(len(own) + 1)
    calls: list[Call] = []
    for begin, end in pairwise(bounds):
        request = tuple(own[begin:end])
        calls.append(Call(request[-1].time, request))
        following = own[end].time if end < len(own) else HORIZON
        if draw(st.booleans()):
            calls.append(Call(min(request[-1].time + draw(st.integers(1, 90)) * SECOND, following - SECOND)))
    return [*calls, Call(calls[-1].now + 45 * SECOND), Call(calls[-1].now + 777 * SECOND), Call(HORIZON)]


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Return the spans without those that end at one instant with another; a trace stays whole or keeps its root.

    The engine judges each of several samples of an instant in turn, the oracle all at once.
    """
    taken: set[int] = set()
    kept: list[Span] = []
    for _, same in groupby(sorted(spans, key=lambda span: (span.trace, span.parent)), key=lambda span: span.trace):
        own = list(same)
        if own[0].time in taken:
            continue
        for span in own:
            if span.time not in taken:
                taken.add(span.time)
                kept.append(span)
    return sorted(kept, key=lambda span: span.time)


def tell(engine: Engine, calls: Sequence[Call]) -> Iterator[AlertEvent]:
    """Yield what an engine says to some calls."""
    for call in calls:
        yield from engine.ingest(batch_of(call.spans), call.now) if call.spans else engine.advance(call.now)


def play(rules: Sequence[Rule], calls: Sequence[Call], limits: LimitsConfig | None = None) -> list[AlertEvent]:
    """Return what an engine says."""
    return list(tell(Engine(rules, limits=limits), calls))


def story(rule: Rule, spans: Sequence[Span], until: float) -> list[str]:
    """Return what an engine says, in short: one request a span, then silence until a second, told once a second."""
    calls = [Call(span.time if span.arrival is None else span.arrival, (span,)) for span in spans]
    last = calls[-1].now if calls else EPOCH
    calls += [Call(now) for now in range(last + SECOND, at(until) + 1, SECOND)]
    return [said_of(event) for event in play([rule], calls)]


def said_of(event: AlertEvent) -> str:
    """Return an event in short: `firing@12`, `firing(silent)@12`; times are rounded down to the second's pane."""
    silent = "" if event.notify else "(silent)"
    return f"{event.transition.value}{silent}@{(event.evidence.window_to - EPOCH) / SECOND:.0f}"


def play_oracle(rules: Sequence[Rule], calls: Sequence[Call]) -> list[Said]:
    """Return what the oracle says."""
    oracle = Oracle(rules, each_sample=True)
    found: list[Said] = []
    for call in calls:
        found += oracle.ingest(call.spans, call.now) if call.spans else oracle.advance(call.now)
    return found


def differences(
    rule: Rule, events: Sequence[AlertEvent], expected: Sequence[Said], *, in_turn: bool = False
) -> list[str]:
    """Return in words how two lists of events differ; times may by two panes (a pane's length and its alignment).

    `in_turn`: several samples may count at one instant, of which the engine judges each; values are not compared then.
    """
    slack = 2 * pane_of(rule.window_ns) if rule.window_ns else 0
    if rule.window_ns:
        # Whether one more comes before an alert ends may hang on the length of a pane.
        events = [event for event in events if event.transition is not Transition.REMINDER]
        expected = [said for said in expected if said.transition is not Transition.REMINDER]
    ours: dict[tuple[str, ...], list[AlertEvent]] = defaultdict(list)
    theirs: dict[tuple[str, ...], list[Said]] = defaultdict(list)
    for event in events:
        ours[tuple(event.group.values())].append(event)
    for said in expected:
        theirs[said.group].append(said)
    found = []
    for group in sorted(ours.keys() | theirs.keys()):
        mine, other = ours[group], theirs[group]
        kinds = [_kind(event) for event in mine], [_kind_said(said) for said in other]
        if kinds[0] != kinds[1]:
            found.append(f"{group}: said {kinds[0]}, not {kinds[1]}")
            continue
        for event, said in zip(mine, other, strict=True):
            found += [
                f"{group} {_kind(event)} {said.at - EPOCH}: {text}"
                for text in _unlike(event, said, slack, in_turn=in_turn)
            ]
    return found


def _kind(event: AlertEvent) -> tuple[object, ...]:
    return event.transition, event.severity, bool(event.notify), event.escalated_from


def _kind_said(said: Said) -> tuple[object, ...]:
    return said.transition, said.severity, said.notified, said.escalated_from


def _unlike(event: AlertEvent, said: Said, slack: int, *, in_turn: bool) -> Iterator[str]:
    when = event.evidence.window_to
    if not said.at <= when <= said.at + slack and event.transition is not Transition.REMINDER:
        yield f"at {when - EPOCH}"
    if not said.started_at <= event.started_at <= said.started_at + slack:
        yield f"began at {event.started_at - EPOCH}, not {said.started_at - EPOCH}"
    if event.suppressed != said.suppressed and event.rule.window_ns is None:
        yield f"{event.suppressed} suppressed, not {said.suppressed}"
    if in_turn and event.transition is not Transition.RESOLVED:
        return
    if not _same(event.evidence.value, said.value) and event.transition is Transition.FIRING:
        yield f"value {event.evidence.value}, not {said.value}"
    if not _same(event.peak, said.peak):
        yield f"peak {event.peak}, not {said.peak}"


def _same(value: float, right: float) -> bool:
    return (math.isnan(value) and math.isnan(right)) or math.isclose(value, right, rel_tol=1e-9, abs_tol=1e-9)
