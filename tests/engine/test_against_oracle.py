"""The engine says what the oracle says: the same alerts in the same order, at the same times, with the same values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from comparing import Call, deliveries, differences, play, play_oracle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from samples import CALM_GRID, histories, rules

from tocsin.model.batch import SpanClass
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Scope, Severity

ABOVE = (Condition.GT, Condition.GTE)
EXACT = [aggregate for aggregate in Aggregate if aggregate is not Aggregate.QUANTILE]
"""A percentile is right to 1 %: which side of a threshold it is on is no law. Its values have a test of their own."""


@dataclass(frozen=True)
class Mode:
    """What histories and rules are drawn for one of the laws."""

    of_rules: Mapping[str, Any] = field(default_factory=dict)
    of_histories: Mapping[str, Any] = field(default_factory=dict)
    levels: bool = False
    singly: bool = False
    in_turn: bool = False
    examples: int = 100


TREES = {"rooted": True, "trees": True}
INHERITED = {"rooted": True, "inherited": True}
MODES = {
    "windows": Mode(),
    "sums above a threshold": Mode({"monotone": True}),
    "several levels": Mode(levels=True),
    "without a window": Mode({"windowless": True}),
    "without a window, several levels": Mode({"windowless": True}, levels=True),
    "labels from other spans": Mode({"alternatives": False, "monotone": True}, INHERITED, singly=True, in_turn=True),
    "single spans, labels from others": Mode(
        {"alternatives": False, "windowless": True}, INHERITED, singly=True, in_turn=True
    ),
    "calls in calls": Mode({}, {"nested": True, "rooted": True}, singly=True),
    "traces": Mode({"windowless": True, "scopes": [Scope.TRACE]}, TREES, singly=True),
    "traces of several levels": Mode({"windowless": True, "scopes": [Scope.TRACE]}, TREES, levels=True, singly=True),
    "traces in windows": Mode({"scopes": [Scope.TRACE]}, TREES, singly=True),
}


def _with_levels(rule: Rule) -> Rule:
    """Return the rule with a second level, twice as far from zero or half as far.

    Without delays: whether a level that is reached later waits for a `for` of its own is left open.
    """
    first = rule.levels[0]
    further = first.threshold * 2 + 1 if rule.condition in ABOVE else first.threshold / 2 - Decimal("0.01")
    levels = first, replace(first, severity=Severity.CRITICAL, threshold=further)
    return replace(rule, levels=levels, for_ns=0, keep_firing_ns=0)


def _is_always_true(rule: Rule) -> bool:
    """Whether a trace of which nothing failed is in breach, too: when that is found is of no interest."""
    unfailed = Decimal(0) if rule.metric is Metric.ERROR_RATE else Decimal(1)
    reached = rule.condition in (Condition.GTE, Condition.LTE) and rule.levels[0].threshold == unfailed
    return reached and rule.metric in (Metric.ERROR_RATE, Metric.SUCCESS_RATE)


def drawn(data: st.DataObject, mode: Mode) -> tuple[Rule, list[Call]]:
    """Return a rule, and a history in requests."""
    spans = data.draw(histories(grid=CALM_GRID, classes=(SpanClass.LLM, SpanClass.TOOL), **mode.of_histories))
    rule = data.draw(rules(calm=True, aggregates=EXACT, **mode.of_rules))
    rule = _with_levels(rule) if mode.levels else rule
    assume(not (rule.scope is Scope.TRACE and _is_always_true(rule)))
    return rule, data.draw(deliveries(spans, singly=mode.singly))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_alerts_are_those_of_the_contract(mode: Mode) -> None:
    @settings(max_examples=mode.examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def compare(data: st.DataObject) -> None:
        rule, calls = drawn(data, mode)
        assert differences(rule, play([rule], calls), play_oracle([rule], calls), in_turn=mode.in_turn) == [], calls

    compare()
