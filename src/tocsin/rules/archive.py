"""Compiled rules as a document and back: what a snapshot keeps of the rules that its state belongs to.

This is the rule after its text was understood, with all defaults filled in, so that a later version of the program
reads what was meant when it was written. Exact: the rules that are read equal those that were written.
"""

from collections.abc import Sequence
from typing import Final

from tocsin.model.archive import (
    EXACT,
    FLAG,
    REAL,
    TEXT,
    TEXTS,
    WHOLE,
    Form,
    Plain,
    decode,
    encode,
    listed,
    optional,
    record,
    word,
)
from tocsin.rules.rule import (
    Aggregate,
    BlockAction,
    Condition,
    Level,
    Metric,
    NoData,
    Rule,
    Sampling,
    Scope,
    Severity,
)
from tocsin.rules.vector_archive import CALENDAR, EXPRESSION, FILTERS, LABELS, SPANS

__all__ = ["RULE", "dump_rules", "load_rules"]

_VERSION: Final = 1
_UNSAID: Final[dict[str, Plain]] = {"expression": None, "calendar": None, "shadow": False}
"""Fields that rules did not have at first: where they say nothing they are not written, so that documents of before
are read, and those of rules without any of it can be read by the programs of before."""
_ALL: Final[Form[Rule]] = record(
    Rule,
    project=TEXT,
    name=TEXT,
    description=TEXT,
    scope=word(Scope),
    spans=optional(SPANS),
    metric=word(Metric),
    attribute=optional(TEXT),
    aggregate=word(Aggregate),
    quantile=optional(REAL),
    window_ns=optional(WHOLE),
    group_by=LABELS,
    filters=FILTERS,
    condition=word(Condition),
    levels=listed(
        record(
            Level,
            severity=word(Severity),
            threshold=EXACT,
            recovery_threshold=optional(EXACT),
            notify=listed(TEXT),
        )
    ),
    min_samples=WHOLE,
    for_ns=WHOLE,
    keep_firing_ns=WHOLE,
    cooldown_ns=WHOLE,
    notify_resolved=FLAG,
    no_data=word(NoData),
    sampling=word(Sampling),
    runbook_url=optional(TEXT),
    dashboard_url=optional(TEXT),
    summary=optional(TEXT),
    labels=TEXTS,
    actions=listed(record(BlockAction, label=TEXT, ttl_ns=WHOLE)),
    version=TEXT,
    expression=optional(EXPRESSION),
    calendar=optional(CALENDAR),
    shadow=FLAG,
)


def _written(rule: Rule) -> Plain:
    value = _ALL.write(rule)
    assert isinstance(value, dict)  # noqa: S101  # a record's
    return {name: part for name, part in value.items() if name not in _UNSAID or part != _UNSAID[name]}


RULE: Final[Form[Rule]] = Form(
    _written, lambda value: _ALL.read({**_UNSAID, **value} if isinstance(value, dict) else value)
)
"""A rule as a part of a document."""
_RULES = listed(RULE)


def dump_rules(rules: Sequence[Rule]) -> bytes:
    """Return rules as a document that `load_rules` reads."""
    return encode(_VERSION, _RULES.write(tuple(rules)))


def load_rules(document: bytes) -> tuple[Rule, ...]:
    """Return the rules of a document, in their order.

    Raises:
        ValueError: it is damaged, or of another version; the text says where and what.
    """
    value = decode(document, _VERSION, "rules")
    try:
        return _RULES.read(value)
    except ValueError as error:
        raise ValueError(f"rules: {error}") from None
