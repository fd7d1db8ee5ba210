"""Thresholds as people write them, `25`, `5%`, `3s`, `250ms`, `$0.50`, to numbers in the metric's unit."""

import re
from decimal import Decimal
from enum import StrEnum

from tocsin.rules.rule import Aggregate, Metric

__all__ = ["Unit", "parse_threshold", "unit_of"]


class Unit(StrEnum):
    """What a threshold counts."""

    USD = "in US dollars"
    MS = "in milliseconds"
    RATIO = "a ratio"
    TOKENS = "in tokens"
    SAMPLES = "in samples"
    NUMBER = "measured as it is sent"


_UNITS = {
    Metric.COST: Unit.USD,
    Metric.COST_PER_TRACE: Unit.USD,
    Metric.LATENCY: Unit.MS,
    Metric.TIME_TO_FIRST_TOKEN: Unit.MS,
    Metric.ERROR_RATE: Unit.RATIO,
    Metric.SUCCESS_RATE: Unit.RATIO,
    Metric.UNPRICED_RATIO: Unit.RATIO,
    Metric.COST_MISMATCH: Unit.RATIO,
    Metric.TOKENS: Unit.TOKENS,
    Metric.INPUT_TOKENS: Unit.TOKENS,
    Metric.OUTPUT_TOKENS: Unit.TOKENS,
    Metric.CACHED_TOKENS: Unit.TOKENS,
    Metric.REASONING_TOKENS: Unit.TOKENS,
    Metric.COUNT: Unit.SAMPLES,
}
_AT_MOST_ONE = (Metric.ERROR_RATE, Metric.SUCCESS_RATE, Metric.UNPRICED_RATIO)
_MAY_BE_NEGATIVE = (Unit.NUMBER,)

_MS = {
    "ns": Decimal("0.000001"),
    "us": Decimal("0.001"),
    "µs": Decimal("0.001"),
    "ms": Decimal(1),
    "s": Decimal(1_000),
    "m": Decimal(60_000),
    "h": Decimal(3_600_000),
    "d": Decimal(86_400_000),
    "w": Decimal(604_800_000),
}
_NUMBER = r"(?:(?:[1-9]\d{0,2}(?:,\d{3})+|\d+(?:_\d+)*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?"
_PLAIN = re.compile(rf"(?P<sign>[-+]?)(?P<dollar>\$?)\s*(?P<number>{_NUMBER})\s*(?P<percent>%?)(?P<rate>(?:/s)?)")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_EXAMPLES = {
    Unit.USD: "0.50 or $0.50",
    Unit.MS: "3000, 3s or 250ms",
    Unit.RATIO: "5% or 0.05",
    Unit.TOKENS: "100000",
    Unit.SAMPLES: "100",
    Unit.NUMBER: "0.7",
}


def unit_of(metric: Metric, aggregate: Aggregate) -> Unit:
    """Return what a threshold for this aggregate of this metric counts, per second for RATE."""
    return Unit.SAMPLES if aggregate is Aggregate.COUNT else _UNITS.get(metric, Unit.NUMBER)


def parse_threshold(text: str, metric: Metric, aggregate: Aggregate) -> Decimal:
    """Return a threshold in the metric's unit: US dollars, milliseconds, ratio 0 to 1, tokens, samples.

    Raises:
        ValueError: it is no number, or its unit is not the metric's; the text says what would be right.
    """
    unit = unit_of(metric, aggregate)
    value = _value(text.strip(), unit, aggregate)
    if value is None:
        raise ValueError(f"{text[:80]!r} is no threshold for {_name(metric)}, {unit.value}; write {_EXAMPLES[unit]}")
    if value < 0 and unit not in _MAY_BE_NEGATIVE and metric is not Metric.COST_MISMATCH:
        raise ValueError(f"{text[:80]!r} is negative, which {_name(metric)} never is; write {_EXAMPLES[unit]}")
    if metric in _AT_MOST_ONE and unit is Unit.RATIO and aggregate is not Aggregate.RATE and value > 1:
        raise ValueError(_over_one(text, value, metric))
    return value


def _value(text: str, unit: Unit, aggregate: Aggregate) -> Decimal | None:
    """The number in `unit`; None where the text is none or states another unit."""
    if unit is Unit.MS and _DURATION.fullmatch(text):
        return _normal(sum((Decimal(number) * _MS[name] for number, name in _DURATION_PART.findall(text)), Decimal()))
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    if (found["dollar"] and unit is not Unit.USD) or (found["percent"] and unit is not Unit.RATIO):
        return None
    if found["rate"] and aggregate is not Aggregate.RATE:
        return None
    value = Decimal(found["sign"] + found["number"].replace(",", "").replace("_", ""))
    return _normal(value.scaleb(-2) if found["percent"] else value)


def _normal(value: Decimal) -> Decimal:
    """The same number in the same digits, however it was written: 0.50 and 0.5 are one rule."""
    value = value.normalize()
    return (
        value.quantize(Decimal(1)) if value == value.to_integral_value() and abs(value) < Decimal(10) ** 27 else value
    )


def _over_one(text: str, value: Decimal, metric: Metric) -> str:
    if "%" in text or value > 100:
        return f"{text[:80]!r} is more than all; {_name(metric)} is at most 100%"
    return f"{text[:80]!r} is more than all; {_name(metric)} is a ratio from 0 to 1: did you mean {value}%?"


def _name(metric: Metric) -> str:
    return "the attribute" if metric is Metric.ATTRIBUTE else metric.value
