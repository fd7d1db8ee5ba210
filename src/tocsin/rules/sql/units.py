"""The unit of what a query returns, as far as its tree tells."""

from tocsin.rules.measures import Aggregate, Metric
from tocsin.rules.vector import (
    Apply,
    Binary,
    Combine,
    Combining,
    Function,
    Logical,
    NullIf,
    Number,
    Operator,
    Otherwise,
    Series,
    Vector,
)

__all__ = ["unit_of"]

_UNITS = {
    Metric.COST: "USD",
    Metric.LATENCY: "ms",
    Metric.TIME_TO_FIRST_TOKEN: "ms",
    Metric.ERROR_RATE: "ratio",
    Metric.SUCCESS_RATE: "ratio",
    Metric.UNPRICED_RATIO: "ratio",
    Metric.COST_MISMATCH: "ratio",
    Metric.COUNT: "samples",
    Metric.RETRIEVED_COUNT: "documents",
}
_KEEPING = (Function.ABS, Function.CEIL, Function.FLOOR, Function.ROUND, Function.CLAMP_MIN, Function.CLAMP_MAX)


def unit_of(vector: Vector) -> str:
    """Return `USD`, `ms`, `ratio`, `tokens`, `samples`, or nothing where the tree does not say."""
    match vector:
        case Series():
            return _of_series(vector)
        case Apply() if vector.function in _KEEPING:
            return unit_of(vector.argument)
        case Otherwise() | NullIf():
            return unit_of(vector.argument)
        case Combine():
            if vector.combining in (Combining.COUNT, Combining.STDVAR):
                return ""
            return unit_of(vector.argument)
        case Logical():
            return unit_of(vector.left)
        case Binary():
            return _of_binary(vector)
        case _:
            return ""


def _of_series(series: Series) -> str:
    if series.aggregate is Aggregate.COUNT:
        return "samples"
    if series.aggregate is Aggregate.SUM and _UNITS.get(series.metric) == "ratio":
        return "samples"  # the sum of a share's zeros and ones counts samples
    return "tokens" if series.metric.value.endswith("tokens") else _UNITS.get(series.metric, "")


def _of_binary(binary: Binary) -> str:
    left, right = unit_of(binary.left), unit_of(binary.right)
    constant = isinstance(binary.left, Number) or isinstance(binary.right, Number)
    if binary.operator in (Operator.ADD, Operator.SUB) or binary.operator.compares:
        return left if left == right or isinstance(binary.right, Number) else right if constant else ""
    return ""
