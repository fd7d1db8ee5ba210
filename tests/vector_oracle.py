"""What an expression over windows is at an instant: by brute force, over the list of all samples.

It is the second writing of `tocsin.rules.vector`: plain dictionaries from label sets to numbers, every window cut out
of all samples anew. Numbers are NumPy's, so that division by zero, overflow and NaN are those of IEEE 754.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tocsin.model.batch import SpanClass
from tocsin.rules.measures import Aggregate, Metric
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
    Matching,
    Now,
    NullIf,
    Number,
    Operator,
    Otherwise,
    Projected,
    Series,
    Vector,
    labels_of,
    series_of,
)

__all__ = ["AmbiguousMatchError", "Elements", "VectorSample", "evaluate", "quantile_of"]

_SECOND = 10**9

Key = tuple[str | None, ...]
Elements = dict[Key, float]


class AmbiguousMatchError(ValueError):
    """Several elements match where one may; Prometheus ends the evaluation with an error."""


@dataclass(frozen=True)
class VectorSample:
    """One sample: when, of which labels, and what it is worth by metric and attribute."""

    time_ns: int
    labels: Mapping[str, str]
    values: Mapping[tuple[Metric, str | None], float] = field(default_factory=dict)
    span_class: SpanClass = SpanClass.LLM

    def value(self, series: Series) -> float | None:
        """Return what it is worth for a series; None where it is no sample of it."""
        if series.metric is Metric.COUNT:
            return self.values.get((Metric.COUNT, None), 1.0)
        return self.values.get((series.metric, series.attribute))


def evaluate(
    vector: Vector, samples: Sequence[VectorSample], at: int, *, end_excluded: bool = False
) -> dict[tuple[str | None, ...], float]:
    """Return the elements of a vector at an instant by the values of its labels, in the order of `labels_of`.

    A scalar is one element without labels. `end_excluded` is for expressions with an interval: windows are then
    `[at - window, at)`.

    Raises:
        AmbiguousMatchError: several elements match where one may.
    """
    with np.errstate(all="ignore"):
        return _Instant(samples, at, end_excluded).of(vector)


class _Instant:
    def __init__(self, samples: Sequence[VectorSample], at: int, end_excluded: bool) -> None:
        self.samples = samples
        self.at = at
        self.end_excluded = end_excluded

    def of(self, vector: Vector) -> Elements:
        match vector:
            case Number():
                return {(): vector.value}
            case Now():
                return {(): self.at / _SECOND}
            case Series():
                return self.series(vector)
            case Apply():
                parameters = [self.scalar(parameter) for parameter in vector.parameters]
                return _applied(vector.function, self.of(vector.argument), parameters)
            case Binary():
                return self.binary(vector)
            case Logical():
                return self.logical(vector)
            case Combine():
                return self.combine(vector)
            case Absent():
                return {} if self.of(vector.argument) else {(): 1.0}
            case Otherwise():
                return dict.fromkeys(self.known(vector.argument), vector.value) | self.of(vector.argument)
            case NullIf():
                return {key: value for key, value in self.of(vector.argument).items() if value != vector.value}
            case Projected():
                return self.projected(vector)

    def scalar(self, vector: Vector) -> float:
        return self.of(vector)[()]

    def window(self, series: Series) -> tuple[int, int]:
        """Return the bounds of a window: after the first, up to and with the second."""
        end = self.at - series.offset_ns - self.end_excluded
        if series.calendar is not None:
            return series.calendar.bounds(end)[0] - 1, end
        return end - series.window_ns, end

    def groups(self, series: Series, begin: int, end: int) -> dict[Key, list[VectorSample]]:
        """Return the samples of a series in (begin, end] by label set, in the order of time."""
        found: dict[Key, list[VectorSample]] = {}
        for sample in sorted(self.samples, key=lambda sample: sample.time_ns):
            if not begin < sample.time_ns <= end or sample.value(series) is None:
                continue
            if series.spans is not None and sample.span_class not in series.spans:
                continue
            if not all(each.accepts(sample.labels.get(each.label)) for each in series.filters):
                continue
            key = tuple(
                next((sample.labels[name] for name in entry if name in sample.labels), None) for entry in series.labels
            )
            if None not in key:
                found.setdefault(key, []).append(sample)
        return found

    def series(self, series: Series) -> Elements:
        begin, end = self.window(series)
        return {
            key: _aggregate([value for sample in group if (value := sample.value(series)) is not None], series)
            * series.scale
            for key, group in self.groups(series, begin, end).items()
        }

    def projected(self, projected: Projected) -> Elements:
        series = projected.argument
        assert series.calendar is not None
        begin, end = series.calendar.bounds(self.at - series.offset_ns)
        elapsed = self.at - series.offset_ns - begin
        if elapsed < projected.least_elapsed_ns or elapsed <= 0:
            return {}
        return {key: value * ((end - begin) / elapsed) for key, value in self.series(series).items()}

    def known(self, vector: Vector) -> list[Key]:
        """Return the label sets that a vector's leaves ever had, in the vector's labels."""
        labels = labels_of(vector) or ()
        found: dict[Key, None] = {} if labels else {(): None}
        for series in series_of(vector):
            if labels and set(labels) <= set(series.labels):
                places = [series.labels.index(entry) for entry in labels]
                for key in self.groups(series, -1, self.at - series.offset_ns - self.end_excluded):
                    found[tuple(key[place] for place in places)] = None
        return list(found)

    def binary(self, binary: Binary) -> Elements:
        left, right = self.of(binary.left), self.of(binary.right)
        left_labels, right_labels = labels_of(binary.left), labels_of(binary.right)
        if left_labels is None or right_labels is None:
            return _with_scalar(binary, left, right, left_labels is None, right_labels is None)
        matching = binary.matching
        assert matching is not None
        found: Elements = {}
        for key_left, key_right in _matched(matching, left, right, left_labels, right_labels):
            value = _operated(binary, left[key_left], right[key_right], left[key_left])
            if value is None:
                continue
            key = _matched_key(matching, (left_labels, key_left), (right_labels, key_right))
            if key in found:
                raise AmbiguousMatchError("several results have the same labels")
            found[key] = value
        return found

    def logical(self, logical: Logical) -> Elements:
        left, right = self.of(logical.left), self.of(logical.right)
        left_of = _part(labels_of(logical.left) or (), logical.on)
        right_of = _part(labels_of(logical.right) or (), logical.on)
        if logical.operator is LogicalOperator.OR:
            known = {left_of(key) for key in left}
            return left | {key: value for key, value in right.items() if right_of(key) not in known}
        known = {right_of(key) for key in right}
        keep = logical.operator is LogicalOperator.AND
        return {key: value for key, value in left.items() if (left_of(key) in known) is keep}

    def combine(self, combine: Combine) -> Elements:
        elements = self.of(combine.argument)
        parameter = math.nan if combine.parameter is None else self.scalar(combine.parameter)
        part = _part(labels_of(combine.argument) or (), combine.labels)
        groups: dict[Key, Elements] = {}
        for key, value in elements.items():
            groups.setdefault(part(key), {})[key] = value
        if combine.combining not in (Combining.TOPK, Combining.BOTTOMK):
            return {key: _combined(combine.combining, list(group.values()), parameter) for key, group in groups.items()}
        if math.isnan(parameter) or parameter < 1:
            return {}
        sign = -1 if combine.combining is Combining.TOPK else 1
        kept: Elements = {}
        for group in groups.values():
            order = sorted(group, key=lambda key: (math.isnan(group[key]), sign * group[key]))
            kept |= {key: group[key] for key in order[: int(min(parameter, len(order)))]}
        return kept


def _part(labels: tuple[Entry, ...], wanted: tuple[Entry, ...]) -> Callable[[Key], Key]:
    places = [labels.index(entry) if entry in labels else None for entry in wanted]
    return lambda key: tuple(None if place is None else key[place] for place in places)


def _aggregate(values: list[float], series: Series) -> float:
    match series.aggregate:
        case Aggregate.SUM:
            return math.fsum(values)
        case Aggregate.RATE:
            return math.fsum(values) / (series.window_ns / _SECOND)
        case Aggregate.AVG:
            return math.fsum(values) / len(values)
        case Aggregate.MIN:
            return min(values)
        case Aggregate.MAX:
            return max(values)
        case Aggregate.COUNT:
            return float(len(values))
        case Aggregate.STDDEV:
            mean = math.fsum(values) / len(values)
            return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        case Aggregate.LAST:
            return values[-1]
        case Aggregate.QUANTILE:
            assert series.quantile is not None
            return quantile_of(series.quantile, values)


def quantile_of(quantile: float, values: Sequence[float]) -> float:
    """Return PromQL's quantile: linear between the two values beside the rank, infinite outside 0 to 1."""
    if not values or math.isnan(quantile):
        return math.nan
    if quantile < 0:
        return -math.inf
    if quantile > 1:
        return math.inf
    order = sorted(values, key=lambda value: (not math.isnan(value), value))
    rank = quantile * (len(order) - 1)
    lower = math.floor(rank)
    upper = min(len(order) - 1, lower + 1)
    weight = rank - lower
    return float(np.float64(order[lower]) * (1 - weight) + np.float64(order[upper]) * weight)


