"""What the loaded rules read of a span: nothing else is decoded."""

from collections.abc import Iterable

from tocsin.model.batch import Needs
from tocsin.rules.rule import Metric, Rule

__all__ = ["needs_of"]

_NUMBERS = frozenset({Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT})


def needs_of(rules: Iterable[Rule]) -> Needs:
    """Return the labels and numbers that these rules read. `trace` is no label: every span has it."""
    labels: set[str] = set()
    numbers: set[str] = set()
    for rule in rules:
        labels.update(filter_.label for filter_ in rule.filters)
        labels.update(label for entry in rule.group_by for label in entry)
        labels.update(action.label for action in rule.actions)
        if rule.metric in _NUMBERS:
            numbers.add(rule.metric.value)
        if rule.attribute is not None:
            numbers.add(rule.attribute)
    return Needs(frozenset(labels - {"trace"}), frozenset(numbers))
