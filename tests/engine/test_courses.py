"""Thresholds that are a value on the way through a request: bounds must not hide that it was reached."""

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from comparing import HORIZON, Call, at, play
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import MINUTE, Span, rule_of

from tocsin.rules.rule import Aggregate, Condition, Metric

CONDITIONS = (Condition.GT, Condition.GTE, Condition.LT, Condition.LTE)
AGGREGATES = (Aggregate.AVG, Aggregate.SUM, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST, Aggregate.STDDEV)


def found(aggregate: Aggregate, values: Sequence[float]) -> float:
    """Return an aggregate of some values."""
    mean = math.fsum(values) / len(values)
    match aggregate:
        case Aggregate.AVG:
            return mean
        case Aggregate.SUM:
            return math.fsum(values)
        case Aggregate.LAST:
            return values[-1]
        case Aggregate.STDDEV:
            return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        case _:
            return min(values) if aggregate is Aggregate.MIN else max(values)


def events(
    aggregate: Aggregate,
    condition: Condition,
    threshold: float,
    samples: Sequence[tuple[int, float]],
    cuts: Sequence[int],
) -> list[str]:
    """Return the ids of what samples (group, score) lead to, in requests that begin at `cuts`."""
    rule = rule_of(
        metric=Metric.JUDGE_SCORE,
        aggregate=aggregate,
        condition=condition,
        threshold=str(Decimal(threshold)),
        group_by=(("conversation",),),
        window_ns=60 * MINUTE,
        cooldown_ns=0,
    )
    spans = [
        Span(at(i / 100), trace=i + 1, span=i + 1, labels={"conversation": f"c{g}"}, numbers={"judge_score": value})
        for i, (g, value) in enumerate(samples)
    ]
    parts = [tuple(spans[begin:end]) for begin, end in pairwise([0, *cuts, len(spans)])]
    calls = [Call(part[-1].time, part) for part in parts if part]
    return sorted(event.id for event in play([rule], [*calls, Call(HORIZON)]))


@settings(max_examples=150, deadline=None)
@given(
    samples=st.lists(
        st.tuples(st.integers(0, 1), st.one_of(st.integers(-3, 9), st.floats(-1, 1).map(lambda x: round(x, 2)))),
        min_size=1,
        max_size=12,
    ),
    cut=st.integers(0, 12),
    aggregate=st.sampled_from(AGGREGATES),
    condition=st.sampled_from(CONDITIONS),
    data=st.data(),
)
def test_a_threshold_that_is_met_on_the_way_is_met_in_one_request(
    samples: list[tuple[int, float]], cut: int, aggregate: Aggregate, condition: Condition, data: st.DataObject
) -> None:
    on_the_way = [
        found(aggregate, [value for group, value in samples[: i + 1] if group == samples[i][0]])
        for i in range(len(samples))
    ]
    threshold = data.draw(st.sampled_from(on_the_way))
    said = [events(aggregate, condition, threshold, samples, cuts) for cuts in ([], [cut], range(len(samples)))]
    assert said[0] == said[1] == said[2]


def test_a_spread_that_was_wide_for_two_samples_is_seen_among_others() -> None:
    samples = [(0, 0.0), (0, 9.0), *[(0, 4.0), (0, 5.0)] * 4]
    once = events(Aggregate.STDDEV, Condition.GT, 4, samples, [])
    assert once
    assert once == events(Aggregate.STDDEV, Condition.GT, 4, samples, range(len(samples)))
