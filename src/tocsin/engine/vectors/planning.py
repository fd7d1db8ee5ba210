"""From rules with expressions to formulas over leaves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.state import AlertState
from tocsin.engine.leaf import Leaf
from tocsin.engine.vectors.build import Builder, places_of
from tocsin.engine.vectors.spaces import Place, Space, Spaces
from tocsin.engine.vectors.watching import ExpressionWatch, Formula, FormulaSubject
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.measures import Aggregate, Condition, Metric
from tocsin.rules.rule import Rule
from tocsin.rules.vector import (
    Binary,
    Combine,
    Combining,
    Entry,
    Expression,
    Number,
    Operator,
    Otherwise,
    Series,
    Vector,
    labels_of,
    series_of,
)

__all__ = ["Planned", "Wanted", "planned", "wanted_of"]

_MAY_BE_NEGATIVE = frozenset({Metric.ATTRIBUTE, Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE})
_ADDED = frozenset({Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE})
_RISING = (Condition.GT, Condition.GTE)
_FALLING = (Condition.LT, Condition.LTE)


@dataclass(slots=True)
class Planned:
    """A rule with an expression, ready to be evaluated."""

    rule: Rule
    formula: Formula
    watch: ExpressionWatch
    running: Formula | None = None
    """The same over what is in the present bucket, where that can only come nearer to a breach."""
    subject: FormulaSubject = field(init=False)
    ready_at: int = -1
    """Event time before which it is not evaluated again, as the last time took long; -1 before the first time."""
    is_pending: bool = False
    """Whether samples came, or windows changed, since it was evaluated."""
    complete_from: int = 0
    """Event time from which on buckets are whole: the rule was there when they began."""

    patience: int = 1
    """Evaluations to wait before extents are found anew: the longer, the more often that did not help."""
    waits: int = 0
    """How many of them are still to come."""

    may_miss: bool = field(init=False)
    """Whether it need not be evaluated where extents say that no limit is near."""
    judges_parts: bool = field(init=False)
    """Whether a bucket of which only the end was seen can be judged: what was missed could not end a breach, or nothing
    is added up. A sum that is too small as half of its hour was not there yet is no alarm."""

    def __post_init__(self) -> None:
        """Make the subject of the alerts."""
        self.subject = FormulaSubject(self.formula)
        self.may_miss = self.formula.may_miss and self.interval_ns is None
        self.judges_parts = self.running is not None or not _adds_up(self.rule.expression)

    def join(self) -> None:
        """Tell the leaves who reads them."""
        for formula in (self.formula, *([self.running] if self.running else ())):
            for leaf in {id(node.leaf): node.leaf for node in formula.leaves}.values():
                leaf.readers += 1
                if formula is self.formula:
                    leaf.listeners.append(self.watch)
                if leaf.key.excluding == self.rule.key:
                    leaf.excludes = self._excluder(leaf)
        if self.formula.first is not None:
            self.formula.first.leaf.leads.append(self.watch)

    def _excluder(self, leaf: Leaf) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
        """Return what says of a leaf's groups whether an alert of the same labels is firing."""
        space = next(node.space for node in self.formula.leaves if node.leaf is leaf)
        value = self.formula.value.space

        def excluded(slots: NDArray[Any]) -> NDArray[np.bool_]:
            firing = [slot for slot, alert in self.watch.alerts.items() if alert.state is AlertState.FIRING]
            if not firing:
                return np.zeros(len(slots), np.bool_)
            common = [entry for entry in space.place if entry in value.place]
            groups = {tuple(_picked(value, slot, common)) for slot in firing}
            distinct, place = np.unique(slots, return_inverse=True)
            found = np.array([tuple(_picked(space, slot, common)) in groups for slot in distinct.tolist()])
            return found[place]

        return excluded

    def freeze(self) -> Frozen:
        """Return the alerts and what is still to be evaluated."""
        watch = self.watch.freeze()
        fields: dict[str, State] = {
            "ready_at": self.ready_at,
            "pending": self.is_pending,
            "complete_from": self.complete_from,
        }
        return lambda: {**fields, "watch": watch()}

    def thaw(self, section: Section) -> None:
        """Take a state; the groups have theirs already."""
        self.watch.resize()
        self.watch.thaw(section.part("watch"))
        self.ready_at, self.is_pending = section.integer("ready_at", -1), section.flag("pending")
        self.complete_from = section.integer("complete_from")

    @property
    def interval_ns(self) -> int | None:
        """How long the buckets are at whose ends it is evaluated."""
        return None if self.rule.expression is None else self.rule.expression.interval_ns


