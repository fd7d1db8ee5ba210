"""Rules with expressions say the same however samples were put into requests, and after a restart anywhere."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from comparing import Call, tell
from expressions_drawn import LABEL_SETS, expression_rule, histories_of, vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keeping import restarted, unlike
from samples import EPOCH, MINUTE, SECOND, Span, batch_of

from tocsin.alerts.event import AlertEvent
from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.rules.measures import Condition, NoData
from tocsin.rules.rule import Rule
from tocsin.rules.vector import Combine, Logical, Number, Series, Vector, labels_of, series_of

LENIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
SMALL = LimitsConfig(traces=100, evidence=1000, groups=3)
CONDITIONS = [Condition.GT, Condition.LT, Condition.PRESENT, Condition.NE, Condition.GTE]


@st.composite
def expression_rules(draw: st.DrawFn, *, most: int = 4) -> list[Rule]:
    """Some rules with expressions, sliding and by buckets."""
    rules = []
    for number in range(draw(st.integers(1, most))):
        labels = draw(st.sampled_from(LABEL_SETS))
        buckets = draw(st.integers(0, 3)) == 0
        value = draw(vectors(labels, draw(st.integers(0, 2))))
        limits: tuple[Vector, ...] | None = draw(st.sampled_from([None, (Number(1.0),)]))
        if draw(st.integers(0, 2)) == 0:
            limits = (draw(vectors(labels, 1)),)
        rules.append(
            expression_rule(
                value,
                name=f"rule-{number}",
                limits=limits,
                gate=draw(vectors((), 0)) if draw(st.integers(0, 3)) == 0 else None,
                interval_ns=15 * SECOND if buckets else None,
                condition=draw(st.sampled_from(CONDITIONS)),
                threshold=draw(st.sampled_from([0, 1, 3])),
                no_data=draw(st.sampled_from(list(NoData))),
                for_ns=draw(st.sampled_from([0, 0, 4 * SECOND])),
                keep_firing_ns=draw(st.sampled_from([0, 7 * SECOND])),
                cooldown_ns=draw(st.sampled_from([0, MINUTE])),
                min_samples=draw(st.sampled_from([1, 1, 2])),
            )
        )
    return rules


@st.composite
def calls_of(draw: st.DrawFn, spans: Sequence[Span]) -> list[Call]:
    cuts = sorted({0, len(spans), *draw(st.lists(st.integers(0, len(spans)), max_size=8))})
    calls: list[Call] = []
    for begin, end in pairwise(cuts):
        calls.append(Call(spans[end - 1].time, tuple(spans[begin:end])))
        if draw(st.booleans()):
            until = spans[end].time if end < len(spans) else spans[-1].time + 400 * SECOND
            calls.append(Call(draw(st.integers(spans[end - 1].time, until))))
    return [*calls, Call(max(calls[-1].now, EPOCH + 90 * SECOND)), Call(EPOCH + 500 * SECOND)]


def exact(events: Sequence[AlertEvent]) -> list[str]:
    return [repr(event) for event in events]


@pytest.mark.slow
@settings(max_examples=60, **LENIENT)
@given(data=st.data(), rules=expression_rules(), spans=histories_of())
def test_an_engine_with_expressions_goes_on_from_any_state(
    data: st.DataObject, rules: list[Rule], spans: list[Span]
) -> None:
    calls = data.draw(calls_of(spans))
    cut = data.draw(st.integers(0, len(calls)))
    whole = Engine(rules, limits=SMALL)
    list(tell(whole, calls[:cut]))
    second = restarted(whole, calls[cut - 1].now if cut else 0, SMALL)
    assert unlike(whole, second) == []
    assert exact(list(tell(second, calls[cut:]))) == exact(list(tell(whole, calls[cut:])))
    assert second.statistics == whole.statistics


@pytest.mark.slow
@settings(max_examples=40, **LENIENT)
@given(data=st.data(), rules=expression_rules(), other=expression_rules(), spans=histories_of())
def test_a_log_of_expressions_given_again_says_the_same(
    data: st.DataObject, rules: list[Rule], other: list[Rule], spans: list[Span]
) -> None:
    calls = data.draw(calls_of(spans))
    change = data.draw(st.integers(0, len(calls) - 1))
    live, again = Engine(rules, limits=SMALL), Engine(rules, limits=SMALL)
    again.thaw({name: frozen() for name, frozen in live.freeze().items()}, 0)
    for number, call in enumerate(calls):
        if number == change:
            before = live.time
            events = live.replace_rules(other, call.now)
            assert exact(again.replay(call.now, before, rules=other)) == exact(events)
        # Ticks in between change nothing that a replay without them does not find.
        ticks = [event for now in range(call.now - 3 * SECOND, call.now, SECOND) for event in _ticked(live, now)]
        before = live.time
        events = [*ticks, *tell(live, [call])]
        batch = batch_of(call.spans) if call.spans else None
        found = again.replay(call.now, before if call.spans else live.time, batch)
        assert sorted(event.id for event in found) == sorted(event.id for event in events)


def _ticked(engine: Engine, now: int) -> list[AlertEvent]:
    return engine.advance(now) if engine.time and now > engine.time else []


def is_followed(vector: Vector) -> bool:
    """Whether a vector has nothing that is found for all samples of a request together."""
    labels = {tuple(sorted(each.labels)) for each in series_of(vector)}
    return (
        len(labels) == 1
        and not any(True for _ in _combines(vector))
        and all(not s.offset_ns for s in series_of(vector))
    )


def _combines(vector: Any) -> Any:  # noqa: ANN401  # of any kind
    if isinstance(vector, Combine) or type(vector).__name__ in ("Absent",):
        yield vector
    on = vector.on if isinstance(vector, Logical) else getattr(getattr(vector, "matching", None), "on", None)
    if on is not None and set(on) != set(labels_of(vector.left) or ()):
        yield vector
    for name in ("left", "right", "argument", "parameter"):
        inner = getattr(vector, name, None)
        if inner is not None and not isinstance(vector, Series):
            yield from _combines(inner)
    for inner in getattr(vector, "parameters", ()):
        yield from _combines(inner)
    if type(vector).__name__ == "Apply" and vector.function.value in ("scalar", "vector"):
        yield vector


@settings(max_examples=150, **LENIENT)
@given(data=st.data(), rules=expression_rules(most=2), spans=histories_of())
def test_alerts_do_not_depend_on_how_samples_came_together(
    data: st.DataObject, rules: list[Rule], spans: list[Span]
) -> None:
    followed = []
    for rule in rules:
        assert rule.expression is not None
        vectors_of = (rule.expression.value, *(rule.expression.limits or ()))
        if rule.expression.gate is None and all(is_followed(each) or labels_of(each) is None for each in vectors_of):
            followed.append(replace(rule, for_ns=0))
    cuts = sorted({0, len(spans), *data.draw(st.lists(st.integers(0, len(spans)), max_size=4))})
    one, other = Engine(followed), Engine(followed)
    apart = [event.id for span in spans for event in one.ingest(batch_of([span]), span.time)]
    together = [event.id for a, b in pairwise(cuts) for event in other.ingest(batch_of(spans[a:b]), spans[b - 1].time)]
    assert sorted(together) == sorted(apart)
    until = EPOCH + 500 * SECOND
    assert sorted(event.id for event in one.advance(until)) == sorted(event.id for event in other.advance(until))
