"""Values that a test expects: as precise as they are written, or with a tolerance, or on one side of a line."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tocsin.rules.measures import Aggregate, Metric
from tocsin.rules.thresholds import parse_threshold

__all__ = ["Amount", "amount_of"]

_METRICS: Final = {"USD": Metric.COST, "ms": Metric.LATENCY, "ratio": Metric.COST_MISMATCH}
"""A unit -> a metric whose values are written so, of any size; all others are plain numbers."""
_RELATIVE: Final = 1e-9
_WITHIN = re.compile(r"(.+?)\s*(?:±|\+-|\+/-)\s*(.+)")
_COMPARED = re.compile(r"(>=|<=|>|<)\s*(.+)")
_LAST_DIGITS = re.compile(r"\d*(?:\.(\d*))?(?:[eE]([-+]?\d+))?(?=[^\d.]*$)")
_MS: Final = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "w": 6.048e8}
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": lambda value, line: value > line,
    ">=": lambda value, line: value >= line,
    "<": lambda value, line: value < line,
    "<=": lambda value, line: value <= line,
}


@dataclass(frozen=True, slots=True)
class Amount:
    """An expected value."""

    text: str
    """As it was written."""
    value: float
    within: float
    """How far off it may be."""
    sign: str = ""
    """`>`, `>=`, `<` or `<=`; empty: equal within `within`."""

    def fits(self, value: float) -> bool:
        """Return whether a value is what was expected; what is no number never is."""
        if not math.isfinite(value):
            return False
        if self.sign:
            return _COMPARISONS[self.sign](value, self.value)
        return abs(value - self.value) <= self.within + _RELATIVE * abs(self.value)


def amount_of(text: str, unit: str) -> Amount:
    """Return the value that a person expects of a rule with this unit.

    `27.18` fits what is rounded to it; `27 ± 0.5` and `27 ± 2%` what is so near; `> 25` what is over it.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    whole = text.strip()
    if compared := _COMPARED.fullmatch(whole):
        return Amount(whole, _number(compared[2], unit), 0.0, compared[1])
    if within := _WITHIN.fullmatch(whole):
        value = _number(within[1], unit)
        share = within[2].strip()
        if share.endswith("%") and not unit.startswith("ratio"):
            return Amount(whole, value, abs(value) * _number(share[:-1], "") / 100)
        return Amount(whole, value, abs(_number(share, unit)))
    # Half of the last digit, and a hair for numbers that binary fractions can't be.
    return Amount(whole, _number(whole, unit), _half_digit(whole, unit) * (1 + _RELATIVE))


def _number(text: str, unit: str) -> float:
    base, slash, per = unit.partition("/")
    written = text.strip().removesuffix(slash + per) if slash else text.strip()
    try:
        return float(parse_threshold(written, _METRICS.get(base, Metric.ATTRIBUTE), Aggregate.AVG))
    except ValueError as error:
        kind = {"USD": "in US dollars, like 27.18 or $27.18", "ms": "in milliseconds, like 3000 or 3s"}
        kind |= {"ratio": "a ratio, like 5% or 0.05"}
        what = kind.get(base, "a number, like 0.58")
        raise ValueError(f"{text[:40]!r} is no value of this rule: it is {what}; or '27 ± 0.5', '> 25'") from error


def _half_digit(text: str, unit: str) -> float:
    """Return half of what the last written digit is worth, in the rule's unit."""
    found = _LAST_DIGITS.search(text)
    digits, exponent = (len(found[1] or ""), int(found[2] or 0)) if found else (0, 0)
    worth = 0.5 * 10.0 ** (exponent - digits)
    if text.endswith("%"):
        return worth / 100
    if unit.startswith("ms") and (word := re.search(r"[a-zµ]+$", text)) and word[0] in _MS:
        return worth * _MS[word[0]]
    return worth
