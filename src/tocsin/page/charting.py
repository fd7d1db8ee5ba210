"""What charts show: a backtest's values beside the threshold, and the values of a rule while somebody looks."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from tocsin.api.series import Snapshot, closeness
from tocsin.engine.values import GroupValue
from tocsin.notify.wording import clean
from tocsin.rules.rule import Condition

__all__ = ["Recent", "backtest_chart", "group_words"]

_MOST_GROUPS: Final = 6
"""In one chart; more lines than that nobody tells apart."""


def group_words(group: Mapping[str, str]) -> str:
    """Return a group's values on one line; `all` where the rule has no groups."""
    return ", ".join(clean(value, 60) for value in group.values()) or "all"


def backtest_chart(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the chart of a rule's part of a report (see `backtest.as_json`); None where it measured nothing."""
    series = [each for each in rule["series"][:_MOST_GROUPS] if any(point[2] is not None for point in each["points"])]
    if not series:
        return None
    times = sorted({point[0] for each in series for point in each["points"]})
    places = {at: index for index, at in enumerate(times)}
    drawn: list[dict[str, Any]] = []
    limits: list[float | None] = [None] * len(times)
    for each in series:
        low: list[float | None] = [None] * len(times)
        high: list[float | None] = [None] * len(times)
        for at, lowest, highest, limit in each["points"]:
            low[places[at]], high[places[at]] = lowest, highest
            limits[places[at]] = limit if each is series[0] else limits[places[at]]
        drawn.append({"label": group_words(each["group"]), "low": low, "high": high})
    known = {limit for limit in limits if limit is not None}
    lines = []
    if len(known) > 1:
        drawn.append({"label": f"threshold of {drawn[0]['label']}", "low": limits, "high": limits, "limit": True})
    elif rule["condition"] != "absent":
        lines = [
            {
                "label": line["severity"],
                "value": line["value"],
                "kind": "warn" if line["severity"] in ("low", "medium") else "bad",
            }
            for line in rule["lines"]
            if math.isfinite(line["value"])
        ]
    bands = [[_seconds(one["fired_at"]), _seconds(one["resolved_at"])] for one in rule["intervals"]]
    unit = "samples" if rule["condition"] == "absent" else rule["unit"]
    return {"unit": unit, "times": times, "series": drawn, "lines": lines, "bands": bands}


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


Key = tuple[str, str]
_POINTS: Final = 720
_RULES: Final = 64
_PAUSE: Final = 2.0
"""Seconds between two readings: whoever looks, however many look."""
_FORGOTTEN: Final = 900.0
"""Seconds after which what nobody looked at any more begins anew."""


@dataclass(slots=True)
class _Course:
    """The last readings of one rule."""

    read: float = -math.inf
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_POINTS))
    values: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=_POINTS))
    """Group -> value, of the groups closest to firing at that moment."""
    now: Sequence[GroupValue] = ()
    groups: int = 0


class Recent:
    """The values of rules that are looked at, read when they are: nothing is kept of the others. On one event loop."""

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Callable[[], float] = time.time) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._known: OrderedDict[Key, _Course] = OrderedDict()

    def look(self, key: Key) -> tuple[Sequence[GroupValue], int, dict[str, Any] | None]:
        """Return a rule's present values, what is closest to firing first, of how many, and the chart of its last ones.

        Args:
            key: project and name.
        """
        now = self._clock()
        course = self._known.get(key)
        if course is None or now - course.read > _FORGOTTEN:
            course = self._known[key] = _Course()
        self._known.move_to_end(key)
        if len(self._known) > _RULES:
            self._known.popitem(last=False)
        if now - course.read >= _PAUSE:
            found = [value for value in self._snapshot().values if value.rule.key == key]
            found.sort(key=lambda value: (-closeness(value), sorted(value.group.items())))
            course.read, course.now, course.groups = now, found[:50], len(found)
            course.times.append(now)
            course.values.append({group_words(each.group): each.value for each in found[:_MOST_GROUPS]})
        return course.now, course.groups, _drawn(course)


def _drawn(course: _Course) -> dict[str, Any] | None:
    if not course.now and not any(course.values):
        return None
    latest = [group_words(each.group) for each in course.now[:_MOST_GROUPS]]
    names = list(dict.fromkeys([*latest, *_former(course)]))[:_MOST_GROUPS]
    first = course.now[0] if course.now else None
    lines = []
    if first is not None and math.isfinite(first.limit) and first.rule.condition is not Condition.ABSENT:
        lines = [{"label": "threshold", "value": first.limit, "kind": "bad"}]
    series = []
    for name in names:
        values = [reading.get(name) for reading in course.values]
        series.append({"label": name, "low": values, "high": values})
    unit = "" if first is None else first.rule.unit
    return {"unit": unit, "times": list(course.times), "series": series, "lines": lines, "bands": []}


def _former(course: _Course) -> Iterator[str]:
    for reading in reversed(course.values):
        yield from reading
