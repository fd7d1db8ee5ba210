"""What the loaded rules read of a span: nothing else is decoded."""

from collections.abc import Iterable

from tocsin.model.batch import Needs
from tocsin.rules.filters import Filter
from tocsin.rules.rule import Metric, Rule
from tocsin.rules.vector import Entry, series_of

__all__ = ["needs_of"]

_NUMBERS = frozenset({Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT})


def needs_of(rules: Iterable[Rule]) -> Needs:
    """Return the labels and numbers that these rules read. `trace` is no label: every span has it."""
    labels: set[str] = set()
    numbers: set[str] = set()
    for rule in rules:
        labels.update(_labels(rule.filters, rule.group_by))
        labels.update(action.label for action in rule.actions)
        numbers.update(_numbers(rule.metric, rule.attribute))
        asked = rule.expression
        if asked is not None:
            for series in series_of(asked.value, *(asked.limits or ()), asked.gate):
                labels.update(_labels(series.filters, series.labels))
                numbers.update(_numbers(series.metric, series.attribute))
    return Needs(frozenset(labels - {"trace"}), frozenset(numbers))


def _labels(filters: Iterable[Filter], entries: Iterable[Entry]) -> Iterable[str]:
    yield from (each.label for each in filters)
    yield from (label for entry in entries for label in entry)


def _numbers(metric: Metric, attribute: str | None) -> Iterable[str]:
    if metric in _NUMBERS:
        yield metric.value
    if attribute is not None:
        yield attribute
