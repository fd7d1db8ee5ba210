"""Rules that compare with the past: `baseline:`, with thresholds like `2 sigma`, `20%`, `0.05` and `3x`.

What is compared, for an average (mean and standard deviation are those of the baseline's samples, the latter of the
population):

| threshold | below | above |
|---|---|---|
| `2 sigma` | mean - 2 standard deviations | mean + 2 standard deviations |
| `20%` | mean * 0.8 | mean * 1.2 |
| `0.05` | mean - 0.05 | mean + 0.05 |
| `3x` | mean / 3 | mean * 3 |

A sum or count has no mean: the baseline's is scaled to the length of the rule's window, so that a day is compared with
the average day. Percentiles, extremes and standard deviations are compared with those of the baseline.
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Final

from tocsin.model.settings import nanoseconds
from tocsin.rules.config import Against, BaselineConfig, RuleConfig
from tocsin.rules.levels import LevelReader
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData, unit_text
from tocsin.rules.problems import Mistakes
from tocsin.rules.question import Question
from tocsin.rules.thresholds import parse_threshold
from tocsin.rules.vector import (
    Binary,
    Expression,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Number,
    Operator,
    Series,
    Vector,
)

__all__ = ["Deviation", "Distance", "baseline_question", "name_of", "parse_distance"]

_LONGEST_NS: Final = 366 * 86_400 * 1_000_000_000
_SUMMED: Final = (Aggregate.SUM, Aggregate.COUNT)
_OF_SAMPLES: Final = (Aggregate.AVG, Aggregate.LAST)
"""Aggregates that the spread of single samples says something about."""
_SIGMA: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?:sigmas?|σ|stddev)", re.IGNORECASE)  # noqa: RUF001  # as people write it
_PERCENT: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*%")
_FACTOR: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*[x×]", re.IGNORECASE)  # noqa: RUF001  # as people write it
_EXAMPLES: Final = "write 2 sigma, 20%, 3x, or a number in the metric's unit"


class Deviation(StrEnum):
    """How a distance from a baseline is meant."""

    SIGMA = "sigma"
    PERCENT = "%"
    NUMBER = ""
    FACTOR = "x"


@dataclass(frozen=True, slots=True)
class Distance:
    """How far from its baseline a value is too far."""

    deviation: Deviation
    number: Decimal
    """Standard deviations; a share, 0.2 for 20 %; in the metric's unit; how many times."""


def parse_distance(text: str, metric: Metric, aggregate: Aggregate, side: Against) -> Distance:
    """Return the distance that a person wrote.

    Raises:
        ValueError: it is none, or means nothing for this aggregate; the text says what would be right.
    """
    written = text.strip()
    if found := _SIGMA.fullmatch(written):
        if aggregate not in _OF_SAMPLES:
            raise ValueError(
                f"{text[:80]!r} is the spread of single samples, which says nothing of a {_aggregate_name(aggregate)}; "
                "write 20% or 3x, or aggregate: avg"
            )
        return _checked(Distance(Deviation.SIGMA, Decimal(found["number"])), text)
    if found := _PERCENT.fullmatch(written):
        share = Decimal(found["number"]).scaleb(-2)
        if side is Against.BELOW and share >= 1:
            raise ValueError(f"nothing falls by {text[:80]!r}; write less than 100%, or 3x for a third")
        return _checked(Distance(Deviation.PERCENT, share), text)
    if found := _FACTOR.fullmatch(written):
        number = Decimal(found["number"])
        if number <= 1:
            raise ValueError(f"{text[:80]!r} is no distance; write more than 1x, or a percentage")
        return _checked(Distance(Deviation.FACTOR, number), text)
    try:
        number = parse_threshold(text, metric, aggregate)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is no distance from a baseline; {_EXAMPLES}") from error
    return _checked(Distance(Deviation.NUMBER, number), text)


def _checked(distance: Distance, text: str) -> Distance:
    if distance.number <= 0:
        raise ValueError(f"{text[:80]!r} is no distance from a baseline; {_EXAMPLES}")
    # The same digits however it was written: 20% and 20.0% are one rule.
    return replace(distance, number=Decimal(format(distance.number.normalize(), "f")))


def baseline_question(config: RuleConfig, series: Series, mistakes: Mistakes) -> Question:
    """Return what a rule asks that compares a series with its past; with mistakes it is not to be used."""
    baseline = _checked_together(config, series, mistakes)
    side = config.condition if isinstance(config.condition, Against) else Against.ABOVE
    condition = Condition.LT if side is Against.BELOW else Condition.GT
    parse = partial(parse_distance, metric=series.metric, aggregate=series.aggregate, side=side)
    reader = LevelReader(config, condition, lambda text: parse(text).number, mistakes, distances=True)
    levels = reader.levels()
    distances = _distances(config, parse, mistakes)
    offset = series.window_ns if baseline.offset is None else nanoseconds(baseline.offset)
    past = replace(
        series,
        window_ns=max(nanoseconds(baseline.window), 1),
        offset_ns=offset,
        baseline=True,
        exclude_incidents=baseline.exclude_incidents,
    )
    line = _Line(series, past)
    limits = tuple(line.limit(distances[text], side) for text in _texts(config) if text in distances)
    expression = Expression(
        Language.BASELINE,
        _text_of(config, baseline, series, side),
        series,
        limits,
        line.gate(baseline.min_samples, config.min_samples),
        unit=unit_text(series.metric, series.aggregate),
    )
    return Question(
        metric=Metric.EXPRESSION,
        condition=condition,
        levels=levels,
        group_by=config.group_by,
        no_data=config.no_data or NoData.KEEP,
        expression=expression,
    )


