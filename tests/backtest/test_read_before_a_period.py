"""How far back a backtest reads, so that what rules compare is whole at the period's first moment."""

from dataclasses import replace

import pytest
from samples import MINUTE, SECOND, rule_of

from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.measures import Aggregate, Metric
from tocsin.rules.rule import Rule
from tocsin.rules.vector import Binary, Expression, Language, Matching, Operator, Series
from tocsin.service.backtest import period as periods
from tocsin.service.backtest.reading import widened

DAY = 24 * 60 * MINUTE
BEGIN = 1_790_000_000 * SECOND


def series(window: int, offset: int = 0, calendar: Calendar | None = None) -> Series:
    return Series(Metric.COST, None, Aggregate.SUM, None, window, (), offset_ns=offset, calendar=calendar)


def asking(value: Series, limit: Series) -> Rule:
    drift = Binary(Operator.SUB, value, limit, Matching(()))
    return replace(rule_of(cooldown_ns=0), window_ns=None, expression=Expression(Language.PROMQL, "a - b", drift))


@pytest.mark.parametrize(
    ("rule", "before"),
    [
        (rule_of(window_ns=5 * MINUTE, cooldown_ns=0), 5 * MINUTE),
        (rule_of(window_ns=5 * MINUTE, cooldown_ns=MINUTE, for_ns=SECOND), 6 * MINUTE + SECOND),
        (asking(series(DAY), series(7 * DAY, DAY)), 8 * DAY),
        (asking(series(DAY), series(0, calendar=Calendar(Period.MONTH, "UTC"))), 31 * DAY),
        (replace(rule_of(cooldown_ns=0), window_ns=None, calendar=Calendar(Period.WEEK, "UTC")), 7 * DAY),
    ],
)
def test_windows_offsets_periods_and_timers_are_read_before_the_period(rule: Rule, before: int) -> None:
    asked = periods.Period(BEGIN, BEGIN + DAY)
    assert widened(asked, [rule]) == periods.Period(BEGIN - before, BEGIN + DAY)


def test_a_period_without_a_beginning_is_read_as_a_whole() -> None:
    assert widened(periods.Period(), [rule_of()]) == periods.Period()
