"""The sentence that a person reads first, made from the rule where it brings none of its own.

It says who (the group), what (the value, over which time), how far over the limit, and what drove it:
`conversation conv-42 spent $27.31 in 5m, over the limit of $25.00 (240 calls, 97 % claude-sonnet-4-5)`.
"""

import math
from dataclasses import replace

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.model.batch import SpanClass
from tocsin.notify.wording import clean, counted, duration, percent, plain_number, quantity
from tocsin.rules.calendar import Calendar
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Scope
from tocsin.rules.vector import Language, Projected, Series

__all__ = [
    "condition_text",
    "default_summary",
    "driver_text",
    "elapsed_ns",
    "expression_text",
    "has_window",
    "in_unit",
    "measured",
    "sample_noun",
    "subject_of",
    "unpriced_text",
    "value_text",
    "window_text",
]

_NS = 1_000_000_000
_AGAINST = {
    Condition.GT: "over the limit of {}",
    Condition.GTE: "at or over the limit of {}",
    Condition.LT: "under the limit of {}",
    Condition.LTE: "at or under the limit of {}",
    Condition.EQ: "which equals {}",
    Condition.NE: "which is not {}",
    Condition.PRESENT: "for which the rule holds",
}
_BOUNDS = {
    Condition.GT: "over {}",
    Condition.GTE: "{} or more",
    Condition.LT: "under {}",
    Condition.LTE: "{} or less",
    Condition.EQ: "equal to {}",
    Condition.NE: "not {}",
    Condition.PRESENT: "anything that the expression gives",
}
_AGGREGATES = {
    Aggregate.SUM: "a total {}",
    Aggregate.AVG: "a mean {}",
    Aggregate.MIN: "a minimum {}",
    Aggregate.MAX: "a maximum {}",
    Aggregate.STDDEV: "a standard deviation of {}",
    Aggregate.RATE: "a rate of {}",
    Aggregate.LAST: "a last {}",
}
_RATIOS = frozenset({Metric.ERROR_RATE, Metric.SUCCESS_RATE, Metric.UNPRICED_RATIO, Metric.COST_PER_TRACE})
"""Means by nature: the word is left out."""
_EXPRESSION_LIMIT = 160
"""Of an expression's text in a sentence."""
_NOTABLE_SHARE = 0.2
"""A driver with less of the value than this explains nothing."""


def default_summary(event: AlertEvent) -> str:
    """Return the sentence for any transition of an alert."""
    match event.transition:
        case Transition.TEST:
            return "Test notification: this contact point works. A real alert says here who broke which limit."
        case Transition.RESOLVED:
            return _resolved(event)
        case Transition.REMINDER:
            return _reminder(event)
        case Transition.FIRING if event.escalated_from is not None:
            up = event.severity.rank > event.escalated_from.rank
            change = "escalated" if up else "de-escalated"
            return f"{change} from {event.escalated_from} to {event.severity}: {_breach(event)}"
        case _:
            return _breach(event)


def subject_of(event: AlertEvent) -> str:
    """Return whom it is about: `conversation conv-42, model gpt-4o`; `all matching calls` where nothing is grouped."""
    if not event.group:
        return f"all matching {sample_noun(event.rule)}"
    return ", ".join(f"{clean(label)} {clean(value) or '(empty)'}" for label, value in event.group.items())


def value_text(event: AlertEvent) -> str:
    """Return the value: `$27.31`, `at least $12.40` where calls are unpriced, `an estimated $12.40`."""
    text = in_unit(event.evidence.value, event.rule)
    if event.evidence.estimated:
        text = f"an estimated {text}"
    return f"at least {text}" if _is_lower_bound(event) else text


def unpriced_text(event: AlertEvent) -> str:
    """Return `3 calls unpriced`, or an empty string where every call has a price."""
    count = event.evidence.unpriced_samples
    return f"{counted(count, 'calls')} unpriced" if count else ""


def condition_text(event: AlertEvent) -> str:
    """Return what the rule forbids: `over $25.00`, `under 0.55`, `no sample for 5m`."""
    if event.rule.condition is Condition.ABSENT:
        return f"no {sample_noun(event.rule)[:-1]} for {window_text(event.rule) or 'the window'}"
    limit = _BOUNDS[event.rule.condition].format(in_unit(event.threshold, event.rule))
    return f"{limit}{_against(event.rule)}"


