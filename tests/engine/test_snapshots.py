"""An engine that was stopped and goes on from its state says what one that ran through says."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from comparing import Call, at, deliveries, tell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keeping import restarted, roundtrip, unlike
from samples import MINUTE, SECOND, Span, batch_of, histories, rule_of, rules

from tocsin.alerts.event import AlertEvent
from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.errors import SnapshotError
from tocsin.model.batch import SpanClass
from tocsin.model.state import State
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Scope

KINDS = list(SpanClass)[:7]
SMALL = LimitsConfig(traces=100, evidence=1000, groups=3)
"""Tables of a few hundred rows, and groups past the limit."""


@st.composite
def plans(draw: st.DrawFn) -> list[Rule]:
    """Some rules of every kind."""
    drawn = []
    for number in range(draw(st.integers(1, 5))):
        windowless = draw(st.integers(0, 3)) == 0
        rule = draw(rules(windowless=windowless, scopes=[Scope.SPAN, Scope.SPAN, Scope.TRACE]))
        if not windowless and rule.scope is Scope.SPAN and draw(st.integers(0, 4)) == 0:
            rule = replace(rule, condition=Condition.ABSENT, aggregate=Aggregate.COUNT, quantile=None)
        drawn.append(replace(rule, name=f"rule-{number}"))
    return drawn


@st.composite
def inputs(draw: st.DrawFn) -> list[Call]:
    """Traffic that leaves something to wait for, in requests, with ticks in between."""
    nested, trees, inherited = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    spans = draw(histories(classes=KINDS, inherited=inherited, nested=nested, trees=trees))
    extra = draw(st.lists(st.tuples(st.sampled_from([1, 2]), st.booleans()), min_size=len(spans), max_size=len(spans)))
    calls = [
        replace(span, scope=scope, wraps=wraps, labels={**span.labels, "response_id": f"r{span.trace}"})
        for span, (scope, wraps) in zip(spans, extra, strict=True)
    ]
    return draw(deliveries(calls))


def exact(events: Sequence[AlertEvent]) -> list[str]:
    """Return all that events say, in a form in which NaN equals itself."""
    return [repr(event) for event in events]


LENIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=30, **LENIENT)
@given(plan=plans(), calls=inputs(), data=st.data())
def test_an_engine_goes_on_from_any_state_as_if_it_had_not_stopped(
    plan: list[Rule], calls: list[Call], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(calls)))
    whole = Engine(plan, limits=SMALL)
    list(tell(whole, calls[:cut]))
    second = restarted(whole, calls[cut - 1].now if cut else 0, SMALL)
    assert unlike(whole, second) == []
    assert exact(list(tell(second, calls[cut:]))) == exact(list(tell(whole, calls[cut:])))
    assert unlike(whole, second) == []
    assert second.statistics == whole.statistics


def logged(engine: Engine, calls: Sequence[Call]) -> tuple[list[AlertEvent], list[tuple[int, int, Call]]]:
    """Return what an engine says, and what a service logs: time is logged where its passing said something."""
    said, log = [], []
    for call in calls:
        before = engine.time
        events = list(tell(engine, [call]))
        if call.spans or events:
            log.append((call.now, before if call.spans else engine.time, call))
        said += events
    return said, log


def ticking(calls: Sequence[Call], step: int) -> list[Call]:
    """Return the calls with further ticks between those that are near to each other."""
    found = [*calls[:1]]
    for one, other in pairwise(calls):
        until = min(other.now, one.now + 50 * step)
        found += [Call(now) for now in range(one.now + step, until, step)]
        found.append(other)
    return found


@pytest.mark.slow
@settings(max_examples=30, **LENIENT)
@given(plan=plans(), other=plans(), calls=inputs(), step=st.sampled_from([SECOND // 3, 7 * SECOND]), data=st.data())
def test_a_log_given_again_says_the_same_however_often_the_clock_ticked(
    plan: list[Rule], other: list[Rule], calls: list[Call], step: int, data: st.DataObject
) -> None:
    cut, change = data.draw(st.integers(0, len(calls))), data.draw(st.integers(0, len(calls)))
    live, calls = Engine(plan, limits=SMALL), ticking(calls, step)
    list(tell(live, calls[:cut]))
    again = restarted(live, 0, SMALL)
    said, log = logged(live, calls[cut : cut + change])
    expected = exact(said)
    now = calls[cut].now if cut < len(calls) else at(0)
    told = [again.replay(wall, time, batch_of(call.spans) if call.spans else None) for wall, time, call in log]
    assert [text for events in told for text in exact(events)] == expected
    # Then other rules, and what follows.
    before = live.time
    expected = exact(live.replace_rules(other, now))
    assert exact(again.replay(now, before, rules=other)) == expected
    said, log = logged(live, calls[cut + change :])
    told = [again.replay(wall, time, batch_of(call.spans) if call.spans else None) for wall, time, call in log]
    assert [text for events in told for text in exact(events)] == exact(said)


@settings(max_examples=10, **LENIENT)
@given(plan=plans(), calls=inputs(), data=st.data())
def test_what_was_frozen_stays_as_it_was_while_the_engine_goes_on(
    plan: list[Rule], calls: list[Call], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(calls)))
    engine = Engine(plan, limits=SMALL)
    list(tell(engine, calls[:cut]))
    early, late = engine.freeze(), engine.freeze()
    expected = roundtrip(early)
    list(tell(engine, calls[cut:]))
    engine.replace_rules([], calls[-1].now)
    assert repr(roundtrip(late)) == repr(expected)


def spans_of(count: int, **fields: Any) -> list[Span]:  # noqa: ANN401  # fields of a span
    return [Span(at(place), place % 7 + 1, place + 1, cost_nano=10**9, **fields) for place in range(count)]


def test_a_span_that_is_sent_again_after_a_restart_counts_once() -> None:
    engine = Engine([rule := rule_of(threshold=1000)], limits=SMALL)
    spans = spans_of(30)
    engine.ingest(batch_of(spans), at(30))
    for _ in range(3):
        engine = restarted(engine, at(30), SMALL)
        engine.ingest(batch_of(spans[10:]), at(31))
    assert engine.statistics.samples == {rule.key: 30}
    assert engine.statistics.duplicates == 60


def test_time_that_passed_while_nothing_ran_is_no_event_time() -> None:
    engine = Engine([rule_of(threshold=5, for_ns=20 * SECOND)], limits=SMALL)
    engine.ingest(batch_of([Span(at(0), cost_nano=7 * 10**9)]), at(0))
    engine.advance(at(10))
    second = restarted(engine, at(10_000), SMALL)
    assert second.advance(at(10_009)) == []
    (event,) = second.advance(at(10_011))
    assert (event.started_at, event.fired_at, event.detected_at) == (at(0), at(20), at(10_011))


def test_engines_with_different_secrets_go_on_side_by_side() -> None:
    spans = spans_of(40, labels={"response_id": "é"}, latency=5 * SECOND)
    plan = [rule_of(threshold=10**6), rule_of(name="p", threshold=10**6, aggregate=Aggregate.QUANTILE, quantile=0.5)]
    states = []
    for secret in (1, 2**64 - 1):
        engine = Engine(plan, limits=SMALL)
        fresh = roundtrip(engine.freeze())
        fresh["engine"] = {**fresh["engine"], "secret": secret}  # type: ignore[dict-item]  # a mapping
        engine.thaw(fresh, 0)
        engine.ingest(batch_of(spans[:20]), at(20))
        states.append(roundtrip(engine.freeze()))
    assert repr(states[0]["seen"]) != repr(states[1]["seen"])
    engines = [Engine(plan, limits=SMALL) for _ in states]
    for engine, state in zip(engines, states, strict=True):
        engine.thaw(state, at(20))
    for engine in engines:
        engine.ingest(batch_of(spans), at(40))
    assert [engine.statistics.duplicates for engine in engines] == [20, 20]
    assert engines[0].statistics == engines[1].statistics


def busy() -> Engine:
    """An engine with something in every part of its state."""
    plan = [
        rule_of(name=f"{aggregate}-{scope}", aggregate=aggregate, quantile=0.9, scope=scope, threshold=0.5, group_by=by)
        for aggregate in (Aggregate.SUM, Aggregate.MAX, Aggregate.LAST, Aggregate.QUANTILE, Aggregate.STDDEV)
        for scope, by in ((Scope.SPAN, (("conversation",),)), (Scope.TRACE, (("tenant",), ("environment",))))
    ]
    plan += [
        rule_of(name="hits", window_ns=None, threshold=0.5),
        rule_of(name="traces", window_ns=None, scope=Scope.TRACE, threshold=0.5, group_by=(("trace",),)),
        rule_of(name="scores", metric=Metric.JUDGE_SCORE, window_ns=MINUTE, threshold=0.1),
    ]
    engine = Engine(plan, limits=SMALL)
    for number in range(60):
        labels = {"conversation": f"c{number % 5}", "tenant": "a", "response_id": f"r{number // 2}", "service": "s"}
        labels = labels if number % 3 else {"environment": "x"}
        kind = [SpanClass.LLM, SpanClass.LLM, SpanClass.AGENT, SpanClass.TOOL][number % 4]
        span = Span(
            at(number), number // 4 + 1, number + 1, number - number % 4 if number % 4 else 0, None, kind,
            labels=labels, cost_nano=10**9, failed=number % 2 == 0, input_tokens=5, scope=number % 2,
            wraps=number % 4 == 1, numbers={"judge_score": 0.5},
        )  # fmt: skip
        engine.ingest(batch_of([span]), at(number))
    return engine


def test_a_thawed_engine_is_the_same_in_every_attribute() -> None:
    engine = busy()
    assert unlike(engine, restarted(engine, 0, SMALL)) == []
    assert unlike(engine, Engine(engine.rules, limits=SMALL)) != []


def test_a_state_of_another_format_or_of_other_rules_is_refused() -> None:
    engine = busy()
    state = roundtrip(engine.freeze())
    newer = {**state, "engine": {**state["engine"], "format": Engine.FORMAT + 1}}  # type: ignore[dict-item]  # a mapping
    with pytest.raises(
        SnapshotError, match=f"is of format {Engine.FORMAT + 1}, and this program reads {Engine.FORMAT}"
    ):
        Engine(engine.rules, limits=SMALL).thaw(newer, 0)
    with pytest.raises(SnapshotError, match="is of other rules"):
        Engine(engine.rules[1:], limits=SMALL).thaw(state, 0)


def places(state: State, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return where in a state there is a value that is no container."""
    if isinstance(state, dict):
        return [found for key, each in state.items() for found in places(each, (*path, key))]
    if isinstance(state, list):
        return [found for key, each in enumerate(state[:2]) for found in places(each, (*path, key))]
    return [path]


