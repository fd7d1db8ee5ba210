"""Why a backtest can't be done, and what in its input could not be read."""

from dataclasses import dataclass, field
from typing import Final

from tocsin.errors import TocsinError

__all__ = ["MOST_TOLD", "BacktestError", "CancelledBacktestError", "InputProblem", "InputProblems"]

MOST_TOLD: Final = 100
"""Problems that are kept in words; all are counted."""


class BacktestError(TocsinError):
    """There is nothing to replay, or not as it was asked for; the text says what to do."""


class CancelledBacktestError(TocsinError):
    """Whoever asked for it does not want it any more."""


@dataclass(frozen=True, slots=True)
class InputProblem:
    """Something in an input that could not be used."""

    place: str
    """`file:line`, or `file: message 3`."""
    what: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.place}: {self.what}"


@dataclass(slots=True)
class InputProblems:
    """What could not be used so far: all counted, the first ones told."""

    count: int = 0
    told: list[InputProblem] = field(default_factory=list)
    skipped: int = 0
    """Requests of metrics, which no rule reads."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Spans and records that can't be used, by reason."""

    def add(self, place: str, what: str) -> None:
        """Note one."""
        self.count += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(InputProblem(place, what))
