"""The nodes of a PromQL text as nodes of the tree that is evaluated."""

import math
from collections.abc import Callable
from dataclasses import replace

from tocsin.rules.measures import Aggregate
from tocsin.rules.promql.folding import folded, negated
from tocsin.rules.promql.functions import (
    COMBINING,
    ELEMENTWISE,
    OVER_TIME,
    REFUSED_AGGREGATIONS,
    advice_for,
)
from tocsin.rules.promql.leaves import leaf_of, refusal
from tocsin.rules.promql.matching import Labelling, is_raw, side_labels
from tocsin.rules.promql.syntax import (
    Aggregation,
    Call,
    Infix,
    Literal,
    Negation,
    Node,
    Selector,
    Subquery,
    Text,
)
from tocsin.rules.refusals import QueryError, Refusal
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Entry,
    Function,
    Logical,
    LogicalOperator,
    Now,
    Number,
    Operator,
    Series,
    Vector,
    labels_of,
)

__all__ = ["Trees"]

_Labels = tuple[Entry, ...]

_ADDED = frozenset({Aggregate.SUM, Aggregate.RATE, Aggregate.COUNT})
_IDENTITIES = frozenset({Combining.AVG, Combining.GROUP})
"""What means the same of one series as of those that it was made of, or nearly so: a mean is one over all samples."""


