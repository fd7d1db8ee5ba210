"""A test goes through what the service goes through, and its stops change nothing."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, histories, rule_of, rules

from tocsin.engine.engine import Engine
from tocsin.rules.rule import Rule
from tocsin.service.ruletests.matching import in_order, pairs
from tocsin.service.ruletests.playing import play

Fits = Callable[[int, int], bool]
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(
    histories(max_traces=4, spread=MINUTE),
    st.lists(rules(), min_size=1, max_size=2),
    st.lists(st.integers(0, 180), max_size=5),
)
def test_the_events_are_those_of_an_engine_that_is_given_all_at_once(
    spans: list[Span], some: list[Rule], asked: list[int]
) -> None:
    named = [replace(rule, name=f"rule {at}") for at, rule in enumerate(some)]
    end = 180 * SECOND
    batch = batch_of(spans)
    played = play(named, batch, EPOCH, end, [at * SECOND for at in asked])
    engine = Engine(named)
    events = engine.ingest(batch, int(batch.end[-1])) + engine.replay(EPOCH + end, EPOCH + end)
    assert [(event.id, repr(event.evidence.value)) for event in played.events] == [
        (event.id, repr(event.evidence.value)) for event in events
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(histories(spread=MINUTE), st.integers(0, 180))
def test_what_fires_at_an_instant_is_what_fired_and_was_not_resolved(spans: list[Span], instant: int) -> None:
    rule = rule_of(group_by=(("conversation",),), threshold=5, window_ns=30 * SECOND)
    at = instant * SECOND
    played = play([rule], batch_of(spans), EPOCH, 180 * SECOND, [at])
    firing: set[str] = set()
    for event in played.events:
        if played.when(event) <= at:
            (firing.discard if event.transition.value == "resolved" else firing.add)(event.alert_id)
    assert {each.event.alert_id for each in played.firing[at]} == firing
    for each in played.firing[at]:
        window = [
            span for span in spans
            if span.labels["conversation"] == each.event.group["conversation"]
            and EPOCH + at - 31 * SECOND < span.time <= EPOCH + at and span.cost_nano
        ]  # fmt: skip
        least = sum(span.cost_nano for span in window if span.time > EPOCH + at - 30 * SECOND and _billed(span))
        most = sum(span.cost_nano for span in window if _billed(span))
        assert least <= round(each.value * 1e9) <= most


@given(st.lists(st.integers(0, 5), max_size=5), st.lists(st.integers(0, 5), max_size=5))
def test_as_many_pairs_are_found_as_there_can_be(expected: list[int], got: list[int]) -> None:
    def fits(one: int, other: int) -> bool:
        return (one + other) % 3 != 0

    found = pairs(expected, got, fits)
    assert all(fits(expected[one], got[other]) for one, other in found.items())
    assert len(set(found.values())) == len(found) == _most(expected, got, fits)
    ordered = in_order(expected, got, fits)
    assert all(fits(expected[one], got[other]) for one, other in ordered.items())
    assert sorted(ordered.values()) == [ordered[one] for one in sorted(ordered)]
    assert len(ordered) == _longest(expected, got, fits)


def _most(expected: list[int], got: list[int], fits: Fits) -> int:
    if not expected:
        return 0
    rest = expected[1:]
    chosen = [1 + _most(rest, got[:at] + got[at + 1 :], fits) for at, each in enumerate(got) if fits(expected[0], each)]
    return max([_most(rest, got, fits), *chosen])


def _longest(expected: list[int], got: list[int], fits: Fits) -> int:
    if not expected or not got:
        return 0
    both = 1 + _longest(expected[1:], got[1:], fits) if fits(expected[0], got[0]) else 0
    return max(both, _longest(expected[1:], got, fits), _longest(expected, got[1:], fits))


def _billed(span: Span) -> bool:
    return span.span_class.name == "LLM"