def _adds_up(expression: Expression | None) -> bool:
    series = () if expression is None else series_of(expression.value, *(expression.limits or ()), expression.gate)
    return any(each.aggregate in _ADDED for each in series)


def _picked(space: Space, slot: int, entries: list[Entry]) -> list[str]:
    values = dict(zip(space.place, space.groups.keys[slot] or (), strict=False))
    return [values.get(entry, "") for entry in entries]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an expression needs of a plan."""

    series: tuple[Series, ...]
    running: tuple[Series, ...]
    """Those that are needed of the present bucket as well."""
    places: tuple[Place, ...]


def _vectors(expression: Expression) -> Iterator[Vector]:
    yield expression.value
    yield from expression.limits or ()
    if expression.gate is not None:
        yield expression.gate


def wanted_of(rule: Rule, expression: Expression) -> Wanted:
    """Return the windows and label sets that a rule's expression is over."""
    vectors = list(_vectors(expression))
    early = _early(rule, expression)
    return Wanted(
        series_of(*vectors),
        () if early is None else series_of(early),
        tuple(dict.fromkeys(place for vector in vectors for place in places_of(vector))),
    )


def planned(rule: Rule, expression: Expression, spaces: Spaces, leaf_of: Callable[[Series, bool], Leaf]) -> Planned:
    """Return a rule's formulas over the leaves of a plan.

    Raises:
        ValueError: the tree is none that can be evaluated.
    """
    formula = _formula(rule, expression, spaces, lambda series: leaf_of(series, False))  # noqa: FBT003  # of no bucket
    early = _early(rule, expression)
    running = None
    if early is not None:
        whole = replace(expression, value=early)
        running = _formula(rule, whole, spaces, lambda series: leaf_of(series, True))  # noqa: FBT003  # of the bucket
    return Planned(rule, formula, ExpressionWatch(rule, formula.value.space.groups), running)


def _formula(rule: Rule, expression: Expression, spaces: Spaces, leaf_of: Callable[[Series], Leaf]) -> Formula:
    builder = Builder(spaces, leaf_of)
    value = builder.node(expression.value)
    limits = None
    if expression.limits is not None:
        limits = tuple(
            builder.scalar(each) if labels_of(each) is None else builder.node(each) for each in expression.limits
        )
    gate = None
    if expression.gate is not None:
        node = builder.node(expression.gate)
        gate = node, spaces.projection(value.space, node.space)
    return Formula(rule, value, limits, gate)


def _early(rule: Rule, expression: Expression) -> Vector | None:
    """Return what to look at before a bucket ends; None where its end has to be waited for."""
    limits_stay = all(isinstance(limit, Number) for limit in expression.limits or ())
    if expression.interval_ns is None or expression.gate is not None or not limits_stay:
        return None
    if rule.condition not in (*_RISING, *_FALLING):
        return None
    return _monotone(expression.value, expression.interval_ns, rises=rule.condition in _RISING)


def _monotone(vector: Vector, interval_ns: int, *, rises: bool) -> Vector | None:
    """Return a vector without its defaults if more samples in a bucket move its elements one way only, else None."""
    match vector:
        case Series():
            fits = vector.window_ns == interval_ns and not vector.offset_ns and vector.calendar is None
            return vector if fits and vector.scale > 0 and _series_moves(vector, rises=rises) else None
        case Otherwise():
            return _monotone(vector.argument, interval_ns, rises=rises)
        case Combine() if vector.combining in ((Combining.MAX, Combining.SUM) if rises else (Combining.MIN,)):
            argument = _monotone(vector.argument, interval_ns, rises=rises)
            only_adds = vector.combining is not Combining.SUM or _adds(vector.argument)
            return replace(vector, argument=argument) if argument is not None and only_adds else None
        case Binary(left=left, right=Number(value=number)) if not vector.operator.compares:
            keeps = vector.operator in (Operator.ADD, Operator.SUB) or (
                vector.operator in (Operator.MUL, Operator.DIV) and number > 0
            )
            argument = _monotone(left, interval_ns, rises=rises) if keeps else None
            return None if argument is None else replace(vector, left=argument)
        case _:
            return None


def _series_moves(series: Series, *, rises: bool) -> bool:
    if not rises:
        return series.aggregate is Aggregate.MIN
    if series.aggregate in (Aggregate.SUM, Aggregate.RATE):
        return series.metric not in _MAY_BE_NEGATIVE
    return series.aggregate in (Aggregate.COUNT, Aggregate.MAX)


def _adds(vector: Vector) -> bool:
    """Whether no element is negative, so that a further one makes a sum no less."""
    return isinstance(vector, Series) and (vector.aggregate is Aggregate.COUNT or vector.metric not in _MAY_BE_NEGATIVE)
