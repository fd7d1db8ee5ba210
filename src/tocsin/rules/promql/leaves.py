"""Selectors as leaves of the tree: what is measured, over which window, of which samples."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from tocsin.rules.filters import Filter
from tocsin.rules.measures import Aggregate, Metric
from tocsin.rules.promql.matchers import filter_of
from tocsin.rules.promql.names import Measured, Suffix, label_of, measured_of
from tocsin.rules.promql.syntax import Matcher, Place, Selector
from tocsin.rules.refusals import QueryError, Refusal
from tocsin.rules.vector import Entry, Series

__all__ = ["LOOKBACK_NS", "attempt", "leaf_of", "refusal"]

_SECOND_NS = 1_000_000_000
_LONGEST_NS = 366 * 86_400 * _SECOND_NS

LOOKBACK_NS = 300 * _SECOND_NS
"""How old the last sample may be that a selector without a range stands for: Prometheus' default."""

_RATIOS = frozenset({Metric.ERROR_RATE, Metric.SUCCESS_RATE, Metric.UNPRICED_RATIO, Metric.COST_MISMATCH})
_ERROR_CODES = frozenset({"STATUS_CODE_ERROR", "Error", "ERROR"})
_PRESENCE = frozenset({"absent", "absent_over_time", "present_over_time"})
_TOKENS = {"input": Metric.INPUT_TOKENS, "output": Metric.OUTPUT_TOKENS}

T = TypeVar("T")


def refusal(place: Place, clause: str, text: str) -> QueryError:
    """Return the error that one part of a text is."""
    return QueryError((Refusal(place.begin, place.end, clause, text),))


def attempt(place: Place, clause: str, resolve: Callable[[], T]) -> T:
    """Return what a function does; a ValueError of its becomes a refusal of a part of the text.

    Raises:
        QueryError: the function raised.
    """
    try:
        return resolve()
    except QueryError:
        raise
    except ValueError as error:
        raise refusal(place, clause, str(error)) from error


def leaf_of(
    selector: Selector,
    aggregate: Aggregate,
    labels: tuple[Entry, ...],
    *,
    function: str,
    quantile: float | None = None,
) -> Series:
    """Return a selector as a leaf.

    Args:
        selector: with a range, or without one for the last sample of five minutes.
        aggregate: how the samples of the window become one value.
        labels: what tells series apart.
        function: the function that it is an argument of; empty for a selector that stands alone.
        quantile: its rank, for Aggregate.QUANTILE.

    Raises:
        QueryError: it can't be one.
    """
    refused: list[Refusal] = []
    measured: Measured | None = None
    filters: list[Filter] = []
    try:
        measured = _measured(selector)
    except QueryError as error:
        refused += error.refusals
    refused += _refused_modifiers(selector)
    for matcher in selector.matchers:
        if measured is None and matcher.label.text == "__name__":
            continue  # said already
        try:
            measured, found = _matched(matcher, measured)
        except QueryError as error:
            refused += error.refusals
        else:
            filters += found
    if refused or measured is None:
        raise QueryError(tuple(refused))
    window_ns = LOOKBACK_NS if selector.range_ns is None else selector.range_ns
    aggregate, scale = _aggregated(selector, measured, aggregate, function, window_ns)
    return Series(
        metric=measured.metric,
        attribute=measured.attribute,
        aggregate=aggregate,
        quantile=quantile,
        window_ns=window_ns,
        labels=labels,
        filters=tuple(filters),
        offset_ns=selector.offset_ns,
        scope=measured.scope,
        scale=scale,
    )


def _measured(selector: Selector) -> Measured:
    if selector.name is None:
        clause = next((each for each in selector.matchers if each.label.text == "__name__"), None)
        place = selector.place if clause is None else clause.place
        text = 'a rule measures one metric; name it before the braces, like cost{model="gpt-4o"}'
        raise refusal(place, "__name__" if clause else "{…}", text)
    name = selector.name
    return attempt(name.place, name.text, lambda: measured_of(name.text, quoted=name.quoted))


def _refused_modifiers(selector: Selector) -> list[Refusal]:
    found = []

    def tell(place: Place | None, clause: str, text: str) -> None:
        spot = place or selector.place
        found.append(Refusal(spot.begin, spot.end, clause, text))

    if selector.at_place is not None:
        tell(selector.at_place, "@", "'@' fixes an instant, and a rule is judged as time goes on; use offset")
    if selector.offset_ns < 0:
        tell(selector.offset_place, "offset", "a negative offset is a window in the future; use a positive one")
    elif selector.offset_ns > _LONGEST_NS:
        tell(selector.offset_place, "offset", "an offset is at most 366d; write less")
    if selector.range_ns is not None and not _SECOND_NS <= selector.range_ns <= _LONGEST_NS:
        tell(selector.range_place, "range", "a range is 1s to 366d; write one between them")
    if selector.has_alternatives:
        tell(selector.place, "or", "matchers can't be combined with 'or'; use a regular expression: model=~\"a|b\"")
    return found