def changed(state: Any, path: tuple[str | int, ...], wrong: Any) -> Any:  # noqa: ANN401  # a state
    if not path:
        return wrong(state)
    if isinstance(state, dict):
        return {key: changed(each, path[1:], wrong) if key == path[0] else each for key, each in state.items()}
    return [changed(each, path[1:], wrong) if key == path[0] else each for key, each in enumerate(state)]


def _larger(value: Any) -> Any:  # noqa: ANN401  # a state
    if isinstance(value, np.ndarray):
        return np.full_like(value, 100) if value.dtype.kind in "iu" else value
    return 1 << 40 if type(value) is int else value


WRONGS = {
    "missing": lambda _: None,
    "text": lambda _: "?",
    "larger": _larger,
    "negative": lambda value: -value - 1 if isinstance(value, np.ndarray) and value.dtype.kind == "i" else -5,
    "shorter": lambda value: value[:-1] if isinstance(value, (np.ndarray, str)) else value,
    "longer": lambda value: np.concatenate([value, value]) if isinstance(value, np.ndarray) else value,
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONGS)
def test_a_state_with_any_wrong_value_is_refused_or_can_be_lived_with(wrong: str) -> None:
    engine = busy()
    state = roundtrip(engine.freeze())
    later = [
        Span(at(70 + n), n + 1, 900 + n, labels={"conversation": "c1", "tenant": "a"}, cost_nano=5) for n in range(9)
    ]
    refused = 0
    for path in places(dict(state))[::4]:
        new = Engine(engine.rules, limits=SMALL)
        try:
            new.thaw(changed(state, path, WRONGS[wrong]), at(60))
        except SnapshotError:
            refused += 1
            continue
        new.ingest(batch_of(later), at(80))
        new.advance(at(10_000))
        new.freeze()
        assert new.statistics.open_traces == 0, path
    assert refused > 30 if wrong in ("missing", "text") else True
