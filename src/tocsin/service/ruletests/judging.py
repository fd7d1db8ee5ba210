"""What was expected against what happened, as a diff that a person can act on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.message import MessageWriter
from tocsin.notify.wording import clean, counted, quantity
from tocsin.rules.rule import Condition, Rule
from tocsin.service.ruletests.amounts import Amount
from tocsin.service.ruletests.expecting import Alerts, Check, Events, Expected, ExpectedEvent, Silence
from tocsin.service.ruletests.matching import in_order, pairs
from tocsin.service.ruletests.outcome import Failure, Row
from tocsin.service.ruletests.playing import Nearest, Played

__all__ = ["clock", "failure_of"]

_MOST_ROWS: Final = 12
_MOST_GROUPS: Final = 3
_STEPS: Final = ((86_400 * 10**9, "d"), (3_600 * 10**9, "h"), (60 * 10**9, "m"))
_FALLING: Final = (Condition.LT, Condition.LTE)
_MARKS: Final = " ~-+"
"""In this order where there is none in time."""


@dataclass(frozen=True, slots=True)
class _Got:
    """An alert at an instant, or something that happened to one."""

    event: AlertEvent
    value: float
    at: int
    summary: str

    @property
    def notified(self) -> bool:
        """Whether anybody would have been told."""
        return bool(self.event.notify)


def clock(at: int) -> str:
    """Return an instant of a test as tests write it: `0s`, `12m`, `1h2m3s`, `14.25s`."""
    if at < 0:
        return f"-{clock(-at)}"
    at = round(at, -3)  # a window ends a nanosecond before the span that is too old for it
    parts = []
    for size, name in _STEPS:
        count, at = divmod(at, size)
        parts += [f"{count}{name}"] if count else []
    if at or not parts:
        parts.append(f"{at / 10**9:.9f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)


def failure_of(check: Check, played: Played) -> Failure | None:
    """Return how an expectation is not met; None where it is."""
    match check:
        case Alerts():
            return _alerts(check, played)
        case Events():
            return _events(check, played)
        case Silence():
            return _silence(check, played)


def _alerts(check: Alerts, played: Played) -> Failure | None:
    if check.is_instant:
        firing = (each for each in played.firing[check.begin] if each.event.rule.key == check.rule.key)
        got = [
            _Got(each.event, each.value, each.event.fired_at - played.start, _summary(each.event)) for each in firing
        ]
        when = f"at {clock(check.begin)}"
        what = "fire" if len(check.alerts) != 1 else "fires"
    else:
        got = [
            _got(event, played)
            for event in _of(check.rule, played)
            if event.transition is Transition.FIRING
            and event.escalated_from is None
            and check.begin <= played.when(event) <= check.end
        ]
        when = f"by {clock(check.end)}" if not check.begin else f"from {clock(check.begin)} to {clock(check.end)}"
        what = "have fired" if len(check.alerts) != 1 else "has fired"
    matched = pairs(check.alerts, got, lambda expected, each: not _differences(expected, each))
    if len(matched) == len(check.alerts) == len(got):
        return None
    expected = counted(len(check.alerts), "alerts") if check.alerts else "no alert"
    sentence = f"{clean(check.rule.name)}: {expected} should {_infinitive(what)} {when}, {_are(len(got), what)}"
    return Failure(
        check.line, sentence, _rows(check.rule, check.alerts, got, matched), tuple(_near(check, got, matched, played))
    )


def _infinitive(what: str) -> str:
    return "have fired" if what in ("have fired", "has fired") else "fire"


def _are(count: int, what: str) -> str:
    if what in ("have fired", "has fired"):
        return "none has" if not count else "one has" if count == 1 else f"{count:,} have"
    return "none does" if not count else "one does" if count == 1 else f"{count:,} do"


def _events(check: Events, played: Played) -> Failure | None:
    got = [_got(event, played) for event in _of(check.rule, played)]
    matched = in_order(check.events, got, lambda expected, each: not _differences(expected, each))
    if len(matched) == len(check.events) == len(got):
        return None
    name = clean(check.rule.name)
    sentence = (
        f"{name}: {counted(len(check.events), 'events')} expected in this order, {counted(len(got), 'events')} happened"
    )
    rows = _rows(check.rule, check.events, got, matched)
    return Failure(check.line, sentence, rows, tuple(_nearest_notes(check.rule, None, played)) if not got else ())


def _silence(check: Silence, played: Played) -> Failure | None:
    end = played.end if check.end is None else check.end
    keys = {rule.key for rule in check.rules}
    got = [
        _Got(each.event, each.value, each.event.fired_at - played.start, "")
        for each in played.firing[check.begin]
        if each.event.rule.key in keys
    ]
    known = {each.event.alert_id for each in got}
    for event in played.events:
        is_new = event.rule.key in keys and event.alert_id not in known
        if is_new and event.transition is Transition.FIRING and check.begin <= played.when(event) <= end:
            known.add(event.alert_id)
            got.append(_got(event, played))
    if not got:
        return None
    names = ", ".join(dict.fromkeys(clean(each.event.rule.name) for each in got))
    span = f"from {clock(check.begin)} to {clock(end)}"
    rows = [Row("+", "", f"{clean(each.event.rule.name)}: {_told(each)}") for each in got[:_MOST_ROWS]]
    return Failure(check.line, f"{names} should be silent {span}, and fired", (*rows, *_more(got)))


def _of(rule: Rule, played: Played) -> Iterable[AlertEvent]:
    return (event for event in played.events if event.rule.key == rule.key)


def _got(event: AlertEvent, played: Played) -> _Got:
    return _Got(event, event.evidence.value, played.when(event), _summary(event))


def _summary(event: AlertEvent) -> str:
    return MessageWriter().message_of(event).summary


# What differs


def _differences(expected: Expected, got: _Got) -> list[str]:
    """Return in what an alert is not what was expected."""
    event = got.event
    found = []
    if expected.group is not None and dict(event.group) != dict(expected.group):
        found.append("group")
    if expected.labels is not None and any(expected.labels.get(key) != each for key, each in event.group.items()):
        found.append("group")
    if expected.severity is not None and event.severity is not expected.severity:
        found.append("severity")
    if expected.value is not None and not expected.value.fits(got.value):
        found.append("value")
    if expected.threshold is not None and not expected.threshold.fits(event.threshold):
        found.append("threshold")
    if expected.summary is not None and expected.summary != got.summary:
        found.append("summary")
    if isinstance(expected, ExpectedEvent):
        if event.transition is not expected.transition:
            found.append("event")
        if expected.at is not None and abs(got.at - expected.at) > expected.within:
            found.append("time")
        if expected.notified is not None and got.notified is not expected.notified:
            found.append("notified")
    return found


def _rows(rule: Rule, expected: Sequence[Expected], got: Sequence[_Got], matched: Mapping[int, int]) -> tuple[Row, ...]:
    """Return the two sides: events in order of time, alerts with what fits first."""
    left = [at for at in range(len(got)) if at not in matched.values()]
    near = dict(matched)
    for number, each in enumerate(expected):
        if number not in near and left:
            # What differs in least is probably what was meant; something else altogether is not.
            best = min(left, key=lambda at, each=each: len(_differences(each, got[at])))  # type: ignore[misc]
            differing = _differences(each, got[best])
            if "group" not in differing and "event" not in differing:
                near[number] = best
                left.remove(best)
    rows: list[tuple[int, Row]] = []
    for number, each in enumerate(expected):
        at = near.get(number)
        order = got[at].at if at is not None else (isinstance(each, ExpectedEvent) and each.at) or 0
        if at is None:
            rows.append((order, Row("-", _wanted(rule, each), "")))
        else:
            why = ", ".join(_differences(each, got[at]))
            suffix = f"  ({why})" if why else ""
            mark = "~" if why else " "
            rows.append((order, Row(mark, _wanted(rule, each), _told(got[at], each) + suffix)))
    rows += [(got[at].at, Row("+", "", _told(got[at]))) for at in left]
    in_time = any(isinstance(each, ExpectedEvent) for each in expected)
    rows.sort(key=lambda item: item[0] if in_time else _MARKS.index(item[1].mark))
    return (*(row for _, row in rows[:_MOST_ROWS]), *_more(rows))


def _more(some: Sequence[object]) -> list[Row]:
    return [Row(" ", "", f"… and {len(some) - _MOST_ROWS:,} more")] if len(some) > _MOST_ROWS else []


def _wanted(rule: Rule, expected: Expected) -> str:
    """Return what was expected in the words of `_told`."""
    parts = []
    if isinstance(expected, ExpectedEvent):
        parts += [] if expected.at is None else [clock(expected.at)]
        parts.append(expected.transition.value)
    group = expected.labels if expected.group is None else expected.group
    parts.append("any" if group is None else _group_text(group))
    parts += [] if expected.severity is None else [expected.severity.value]
    parts += [] if expected.value is None else [_amount_text(expected.value, rule.unit)]
    parts += [] if expected.threshold is None else [f"threshold {_amount_text(expected.threshold, rule.unit)}"]
    if isinstance(expected, ExpectedEvent) and expected.notified is not None:
        parts.append("notified" if expected.notified else "only recorded")
    parts += [] if expected.summary is None else [f'"{clean(expected.summary)}"']
    return "  ".join(parts)


def _amount_text(amount: Amount, unit: str) -> str:
    plain = (
        amount.within <= abs(amount.value) * 0.5
        and not amount.sign
        and "±" not in amount.text
        and "+" not in amount.text
    )
    return quantity(amount.value, unit) if plain else amount.text


def _told(got: _Got, expected: Expected | None = None) -> str:
    event, unit = got.event, got.event.rule.unit
    parts = []
    is_event = isinstance(expected, ExpectedEvent)
    if is_event:
        parts += [clock(got.at), event.transition.value]
    parts += [_group_text(event.group), event.severity.value]
    parts.append("no value" if not math.isfinite(got.value) else quantity(got.value, unit))
    if event.rule.condition not in (Condition.ABSENT, Condition.PRESENT):
        parts.append(f"threshold {quantity(event.threshold, unit)}")
    if is_event:
        parts.append("notified" if got.notified else "only recorded")
    else:
        parts.append(f"{event.transition.value if expected is None else 'fired'} at {clock(got.at)}")
    if expected is not None and expected.summary is not None:
        parts.append(f'"{clean(got.summary)}"')
    return "  ".join(parts)


def _group_text(group: Mapping[str, str]) -> str:
    return ", ".join(f"{clean(label, 80)} {clean(value, 80) or '(empty)'}" for label, value in group.items()) or "all"


# How near it came


def _near(check: Alerts, got: Sequence[_Got], matched: Mapping[int, int], played: Played) -> Iterable[str]:
    missing = [each for number, each in enumerate(check.alerts) if number not in matched]
    if not missing or len(got) >= len(check.alerts):
        return
    groups = [each.group for each in missing if each.group is not None]
    fired = {tuple(each.event.group.items()) for each in got}
    told = False
    for group in groups[:_MOST_GROUPS]:
        if tuple(group.items()) not in fired:
            told = True
            yield from _nearest_notes(check.rule, group, played)
    if not told:
        yield from _nearest_notes(check.rule, None, played)
    for event in _of(check.rule, played):
        if event.transition is Transition.RESOLVED and played.when(event) <= check.begin:
            first, last = clock(event.fired_at - played.start), clock(played.when(event))
            yield f"{_group_text(event.group)} fired at {first} and was resolved at {last}"
        elif event.transition is Transition.FIRING and played.when(event) > check.end:
            yield f"{_group_text(event.group)} fires later, at {clock(played.when(event))}"


def _nearest_notes(rule: Rule, group: Mapping[str, str] | None, played: Played) -> Iterable[str]:
    known = played.nearest.get(rule.key, {})
    if group is not None:
        wanted = dict(group)
        own = {key: each for key, each in known.items() if dict(key) == wanted}
        if not own and known:
            seen = _some([_group_text(dict(key)) for key in known])
            yield f"{_group_text(group)} was never seen; groups that were: {seen}"
        known = own or known
    if not known:
        yield from _nothing(rule, played)
        return
    best = sorted(known.items(), key=lambda item: (-item[1].near, -item[1].samples, item[0]))[:_MOST_GROUPS]
    for key, nearest in best[: 1 if group is None else _MOST_GROUPS]:
        yield _reached(rule, dict(key), nearest)


def _reached(rule: Rule, group: Mapping[str, str], nearest: Nearest) -> str:
    who = f"{_group_text(group)} " if group else ""
    verb = "fell to" if rule.condition in _FALLING else "peaked at"
    text = f"{who}{verb} {quantity(nearest.value, rule.unit)} at {clock(nearest.at)}"
    if math.isfinite(nearest.limit) and rule.condition is not Condition.ABSENT:
        text += f", threshold {quantity(nearest.limit, rule.unit)}"
    if math.isinf(nearest.near) and nearest.samples < rule.min_samples:
        text += f"; it never had min_samples {rule.min_samples}, at most {counted(nearest.samples, 'samples')}"
    elif nearest.near > 0 and rule.for_ns:
        text += f"; it has to hold for {clock(rule.for_ns)}"
    return text


def _nothing(rule: Rule, played: Played) -> Iterable[str]:
    statistics = played.statistics
    if statistics is not None and statistics.ungrouped.get(rule.key):
        labels = ", ".join(" or ".join(entry) for entry in rule.group_by)
        count = counted(statistics.ungrouped[rule.key], "samples")
        yield f"{count} without {labels}, which its groups are made of"
    elif statistics is not None and statistics.samples.get(rule.key):
        yield f"{counted(statistics.samples[rule.key], 'samples')}, and no value"
    else:
        yield "no sample: no span that its metric, filters and spans are about"


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_MOST_GROUPS]) + (
        f" and {len(texts) - _MOST_GROUPS:,} more" if len(texts) > _MOST_GROUPS else ""
    )