def _matched(matcher: Matcher, measured: Measured | None) -> tuple[Measured | None, list[Filter]]:
    """Return what is measured now, as some matchers choose a metric, and the filters."""
    name = matcher.label.text
    if name == "__name__":
        raise refusal(matcher.place, name, "a rule measures one metric; write a rule for each")
    if name == "le":
        text = (
            "how many values lie below a bound is not kept; compare a percentile: histogram_quantile(0.95, …) > bound"
        )
        raise refusal(matcher.place, name, text)
    if name in ("gen_ai_token_type", "gen_ai.token.type") and measured is not None and measured.by_token_type:
        return _token_type(matcher, measured), []
    if name in ("status_code", "status.code") and measured is not None and measured.by_status:
        return _status(matcher, measured), []

    def found() -> Filter | None:
        label = label_of(name, quoted="." in name)
        return filter_of(label, matcher.sign, matcher.value)

    filter_ = attempt(matcher.place, name, found)
    return measured, [] if filter_ is None else [filter_]


def _token_type(matcher: Matcher, measured: Measured) -> Measured:
    if matcher.sign != "=" or matcher.value not in _TOKENS:
        text = 'gen_ai_token_type is "input" or "output"; write one of them with =, or leave it out for both'
        raise refusal(matcher.place, matcher.label.text, text)
    return replace(measured, metric=_TOKENS[matcher.value], by_token_type=False)


def _status(matcher: Matcher, measured: Measured) -> Measured:
    """A count of failed calls is the sum of their error rates, which are 1 for those that failed, else 0."""
    if matcher.sign not in ("=", "!=") or matcher.value not in _ERROR_CODES:
        text = 'calls failed or did not; write status_code="STATUS_CODE_ERROR" or status_code!="STATUS_CODE_ERROR"'
        raise refusal(matcher.place, matcher.label.text, text)
    metric = Metric.ERROR_RATE if matcher.sign == "=" else Metric.SUCCESS_RATE
    return replace(measured, metric=metric, by_status=False)


def _aggregated(
    selector: Selector, measured: Measured, aggregate: Aggregate, function: str, window_ns: int
) -> tuple[Aggregate, float]:
    """Return the aggregate of the samples that this one of the series is, and its factor."""
    counts = function in ("rate", "increase")
    name = selector.name.text if selector.name else ""
    suffix = measured.suffix
    if suffix is Suffix.BUCKET and function != "histogram_quantile":
        text = f"spans have values, not buckets; use histogram_quantile(0.95, sum by (le) (rate({name}[5m])))"
        raise refusal(selector.place, name, text)
    if function in _PRESENCE:
        return Aggregate.COUNT, 1.0
    running = suffix in (Suffix.SUM, Suffix.TOTAL, Suffix.COUNT) or measured.is_counter
    if running and not counts:
        raise refusal(selector.place, name, _running_total(name, selector, measured))
    if suffix is Suffix.COUNT:
        if measured.by_token_type:
            text = f'{name} counts input and output apart; add {{gen_ai_token_type="input"}}, which is once a call'
            raise refusal(selector.place, name, text)
        return Aggregate.COUNT, _SECOND_NS / window_ns if function == "rate" else 1.0
    if measured.by_token_type and aggregate not in (Aggregate.SUM, Aggregate.RATE):
        text = f'{name} is one distribution for each type; add {{gen_ai_token_type="input"}} or "output"'
        raise refusal(selector.place, name, text)
    _check_metric(selector, measured.metric, aggregate, name)
    scale = measured.scale if aggregate is not Aggregate.COUNT else 1.0
    return aggregate, scale


def _running_total(name: str, selector: Selector, measured: Measured) -> str:
    window = "5m" if selector.range_ns is None else "…"
    quoted = ""
    if measured.metric is Metric.ATTRIBUTE:
        base = (measured.attribute or "").replace("_", ".")
        quoted = f'; an attribute of that name is quoted: {{"{base}{measured.suffix.value}"}}'
    return (
        f"{name} is a total since a process began, which spans do not say; use increase({name}[{window}]) "
        f"or rate({name}[{window}]){quoted}"
    )


def _check_metric(selector: Selector, metric: Metric, aggregate: Aggregate, name: str) -> None:
    added = (Aggregate.SUM, Aggregate.RATE, Aggregate.COUNT)
    if metric is Metric.COUNT and aggregate not in added:
        text = f"{name} is 1 for every sample; use sum_over_time({name}[5m]), or rate for samples per second"
        raise refusal(selector.place, name, text)
    if metric is Metric.COST_PER_TRACE and aggregate is not Aggregate.AVG:
        raise refusal(selector.place, name, f"{name} is a mean over traces; use avg_over_time({name}[1h])")
    if metric in _RATIOS and aggregate not in (*added, Aggregate.AVG):
        text = f"{name} of one sample is 0 or 1; use avg_over_time({name}[5m]), or sum_over_time for how many"
        raise refusal(selector.place, name, text)
