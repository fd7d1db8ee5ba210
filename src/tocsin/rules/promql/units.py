"""The unit of an expression's value, as far as the tree tells it."""

from tocsin.rules.measures import Aggregate, Metric, unit_text
from tocsin.rules.vector import Apply, Binary, Combine, Combining, Function, Logical, Operator, Series, Vector
from tocsin.semconv.table import How, default_table

__all__ = ["unit_of_vector"]

_KEEPS = frozenset(
    {
        *(Function.ABS, Function.CEIL, Function.FLOOR, Function.ROUND, Function.CLAMP),
        *(Function.CLAMP_MIN, Function.CLAMP_MAX, Function.NEGATE, Function.SCALAR),
    }
)
_COMBINES = frozenset(Combining) - {Combining.COUNT, Combining.GROUP, Combining.STDVAR}


def unit_of_vector(vector: Vector) -> str:
    """Return the unit for people, such as `USD` or `ms`; empty where there is none or it is not known."""
    match vector:
        case Series():
            return _unit_of_series(vector)
        case Apply() if vector.function in _KEEPS:
            return unit_of_vector(vector.argument)
        case Combine() if vector.combining in _COMBINES:
            return unit_of_vector(vector.argument)
        case Logical():
            return unit_of_vector(vector.left)
        case Binary():
            return _unit_of_binary(vector)
        case _:
            return ""


def _unit_of_series(series: Series) -> str:
    if series.metric is Metric.ATTRIBUTE:
        unit = "USD" if series.attribute in _costs() else ""
        unit = {Aggregate.COUNT: "samples", Aggregate.RATE: f"{unit}/s" if unit else ""}.get(series.aggregate, unit)
    else:
        unit = unit_text(series.metric, series.aggregate)
    if series.scale == 0.001 and unit == "ms":
        return "s"
    return unit if series.scale == 1 else ""


def _costs() -> frozenset[str]:
    aliases = default_table().numbers["cost"]
    return frozenset(alias.key for alias in aliases if alias.how is How.PLAIN and alias.factor == 1)


def _unit_of_binary(binary: Binary) -> str:
    left, right = unit_of_vector(binary.left), unit_of_vector(binary.right)
    if binary.operator.compares:
        return "" if binary.returns_bool else left
    if binary.operator in (Operator.ADD, Operator.SUB):
        return left if left == right else ""
    if binary.operator is Operator.DIV and left and left == right:
        return "ratio"
    return ""