def _checked_together(config: RuleConfig, series: Series, mistakes: Mistakes) -> BaselineConfig:
    baseline = config.baseline
    if baseline is None:
        mistakes.tell((), "no 'baseline' to compare with; add one, like baseline: {window: 7d, offset: 1d}")
        return BaselineConfig()
    if not isinstance(config.condition, Against):
        text = "should be below_baseline or above_baseline, as the rule has a 'baseline'"
        mistakes.tell(("condition",) if config.condition else (), f"'condition' {text}")
    if series.calendar is not None:
        mistakes.tell(("window",), "a calendar window grows from nothing; compare a sliding one with its baseline")
    if config.forecast:
        mistakes.tell(("forecast",), "a forecast has no baseline; remove one of the two", at_key=True)
    if any("trace" in entry for entry in config.group_by):
        mistakes.tell(("group_by",), "a trace has no past to be compared with; group by what comes again, like model")
    offset = series.window_ns if baseline.offset is None else nanoseconds(baseline.offset)
    if nanoseconds(baseline.window) < max(series.window_ns, 1):
        text = "a baseline is at least as long as the rule's window; write 7d, or a shorter 'window'"
        mistakes.tell(("baseline", "window"), text)
    elif nanoseconds(baseline.window) + offset > _LONGEST_NS:
        mistakes.tell(("baseline", "window"), "a baseline reaches back at most 366d; write less")
    return baseline


def _texts(config: RuleConfig) -> tuple[str, ...]:
    """The thresholds in the order of the rule's levels."""
    if config.levels is not None:
        return tuple(level.threshold for level in sorted(config.levels, key=lambda level: level.severity.rank))
    return () if config.threshold is None else (config.threshold,)


def _distances(config: RuleConfig, parse: "partial[Distance]", mistakes: Mistakes) -> dict[str, Distance]:
    """The thresholds that are understood; that others are not is told by who reads the levels."""
    found: dict[str, Distance] = {}
    for text in _texts(config):
        try:
            found[text] = parse(text)
        except ValueError:
            continue
    if len({distance.deviation for distance in found.values()}) > 1:
        text = "levels of one rule measure their distance alike: all in sigma, in %, in x, or in the metric's unit"
        mistakes.tell(("levels",), text, at_key=True)
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    """What a series is compared with."""

    now: Series
    past: Series

    def limit(self, distance: Distance, side: Against) -> Vector:
        """Return the line that the value may not cross."""
        usual, number = self._usual(), float(distance.number)
        below = side is Against.BELOW
        match distance.deviation:
            case Deviation.SIGMA:
                spread = replace(self.past, aggregate=Aggregate.STDDEV)
                band = Binary(Operator.MUL, spread, Number(number))
                return Binary(Operator.SUB if below else Operator.ADD, usual, band, Matching(self.past.labels))
            case Deviation.PERCENT:
                share = 1 - distance.number if below else 1 + distance.number
                return Binary(Operator.MUL, usual, Number(float(share)))
            case Deviation.NUMBER:
                return Binary(Operator.SUB if below else Operator.ADD, usual, Number(number))
            case Deviation.FACTOR:
                return Binary(Operator.DIV if below else Operator.MUL, usual, Number(number))

    def _usual(self) -> Series:
        if self.past.aggregate in _SUMMED:
            return replace(self.past, scale=self.now.window_ns / self.past.window_ns)
        return replace(self.past, aggregate=Aggregate.AVG) if self.past.aggregate is Aggregate.LAST else self.past

    def gate(self, past_samples: int, samples: int) -> Vector:
        """Return what must be there for the two to be compared."""
        held: Vector = _at_least(_count(self.past), past_samples)
        if samples > 1:
            held = Logical(LogicalOperator.AND, held, _at_least(_count(self.now), samples), self.now.labels)
        if self.past.aggregate in (*_SUMMED, Aggregate.RATE):
            # A sum over a week of a series that is a day old is a seventh of what it will be.
            quarter = self.past.window_ns // 4
            early = replace(self.past, window_ns=quarter, offset_ns=self.past.offset_ns + self.past.window_ns - quarter)
            held = Logical(LogicalOperator.AND, held, _count(early), self.now.labels)
        return held


def _count(series: Series) -> Series:
    return replace(series, aggregate=Aggregate.COUNT, quantile=None, scale=1.0)


def _at_least(series: Series, number: int) -> Vector:
    return Binary(Operator.GTE, series, Number(float(number)))


def _text_of(config: RuleConfig, baseline: BaselineConfig, series: Series, side: Against) -> str:
    word = "below" if side is Against.BELOW else "above"
    distances = " / ".join(_texts(config)) or "nothing"
    return f"{name_of(series)} {distances} {word} that of the {_days(baseline)} before"


def _days(baseline: BaselineConfig) -> str:
    seconds = int(baseline.window.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def name_of(series: Series) -> str:
    """Return what a series measures, for people: `avg judge score`, `p95 latency`, `sum cost`."""
    metric = series.attribute or series.metric.value.replace("_", " ")
    if series.metric is Metric.COUNT:
        return "count"
    return f"{_aggregate_name(series.aggregate, series.quantile)} {metric}"


def _aggregate_name(aggregate: Aggregate, quantile: float | None = None) -> str:
    if aggregate is Aggregate.QUANTILE:
        return f"p{quantile * 100:g}" if quantile is not None else "percentile"
    return aggregate.value