class Trees:
    """Makes the tree of one text."""

    def __init__(self, labelling: Labelling, labels: _Labels) -> None:
        self._labelling = labelling
        self._labels = labels

    def vector(self, node: Node) -> Vector:
        """Return a node as a tree.

        Raises:
            QueryError: some of it has no meaning for a rule.
        """
        return self._vector(node, self._labels)

    def _vector(self, node: Node, labels: _Labels) -> Vector:
        match node:
            case Literal():
                return Number(node.value)
            case Text():
                raise refusal(node.place, "string", "no text has a meaning here; rules compare numbers")
            case Selector():
                if node.range_ns is not None:
                    name = node.name.text if node.name else "metric"
                    text = f"a range is many values; say which one: avg_over_time({name}[…]), or rate"
                    raise refusal(node.range_place or node.place, "range", text)
                return leaf_of(node, Aggregate.LAST, labels, function="")
            case Subquery():
                raise _subquery(node)
            case Negation():
                return negated(self._vector(node.argument, labels))
            case Call():
                return self._call(node, labels)
            case Aggregation():
                return self._aggregation(node, labels)
            case Infix():
                return self._infix(node, labels)

    def _each(self, *parts: Callable[[], Vector]) -> list[Vector]:
        """Return all parts, or refuse with what is wrong with any of them."""
        found: list[Vector] = []
        refused: list[Refusal] = []
        for part in parts:
            try:
                found.append(part())
            except QueryError as error:
                refused += error.refusals
        if refused:
            raise QueryError(tuple(dict.fromkeys(refused)))
        return found

    # Functions.

    def _call(self, call: Call, labels: _Labels) -> Vector:
        name = call.function.text
        match name:
            case "time":
                return Now()
            case "pi":
                return Number(math.pi)
            case "sort" | "sort_desc":
                return self._vector(call.arguments[0], labels)
            case "absent" | "absent_over_time":
                return self._absent(call, labels)
            case "histogram_quantile":
                return self._histogram_quantile(call, labels)
            case _ if name in ELEMENTWISE:
                parts = self._each(*(lambda each=each: self._vector(each, labels) for each in call.arguments))
                return Apply(ELEMENTWISE[name], parts[0], tuple(parts[1:]))
            case _ if name in OVER_TIME or name in ("stdvar_over_time", "quantile_over_time", "present_over_time"):
                return self._over_time(call, labels)
            case _:
                raise refusal(call.function.place, f"{name}()", advice_for(name))

    def _over_time(self, call: Call, labels: _Labels) -> Vector:
        name = call.function.text
        if name == "quantile_over_time":
            selector = _ranged(call, call.arguments[1])
            rank = self._rank(call, call.arguments[0], labels)
            return _quantile_of(selector, rank, labels, name)
        selector = _ranged(call, call.arguments[0])
        if name == "stdvar_over_time":
            deviation = leaf_of(selector, Aggregate.STDDEV, labels, function=name)
            return Binary(Operator.POW, deviation, Number(2.0))
        if name == "present_over_time":
            return Apply(Function.SGN, leaf_of(selector, Aggregate.COUNT, labels, function=name))
        return leaf_of(selector, OVER_TIME[name], labels, function=name)

    def _absent(self, call: Call, labels: _Labels) -> Vector:
        argument = call.arguments[0]
        if call.function.text == "absent_over_time":
            argument = _ranged(call, argument)
        if isinstance(argument, Selector):
            # Whether there is any sample: of no labels, so that one without them counts as well.
            return Absent(leaf_of(argument, Aggregate.COUNT, (), function=call.function.text))
        return Absent(self._vector(argument, labels))

    def _rank(self, call: Call, node: Node, labels: _Labels) -> float:
        rank = self._vector(node, labels)
        clause = f"{call.function.text}()"
        if not isinstance(rank, Number):
            raise refusal(node.place, clause, "the rank has to be a number that is written here, like 0.95")
        if not 0 <= rank.value <= 1:
            raise refusal(node.place, clause, f"a rank of {rank.value:g} is no share; write one from 0 to 1, like 0.95")
        return rank.value

    def _histogram_quantile(self, call: Call, labels: _Labels) -> Vector:
        """A quantile of buckets is one of the values that were put into them."""
        rank = self._rank(call, call.arguments[0], labels)
        argument = call.arguments[1]
        grouped: _Labels = labels
        node = argument
        if isinstance(node, Aggregation):
            if node.operator.text != "sum":
                text = "buckets are only ever added up; write sum by (le) (rate(…_bucket[5m]))"
                raise refusal(node.operator.place, node.operator.text, text)
            grouped = self._labelling.grouped(node.grouping, labels, of_buckets=True)
            node = node.argument
        if not isinstance(node, Call) or node.function.text not in ("rate", "increase"):
            text = "it takes rate or increase of buckets: histogram_quantile(0.95, sum by (le) (rate(…_bucket[5m])))"
            raise refusal(argument.place, "histogram_quantile()", text)
        selector = _ranged(node, node.arguments[0])
        buckets = selector.name is not None and selector.name.text.endswith("_bucket")
        if buckets and isinstance(argument, Aggregation) and not _keeps_le(argument):
            text = "the buckets are added up too, as `le` is not kept; write sum by (le) (…), your own labels beside it"
            raise refusal(argument.place, "histogram_quantile()", text)
        return _quantile_of(selector, rank, grouped, "histogram_quantile")

    # Aggregations.

    def _aggregation(self, node: Aggregation, labels: _Labels) -> Vector:
        name = node.operator.text
        if name not in COMBINING:
            why = REFUSED_AGGREGATIONS.get(name, "rules do not have it; there are sum, avg, min, max, count and topk")
            raise refusal(node.operator.place, f"{name}()", f"{name}() has no equivalent: {why}")
        combining = COMBINING[name]
        parts = [lambda: self._vector(node.argument, labels)]
        if (written := node.parameter) is not None:
            parts.append(lambda: self._vector(written, labels))
        argument, *parameters = self._each(*parts)
        of_argument = labels_of(argument) or ()
        grouped = self._labelling.grouped(node.grouping, of_argument)
        if isinstance(argument, Series) and _merges(combining, argument):
            return replace(argument, labels=grouped)
        if is_raw(node.argument) and set(of_argument) <= set(grouped) and combining not in _IDENTITIES:
            raise refusal(node.operator.place, f"{name}()", _one_element(name, combining))
        return Combine(combining, argument, grouped, parameters[0] if parameters else None)

    # Operators.

    def _infix(self, infix: Infix, labels: _Labels) -> Vector:
        matched = infix.matched
        if matched.fill_place is not None:
            text = "what is missing is not filled in; write (… or vector(0)) where a side has no labels"
            raise refusal(matched.fill_place, "fill", text)
        on_left, on_right = side_labels(infix, labels, self._labelling)
        left, right = self._each(lambda: self._vector(infix.left, on_left), lambda: self._vector(infix.right, on_right))
        left_labels, right_labels = labels_of(left), labels_of(right)
        if infix.operator.text in tuple(LogicalOperator):
            return self._logical(infix, left, right)
        operator = Operator(infix.operator.text)
        returns_bool = matched.bool_place is not None
        if left_labels is not None and right_labels is not None:
            matching = self._labelling.matching(infix, left_labels, right_labels)
            return Binary(operator, left, right, matching, returns_bool)
        return folded(Binary(operator, left, right, None, returns_bool))

    def _logical(self, infix: Infix, left: Vector, right: Vector) -> Logical:
        operator = LogicalOperator(infix.operator.text)
        left_labels, right_labels = labels_of(left) or (), labels_of(right) or ()
        if operator is LogicalOperator.OR and left_labels != right_labels:
            text = (
                f"the sides are told apart by other labels ({_named(left_labels)} and {_named(right_labels)}), so what "
                "comes of them are no groups of one rule; aggregate both by the same, or write two rules"
            )
            raise refusal(infix.operator.place, "or", text)
        return Logical(operator, left, right, self._labelling.set_matching(infix, left_labels, right_labels))


