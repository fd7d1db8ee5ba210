"""One rule with an expression: its nodes, and the alerts of its groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import Evidence
from tocsin.alerts.state import Alert, Change
from tocsin.engine.alarms import evidence_of
from tocsin.engine.evidence import Ring
from tocsin.engine.vectors.moments import Moment
from tocsin.engine.vectors.nodes import Node
from tocsin.engine.vectors.numbers import Column, Mask
from tocsin.engine.vectors.ranges import Range, Times, misses
from tocsin.engine.vectors.scalars import Scalar
from tocsin.engine.vectors.spaces import Projection, Slots
from tocsin.engine.view import label_of
from tocsin.engine.watch import Watch
from tocsin.rules.rule import Aggregate, Condition, Metric, NoData, Rule
from tocsin.windows.groups import Groups

__all__ = ["ExpressionWatch", "Formula", "FormulaSubject"]

_SUMMED = (Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE)


class ExpressionWatch(Watch):
    """Alert state for the groups of one rule with an expression."""

    def __init__(self, rule: Rule, groups: Groups) -> None:
        super().__init__([rule], None, groups)
        self.falls_to_zero = False  # an element that is not there says nothing of the one that was


class Formula:
    """The nodes of a rule: what is compared, with what, and on which condition."""

    def __init__(
        self,
        rule: Rule,
        value: Node,
        limits: tuple[Node | Scalar, ...] | None,
        gate: tuple[Node, Projection] | None,
    ) -> None:
        self.rule = rule
        self.value = value
        self.limits = limits
        self.gate = gate
        nodes: list[Node | Scalar] = [value, *(limits or ()), *([gate[0]] if gate else ())]
        self.leaves = [leaf for node in nodes for leaf in node.leaves()]
        self.leaf_ids = frozenset(id(node.leaf) for node in self.leaves)
        own = value.leaves()
        self.leading = next((node for node in own if node.space is value.space), None)
        """The window behind a group: the first one under the value that has its labels."""
        self.first = self.leading or next(iter((*own, *self.leaves)), None)
        """The window that stands for the rule where samples are counted."""
        local = all(node.is_local for node in nodes)
        self.is_local = local and all(node.space is value.space for node in nodes if isinstance(node, Node))
        """Whether what a group is compared with hangs on the windows' values for the same labels alone."""
        self._line = float(rule.levels[0].threshold)
        self.moves = any(node.moves for node in nodes)
        self.may_miss = self.is_local and rule.no_data is not NoData.ALERT
        """Whether there may be an extent that says that no group is in breach."""

    def misses(self, times: Times) -> bool:
        """Return whether no group can be in breach, as far as is known without a look at any."""
        limit: Range = (self._line, self._line)
        if self.limits is not None:
            limit = self.limits[0].extent(times)
        return misses(self.rule.condition, self.value.extent(times), limit)

    def counts(self, slots: Slots) -> NDArray[np.int64]:
        """Return [n] the number of samples behind groups; as many as could be asked for where no window says it."""
        if self.leading is None:
            return np.full(len(slots), np.iinfo(np.int64).max)
        self.leading.leaf.resize()
        return self.leading.leaf.samples(slots)

    def limit(self, level: int, slots: Slots, moment: Moment) -> Column:
        """Return [n] what groups are compared with at a level."""
        if self.limits is None:
            return Column(np.full(len(slots), float(self.rule.levels[level].threshold)), None)
        limit = self.limits[level]
        if isinstance(limit, Scalar):
            return Column(np.broadcast_to(np.asarray(limit.value(moment), np.float64), (len(slots),)), None)
        return limit.evaluate(slots, moment)

    def first_limit(self, slots: Slots, moment: Moment) -> Any:  # noqa: ANN401  # a float, or [n] one a row
        """Return what groups are compared with at the least severe level; anything where there is nothing."""
        if self.limits is None:
            return self._line
        limit = self.limits[0]
        return limit.value(moment) if isinstance(limit, Scalar) else limit.evaluate(slots, moment).values

    def opens(self, slots: Slots, moment: Moment) -> Mask | None:
        """Return [n] whether the gate has an element for groups; None: there is none, and all may be in breach."""
        if self.gate is None:
            return None
        node, projection = self.gate
        if node.space is self.value.space:
            return node.evaluate(slots, moment).present
        targets = projection.of(slots)
        distinct = np.unique(targets[targets >= 0])
        if not len(distinct):
            return np.zeros(len(slots), np.bool_)
        at = np.minimum(np.searchsorted(distinct, targets), len(distinct) - 1)
        return node.evaluate(distinct, moment).mask[at] & (targets >= 0)

    def levels(
        self, watch: Watch, slots: Slots, column: Column, counts: NDArray[np.int64], moment: Moment
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return [n] the level whose limit is passed and [n] the one whose recovery threshold still is, or -1."""
        enough = column.mask
        if self.rule.min_samples > 1:  # an element may be there without a sample: what is absent, what was filled in
            enough = enough & (counts >= self.rule.min_samples)
        if (opens := self.opens(slots, moment)) is not None:
            enough = enough & opens
        reached = np.full(len(slots), -1, np.int64)
        held = reached.copy()
        for number, level in enumerate(self.rule.levels):
            limit = self.limit(number, slots, moment)
            passed = watch.compare(column.values, limit.values) & limit.mask
            reached += passed
            recovery = level.recovery_threshold
            held += passed if recovery is None else watch.compare(column.values, float(recovery))
        return np.where(enough, reached, -1), np.where(enough, held, -1)


class FormulaSubject:
    """What the alerts of a rule with an expression are of."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula

    def present(self, slot: int, now: int) -> tuple[float, int]:
        """Return a group's value at event time `now` and its number of samples."""
        slots = np.array([slot])
        column = self.formula.value.evaluate(slots, Moment(now))
        value = float(column.values[0]) if column.mask[0] else float("nan")
        return value, self.samples(slots)[0]

    def samples(self, slots: Slots) -> list[int]:
        """Return the numbers of samples behind groups; 0 where no window says it."""
        return [0] * len(slots) if self.formula.leading is None else self.formula.counts(slots).tolist()

    def threshold(self, slot: int, level: int, now: int) -> float:
        """Return what a group's value is compared with at a level; NaN where there is nothing."""
        limit = self.formula.limit(level, np.array([slot]), Moment(now))
        return float(limit.values[0]) if limit.mask[0] else float("nan")

    def group(self, slot: int) -> dict[str, str]:
        """Return a group's labels and values, in the order of the rule."""
        space, rule = self.formula.value.space, self.formula.rule
        values = dict(zip(space.place, space.groups.keys[slot] or (), strict=False))
        order = [*(entry for entry in rule.group_by if entry in values), *values]
        return dict(label_of(entry, values[entry]) for entry in dict.fromkeys(order))

    def evidence(self, ring: Ring, slot: int, alert: Alert, change: Change, count: int) -> Evidence:
        """Return why an alert changed: what the samples of its window say, where one has its labels."""
        node, condition = self.formula.first, self.formula.rule.condition
        begin, end = (change.at, change.at) if node is None else node.leaf.bounds(change.at)
        if node is None or node is not self.formula.leading:
            return Evidence(change.value, count, begin, end)
        return evidence_of(
            node.leaf,
            ring,
            slot,
            change,
            count,
            bounds=(begin, end),
            logged=(begin, end),
            summed=node.series.aggregate in _SUMMED or node.series.metric in (Metric.ERROR_RATE, Metric.UNPRICED_RATIO),
            lowest=condition in (Condition.LT, Condition.LTE),
            group=alert.group,
        )
