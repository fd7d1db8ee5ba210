"""The levels of a rule: its thresholds with their severities, from the least to the most urgent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from tocsin.rules.config import RuleConfig
from tocsin.rules.problems import KeyPath, Mistakes
from tocsin.rules.rule import Condition, Level, Severity

__all__ = ["FALLING", "RISING", "LevelReader", "single_level"]

RISING = (Condition.GT, Condition.GTE)
FALLING = (Condition.LT, Condition.LTE)


def single_level(config: RuleConfig, threshold: Decimal) -> tuple[Level, ...]:
    """Return the one level of a rule whose threshold is not written under `threshold`."""
    return (Level(config.severity or Severity.MEDIUM, threshold, None, config.notify),)


@dataclass(slots=True)
class LevelReader:
    """Reads `severity`, `threshold`, `recovery_threshold` and `levels` of one rule."""

    config: RuleConfig
    condition: Condition
    parse: Callable[[str], Decimal]
    """A threshold's text to a number in the rule's unit; raises ValueError."""
    mistakes: Mistakes
    distances: bool = False
    """Thresholds are distances from a line that moves: the larger is the harder in either direction."""

    def levels(self) -> tuple[Level, ...]:
        """Return them from least to most severe; empty where something is wrong with all of them."""
        config = self.config
        if config.levels is not None:
            return self._several()
        severity = config.severity or Severity.MEDIUM
        if self.condition is Condition.ABSENT:
            for key in ("threshold", "recovery_threshold"):
                if getattr(config, key) is not None:
                    self.mistakes.tell((key,), f"'absent' compares with nothing; remove '{key}'", at_key=True)
            return (Level(severity, Decimal(0), None, config.notify),)
        if config.threshold is None:
            self.mistakes.tell((), "no 'threshold'; add one, like threshold: 25, or 'levels'")
            return ()
        level = self._level((), severity, config.threshold, config.recovery_threshold, config.notify)
        return (level,) if level else ()

    def _several(self) -> tuple[Level, ...]:
        config = self.config
        for key in ("severity", "threshold", "recovery_threshold"):
            if getattr(config, key) is not None:
                self.mistakes.tell((key,), f"'levels' stand in place of '{key}'; remove one of the two", at_key=True)
        if self.condition not in (*RISING, *FALLING):
            text = f"levels need a direction, which {self.condition.value!r} has not; use gt, gte, lt or lte"
            self.mistakes.tell(("levels",), text, at_key=True)
            return ()
        if not config.levels:
            self.mistakes.tell(("levels",), "no level; add one, like {severity: high, threshold: 25}")
            return ()
        found: list[tuple[int, Level]] = []
        for at, written in enumerate(config.levels):
            notify = config.notify if written.notify is None else written.notify
            level = self._level(("levels", at), written.severity, written.threshold, written.recovery_threshold, notify)
            if level is not None:
                found.append((at, level))
        found.sort(key=lambda item: item[1].severity.rank)
        self._check_order(found)
        return tuple(level for _, level in found)

    def _check_order(self, levels: Sequence[tuple[int, Level]]) -> None:
        """A more severe level must be harder to reach, or it is never told apart from the one below."""
        rising = self.distances or self.condition in RISING
        for (_, low), (at, high) in pairwise(levels):
            if low.severity is high.severity:
                self.mistakes.tell(
                    ("levels", at, "severity"),
                    f"two levels are {high.severity.value}; give each its own severity",
                )
            elif (high.threshold <= low.threshold) if rising else (high.threshold >= low.threshold):
                condition = self.config.condition or self.condition
                text = (
                    f"{high.severity.value} at {high.threshold} is reached before {low.severity.value} at "
                    f"{low.threshold}; with {condition.value} the more severe level needs the "
                    f"{'higher' if rising else 'lower'} threshold"
                )
                self.mistakes.tell(("levels", at, "threshold"), text)

    def _level(
        self, path: KeyPath, severity: Severity, threshold: str, recovery: str | None, notify: tuple[str, ...]
    ) -> Level | None:
        limit = self._threshold((*path, "threshold"), threshold)
        there = (*path, "recovery_threshold")
        if recovery is not None and self.distances:
            text = "what it is compared with moves, so there is no line to come back over; use 'keep_firing_for'"
            self.mistakes.tell(there, text, at_key=True)
            return None
        back = None if recovery is None else self._threshold(there, recovery)
        if limit is None or (recovery is not None and back is None):
            return None
        if back is not None:
            self._check_recovery(there, limit, back)
        return Level(severity, limit, back, notify)

    def _threshold(self, path: KeyPath, text: str) -> Decimal | None:
        return self.mistakes.attempt(path, lambda: self.parse(text), None)

    def _check_recovery(self, path: KeyPath, limit: Decimal, back: Decimal) -> None:
        condition = self.condition
        if condition in RISING and back > limit:
            text = f"recovery at {back} is above the threshold {limit}; with {condition.value} it lies below"
            self.mistakes.tell(path, text)
        elif condition in FALLING and back < limit:
            text = f"recovery at {back} is below the threshold {limit}; with {condition.value} it lies above"
            self.mistakes.tell(path, text)
        elif condition not in (*RISING, *FALLING):
            text = f"{condition.value!r} has no way back over a line; remove 'recovery_threshold'"
            self.mistakes.tell(path, text, at_key=True)
