"""What a whole vector means for a rule: a value, what it is compared with, and what else has to be there."""

from dataclasses import dataclass

from tocsin.rules.measures import Condition
from tocsin.rules.vector import (
    Binary,
    Combine,
    Combining,
    Logical,
    LogicalOperator,
    Operator,
    Vector,
    labels_of,
)

__all__ = ["Part", "parted"]


@dataclass(frozen=True, slots=True)
class Part:
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


def parted(whole: Vector) -> Part:
    """Return the comparison at the top, and what it is tied to by `and` and `unless`, apart.

    So the value of a group that is not in breach is known as well, for messages and charts.
    """
    match whole:
        case Logical(operator=LogicalOperator.AND | LogicalOperator.UNLESS):
            return _gated(whole)
        case Binary() if whole.operator.compares and not whole.returns_bool:
            return _compared(whole)
        case _:
            return Part(whole, Condition.PRESENT)


def _gated(logical: Logical) -> Part:
    part = parted(logical.left)
    labels = labels_of(part.value) or ()
    if part.gate is None and logical.operator is LogicalOperator.AND:
        gate = logical.right
        if set(labels_of(gate) or ()) != set(logical.on):
            gate = Combine(Combining.GROUP, gate, logical.on)
        return Part(part.value, part.condition, part.limit, gate)
    # `unless` holds for what is not there, so the value itself says of which groups that is asked.
    before = part.value if part.gate is None else _both(part.value, part.gate)
    gate = Logical(logical.operator, before, logical.right, logical.on)
    assert set(labels_of(gate) or ()) == set(labels)  # noqa: S101  # an `and` has the labels of its left
    return Part(part.value, part.condition, part.limit, gate)


def _both(value: Vector, gate: Vector) -> Vector:
    return Logical(LogicalOperator.AND, value, gate, labels_of(gate) or ())


def _compared(binary: Binary) -> Part:
    condition = _CONDITIONS[binary.operator]
    left, right = labels_of(binary.left), labels_of(binary.right)
    if right is None:
        return Part(binary.left, condition, binary.right)
    if left is None:
        # The vector's elements are kept, on whichever side of a scalar they stand.
        return Part(binary.right, _FLIPPED.get(condition, condition), binary.left)
    if binary.matching is not None and not binary.matching.group and left == right:
        return Part(binary.left, condition, binary.right)
    return Part(binary, Condition.PRESENT)
