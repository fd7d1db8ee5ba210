"""How much has to be read before a period, and what rules ask for that was not recorded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tocsin.rules.needs import needs_of
from tocsin.rules.rule import Rule
from tocsin.rules.vector import series_of
from tocsin.service.backtest.period import Period
from tocsin.service.backtest.sources import Source

__all__ = ["lacking", "widened"]

_DAY_NS: Final = 86_400 * 10**9
_LONGEST_CALENDAR: Final = {"day": 1, "week": 7, "month": 31}


def widened(period: Period, rules: Sequence[Rule]) -> Period:
    """Return the period that has to be read: windows, timers and cooldowns of its first moment reach back."""
    if period.begin is None:
        return period
    return replace(period, begin=max(0, period.begin - max(map(_reach_of, rules))))


def _reach_of(rule: Rule) -> int:
    timers = rule.for_ns + rule.keep_firing_ns + rule.cooldown_ns
    calendars = [rule.calendar] if rule.calendar is not None else []
    windows = [rule.window_ns or 0]
    asked = rule.expression
    for series in series_of(asked.value, *(asked.limits or ()), asked.gate) if asked is not None else ():
        windows.append(series.window_ns + series.offset_ns)
        calendars += [series.calendar] if series.calendar is not None else []
    windows += [_LONGEST_CALENDAR[each.period.value] * _DAY_NS for each in calendars]
    return max(windows) + timers


def lacking(rule: Rule, source: Source) -> list[str]:
    """Return a sentence for each name that a rule reads and that was not recorded."""
    needs = needs_of([rule])
    return [
        f"{name} was not recorded for {count:,} spans: no rule read it then; it counts as absent there"
        for name, count in sorted(source.lacking.items())
        if name in needs.labels or name in needs.numbers
    ]
