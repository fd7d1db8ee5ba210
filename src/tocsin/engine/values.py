"""What every rule compares now, group by group: for charts, for the API, and for thresholds taken from history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tocsin.engine.alarms import group_of
from tocsin.engine.leaf import Leaf
from tocsin.engine.plan import Plan
from tocsin.engine.vectors.moments import Moment
from tocsin.engine.vectors.planning import Planned
from tocsin.engine.watch import Watch
from tocsin.rules.rule import Condition, Rule

__all__ = ["GroupValue", "values_of"]


@dataclass(frozen=True, slots=True)
class GroupValue:
    """The present value of one rule and group."""

    rule: Rule
    group: Mapping[str, str]
    """Label -> value."""
    value: float
    """In the rule's unit."""
    limit: float
    """What it is compared with at the least severe level; NaN where there is nothing to compare with."""
    samples: int
    """In the window; 0 where several windows have other labels than the group."""


def values_of(plan: Plan, now: int) -> Iterator[GroupValue]:
    """Yield the value of every rule with a window and each of its groups that has one, at event time `now`."""
    for leaf in plan.leaves.values():
        for watch in leaf.watches:
            yield from _of_watch(leaf, watch)
    for planned in plan.expressions:
        yield from _of_expression(planned, now)


def _of_watch(leaf: Leaf, watch: Watch) -> Iterator[GroupValue]:
    window = leaf.window
    if window is None:
        return
    leaf.resize()
    every = np.arange(leaf.groups.used)
    counts = window.samples(every)
    slots = every[counts > 0]
    values = leaf.values(watch, window, slots) if len(slots) else np.zeros(0)
    if watch.condition is Condition.ABSENT:
        values = counts[slots].astype(np.float64)
    for slot, value, count in zip(slots.tolist(), values.tolist(), counts[slots].tolist(), strict=True):
        index = watch.rule_of(slot)
        if index >= 0 and value == value:  # NaN is no value, and differs from itself
            rule = watch.rules[index]
            yield GroupValue(rule, group_of(rule, watch, slot), value, float(rule.levels[0].threshold), count)


def _of_expression(planned: Planned, now: int) -> Iterator[GroupValue]:
    formula, moment = planned.formula, Moment(now)
    slots = formula.value.candidates()
    if not len(slots):
        return
    column, limit = formula.value.evaluate(slots, moment), formula.limit(0, slots, moment)
    mask = column.mask
    limits = np.where(limit.mask, limit.values, np.nan)
    rows = np.flatnonzero(mask)
    counts = planned.subject.samples(slots[rows])
    for row, count in zip(rows.tolist(), counts, strict=True):
        group = planned.subject.group(int(slots[row]))
        yield GroupValue(planned.rule, group, float(column.values[row]), float(limits[row]), count)
