"""What history suggests, as plain values that become JSON. Values are in the rule's unit, times RFC 3339 in UTC."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["VERSION", "Candidate", "LevelSuggestion", "Measured", "RuleSuggestion", "Suggestions", "as_json"]

VERSION: Final = "1"
"""Of the shape of what `as_json` gives."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The distribution of what a rule measured, whatever its threshold."""

    values: int
    """How many were read."""
    p50: float | None
    p95: float | None
    p99: float | None
    maximum: float | None
    minimum: float | None
    p5: float | None
    p1: float | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A threshold, and what it would have done."""

    threshold: float
    sources: tuple[str, ...]
    """Where it comes from: `now`, and `p99`, `p99.9`, `max` or `p1`, `p0.1`, `min`."""
    breached: int
    """How often it would have been broken: by an alert over a window, or by a sample that is judged on its own."""
    notified: int
    """How often somebody would have been told that it fires, cooldowns counted."""
    breached_per_week: float | None
    """None where history is too short to say."""
    notified_per_week: float | None
    suggested: bool
    """The mildest that would have told people seldom enough."""


@dataclass(frozen=True, slots=True)
class LevelSuggestion:
    """The thresholds of one level of a rule."""

    severity: str
    threshold: float
    candidates: tuple[Candidate, ...]
    """From the mildest to the harshest."""


@dataclass(frozen=True, slots=True)
class RuleSuggestion:
    """What history says of one rule."""

    project: str
    name: str
    description: str
    what: str
    """What it measures, in words."""
    condition: str
    unit: str
    samples: int
    measured: Measured
    has_line: bool
    """Whether it compares with a threshold that stays where it is."""
    levels: tuple[LevelSuggestion, ...]
    notes: tuple[str, ...]
    """Why there is nothing to suggest, what history lacks, and the like."""


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What history suggests for some rules."""

    version: str
    source: str
    begin: str | None
    end: str | None
    days: float
    spans: int
    per_week: float
    """How many notifications of a rule a week were said to be few enough."""
    problem_count: int
    rules: tuple[RuleSuggestion, ...]


def as_json(suggestions: Suggestions) -> Mapping[str, Any]:
    """Return them as values for a JSON encoder; no NaN is among them."""
    return asdict(suggestions)
