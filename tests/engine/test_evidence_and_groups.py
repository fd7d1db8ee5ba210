"""What an alert says it comes from, what a group is, and where labels are inherited from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from comparing import Call, at, play
from hypothesis import given, settings
from samples import MINUTE, Span, batch_of, histories, rule_of

from tocsin.engine import Engine
from tocsin.model.batch import SpanClass
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.rule import Metric, Sampling

USD = 10**9


def call(second: float, usd: float = 1, trace: int = 1, number: int = 0, **fields: object) -> Span:
    made = Span(at(second), trace, number or round(second * 1000) + 1, cost_nano=round(usd * USD))
    return replace(made, **fields)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(spans=histories(max_traces=10))
def test_traces_and_drivers_are_those_of_a_brute_force_count(spans: Sequence[Span]) -> None:
    models = ["gpt", "claude"]
    named = [
        replace(span, labels={**span.labels, "model": models[span.span % 2]})
        for span in spans
        if span.span_class is SpanClass.LLM and span.cost_nano
    ]
    if not named:
        return
    total = sum(span.cost_nano for span in named)
    rule = rule_of(window_ns=60 * MINUTE, threshold=(total - 1) / USD if len(named) > 1 else 0)
    events = play([rule], [Call(at(700), tuple(named))])
    (event,) = [each for each in events if each.transition.value == "firing"]
    assert event.evidence.value == total / USD
    by_trace, by_model = Counter[int](), Counter[str]()
    for span in named:
        by_trace[span.trace] += span.cost_nano
        by_model[span.labels["model"]] += span.cost_nano
    assert [share.value for share in event.evidence.traces] == pytest.approx(
        [cost / USD for _, cost in by_trace.most_common(5)]
    )
    assert all(by_trace[int(share.trace_id, 16)] / USD == share.value for share in event.evidence.traces)
    (driver,) = [each for each in event.evidence.drivers if each.attribute == "model"]
    assert driver.share == pytest.approx(max(by_model.values()) / total, abs=1e-4)


def test_sampled_spans_stand_for_others_and_the_alert_says_so() -> None:
    sampled = call(0, 1, adjusted_count=4.0)
    (event,) = play([rule_of(threshold=3, sampling=Sampling.ADJUST)], [Call(at(0), (sampled,))])
    assert (event.evidence.value, event.evidence.samples, event.evidence.estimated) == (4, 1, True)
    assert play([rule_of(threshold=3)], [Call(at(0), (sampled,))]) == []
    (plain,) = play([rule_of(threshold=0.5, sampling=Sampling.ADJUST)], [Call(at(0), (call(0, 1),))])
    assert not plain.evidence.estimated


def test_the_first_of_several_labels_that_is_known_names_the_group() -> None:
    rule = rule_of(threshold=0.5, group_by=(("conversation", "trace"),))
    spans = call(0, labels={"conversation": "c"}), call(1, trace=7)
    groups = [dict(event.group) for event in play([rule], [Call(at(1), spans)])]
    assert groups == [{"conversation": "c"}, {"trace": f"{7:032x}"}]


@pytest.mark.parametrize(
    ("matches", "taken"),
    [
        ([Match(MatchKind.GLOB, "team-*")], ["team-a", "team-b"]),
        ([Match(MatchKind.EQUAL, "team-a", negated=True)], ["team-b", "other"]),
        ([Match(MatchKind.REGEX, "(team|oth).*")], ["team-a", "team-b", "other"]),
        ([Match(MatchKind.EQUAL, "other"), Match(MatchKind.EQUAL, "team-b")], ["team-b", "other"]),
        ([Match(MatchKind.GLOB, "t*"), Match(MatchKind.GLOB, "*-b", negated=True)], None),
    ],
)
def test_filters_choose_spans(matches: list[Match], taken: list[str] | None) -> None:
    one = Filter("tenant", tuple(matches))
    tenants = ["team-a", "team-b", "other"]
    expected = [name for name in tenants if one.accepts(name)] if taken is None else taken
    rule = rule_of(metric=Metric.COUNT, threshold=0, group_by=(("tenant",),), filters=(one,))
    spans = [call(place, labels={"tenant": name}) for place, name in enumerate(tenants)]
    assert [event.group["tenant"] for event in play([rule], [Call(at(3), tuple(spans))])] == expected


def inherited(label: str, spans: Sequence[Span]) -> list[tuple[str, float]]:
    engine = Engine([rule_of(threshold=0.5, group_by=((label,),))])
    events = [
        event for span in spans for event in engine.ingest(batch_of([span], labels=(label,)), span.time)
    ] + engine.advance(at(100))
    return [(event.group[label], event.evidence.value) for event in events]


def test_a_label_of_the_parent_that_comes_last_is_found() -> None:
    parent = call(2, number=9, span_class=SpanClass.CHAIN, labels={"tenant": "acme"})
    assert inherited("tenant", [call(0, parent=9), parent]) == [("acme", 1)]


def test_a_conversation_is_taken_from_any_span_of_the_trace_at_once() -> None:
    sibling = call(1, number=5, parent=9, span_class=SpanClass.TOOL, labels={"conversation": "c"})
    assert inherited("conversation", [call(0, parent=9), sibling]) == [("c", 1)]


def test_an_agent_is_the_nearest_above_not_the_first_heard_of() -> None:
    other = call(1, number=5, parent=9, usd=0, span_class=SpanClass.AGENT, labels={"agent": "writer"})
    own = call(2, number=6, parent=9, usd=0, span_class=SpanClass.AGENT, labels={"agent": "researcher"})
    root = call(3, number=9, usd=0, span_class=SpanClass.AGENT, labels={"agent": "planner"})
    assert inherited("agent", [call(0, parent=6), other, own, root]) == [("researcher", 1)]


def test_what_never_gets_a_group_is_counted_as_such() -> None:
    engine = Engine([rule := rule_of(threshold=0, group_by=(("tenant",),))])
    engine.ingest(batch_of([call(0)]), at(0))
    assert engine.statistics.ungrouped == {rule.key: 0}
    assert engine.advance(at(100)) == []
    assert engine.statistics.ungrouped == {rule.key: 1}


def test_an_agent_is_billed_only_where_no_call_below_it_is() -> None:
    agent = call(2, 5, number=9, span_class=SpanClass.AGENT, input_tokens=10, output_tokens=1)
    for below, cost in (([call(1, 3, number=8, parent=9, input_tokens=10, output_tokens=1)], 3), ([], 5)):
        engine = Engine([rule_of(threshold=0)])
        events = engine.ingest(batch_of([*below, agent]), at(2)) + engine.advance(at(100))
        assert events[0].evidence.value == cost
        assert sum(engine.statistics.cost_nano.values()) == cost * USD