def measured(rule: Rule) -> Rule:
    """Return the rule of fields that a baseline or a forecast is about; any other rule as it is."""
    value = rule.expression.value if rule.expression is not None else None
    series = value.argument if isinstance(value, Projected) else value
    if _is_query(rule) or not isinstance(series, Series):
        return rule
    return replace(
        rule,
        metric=series.metric,
        attribute=series.attribute,
        aggregate=series.aggregate,
        quantile=series.quantile,
        window_ns=series.window_ns or None,
        calendar=series.calendar,
        scope=series.scope,
        spans=series.spans,
        expression=None,
    )


def _is_query(rule: Rule) -> bool:
    return rule.expression is not None and rule.expression.language in (Language.PROMQL, Language.SQL)


def expression_text(rule: Rule) -> str:
    """Return what an expression compares, on one line: the text of PromQL, the name of a query's metric."""
    if rule.expression is None:
        return ""
    if rule.expression.language is Language.SQL:
        return clean(rule.labels.get("metric_name") or rule.name, 80)
    return clean(" ".join(rule.expression.text.split()), _EXPRESSION_LIMIT)


def has_window(rule: Rule) -> bool:
    """Whether it looks at more than one sample."""
    return not rule.judges_each


def window_text(rule: Rule) -> str:
    """Return `5m`, `the month`, or an empty string for a rule without a window or with several."""
    rule = measured(rule)
    if rule.calendar is not None:
        return f"the {rule.calendar.period.value}"
    if rule.expression is not None and rule.expression.interval_ns is not None:
        return duration(rule.expression.interval_ns / _NS)
    return duration(rule.window_ns / _NS) if rule.window_ns is not None else ""


def sample_noun(rule: Rule) -> str:
    """Return what one sample is, in the plural.

    Calls, traces, or samples where the rule looks at other spans.
    """
    rule = measured(rule)
    if rule.scope is Scope.TRACE:
        return "traces"
    if rule.expression is not None:
        return "samples"
    if rule.spans == frozenset({SpanClass.LLM}) or (rule.spans is None and _is_of_calls(rule)):
        return "calls"
    return "samples"


def driver_text(event: AlertEvent) -> str:
    """Return the largest driver that the group does not say already: `97 % claude-sonnet-4-5`.

    Else an empty string.
    """
    for driver in event.evidence.drivers:
        if driver.attribute in event.group or not driver.share >= _NOTABLE_SHARE:
            continue
        name = clean(driver.value, 80)
        named = name if driver.attribute == "model" else f"{clean(driver.attribute, 80)} {name}"
        return f"{percent(round(driver.share, 2))} {named}"
    return ""


def elapsed_ns(event: AlertEvent) -> int:
    """Return how long the alert fires, or fired: nanoseconds of event time."""
    if event.resolved_at is not None:
        return max(0, event.resolved_at - event.fired_at)
    if event.evidence.window_to > event.fired_at:
        return event.evidence.window_to - event.fired_at
    return max(0, event.detected_at - event.fired_at)


def _breach(event: AlertEvent) -> str:
    if event.rule.condition is Condition.ABSENT:
        noun = sample_noun(event.rule)
        silence = f"no {noun[:-1]} for {window_text(event.rule)}"
        return f"{subject_of(event)} sent {silence}" if event.group else f"there was {silence}"
    rule, limit = event.rule, _AGAINST[event.rule.condition].format(in_unit(event.threshold, event.rule))
    if rule.expression is not None and rule.expression.language is Language.FORECAST:
        return f"{subject_of(event)} {_foretold(event)}, {limit}{_evidence(event)}"
    if _is_query(rule):
        about = f"{subject_of(event)}: " if event.group else ""
        window = f" in {window_text(rule)}" if window_text(rule) else ""
        return f"{about}{expression_text(rule)} is {value_text(event)}{window}, {limit}{_evidence(event)}"
    window = f" in {window_text(rule)}" if window_text(rule) else ""
    return f"{subject_of(event)} {_did(event)}{window}, {limit}{_against(rule)}{_evidence(event)}"


def _foretold(event: AlertEvent) -> str:
    """What a forecast says: what it will be, when, and what it was when that was said."""
    rule = measured(event.rule)
    verb = {Metric.COST: "will have spent", Metric.COUNT: "will have had"}.get(rule.metric, "will have used")
    text = f"{verb} {value_text(event)} by the end of {window_text(rule)}"
    so_far = _so_far(event, rule.calendar)
    return f"{text} at this pace, {in_unit(so_far, event.rule)} so far" if math.isfinite(so_far) else text


def _so_far(event: AlertEvent, calendar: Calendar | None) -> float:
    """What was spent when the pace was taken: the forecast's share of the period that had passed."""
    if calendar is None or not math.isfinite(event.evidence.value):
        return math.nan
    begin, end = calendar.bounds(event.evidence.window_to)
    return event.evidence.value * (event.evidence.window_to - begin) / (end - begin)


