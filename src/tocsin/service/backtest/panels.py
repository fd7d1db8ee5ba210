"""What a chart shows, whatever draws it: a panel a rule, with its series, its threshold lines and its alerts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Final

from tocsin.notify.wording import clean, counted, quantity
from tocsin.service.backtest.report import Interval, Report, RuleReport
from tocsin.service.backtest.text import condition_text, group_text

__all__ = ["Alert", "Panel", "Scale", "Track", "moment_label", "panels_of", "time_ticks"]

MOST_PANELS: Final = 50
_TRACKS: Final = 6
_BREAK: Final = 6
"""A line is broken where nothing was measured for so many times as long as usual."""
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DECADES: Final = 25
"""With values so many times the limit a linear scale shows nothing of the limit."""

Point = tuple[float, float, float]
"""Unix seconds, the lowest and the highest value there."""


@dataclass(frozen=True, slots=True)
class Track:
    """The series of one group, in stretches without a gap."""

    name: str
    stretches: tuple[tuple[Point, ...], ...]
    is_main: bool
    """It had an alert, or none had and it came nearest."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An interval in which a rule fired; Unix seconds."""

    begin: float
    end: float
    notified: bool
    told: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to heights: 0 at the bottom to 1 at the top."""

    low: float
    high: float
    logarithmic: bool

    def place(self, value: float) -> float:
        """Return the height of a value; what is outside is at the edge."""
        if self.logarithmic:
            value, low, high = (math.log10(max(each, self.low)) for each in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5

    def ticks(self) -> list[float]:
        """Return round values to write at the axis."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, (last - first) // 4)
            return [10.0**power for power in range(first, last + 1, step)]
        rough = (self.high - self.low) / 4
        if not rough > 0 or not math.isfinite(rough):
            return [self.low]
        unit = 10.0 ** math.floor(math.log10(rough))
        width = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
        first, last = math.ceil(self.low / width), math.floor(self.high / width + 1e-9)
        return [width * number for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Panel:
    """One rule."""

    title: str
    told: str
    unit: str
    begin: float
    end: float
    tracks: tuple[Track, ...]
    lines: tuple[float, ...]
    alerts: tuple[Alert, ...]
    scale: Scale
    rule: RuleReport
    uses_low: bool
    """Low values are the ones that matter."""

    def label(self, value: float) -> str:
        """Return a value in the rule's unit."""
        return quantity(value, self.unit)


def panels_of(report: Report) -> list[Panel]:
    """Return a panel for each rule, those of compared versions behind their own; at most fifty."""
    begin, end = _span_of(report)
    panels = [_panel(rule, clean(rule.name), begin, end) for rule in report.rules]
    shown = {id(rule) for rule in report.rules}
    panels += [
        _panel(each.second, f"{clean(each.second.name)} ({clean(each.b)})", begin, end)
        for each in report.comparisons
        if id(each.second) not in shown
    ]
    return panels[:MOST_PANELS]


def _panel(rule: RuleReport, name: str, begin: float, end: float) -> Panel:
    some = bool(rule.intervals)
    groups = {tuple(sorted(each.group.items())) for each in rule.intervals}
    tracks = tuple(
        Track(
            group_text(series.group),
            tuple(_stretches([point for point in series.points if point[2] is not None])),
            (tuple(sorted(series.group.items())) in groups) if some else number == 0,
        )
        for number, series in enumerate(rule.series[:_TRACKS])
    )
    lines = () if rule.condition == "absent" else tuple(line.value for line in rule.lines)
    notified = f"notified {rule.notified:,}" if rule.notified else "notified nobody"
    breached = f"breached {rule.breached:,} time{'' if rule.breached == 1 else 's'}, {notified}"
    return Panel(
        title=f"{name}: {condition_text(rule)}",
        told=breached if rule.breached else f"never breached ({counted(rule.samples, 'samples')})",
        unit="samples" if rule.condition == "absent" else rule.unit,
        begin=begin,
        end=end,
        tracks=tracks,
        lines=lines,
        alerts=tuple(_alert(rule, each, begin, end) for each in rule.intervals),
        scale=_scale(tracks, lines, rule),
        rule=rule,
        uses_low=rule.condition in ("lt", "lte"),
    )


def _stretches(points: Sequence[tuple[float, float | None, float | None, float | None]]) -> Iterator[tuple[Point, ...]]:
    known = [(at, low, high) for at, low, high, _ in points if low is not None and high is not None]
    usual = median([later[0] - earlier[0] for earlier, later in pairwise(known)]) if len(known) > 1 else 0.0
    stretch: list[Point] = []
    for point in known:
        if stretch and point[0] - stretch[-1][0] > _BREAK * usual:
            yield tuple(stretch)
            stretch = []
        stretch.append(point)
    if stretch:
        yield tuple(stretch)


def _alert(rule: RuleReport, interval: Interval, begin: float, end: float) -> Alert:
    fired = _seconds(interval.fired_at)
    until = end if interval.resolved_at is None else _seconds(interval.resolved_at)
    value = "no samples" if interval.value is None else quantity(interval.value, rule.unit)
    told = f"{group_text(interval.group)}: {value} at {interval.fired_at[:19].replace('T', ' ')}Z, {interval.severity}"
    return Alert(max(fired, begin), max(until, fired), interval.notified, told)


def _scale(tracks: Sequence[Track], lines: Sequence[float], rule: RuleReport) -> Scale:
    values = [value for track in tracks for part in track.stretches for point in part for value in point[1:]]
    values += [each.peak for each in rule.intervals if each.peak is not None and rule.condition != "absent"]
    every = [*values, *lines] or [0.0, 1.0]
    low, high = min(every), max(every)
    limit = min((line for line in lines if line > 0), default=0.0)
    if limit and low >= 0 and high > _DECADES * limit and rule.condition in ("gt", "gte"):
        positive = min((value for value in values if value > 0), default=limit)
        return Scale(max(min(positive, limit / 2), limit / 100), high * 1.3, logarithmic=True)
    if low >= 0 and (low < high * 0.6 or high == low):
        low = 0.0
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return Scale(low if low == 0 else low - margin, high + margin, logarithmic=False)


def _span_of(report: Report) -> tuple[float, float]:
    begin, end = (_seconds(each) if each else 0.0 for each in (report.begin, report.end))
    return begin, max(end, begin + 1e-3)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def time_ticks(begin: float, end: float, most: int = 8) -> list[float]:
    """Return round moments to write at the axis, Unix seconds."""
    rough = (end - begin) / most
    step = next((float(each) for each in _STEPS if each >= rough), 86400.0 * math.ceil(rough / 86400))
    first = math.ceil(begin / step)
    return [number * step for number in range(first, first + most + 1) if number * step <= end]


def moment_label(at: float, begin: float, end: float) -> str:
    """Return a moment of the axis, as exact as the stretch of time asks for."""
    moment = datetime.fromtimestamp(at, UTC)
    if end - begin > 2 * 86400:
        return f"{moment:%d %b %H:%M}" if moment.hour or moment.minute else f"{moment:%d %b}"
    return f"{moment:%H:%M:%S}" if end - begin < 600 else f"{moment:%H:%M}"
