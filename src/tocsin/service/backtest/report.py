"""What a backtest found: plain values that become JSON. Times are RFC 3339 in UTC, values in the rule's unit.

`report.schema.json` beside this module is the schema of what `as_json` gives, for programs in any language.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

__all__ = [
    "VERSION",
    "Comparison",
    "Difference",
    "Interval",
    "Line",
    "Report",
    "RuleReport",
    "Sending",
    "Series",
    "as_json",
    "time_of",
]

VERSION: Final = "1"
"""Of the shape of a report."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """A threshold of a rule."""

    severity: str
    value: float


@dataclass(frozen=True, slots=True)
class Interval:
    """One alert: from when its condition first held until it was over."""

    alert_id: str
    """As the live service's; the same rule over the same spans gives the same."""
    group: Mapping[str, str]
    severity: str
    """The most severe level that it reached."""
    started_at: str
    fired_at: str
    resolved_at: str | None
    """None: it still fired at the end."""
    value: float | None
    """When it fired."""
    threshold: float
    """Of the level that it fired at."""
    peak: float | None
    """The worst value."""
    samples: int
    """In the window when it fired."""
    breaches: int
    """How often the rule was broken: 1, and for a rule without a window once for each sample."""
    notified: bool
    """Whether anybody would have been told; not in a cooldown, and not without contact points."""
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sending:
    """A notification that would have been sent."""

    at: str
    event_id: str
    alert_id: str
    transition: str
    """`firing`, `reminder` or `resolved`."""
    severity: str
    group: Mapping[str, str]
    contact_points: tuple[str, ...]
    value: float | None
    summary: str


@dataclass(frozen=True, slots=True)
class Series:
    """What a rule measured for one group, in bins of time."""

    group: Mapping[str, str]
    nearest: float | None
    """The value that came nearest to the limit, or went furthest past it."""
    points: tuple[tuple[float, float | None, float | None, float | None], ...]
    """Unix seconds of a bin's end, the lowest and highest value in it, and the limit; None where there is none."""


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What one rule would have done."""

    project: str
    name: str
    version: str
    description: str
    condition: str
    """`gt`, `gte`, `lt`, `lte`, `eq`, `ne` or `absent`."""
    unit: str
    window_seconds: float | None
    group_by: tuple[str, ...]
    lines: tuple[Line, ...]
    """Its thresholds, the least severe first."""
    breached: int
    """Distinct breaches, those in a cooldown included."""
    notified: int
    """Of which somebody would have been told."""
    sent: int
    """Notifications in all: firing, reminders and resolved."""
    samples: int
    late: int
    ungrouped: int
    """Samples of no group: a label of `group_by` never became known."""
    intervals: tuple[Interval, ...]
    sendings: tuple[Sending, ...]
    series: tuple[Series, ...]
    """Of the groups that came nearest."""
    left_out: int = 0
    """Intervals and sendings beyond those that are listed; all are counted."""
    notes: tuple[str, ...] = ()
    """What the reader should know: labels that were not recorded, and the like."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A breach that one version of a rule has and the other has not."""

    version: str
    """`a` or `b`."""
    interval: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a rule side by side."""

    a: str
    b: str
    """Their names, for people."""
    first: RuleReport
    second: RuleReport
    both: int
    """Breaches of `a` that overlap in time, in the same group, with one of `b`."""
    only_a: int
    only_b: int
    differences: tuple[Difference, ...]
    """In order of time."""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a backtest found."""

    version: str
    source: str
    begin: str | None
    """The period that was asked for, or what there was."""
    end: str | None
    spans: int
    seconds: float
    """How long it took."""
    problems: tuple[str, ...]
    """What could not be read, `file:line: why`; the first hundred."""
    problem_count: int
    rejected: Mapping[str, int]
    """Spans that can't be used, by reason."""
    skipped_metrics: int
    """Requests of metrics, which no rule reads."""
    rules: tuple[RuleReport, ...]
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = field(default=())


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as values for a JSON encoder; no NaN is among them."""
    return asdict(report)


def time_of(at: int) -> str:
    """Return Unix nanoseconds in RFC 3339, to the microsecond; what is no time of the calendar as the nearest."""
    try:
        moment = _EPOCH + timedelta(microseconds=at // 1000)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
