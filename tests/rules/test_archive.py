"""Compiled rules as documents: exact, versioned, and damage is said."""

import dataclasses
import math
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.document import dump_event, load_event
from tocsin.model.batch import SpanClass
from tocsin.notify.sample import sample_event
from tocsin.rules.archive import dump_rules, load_rules
from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.rule import Aggregate, BlockAction, Condition, Level, Metric, NoData, Rule, Sampling, Scope, Severity
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Expression,
    Function,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Now,
    NullIf,
    Number,
    Operator,
    Otherwise,
    Projected,
    Series,
    Vector,
)

_text = st.one_of(st.text(max_size=20), st.sampled_from(["\ud800", "\ud83d\ude00", "\x00", "\u2028", '"\\']))
_nanoseconds = st.integers(0, 2**63 - 1)
_decimals = st.one_of(st.decimals(allow_nan=False), st.sampled_from([Decimal("0.50"), Decimal("-0"), Decimal("1E+9")]))
_labels = st.lists(st.lists(_text, max_size=2).map(tuple), max_size=2).map(tuple)
_filters = st.lists(
    st.builds(
        Filter,
        _text,
        st.lists(st.builds(Match, st.sampled_from(MatchKind), _text, st.booleans()), max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)
_calendars = st.builds(Calendar, st.sampled_from(Period), _text)
_numbers = st.floats(allow_nan=False)
_series = st.builds(
    Series,
    metric=st.sampled_from(Metric),
    attribute=st.none() | _text,
    aggregate=st.sampled_from(Aggregate),
    quantile=st.none() | st.floats(0, 1),
    window_ns=_nanoseconds,
    labels=_labels,
    filters=_filters,
    offset_ns=_nanoseconds,
    spans=st.none() | st.frozensets(st.sampled_from(SpanClass)),
    scope=st.sampled_from(Scope),
    sampling=st.sampled_from(Sampling),
    calendar=st.none() | _calendars,
    baseline=st.booleans(),
    exclude_incidents=st.booleans(),
    scale=_numbers,
)
_vectors: st.SearchStrategy[Vector] = st.recursive(
    st.one_of(st.builds(Number, _numbers), st.just(Now()), _series, st.builds(Projected, _series, _nanoseconds)),
    lambda inner: st.one_of(
        st.builds(Apply, st.sampled_from(Function), inner, st.lists(inner, max_size=2).map(tuple)),
        st.builds(
            Binary,
            st.sampled_from(Operator),
            inner,
            inner,
            st.none() | st.builds(Matching, _labels, st.sampled_from(["", "left", "right"]), _labels),
            st.booleans(),
        ),
        st.builds(Logical, st.sampled_from(LogicalOperator), inner, inner, _labels),
        st.builds(Combine, st.sampled_from(Combining), inner, _labels, st.none() | inner),
        st.builds(Absent, inner),
        st.builds(Otherwise, inner, _numbers),
        st.builds(NullIf, inner, _numbers),
    ),
    max_leaves=6,
)
_expressions = st.builds(
    Expression,
    language=st.sampled_from(Language),
    text=_text,
    value=_vectors,
    limits=st.none() | st.lists(_vectors, max_size=2).map(tuple),
    gate=st.none() | _vectors,
    interval_ns=st.none() | _nanoseconds,
    unit=_text,
)
_rules = st.builds(
    Rule,
    project=_text,
    name=_text,
    description=_text,
    scope=st.sampled_from(Scope),
    spans=st.none() | st.frozensets(st.sampled_from(SpanClass)),
    metric=st.sampled_from(Metric),
    attribute=st.none() | _text,
    aggregate=st.sampled_from(Aggregate),
    quantile=st.none() | st.floats(0, 1),
    window_ns=st.none() | _nanoseconds,
    group_by=_labels,
    filters=_filters,
    condition=st.sampled_from(Condition),
    levels=st.lists(
        st.builds(
            Level,
            st.sampled_from(Severity),
            _decimals,
            st.none() | _decimals,
            st.lists(_text, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    min_samples=st.integers(0, 2**40),
    for_ns=_nanoseconds,
    keep_firing_ns=_nanoseconds,
    cooldown_ns=_nanoseconds,
    notify_resolved=st.booleans(),
    no_data=st.sampled_from(NoData),
    sampling=st.sampled_from(Sampling),
    runbook_url=st.none() | _text,
    dashboard_url=st.none() | _text,
    summary=st.none() | _text,
    labels=st.dictionaries(_text, _text, max_size=2),
    actions=st.lists(st.builds(BlockAction, _text, _nanoseconds), max_size=2).map(tuple),
    version=_text,
    expression=st.none() | _expressions,
    calendar=st.none() | _calendars,
    shadow=st.booleans(),
)


@given(st.lists(_rules, max_size=3))
def test_rules_come_back_as_they_went(rules: list[Rule]) -> None:
    back = load_rules(dump_rules(rules))
    assert back == tuple(rules)
    assert repr(back) == repr(tuple(rules)) or any(len(rule.spans or ()) > 1 for rule in rules)  # digits, types, order
    assert all(type(one.spans) is type(other.spans) for one, other in zip(back, rules, strict=True))


def test_a_rule_without_a_number_keeps_that() -> None:
    rule = dataclasses.replace(sample_event("x", 0).rule, quantile=math.nan)
    (back,) = load_rules(dump_rules([rule]))
    assert back.quantile is not None
    assert math.isnan(back.quantile)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"version":1,', b'"version":2,', "of version 2, and only 1 is read"),
        (b'"metric":"cost"', b'"metric":"costs"', "rules: 0: metric: 'costs' is no Metric"),
        (b'"threshold":"25"', b'"threshold":"much"', "levels: 0: threshold: 'much' is no decimal number"),
        (b'"for_ns":0', b'"for_ns":"0"', "for_ns: '0' is no whole number"),
        (b'"quantile":null', b'"quantile":1' + b"0" * 400, "quantile: 'a number of too many digits' is no number"),
        (b'"notify_resolved":true', b'"notify_resolved":1', "notify_resolved: 1 is neither true nor false"),
        (b'"min_samples":1,', b"", "Rule without min_samples"),
        (b'"min_samples":1,', b'"min_samples":1,"more":1,', "Rule has no more"),
        (b'{"', b"[", "not a document"),
    ],
)
def test_damage_is_said_with_its_place(old: bytes, new: bytes, said: str) -> None:
    document = dump_rules([sample_event("x", 0).rule])
    assert old in document
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        load_rules(document.replace(old, new, 1))


@given(st.binary(max_size=80))
def test_any_bytes_at_all_are_refused_with_a_value_error(junk: bytes) -> None:
    for load in (load_rules, load_event):
        with pytest.raises(ValueError, match=r"rules|alert event"):
            load(junk)


@given(st.data())
def test_a_torn_document_is_never_taken_for_a_whole_one(data: st.DataObject) -> None:
    document = dump_event(sample_event("x", 5))
    cut = data.draw(st.integers(0, len(document) - 1))
    with pytest.raises(ValueError, match="alert event"):
        load_event(document[:cut])


def test_ten_thousand_rules_are_written_and_read_in_a_moment() -> None:
    rule = sample_event("x", 0).rule
    rules = [dataclasses.replace(rule, name=f"rule-{number}") for number in range(10_000)]
    begun = time.process_time()
    document = dump_rules(rules)
    written = time.process_time()
    assert load_rules(document) == tuple(rules)
    read = time.process_time()
    assert written - begun < 1.0
    assert read - written < 2.0
