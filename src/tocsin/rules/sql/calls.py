"""Aggregate functions as they are called: one form for all the ways in which SQL writes them."""

from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp

from tocsin.rules.sql.context import Context, bare, name_of

__all__ = ["Call", "Kind", "call_of", "has_call"]


class Kind(StrEnum):
    """What an aggregate computes."""

    COUNT = "COUNT"
    SUM = "SUM"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"
    STDDEV_SAMP = "STDDEV_SAMP"
    STDDEV_POP = "STDDEV_POP"
    VAR_SAMP = "VAR_SAMP"
    VAR_POP = "VAR_POP"
    QUANTILE = "quantile"
    SKETCH_QUANTILE = "kll_float_sketch_get_quantile"
    SKETCH_COUNT = "kll_float_sketch_get_n"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an aggregate."""

    kind: Kind
    node: exp.Expression
    argument: exp.Expression | None
    """None for `COUNT(*)`."""
    condition: exp.Expression | None = None
    """Of `FILTER (WHERE …)`."""
    quantile: float | None = None
    descending: bool = False
    """Of `WITHIN GROUP (ORDER BY … DESC)`."""


_PLAIN: dict[type[exp.Expression], Kind] = {
    exp.Sum: Kind.SUM,
    exp.Avg: Kind.AVG,
    exp.Min: Kind.MIN,
    exp.Max: Kind.MAX,
    exp.Stddev: Kind.STDDEV_SAMP,
    exp.StddevSamp: Kind.STDDEV_SAMP,
    exp.StddevPop: Kind.STDDEV_POP,
    exp.Variance: Kind.VAR_SAMP,
    exp.VariancePop: Kind.VAR_POP,
}
_QUANTILES = ("quantile_cont", "quantile_disc", "quantile", "approx_quantile")
_SKETCHES = ("kll_float_sketch_get_quantile", "kll_float_sketch_get_n")
_SKETCH_MERGE = "kll_float_sketch_merge"
_UNBOUNDED = {
    "array_agg": "a list of all samples",
    "string_agg": "a text of all samples",
    "json_agg": "a list of all samples",
    "list": "a list of all samples",
    "mode": "every distinct value",
}
_OTHER_AGGREGATES = (exp.AggFunc, exp.Last, exp.First)


def has_call(node: exp.Expression) -> bool:
    """Whether an aggregate is called somewhere in an expression."""
    return any(
        isinstance(each, _OTHER_AGGREGATES) or (isinstance(each, exp.Anonymous) and _anonymous(each) is not None)
        for each in node.walk(prune=lambda each: isinstance(each, exp.Subquery))
    )


def call_of(node: exp.Expression, context: Context) -> Call | None:
    """Return the call of an aggregate that an expression is; None where it is something else.

    Raises:
        RefusedError: it is an aggregate that rules do not have.
    """
    if isinstance(node, exp.Filter):
        inner = call_of(bare(node.this), context)
        if inner is None:
            raise context.refused(node, "FILTER", "FILTER belongs to an aggregate, like SUM(value) FILTER (WHERE …)")
        return Call(inner.kind, node, inner.argument, node.expression.this, inner.quantile, inner.descending)
    if isinstance(node, exp.WithinGroup):
        return _within_group(node, context)
    if type(node) in _PLAIN:
        return Call(_PLAIN[type(node)], node, _argument(node, node.this, context))
    if isinstance(node, exp.Count):
        return _count(node, context)
    if isinstance(node, exp.Median):
        return Call(Kind.QUANTILE, node, node.this, quantile=0.5)
    if isinstance(node, exp.ApproxQuantile):
        return Call(Kind.QUANTILE, node, node.this, quantile=_rank(node, node.args.get("quantile"), context))
    if isinstance(node, exp.Last):
        return _last(node, context)
    if isinstance(node, exp.Anonymous):
        return _called(node, context)
    if isinstance(node, _OTHER_AGGREGATES):
        raise _unknown(node, context.parsed.word(node), context)
    return None


def _anonymous(node: exp.Anonymous) -> str | None:
    name = str(node.this).lower()
    return name if name in (*_QUANTILES, *_SKETCHES, *_UNBOUNDED, _SKETCH_MERGE) else None


def _called(node: exp.Anonymous, context: Context) -> Call | None:
    name, arguments = _anonymous(node), node.expressions
    if name is None:
        return None
    if name in _QUANTILES:
        if len(arguments) != 2:
            raise context.refused(node, name, f"{name} takes a column and a rank, like {name}(value, 0.95)")
        return Call(Kind.QUANTILE, node, arguments[0], quantile=_rank(node, arguments[1], context))
    if name in _SKETCHES:
        return _sketch(node, name, context)
    if name == _SKETCH_MERGE:
        text = "a merged sketch is no number; take one of it: kll_float_sketch_get_quantile(…, 0.95)"
        raise context.refused(node, name, text)
    raise _unknown(node, name, context)


def _sketch(node: exp.Anonymous, name: str, context: Context) -> Call:
    arguments = node.expressions
    quantile = name == _SKETCHES[0]
    merged = bare(arguments[0]) if arguments else None
    if len(arguments) != (2 if quantile else 1) or merged is None:
        example = f"{name}(kll_float_sketch_merge(value){', 0.95' if quantile else ''})"
        raise context.refused(node, name, f"write {example}")
    condition = None
    if isinstance(merged, exp.Filter):
        condition, merged = merged.expression.this, bare(merged.this)
    inner = merged if isinstance(merged, exp.Anonymous) else None
    if inner is None or str(inner.this).lower() != _SKETCH_MERGE or len(inner.expressions) != 1:
        text = f"{name} reads a merged sketch; write {name}(kll_float_sketch_merge(value), …)"
        raise context.refused(merged, name, text)
    if not quantile:
        return Call(Kind.SKETCH_COUNT, node, inner.expressions[0], condition)
    rank = _rank(node, arguments[1], context)
    return Call(Kind.SKETCH_QUANTILE, node, inner.expressions[0], condition, rank)


def _count(node: exp.Count, context: Context) -> Call:
    if node.expressions:
        raise context.refused(node, "COUNT", "COUNT takes one column, or *")
    argument = bare(node.this) if isinstance(node.this, exp.Expression) else None
    if argument is None or isinstance(argument, exp.Star):
        return Call(Kind.COUNT, node, None)
    if isinstance(argument, exp.Distinct):
        text = (
            "the distinct values of a window have no bounded size; group by them in a sub-query and count its rows: "
            "SELECT bucket, COUNT(*) FROM (SELECT …, dimensions->>'x' … GROUP BY …) slices GROUP BY bucket"
        )
        raise context.refused(argument, "COUNT(DISTINCT)", text, keyword="DISTINCT")
    return Call(Kind.COUNT, node, argument)


def _argument(node: exp.Expression, argument: object, context: Context) -> exp.Expression:
    if isinstance(argument, exp.Distinct):
        text = "the distinct values of a window have no bounded size; leave DISTINCT out"
        raise context.refused(argument, "DISTINCT", text, keyword="DISTINCT")
    if isinstance(argument, exp.Order):
        raise context.refused(argument, "ORDER BY", "the order of samples has no meaning here; leave it out")
    if not isinstance(argument, exp.Expression) or isinstance(argument, exp.Star):
        name = _PLAIN[type(node)].value
        raise context.refused(node, name, f"{name} takes one column, like {name}(value)")
    return argument


def _within_group(node: exp.WithinGroup, context: Context) -> Call:
    function, order = node.this, node.expression
    if not isinstance(function, exp.PercentileCont | exp.PercentileDisc) or len(order.expressions) != 1:
        text = "WITHIN GROUP belongs to one column's percentile: percentile_cont(0.95) WITHIN GROUP (ORDER BY value)"
        raise context.refused(node, "WITHIN GROUP", text, keyword="WITHIN")
    ordered = order.expressions[0]
    rank = _rank(node, function.this, context)
    return Call(Kind.QUANTILE, node, ordered.this, quantile=rank, descending=bool(ordered.args.get("desc")))


def _rank(node: exp.Expression, rank: object, context: Context) -> float:
    found = bare(rank) if isinstance(rank, exp.Expression) else None
    try:
        value = float(found.this) if isinstance(found, exp.Literal) and not found.is_string else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        place = found if found is not None else node
        raise context.refused(place, "rank", "the rank of a percentile is a number from 0 to 1, like 0.95")
    return value


def _last(node: exp.Last, context: Context) -> Call:
    time = node.args.get("expression")
    if not isinstance(time, exp.Column) or name_of(time) != "timestamp":
        raise context.refused(node, "last", "write last(value, timestamp)")
    return Call(Kind.LAST, node, node.this)


def _unknown(node: exp.Expression, name: str, context: Context) -> Exception:
    known = "AVG, SUM, MIN, MAX, COUNT, STDDEV, quantile_cont, approx_quantile or percentile_cont"
    if name in _UNBOUNDED:
        return context.refused(node, name, f"{name} is {_UNBOUNDED[name]}, which has no bounded size; use {known}")
    return context.refused(node, name, f"{name} can't be kept as samples arrive; use {known}")
