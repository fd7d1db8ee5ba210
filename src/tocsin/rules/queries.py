"""Rules of expressions: `expr:` (PromQL) and `sql:`, with the fields that may stand beside them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Final

from tocsin.model.settings import nanoseconds
from tocsin.rules.config import Bound, RuleConfig
from tocsin.rules.levels import FALLING, RISING, LevelReader, single_level
from tocsin.rules.measured import filters_of
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData, Scope
from tocsin.rules.problems import Mistakes
from tocsin.rules.question import Question, RuleContext, classes_of
from tocsin.rules.refusals import QueryError
from tocsin.rules.rule import Level
from tocsin.rules.thresholds import parse_threshold
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Expression,
    Logical,
    NullIf,
    Otherwise,
    Projected,
    Series,
    Vector,
    series_of,
)

__all__ = ["expression_question", "query_question", "with_series"]

_SECOND_NS: Final = 1_000_000_000
_LONGEST_NS: Final = 366 * 86_400 * _SECOND_NS
_IN_EXPR: Final = {
    "metric": "name what is measured in the expression",
    "attribute": "name what is measured in the expression",
    "aggregate": "write it in the expression, like avg_over_time(…)",
    "window": "write it in the expression, like [5m]",
    "timezone": "a sliding window is the same in every zone",
    "forecast": "use metric, window: month and threshold",
    "condition": "write the comparison in the expression, like > 25",
    "threshold": "write the comparison in the expression, like > 25",
    "levels": "write a rule for each severity",
    "bound": "it belongs to 'sql'; write the comparison in the expression, like > 25",
    "interval": "it belongs to 'sql'; an expression is evaluated as samples arrive",
    "metric_name": "it belongs to 'sql'; use 'labels'",
    "baseline": "compare with [7d] offset 1d in the expression",
    "min_samples": "write it in the expression: and count_over_time(…) >= 20",
    "sql": "keep one of the two",
}
"""Fields that an expression stands in place of -> what to do."""
_IN_SQL: Final = {
    "metric": "name it in the query's WHERE, metric_name = '…'",
    "attribute": "name it in the query's WHERE, metric_name = '…'",
    "aggregate": "write it in the query, like AVG(value)",
    "window": "write 'interval', for which ${interval} stands in the query",
    "timezone": "the query's buckets begin at the Unix epoch",
    "forecast": "use metric, window: month and threshold",
    "condition": "write bound: upper_bound or lower_bound",
    "baseline": "compare with an earlier time in the query",
    "min_samples": "let the query return NULL for too few, like AVG(value) * NULLIF(…)",
    "group_by": "write it in the query's GROUP BY",
}
_UNITS: Final[Mapping[str, Metric]] = {"USD": Metric.COST, "ms": Metric.LATENCY, "ratio": Metric.COST_MISMATCH}
"""A unit of a result -> a metric whose thresholds are written so, of any size and sign."""


def expression_question(config: RuleConfig, context: RuleContext, mistakes: Mistakes) -> Question | None:
    """Return what a rule with `expr` asks; None, or with mistakes added, it is not to be used."""
    from tocsin.rules.promql import compile_promql  # its parser is loaded where it is needed: starts are quick

    _refuse_beside(config, "expr", _IN_EXPR, mistakes)
    text = config.expr or ""
    try:
        compiled = compile_promql(text, config.group_by)
    except QueryError as error:
        _tell_refusals(error, "expr", text, mistakes)
        return None
    condition = compiled.condition
    return Question(
        metric=Metric.EXPRESSION,
        condition=condition,
        levels=_with_recovery(config, condition, compiled.threshold, compiled.expression.unit, mistakes),
        group_by=compiled.labels,
        no_data=config.no_data or NoData.OK,
        expression=_narrowed(compiled.expression, config, context, mistakes),
    )


def query_question(config: RuleConfig, context: RuleContext, mistakes: Mistakes) -> Question | None:
    """Return what a rule with `sql` asks; None, or with mistakes added, it is not to be used."""
    from tocsin.rules.sql import compile_sql  # as above

    _refuse_beside(config, "sql", _IN_SQL, mistakes)
    if config.bound is None:
        mistakes.tell((), "no 'bound'; add bound: upper_bound to fire above the threshold, or lower_bound below it")
    interval_ns = _interval_of(config, mistakes)
    text = config.sql or ""
    try:
        compiled = compile_sql(text, interval_ns, context.sql)
    except QueryError as error:
        _tell_refusals(error, "sql", text, mistakes)
        return None
    condition = Condition.LT if config.bound is Bound.LOWER else Condition.GT
    parse = partial(_threshold_in, unit=compiled.expression.unit)
    return Question(
        metric=Metric.EXPRESSION,
        condition=condition,
        levels=LevelReader(config, condition, parse, mistakes).levels(),
        group_by=compiled.labels,
        no_data=config.no_data or NoData.KEEP,
        expression=_narrowed(compiled.expression, config, context, mistakes),
    )


def _interval_of(config: RuleConfig, mistakes: Mistakes) -> int:
    if config.interval is None:
        mistakes.tell((), "no 'interval'; add how long ${interval} is, like interval: {count: 1, unit: hours}")
        return _SECOND_NS
    interval_ns = nanoseconds(config.interval)
    if not _SECOND_NS <= interval_ns <= _LONGEST_NS:
        mistakes.tell(("interval",), "an interval is from 1s to 366d")
        return _SECOND_NS
    return interval_ns


def _refuse_beside(config: RuleConfig, key: str, advice: Mapping[str, str], mistakes: Mistakes) -> None:
    for other, text in advice.items():
        if other in config.model_fields_set and getattr(config, other) not in (None, False):
            mistakes.tell((other,), f"'{other}' does not go together with '{key}': {text}", at_key=True)


def _tell_refusals(error: QueryError, key: str, text: str, mistakes: Mistakes) -> None:
    for refusal in error.refusals:
        named = refusal.clause in ("", "expression") or refusal.clause in refusal.text
        quoted = "" if named else f"{refusal.clause}: "
        mistakes.tell((key,), f"{quoted}{refusal.text}", begin=min(refusal.begin, len(text)))


def _threshold_in(text: str, unit: str) -> Decimal:
    return parse_threshold(text, _UNITS.get(unit, Metric.ATTRIBUTE), Aggregate.AVG)


def _with_recovery(
    config: RuleConfig, condition: Condition, threshold: Decimal | None, unit: str, mistakes: Mistakes
) -> tuple[Level, ...]:
    """The one level of an expression, whose threshold stands in it."""
    (level,) = single_level(config, Decimal(0) if threshold is None else threshold)
    if config.recovery_threshold is None:
        return (level,)
    path = ("recovery_threshold",)
    if threshold is None or condition not in (*RISING, *FALLING):
        text = "only an expression that ends in a comparison with a number has a line to come back over"
        mistakes.tell(path, text, at_key=True)
        return (level,)
    back = mistakes.attempt(path, partial(_threshold_in, config.recovery_threshold, unit), threshold)
    rising = condition in RISING
    if (back > threshold) if rising else (back < threshold):
        side, other = ("above", "below") if rising else ("below", "above")
        mistakes.tell(path, f"recovery at {back} is {side} the threshold {threshold}; here it lies {other}")
    return (replace(level, recovery_threshold=back),)


def _narrowed(expression: Expression, config: RuleConfig, context: RuleContext, mistakes: Mistakes) -> Expression:
    """The expression, with what the rule says of samples said of each of its series."""
    filters = filters_of(config, mistakes)
    classes = classes_of(config)
    sampling = config.sampling or context.sampling

    def narrow(series: Series) -> Series:
        scope = series.scope if series.metric is Metric.COST_PER_TRACE else config.scope or series.scope
        return replace(
            series,
            filters=(*series.filters, *filters),
            spans=series.spans if classes is None else classes,
            scope=scope,
            sampling=sampling,
        )

    if config.scope is Scope.TRACE:
        _refuse_traces(expression, mistakes)
    return replace(
        expression,
        value=with_series(expression.value, narrow),
        limits=None if expression.limits is None else tuple(with_series(one, narrow) for one in expression.limits),
        gate=None if expression.gate is None else with_series(expression.gate, narrow),
    )


def _refuse_traces(expression: Expression, mistakes: Mistakes) -> None:
    for series in series_of(expression.value):
        if series.metric is Metric.TIME_TO_FIRST_TOKEN:
            text = "time_to_first_token is known of spans only; write scope: span, or use latency"
            mistakes.tell(("scope",), text)
            return


def with_series(vector: Vector, change: Callable[[Series], Series]) -> Vector:
    """Return a vector with each of its leaves changed."""
    match vector:
        case Series():
            return change(vector)
        case Apply():
            parameters = tuple(with_series(each, change) for each in vector.parameters)
            return replace(vector, argument=with_series(vector.argument, change), parameters=parameters)
        case Binary() | Logical():
            return replace(vector, left=with_series(vector.left, change), right=with_series(vector.right, change))
        case Combine():
            parameter = None if vector.parameter is None else with_series(vector.parameter, change)
            return replace(vector, argument=with_series(vector.argument, change), parameter=parameter)
        case Absent() | Otherwise() | NullIf():
            return replace(vector, argument=with_series(vector.argument, change))
        case Projected():
            return replace(vector, argument=change(vector.argument))
        case _:
            return vector