def _against(rule: Rule) -> str:
    """What a baseline's limit is made of, behind the limit."""
    if rule.expression is None or rule.expression.language is not Language.BASELINE:
        return ""
    return f" ({clean(rule.expression.text, _EXPRESSION_LIMIT)})"


def _resolved(event: AlertEvent) -> str:
    after = duration(elapsed_ns(event) / _NS)
    if event.rule.condition is Condition.ABSENT:
        return f"resolved after {after}: there are {sample_noun(event.rule)} again ({subject_of(event)})"
    peak = f", peak {in_unit(event.peak, event.rule)}" if math.isfinite(event.peak) else ""
    if _is_query(event.rule):
        about = f" ({subject_of(event)})" if event.group else ""
        return f"resolved after {after}{peak}: {expression_text(event.rule)} is no longer so{about}"
    return f"resolved after {after}{peak}: {subject_of(event)} is no longer {condition_text(event)}"


def _reminder(event: AlertEvent) -> str:
    parts = [f"still firing after {duration(elapsed_ns(event) / _NS)}"]
    if event.suppressed:
        noun = "breach" if event.suppressed == 1 else "breaches"
        parts.append(f"{plain_number(event.suppressed)} further {noun}")
    if math.isfinite(event.peak) and event.rule.condition is not Condition.ABSENT:
        parts.append(f"worst {in_unit(event.peak, event.rule)}")
    return f"{', '.join(parts)}: {_breach(event)}"


def _did(event: AlertEvent) -> str:
    rule, value = measured(event.rule), value_text(event)
    one = "" if has_window(rule) else f" in one {sample_noun(rule)[:-1]}"
    match rule.metric, rule.aggregate:
        case Metric.COST, Aggregate.SUM | Aggregate.RATE:
            return f"spent {value}{one}"
        case (metric, Aggregate.SUM | Aggregate.RATE) if metric.value.endswith("tokens"):
            return f"used {value}{one}"
        case (_, Aggregate.COUNT) | (Metric.COUNT, _):
            return f"had {value}{one}"
        case (Metric.LATENCY, _) if one:
            return f"took {value}{one}"
        case _ if one:
            return f"had {_article(_noun(rule))} of {value}{one}"
        case _:
            return f"had {_aggregated(rule)} of {value}"


def _aggregated(rule: Rule) -> str:
    if rule.quantile is not None:
        return f"a p{plain_number(rule.quantile * 100)} {_noun(rule)}"
    if rule.metric in _RATIOS:
        return _article(_noun(rule))
    return _AGGREGATES.get(rule.aggregate, "a {}").format(_noun(rule))


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def in_unit(value: float, rule: Rule) -> str:
    """Return a value in words that say what is counted: calls for samples, input tokens for tokens."""
    base, _, per = rule.unit.partition("/")
    if not math.isfinite(value) or base not in ("samples", "tokens"):
        return quantity(value, rule.unit)
    metric = measured(rule).metric
    named = "tokens" if metric is Metric.EXPRESSION else metric.value.replace("_", " ")
    noun = sample_noun(rule) if base == "samples" else named
    return counted(value, noun) + (f"/{per}" if per else "")


def _noun(rule: Rule) -> str:
    name = rule.attribute if rule.metric is Metric.ATTRIBUTE and rule.attribute else rule.metric.value
    return clean(name if rule.metric is Metric.ATTRIBUTE else name.replace("_", " "), 80)


def _evidence(event: AlertEvent) -> str:
    parts = []
    noun = sample_noun(event.rule)
    if has_window(event.rule) and event.evidence.samples and not event.rule.unit.startswith("samples"):
        parts.append(counted(event.evidence.samples, noun))
    parts += [unpriced_text(event), driver_text(event)]
    told = ", ".join(part for part in parts if part)
    return f" ({told})" if told else ""


def _is_lower_bound(event: AlertEvent) -> bool:
    return event.evidence.unpriced_samples > 0 and event.rule.unit.startswith("USD")


def _is_of_calls(rule: Rule) -> bool:
    return rule.metric in (
        Metric.COST,
        Metric.LATENCY,
        Metric.ERROR_RATE,
        Metric.SUCCESS_RATE,
        Metric.COUNT,
        Metric.TIME_TO_FIRST_TOKEN,
        Metric.UNPRICED_RATIO,
        Metric.COST_MISMATCH,
    ) or rule.metric.value.endswith("tokens")
