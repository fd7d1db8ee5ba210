"""Thresholds worth trying: the present one, and those that the values of the past suggest, in round numbers."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from tocsin.rules.levels import FALLING, RISING
from tocsin.rules.rule import Level, Rule
from tocsin.service.suggest.distribution import Distribution

__all__ = ["NOBODY", "candidates_of", "is_suggestible", "rounded", "with_threshold"]

NOBODY: Final = "(nobody yet)"
"""Stands for the contact point of a rule that names none: what it would be told of is counted."""
_RISING: Final = (("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
_FALLING: Final = (("p1", 0.01), ("p0.1", 0.001), ("min", 0.0))
_WHOLE: Final = ("tokens", "samples", "documents")


def is_suggestible(rule: Rule) -> bool:
    """Return whether a rule compares with a line that stays where it is, from one side."""
    moves = rule.expression is not None and rule.expression.limits is not None
    return rule.condition in (*RISING, *FALLING) and not moves


def candidates_of(rule: Rule, level: Level, found: Distribution) -> list[tuple[Decimal, tuple[str, ...]]]:
    """Return thresholds to try for a level and where each comes from, from the mildest to the harshest.

    Where it was always the same value there is the present one alone.
    """
    falling = rule.condition in FALLING
    sources: dict[Decimal, list[str]] = {level.threshold: ["now"]}
    for name, rank in (_FALLING if falling else _RISING) if found.least < found.most else ():
        value = found.quantile(rank)
        sources.setdefault(rounded(value, up=not falling, whole=rule.unit in _WHOLE), []).append(name)
    ordered = sorted(sources.items(), key=lambda item: -item[0] if falling else item[0])
    return [(threshold, tuple(names)) for threshold, names in ordered]


def rounded(value: float, *, up: bool, whole: bool = False) -> Decimal:
    """Return the next multiple, away from the values, of the largest 1, 2 or 5 times a power of ten that is a tenth.

    27.18 goes up to 28 and down to 26; 0.6034 to 0.65 and 0.6; 1015.74 to 1100 and 1000.
    """
    if value == 0:
        return Decimal(0)
    exact = Decimal(repr(value))
    tenth = abs(exact) / 10
    power = Decimal(1).scaleb(tenth.adjusted())
    step = max(each for each in (power, 2 * power, 5 * power) if each <= tenth)
    step = max(step, Decimal(1)) if whole else step
    times = (exact / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    result = (times * step).normalize()
    return result.quantize(Decimal(1)) if result == result.to_integral_value() else result


def with_threshold(rule: Rule, level: Level, threshold: Decimal, number: int) -> Rule:
    """Return the rule with one level at a threshold, under a name of its own; it comes back over a line as far off."""
    recovery = level.recovery_threshold
    if recovery is not None and threshold != level.threshold:
        scale = None if level.threshold == 0 else threshold / level.threshold
        recovery = None if scale is None or scale < 0 else recovery * scale
    one = Level(level.severity, threshold, recovery, _told(rule.levels, level))
    return replace(rule, name=f"{rule.name}\0{number}", levels=(one,), actions=(), version=f"{number:016x}")


def _told(levels: Sequence[Level], level: Level) -> tuple[str, ...]:
    return level.notify if level in levels and level.notify else (NOBODY,)