_ARITHMETIC: dict[Operator, Callable[[np.float64, np.float64], np.float64]] = {
    Operator.ADD: lambda left, right: left + right,
    Operator.SUB: lambda left, right: left - right,
    Operator.MUL: lambda left, right: left * right,
    Operator.DIV: lambda left, right: left / right,
    Operator.MOD: np.fmod,
    Operator.POW: np.power,
    Operator.ATAN2: np.arctan2,
}
_COMPARISONS: dict[Operator, Callable[[float, float], bool]] = {
    Operator.EQ: lambda left, right: left == right,
    Operator.NE: lambda left, right: left != right,
    Operator.GT: lambda left, right: left > right,
    Operator.GTE: lambda left, right: left >= right,
    Operator.LT: lambda left, right: left < right,
    Operator.LTE: lambda left, right: left <= right,
}


def _operated(binary: Binary, left: float, right: float, kept: float) -> float | None:
    """Return the value of a pair; None where a comparison leaves it out."""
    if not binary.operator.compares:
        return float(_ARITHMETIC[binary.operator](np.float64(left), np.float64(right)))
    holds = bool(_COMPARISONS[binary.operator](left, right))
    if binary.returns_bool:
        return float(holds)
    return kept if holds else None


def _with_scalar(binary: Binary, left: Elements, right: Elements, left_is: bool, right_is: bool) -> Elements:
    found: Elements = {}
    for key in left if right_is else right:
        a = left[() if left_is else key]
        b = right[() if right_is else key]
        # A comparison keeps the vector's value, on whichever side it stands.
        if (value := _operated(binary, a, b, b if left_is else a)) is not None:
            found[key] = value
    return found


