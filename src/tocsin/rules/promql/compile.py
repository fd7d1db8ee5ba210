"""PromQL to an expression over windows: the entry of this package, and what a whole text means for a rule."""

import math
from dataclasses import dataclass
from decimal import Decimal

from tocsin.rules.measures import Condition
from tocsin.rules.promql.leaves import refusal
from tocsin.rules.promql.matching import Labelling
from tocsin.rules.promql.reading import read
from tocsin.rules.promql.syntax import Node, Text
from tocsin.rules.promql.trees import Trees
from tocsin.rules.promql.units import unit_of_vector
from tocsin.rules.vector import (
    Binary,
    Combine,
    Combining,
    Entry,
    Expression,
    Language,
    Logical,
    LogicalOperator,
    Number,
    Operator,
    Vector,
    labels_of,
)

__all__ = ["CompiledExpression", "compile_promql"]


@dataclass(frozen=True, slots=True)
class CompiledExpression:
    """What the text of `expr:` says."""

    expression: Expression
    condition: Condition
    """PRESENT where the text does not end in a comparison that a value can be shown with."""
    threshold: Decimal | None
    """The constant that is compared with, if it is one; `expression.limits` is None then."""
    labels: tuple[Entry, ...]
    """What tells the rule's groups apart."""


def compile_promql(text: str, group_by: tuple[Entry, ...]) -> CompiledExpression:
    """Return the expression that a text is.

    Args:
        text: PromQL.
        group_by: labels of the rule; with those that the text names outside matchers they tell series apart.

    Raises:
        QueryError: it is no PromQL, or something in it has no meaning for a rule; offsets are characters of `text`.
    """
    tree = read(text)
    if isinstance(tree, Text):
        raise refusal(tree.place, "string", "a text is no alert; write an expression like latency > 2000")
    labelling = Labelling(group_by)
    trees = Trees(labelling, labelling.of_series(tree))
    whole = trees.vector(tree)
    labels = labels_of(whole)
    if labels is None:
        what = "a number without labels is no alert: it is always there; compare a metric, as in cost > 5"
        raise refusal(tree.place, "scalar", what)
    _check_groups(tree, group_by, labels)
    part = _parted(whole)
    threshold = part.limit.value if isinstance(part.limit, Number) else None
    constant = threshold is not None and math.isfinite(threshold)
    expression = Expression(
        language=Language.PROMQL,
        text=text,
        value=part.value,
        limits=None if part.limit is None or constant else (part.limit,),
        gate=part.gate,
        unit=unit_of_vector(part.value),
    )
    decimal = _decimal(threshold) if threshold is not None and constant else None
    return CompiledExpression(expression, part.condition, decimal, labels)


def _decimal(number: float) -> Decimal:
    return Decimal(int(number)) if number.is_integer() and abs(number) < 1e15 else Decimal(repr(number))


def _check_groups(tree: Node, group_by: tuple[Entry, ...], labels: tuple[Entry, ...]) -> None:
    missing = [" or ".join(entry) for entry in group_by if entry not in labels]
    if missing:
        names = " and ".join(missing)
        text = f"the rule is grouped by {names}, which the result lacks; add it to `by`, or remove it from group_by"
        raise refusal(tree.place, "group_by", text)


@dataclass(frozen=True, slots=True)
class _Part:
    """A whole text as what a rule evaluates: a value, what it is compared with, and what else must be there."""

    value: Vector
    condition: Condition
    limit: Vector | None = None
    gate: Vector | None = None


_CONDITIONS = {
    Operator.GT: Condition.GT,
    Operator.GTE: Condition.GTE,
    Operator.LT: Condition.LT,
    Operator.LTE: Condition.LTE,
    Operator.EQ: Condition.EQ,
    Operator.NE: Condition.NE,
}
_FLIPPED = {
    Condition.GT: Condition.LT,
    Condition.GTE: Condition.LTE,
    Condition.LT: Condition.GT,
    Condition.LTE: Condition.GTE,
}


def _parted(whole: Vector) -> _Part:
    """Take the comparison at the top apart, and what it is tied to by `and` and `unless`.

    So the value of a group that is not in breach is known as well, for messages and charts.
    """
    match whole:
        case Logical(operator=LogicalOperator.AND | LogicalOperator.UNLESS):
            return _gated(whole)
        case Binary() if whole.operator.compares and not whole.returns_bool:
            return _compared(whole)
        case _:
            return _Part(whole, Condition.PRESENT)


def _gated(logical: Logical) -> _Part:
    part = _parted(logical.left)
    labels = labels_of(part.value) or ()
    if part.gate is None and logical.operator is LogicalOperator.AND:
        gate = logical.right
        if set(labels_of(gate) or ()) != set(logical.on):
            gate = Combine(Combining.GROUP, gate, logical.on)
        return _Part(part.value, part.condition, part.limit, gate)
    # `unless` holds for what is not there, so the value itself says of which groups that is asked.
    before = part.value if part.gate is None else _both(part.value, part.gate)
    gate = Logical(logical.operator, before, logical.right, logical.on)
    assert set(labels_of(gate) or ()) == set(labels)  # noqa: S101  # an `and` has the labels of its left
    return _Part(part.value, part.condition, part.limit, gate)


def _both(value: Vector, gate: Vector) -> Vector:
    return Logical(LogicalOperator.AND, value, gate, labels_of(gate) or ())


def _compared(binary: Binary) -> _Part:
    condition = _CONDITIONS[binary.operator]
    left, right = labels_of(binary.left), labels_of(binary.right)
    if right is None:
        return _Part(binary.left, condition, binary.right)
    if left is None:
        # The vector's elements are kept, on whichever side of a scalar they stand.
        return _Part(binary.right, _FLIPPED.get(condition, condition), binary.left)
    if binary.matching is not None and not binary.matching.group and left == right:
        return _Part(binary.left, condition, binary.right)
    return _Part(binary, Condition.PRESENT)