def _named(labels: _Labels) -> str:
    return ", ".join(" or ".join(entry) for entry in labels) or "none"


def _subquery(node: Subquery) -> QueryError:
    text = "a subquery evaluates the past again, which no window keeps; use a longer range, or offset, or `baseline:`"
    return refusal(node.clause, "subquery", text)


def _ranged(call: Call, node: Node) -> Selector:
    if isinstance(node, Subquery):
        raise _subquery(node)
    if isinstance(node, Selector) and node.range_ns is not None:
        return node
    text = f"{call.function.text}() takes a metric with a range, like latency[5m]"
    raise refusal(node.place, f"{call.function.text}()", text)


def _keeps_le(node: Aggregation) -> bool:
    if node.grouping is None:
        return False
    named = any(name.text == "le" for name in node.grouping.labels)
    return named is node.grouping.keeps


def _quantile_of(selector: Selector, rank: float, labels: _Labels, function: str) -> Series:
    """The ends are exact as a minimum and a maximum."""
    aggregate = {0.0: Aggregate.MIN, 1.0: Aggregate.MAX}.get(rank, Aggregate.QUANTILE)
    quantile = rank if aggregate is Aggregate.QUANTILE else None
    return leaf_of(selector, aggregate, labels, function=function, quantile=quantile)


def _merges(combining: Combining, leaf: Series) -> bool:
    """Whether an aggregation of a leaf's elements is a leaf with fewer labels: equal, and much cheaper."""
    match combining:
        case Combining.SUM:
            return leaf.aggregate in _ADDED
        case Combining.MAX:
            return leaf.aggregate is Aggregate.MAX and leaf.scale > 0
        case Combining.MIN:
            return leaf.aggregate is Aggregate.MIN and leaf.scale > 0
        case _:
            return False


def _one_element(name: str, combining: Combining) -> str:
    over_time = {
        Combining.COUNT: "count_over_time(…), or sum by (…) (increase(…))",
        Combining.SUM: "sum(increase(…)) or sum(sum_over_time(…))",
        Combining.MAX: "max_over_time(…)",
        Combining.MIN: "min_over_time(…)",
        Combining.QUANTILE: "quantile_over_time(0.95, …)",
        Combining.STDDEV: "stddev_over_time(…)",
        Combining.STDVAR: "stdvar_over_time(…)",
    }.get(combining)
    alternative = f"; for all samples of a window use {over_time}" if over_time else ""
    return (
        f"{name}() has one series to choose from, as nothing else tells series apart here; aggregate inside by what "
        f"it is about, like {name} (… by (model) (…)), or name it in group_by{alternative}"
    )
