"""The conditions that Tocsin alerts of about itself, as rules of project `tocsin`.

They are ordinary `Rule` values, so that the alert state, the messages and the contact points treat them like any other;
only what they measure does not come from spans. Each measures something that is 0 while all is well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tocsin.model.settings import nanoseconds
from tocsin.rules.rule import Aggregate, Condition, Level, Metric, NoData, Rule, Sampling, Scope, Severity
from tocsin.service.self_alerts.config import SelfAlertsConfig

__all__ = ["CONDITIONS", "PROJECT", "Kind", "Traits", "recipients", "rule_of", "text_of"]

PROJECT: Final = "tocsin"
_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 24 * 60 * _MINUTE


class Kind(StrEnum):
    """What may be wrong; the name of the rule and of its page in docs/runbooks."""

    DELIVERY_FAILING = "delivery-failing"
    RULES_INVALID = "rules-invalid"
    JOURNAL_DEGRADED = "journal-degraded"
    STORAGE_DEGRADED = "storage-degraded"
    FORWARD_DEGRADED = "forward-degraded"
    SPANS_REFUSED = "spans-refused"
    CLOCK_SKEW = "clock-skew"
    UNPRICED_MODELS = "unpriced-models"


@dataclass(frozen=True, slots=True)
class Traits:
    """What is particular to one condition. Times in nanoseconds."""

    severity: Severity
    measure: str
    """The attribute that it is said to measure."""
    description: str
    window_ns: int
    """What a value looks back over; 1 s where it is a state of the present."""
    for_ns: int = 0
    keep_firing_ns: int = 0
    least_cooldown_ns: int = 0
    """What can wait is not reminded of more often, whatever is configured."""
    group_by: tuple[str, ...] = ()


CONDITIONS: Final[Mapping[Kind, Traits]] = MappingProxyType(
    {
        Kind.DELIVERY_FAILING: Traits(
            Severity.HIGH,
            "tocsin.failed_attempts",
            "A contact point takes no notifications. They are kept and tried again for 24 hours.",
            window_ns=5 * _MINUTE,
            group_by=("contact_point",),
        ),
        Kind.RULES_INVALID: Traits(
            Severity.MEDIUM,
            "tocsin.configuration_problems",
            "The files as they are now can't be used. The rules from before the edit go on.",
            window_ns=_SECOND,
            for_ns=_MINUTE,  # somebody may be in the middle of an edit
        ),
        Kind.JOURNAL_DEGRADED: Traits(
            Severity.CRITICAL,
            "tocsin.journal_degraded",
            "What is acknowledged is not kept on disk. Evaluation goes on; a crash now would lose it.",
            window_ns=_SECOND,
            for_ns=5 * _SECOND,
            keep_firing_ns=30 * _SECOND,
        ),
        Kind.STORAGE_DEGRADED: Traits(
            Severity.HIGH,
            "tocsin.storage_degraded",
            "The state and history of alerts and notifications are not kept. Notifications go on.",
            window_ns=_SECOND,
            for_ns=15 * _SECOND,
            keep_firing_ns=30 * _SECOND,
        ),
        Kind.FORWARD_DEGRADED: Traits(
            Severity.MEDIUM,
            "tocsin.forward_degraded",
            "Received requests are not passed on. Alerting goes on.",
            window_ns=_SECOND,
            for_ns=_MINUTE,
            keep_firing_ns=_MINUTE,
        ),
        Kind.SPANS_REFUSED: Traits(
            Severity.HIGH,
            "tocsin.refused_requests",
            "Requests are refused because a limit is reached. Exporters send them again, and drop them in the end.",
            window_ns=_MINUTE,
            for_ns=_MINUTE,
            keep_firing_ns=2 * _MINUTE,
        ),
        Kind.CLOCK_SKEW: Traits(
            Severity.MEDIUM,
            "tocsin.future_share",
            "Spans come from the future: they are counted at the present instead of at their own time.",
            window_ns=5 * _MINUTE,
            for_ns=30 * _SECOND,
            keep_firing_ns=5 * _MINUTE,
        ),
        Kind.UNPRICED_MODELS: Traits(
            Severity.LOW,
            "tocsin.unpriced_calls",
            "Calls of a model that no price is known for. Sums of costs that they are in are lower bounds.",
            window_ns=_DAY,
            least_cooldown_ns=_DAY,
            group_by=("provider", "model"),
        ),
    }
)


def recipients(
    kind: Kind, group: Mapping[str, str], config: SelfAlertsConfig, contact_points: tuple[str, ...]
) -> tuple[str, ...]:
    """Return whom to tell; a contact point that fails is told of it itself only where there is no other."""
    if not config.enabled or CONDITIONS[kind].severity.rank < config.min_severity.rank:
        return ()
    wanted = contact_points if config.notify is None else config.notify
    known = tuple(name for name in dict.fromkeys(wanted) if name in contact_points)
    if kind is not Kind.DELIVERY_FAILING:
        return known
    return tuple(name for name in known if name != group["contact_point"]) or known


def rule_of(kind: Kind, notify: tuple[str, ...], config: SelfAlertsConfig, sentence: str = "") -> Rule:
    """Return the rule, with `sentence` as what its messages say. Its version does not depend on the arguments."""
    traits = CONDITIONS[kind]
    return Rule(
        project=PROJECT,
        name=kind.value,
        description=f"{traits.description} What to do: docs/runbooks/{kind}.md.",
        scope=Scope.SPAN,
        spans=None,
        metric=Metric.ATTRIBUTE,
        attribute=traits.measure,
        aggregate=Aggregate.LAST,
        quantile=None,
        window_ns=traits.window_ns,
        group_by=tuple((label,) for label in traits.group_by),
        filters=(),
        condition=Condition.GT,
        levels=(Level(traits.severity, Decimal(0), None, notify),),
        min_samples=1,
        for_ns=traits.for_ns,
        keep_firing_ns=traits.keep_firing_ns,
        cooldown_ns=max(nanoseconds(config.cooldown), traits.least_cooldown_ns),
        notify_resolved=True,
        no_data=NoData.KEEP,
        sampling=Sampling.IGNORE,
        runbook_url=f"{config.runbooks}/{kind}.md" if config.runbooks else None,
        dashboard_url=None,
        summary=text_of(sentence) if sentence else None,
        labels=MappingProxyType({}),
        actions=(),
        version="1".zfill(16),  # the name is part of every id too
    )


def text_of(sentence: str) -> str:
    """Return a template that gives exactly this sentence, whatever is in it: a model's name is a stranger's text."""
    return sentence.replace("{", '{{ "{" }}')
