"""A report for people: what each rule would have done, in a few lines a rule."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from tocsin.notify.wording import clean, counted, duration, quantity
from tocsin.service.backtest.report import Comparison, Interval, Report, RuleReport

__all__ = ["condition_text", "group_text", "text_of"]

_LISTED: Final = 12
"""Intervals of a rule that are printed; the rest is counted, and stands in `--json`."""
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "==", "ne": "!="}


def text_of(report: Report, *, timing: bool = True) -> str:
    """Return the report as lines; `timing` says how long it took, too."""
    return "\n".join(_lines(report, timing=timing))


def _lines(report: Report, *, timing: bool) -> Iterator[str]:
    took = f" in {duration(report.seconds)} ({report.spans / max(report.seconds, 1e-9):,.0f} spans/s)" if timing else ""
    yield f"{report.spans:,} spans of {clean(report.source)}, {_moment(report.begin)} to {_moment(report.end)}{took}"
    yield from _troubles(report)
    for rule in report.rules:
        yield ""
        yield from _rule(rule, report.end)
    for comparison in report.comparisons:
        yield ""
        yield from _comparison(comparison, report.end)
    yield from ("", *report.notes) if report.notes else ()


def _troubles(report: Report) -> Iterator[str]:
    if report.problem_count:
        yield f"{counted(report.problem_count, 'problems')} in the input; the rest was used"
    if report.rejected:
        told = "; ".join(f"{count:,} {clean(reason)}" for reason, count in report.rejected.items())
        yield f"spans that can't be used: {told}"
    if report.skipped_metrics:
        yield f"{counted(report.skipped_metrics, 'requests')} of metrics skipped: rules read spans and evaluations"


def _rule(rule: RuleReport, end: str | None) -> Iterator[str]:
    notified = f"notified {rule.notified:,}" if rule.notified else "notified nobody"
    breached = f"breached {rule.breached:,} time{'' if rule.breached == 1 else 's'}, {notified}"
    yield f"{clean(rule.name)} ({condition_text(rule)}): {breached if rule.breached else 'never breached'}"
    for interval in rule.intervals[:_LISTED]:
        yield f"  {_interval(rule, interval, end)}"
    if (more := len(rule.intervals) - _LISTED + rule.left_out) > 0 and len(rule.intervals) > _LISTED:
        yield f"  … and {more:,} more; --json lists them"
    if not rule.intervals:
        yield f"  {_nearest(rule)}"
    yield from (f"  {clean(note)}" for note in rule.notes)


def _nearest(rule: RuleReport) -> str:
    if not rule.samples:
        return "no sample: no span that its metric, filters and groups are about"
    if not rule.series or rule.series[0].nearest is None:
        return counted(rule.samples, "samples")
    nearest = quantity(rule.series[0].nearest, rule.unit)
    return f"{counted(rule.samples, 'samples')}; nearest: {nearest} by {group_text(rule.series[0].group)}"


def _interval(rule: RuleReport, interval: Interval, end: str | None) -> str:
    until = interval.resolved_at or end
    lasted = duration(max(0.0, (_seconds(until) - _seconds(interval.fired_at)))) if until else ""
    over = f"for {lasted}" if interval.resolved_at else f"still firing after {lasted}"
    value = "no samples" if interval.value is None else quantity(interval.value, rule.unit)
    parts = [f"{_moment(interval.fired_at)}  {over}", f"{group_text(interval.group)}", value]
    if interval.peak is not None and interval.peak != interval.value:
        parts[-1] += f", {'worst' if rule.condition in ('lt', 'lte') else 'peak'} {quantity(interval.peak, rule.unit)}"
    if interval.breaches > 1:
        parts.append(f"{interval.breaches:,} breaches")
    return "  ".join([*parts, interval.severity if interval.notified else f"{interval.severity}, not notified"])


def _comparison(comparison: Comparison, end: str | None) -> Iterator[str]:
    first, second = comparison.first, comparison.second
    a, b = clean(comparison.a), clean(comparison.b)
    yield f"{clean(first.name)}: {a} against {b}" if first.name == second.name else f"{a} against {b}"
    for name, rule in ((a, first), (b, second)):
        yield f"  {name} ({condition_text(rule)}): breached {rule.breached:,}, notified {rule.notified:,}"
    alone = f"{comparison.only_a:,} by {a} alone, {comparison.only_b:,} by {b} alone"
    yield f"  {counted(comparison.both, 'alerts')} in both, {alone}"
    for difference in comparison.differences[:_LISTED]:
        rule, name = (first, a) if difference.version == "a" else (second, b)
        yield f"  only {name}: {_interval(rule, difference.interval, end)}"
    if len(comparison.differences) > _LISTED:
        yield f"  … and {len(comparison.differences) - _LISTED:,} more; --json lists them"


def condition_text(rule: RuleReport) -> str:
    """Return `> $25.00 in 5m`, `< 0.55 in 15m`, `absent for 10m`."""
    window = "" if rule.window_seconds is None else duration(rule.window_seconds)
    if rule.condition == "absent":
        return f"absent for {window}"
    limits = " / ".join(quantity(line.value, rule.unit) for line in rule.lines)
    return f"{_SIGNS[rule.condition]} {limits}" + (f" in {window}" if window else "")


def group_text(group: Mapping[str, str]) -> str:
    """Return `conversation conv-42`, or `all` where nothing is grouped."""
    return ", ".join(f"{clean(label, 80)} {clean(value, 80) or '(empty)'}" for label, value in group.items()) or "all"


def _moment(text: str | None) -> str:
    return "?" if text is None else text[:19].replace("T", " ") + "Z"


def _seconds(text: str | None) -> float:
    return 0.0 if text is None else datetime.fromisoformat(text).timestamp()
