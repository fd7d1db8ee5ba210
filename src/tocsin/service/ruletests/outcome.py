"""What became of some tests, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CaseResult", "Failure", "Row", "SuiteResult"]


@dataclass(frozen=True, slots=True)
class Row:
    """Something that was expected beside something that happened."""

    mark: str
    """` ` for what fits, `-` for what is missing, `+` for what was not expected, `~` for what differs."""
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that is not met."""

    line: int
    """Where it stands in the file."""
    what: str
    """One sentence."""
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    """How near the rule came, and the like."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one test."""

    name: str
    line: int
    failures: tuple[Failure, ...]
    checks: int
    """Expectations that were looked at."""
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether all was as expected."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What became of a file of tests."""

    file: str
    cases: Sequence[CaseResult]
    notes: tuple[str, ...] = ()
    """What of a foreign file was left out, and the like."""

    @property
    def ok(self) -> bool:
        """Whether all tests are."""
        return all(case.ok for case in self.cases)
