"""Every window's value equals that of a list of its samples."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from comparing import Call, deliveries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Oracle
from samples import MINUTE, SECOND, Span, batch_of, histories, rule_of

from tocsin.engine import Engine
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule

METRICS = [Metric.COST, Metric.LATENCY, Metric.ERROR_RATE, Metric.TOKENS, Metric.COUNT, Metric.ATTRIBUTE]


def values(engine: Engine, rule: Rule) -> dict[tuple[str, ...], float]:
    """Return the value of each group with samples: a rule over the same window that all values break fires for each."""
    level = replace(rule.levels[0], threshold=Decimal(-1))
    probe = replace(rule, name="probe", condition=Condition.GTE, levels=(level,), version="1" * 16)
    events = engine.replace_rules([rule, probe], engine.time)
    return {tuple(event.group.values()): event.evidence.value for event in events if event.rule.name == "probe"}


@pytest.mark.parametrize("aggregate", list(Aggregate))
def test_a_window_has_the_value_of_its_samples(aggregate: Aggregate) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        data=st.data(),
        spans=histories(),
        metric=st.sampled_from(METRICS),
        window=st.sampled_from([2 * SECOND, 30 * SECOND, 5 * MINUTE, 60 * MINUTE]),
        rank=st.sampled_from([0.5, 0.95, 0.999]),
    )
    def compare(data: st.DataObject, spans: Sequence[Span], metric: Metric, window: int, rank: float) -> None:
        rule = rule_of(
            metric=metric,
            attribute="app.size" if metric is Metric.ATTRIBUTE else None,
            aggregate=aggregate,
            quantile=rank if aggregate is Aggregate.QUANTILE else None,
            window_ns=window,
            group_by=(("tenant",),),
            threshold=10**12,
        )
        engine, oracle = Engine([rule]), Oracle([rule])
        for call in data.draw(deliveries(spans))[:-1]:
            feed(engine, oracle, call)
        found = values(engine, rule)
        for group in oracle.series["rule"].samples:
            admissible = oracle.admissible(rule, group)
            here = found.get(group)
            if here is None:
                assert any(
                    not interval.samples + interval.unpriced or interval.low != interval.low for interval in admissible
                )
            else:
                assert any(interval.admits(here) for interval in admissible), (here, admissible)

    compare()


def feed(engine: Engine, oracle: Oracle, call: Call) -> None:
    if call.spans:
        engine.ingest(batch_of(call.spans), call.now)
    else:
        engine.advance(call.now)
    oracle.ingest(call.spans, call.now) if call.spans else oracle.advance(call.now)
