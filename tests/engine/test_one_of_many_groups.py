"""One group of a batch crosses a threshold while the others are far from it, whatever is aggregated."""

from dataclasses import replace

import pytest
from comparing import Call, at, play
from samples import Span, rule_of

from tocsin.rules.rule import Aggregate, Metric

USD = 10**9
WINDOWED = [
    (Metric.COST, Aggregate.SUM, None),
    (Metric.COST, Aggregate.RATE, None),
    (Metric.COST, Aggregate.AVG, None),
    (Metric.COST, Aggregate.MAX, None),
    (Metric.COST, Aggregate.MIN, None),
    (Metric.COST, Aggregate.LAST, None),
    (Metric.COST, Aggregate.STDDEV, None),
    (Metric.COST, Aggregate.QUANTILE, 0.95),
    (Metric.COUNT, Aggregate.COUNT, None),
]


def spans_of(second: float, costly: int) -> tuple[Span, ...]:
    """Return calls of five tenants: `costly` pays 100 to 300 USD for three, each of the others a cent for one."""
    paid = [(tenant, USD // 100) for tenant in range(5) if tenant != costly]
    paid[2:2] = [(costly, 100 * USD), (costly, 300 * USD), (costly, 200 * USD)]
    return tuple(
        replace(Span(at(second), trace, trace, cost_nano=cost), labels={"tenant": f"tenant-{tenant}"})
        for trace, (tenant, cost) in enumerate(paid, start=1)
    )


@pytest.mark.parametrize("costly", range(1, 5))
@pytest.mark.parametrize(("metric", "aggregate", "quantile"), WINDOWED)
def test_the_group_that_crosses_is_found(
    metric: Metric, aggregate: Aggregate, quantile: float | None, costly: int
) -> None:
    threshold = 2 if metric is Metric.COUNT else 0.5
    rule = rule_of(metric=metric, aggregate=aggregate, quantile=quantile, threshold=threshold, group_by=(("tenant",),))
    events = play([rule], [Call(at(1), spans_of(1, costly))])
    assert [event.group for event in events] == [{"tenant": f"tenant-{costly}"}]
