"""PromQL to an expression over windows: the entry of this package, and what a whole text means for a rule."""

import math
from dataclasses import dataclass
from decimal import Decimal

from tocsin.rules.measures import Condition
from tocsin.rules.promql.leaves import refusal
from tocsin.rules.promql.matching import Labelling
from tocsin.rules.promql.parting import parted
from tocsin.rules.promql.reading import read
from tocsin.rules.promql.syntax import Node, Text
from tocsin.rules.promql.trees import Trees
from tocsin.rules.promql.units import unit_of_vector
from tocsin.rules.vector import Entry, Expression, Language, Number, labels_of

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
    part = parted(whole)
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