def _matched(
    matching: Matching,
    left: Elements,
    right: Elements,
    left_labels: tuple[Entry, ...],
    right_labels: tuple[Entry, ...],
) -> list[tuple[Key, Key]]:
    left_of, right_of = _part(left_labels, matching.on), _part(right_labels, matching.on)
    pairs = [(a, b) for a in left for b in right if left_of(a) == right_of(b)]
    if matching.group != "left" and len({a for a, _ in pairs}) < len(pairs) and matching.group != "right":
        raise AmbiguousMatchError("several on the right match one on the left")
    if matching.group == "left" and len({a for a, _ in pairs}) < len(pairs):
        raise AmbiguousMatchError("several on the one side match one on the many side")
    if matching.group != "left" and len({b for _, b in pairs}) < len(pairs):
        raise AmbiguousMatchError("several on the left match one on the right")
    return pairs


def _matched_key(matching: Matching, left: tuple[tuple[Entry, ...], Key], right: tuple[tuple[Entry, ...], Key]) -> Key:
    if not matching.group:
        return _part(left[0], matching.on)(left[1])
    (many, many_key), (one, one_key) = (left, right) if matching.group == "left" else (right, left)
    values = dict(zip(many, many_key, strict=True))
    values |= dict(zip(matching.include, _part(one, matching.include)(one_key), strict=True))
    return tuple(values.values())


def _applied(function: Function, elements: Elements, parameters: list[float]) -> Elements:
    match function:
        case Function.VECTOR:
            return elements
        case Function.SCALAR:
            return {(): next(iter(elements.values())) if len(elements) == 1 else math.nan}
        case Function.CLAMP if parameters[0] > parameters[1]:
            return {}
        case _:
            return {key: float(_value(function, np.float64(value), parameters)) for key, value in elements.items()}


_ALONE: dict[Function, Callable[[np.float64], np.float64]] = {
    Function.ABS: np.abs,
    Function.CEIL: np.ceil,
    Function.FLOOR: np.floor,
    Function.SQRT: np.sqrt,
    Function.EXP: np.exp,
    Function.LN: np.log,
    Function.LOG2: np.log2,
    Function.LOG10: np.log10,
    Function.NEGATE: np.negative,
    Function.SGN: np.sign,
}


def _value(function: Function, value: np.float64, parameters: list[float]) -> np.float64:
    match function:
        case Function.ROUND:
            inverse = np.float64(1) / np.float64(parameters[0] if parameters else 1.0)
            return np.float64(np.floor(value * inverse + 0.5) / inverse)
        case Function.CLAMP_MIN:
            return np.float64(np.maximum(value, parameters[0]))
        case Function.CLAMP_MAX:
            return np.float64(np.minimum(value, parameters[0]))
        case Function.CLAMP:
            return np.float64(np.maximum(parameters[0], np.minimum(parameters[1], value)))
        case _:
            return _ALONE[function](value)


def _combined(combining: Combining, values: list[float], parameter: float) -> float:
    numbers = np.array(values, np.float64)
    match combining:
        case Combining.SUM:
            return _summed(values)
        case Combining.AVG:
            return _summed(values) / len(values)
        case Combining.MIN:
            return float(np.fmin.reduce(numbers))
        case Combining.MAX:
            return float(np.fmax.reduce(numbers))
        case Combining.COUNT:
            return float(len(values))
        case Combining.GROUP:
            return 1.0
        case Combining.STDDEV:
            return float(np.std(numbers))
        case Combining.STDVAR:
            return float(np.var(numbers))
        case Combining.QUANTILE:
            return quantile_of(parameter, values)
        case Combining.TOPK | Combining.BOTTOMK:
            raise AssertionError("keeps elements instead of combining them")


def _summed(values: list[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # too large, or infinities of both signs
        return float(np.sum(values))
