"""A rule after its text was understood: what the engine is given. Immutable, free of YAML."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tocsin.model.batch import SpanClass
from tocsin.rules.calendar import Calendar
from tocsin.rules.filters import Filter
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData, Sampling, Scope, unit_text
from tocsin.rules.vector import Expression

__all__ = [
    "ROUTED",
    "Aggregate",
    "BlockAction",
    "Condition",
    "Level",
    "Metric",
    "NoData",
    "Rule",
    "Sampling",
    "Scope",
    "Severity",
]


ROUTED = "(routes)"
"""In `Level.notify`: whomever `routes:` names for the alert, as the rule itself names nobody."""


class Severity(StrEnum):
    """From least to most urgent."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Level:
    """One threshold of a rule; a rule without `levels:` has one."""

    severity: Severity
    threshold: Decimal
    """In the metric's unit: USD, ms, ratio 0 to 1, tokens, samples. 0 for Condition.ABSENT."""
    recovery_threshold: Decimal | None
    """Once firing, the value must cross back over this one; None: over `threshold`."""
    notify: tuple[str, ...]
    """Names of contact points; empty: only recorded."""


@dataclass(frozen=True, slots=True)
class BlockAction:
    """`actions: - block: conversation, ttl: 1h`."""

    label: str
    ttl_ns: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One enabled rule, all defaults filled in."""

    project: str
    name: str
    description: str
    scope: Scope
    spans: frozenset[SpanClass] | None
    """Which spans are samples; None: the metric's own choice (LLM calls, or carriers of the attribute)."""
    metric: Metric
    attribute: str | None
    """The key, where metric is ATTRIBUTE."""
    aggregate: Aggregate
    quantile: float | None
    """0 to 1, where aggregate is QUANTILE."""
    window_ns: int | None
    """None: each sample is judged on its own."""
    group_by: tuple[tuple[str, ...], ...]
    """One series per distinct combination; each entry is a label, or alternatives of which the first
    known counts: `[conversation or trace, model]` is (("conversation", "trace"), ("model",))."""
    filters: tuple[Filter, ...]
    """All must hold."""
    condition: Condition
    levels: tuple[Level, ...]
    """From least to most severe; never empty."""
    min_samples: int
    for_ns: int
    keep_firing_ns: int
    cooldown_ns: int
    notify_resolved: bool
    no_data: NoData
    sampling: Sampling
    runbook_url: str | None
    dashboard_url: str | None
    """A Liquid template."""
    summary: str | None
    """A Liquid template; None: a sentence made from the rule."""
    labels: Mapping[str, str]
    actions: tuple[BlockAction, ...]
    version: str
    """16 hex digits over everything else; changes when the rule does. Part of alert event ids."""
    expression: Expression | None = None
    """What is compared, where metric is EXPRESSION; its labels are `group_by`."""
    calendar: Calendar | None = None
    """The window is everything since its present period began; `window_ns` is None then."""
    shadow: bool = False
    """Evaluated and recorded, never notified and never acted on."""

    @property
    def key(self) -> tuple[str, str]:
        """Project and name: what makes a rule the same one after an edit."""
        return self.project, self.name

    @property
    def judges_each(self) -> bool:
        """Whether each sample is judged on its own: there is no window, and a breach is a hit."""
        return self.window_ns is None and self.calendar is None and self.expression is None

    @property
    def unit(self) -> str:
        """`USD`, `ms`, `ratio`, `tokens`, `samples` or nothing for attributes and scores; `/s` for rates."""
        if self.expression is not None:
            return self.expression.unit
        return unit_text(self.metric, self.aggregate)
