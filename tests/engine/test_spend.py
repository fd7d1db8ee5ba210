"""Live spend, against a list of calls: each once, at its own time, under the labels that its trace gives it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import roundtrip
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, rule_of

from tocsin.engine.engine import Engine
from tocsin.engine.spend import BY, FOLLOWED, Spend, SpendReport, Sums
from tocsin.model.batch import CostSource, SpanClass
from tocsin.rules.rule import Rule

HOUR = 60 * MINUTE
LABELS = ("conversation", "tenant", "environment")
BY_TENANT = rule_of(name="by-tenant", group_by=(("tenant",),), threshold=10**9)


def engine_of(rules: Sequence[Rule] = ()) -> Engine:
    return Engine(rules, spend=Spend())


def fed(engine: Engine, *requests: Sequence[Span]) -> Engine:
    for spans in requests:
        engine.ingest(batch_of(spans, LABELS), max(span.time for span in spans))
    return engine


def report(engine: Engine, by: str = "conversation", window_ns: int = HOUR, **more: int | str) -> SpendReport:
    assert engine.spend is not None
    return engine.spend.report(by, window_ns, engine.time, **more)  # type: ignore[arg-type]  # limit, offset, order


def usd(engine: Engine, by: str = "conversation", window_ns: int = HOUR) -> dict[str, int]:
    return {key.value: key.sums.nano_usd for key in report(engine, by, window_ns).keys}


def call(number: int, cost: int = 1000, *, at: float = 0, trace: int | None = None, **fields: object) -> Span:
    given = {"input_tokens": 70, "output_tokens": 30} | fields
    return Span(
        time=EPOCH + int(at * SECOND),
        trace=trace or number,
        span=number,
        cost_nano=cost,
        **given,  # type: ignore[arg-type]  # of a Span
    )


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """Calls below a parent that has the labels, or has not; parents end last, as instrumentations write them."""
    spans: list[Span] = []
    for trace in range(1, draw(st.integers(1, 12)) + 1):
        begin = draw(st.integers(0, 900)) + draw(st.integers(0, 1)) * 4000
        labels = {label: f"{label}-{draw(st.integers(0, 3))}" for label in LABELS[:2] if draw(st.booleans())}
        calls = draw(st.integers(1, 4))
        own = draw(st.booleans())
        spans += [
            call(
                trace * 10 + number,
                draw(st.integers(0, 10**6)),
                at=begin + number,
                trace=trace,
                parent=trace * 10 + 9,
                labels={"model": draw(st.sampled_from("xyz"))} | (labels if own else {}),
                failed=draw(st.booleans()),
                cost_source=draw(st.sampled_from((CostSource.COMPUTED, CostSource.UNPRICED))),
                output_tokens=draw(st.integers(-1, 100)),
            )
            for number in range(calls)
        ]
        spans.append(
            Span(
                time=EPOCH + (begin + calls) * SECOND,
                trace=trace,
                span=trace * 10 + 9,
                span_class=SpanClass.CHAIN,
                latency=(calls + 2) * SECOND,
                labels=labels,
            )
        )
    return sorted(spans, key=lambda span: span.time)


def expected(spans: Sequence[Span], by: str, now: int, window_ns: int) -> tuple[Sums, dict[str, Sums]]:
    """Return the total and each key's sums, by looking at every call."""
    width = SECOND if window_ns <= 5 * MINUTE else 12 * SECOND
    shared: dict[tuple[int, str], str] = {}
    for span in spans:
        for label in LABELS[:2]:
            if label in span.labels:
                shared[span.trace, label] = span.labels[label]
    sums: dict[str | None, list[int]] = defaultdict(lambda: [0] * 5)
    for span in spans:
        if span.span_class != SpanClass.LLM or span.time // width < (now - window_ns) // width:
            continue
        key = span.labels.get(by) or shared.get((span.trace, by))
        row = (
            span.cost_nano,
            max(span.input_tokens, 0) + max(span.output_tokens, 0),
            1,
            int(span.failed),
            int(span.cost_source == CostSource.UNPRICED),
        )
        for place in (key, "\0all"):
            sums[place] = [before + more for before, more in zip(sums[place], row, strict=True)]
    total = Sums(*sums.pop("\0all", [0] * 5))
    return total, {key: Sums(*each) for key, each in sums.items() if key is not None}


@settings(deadline=None)
@given(spans=traces(), size=st.integers(1, 20), twice=st.booleans(), rules=st.sampled_from(((), (BY_TENANT,))))
def test_spend_is_what_a_list_of_calls_says(spans: list[Span], size: int, twice: bool, rules: tuple[Rule, ...]) -> None:
    engine = engine_of(rules)
    for begin in range(0, len(spans), size):
        for _ in range(1 + twice):
            fed(engine, spans[begin : begin + size])
    assert sum(engine.statistics.cost_nano.values()) == sum(span.cost_nano for span in spans)
    for by in BY:
        for window_ns in (MINUTE, 5 * MINUTE, HOUR):
            found = report(engine, by, window_ns)
            total, keys = expected(spans, by, engine.time, window_ns)
            assert found.total == total
            assert {key.value: key.sums for key in found.keys} == keys
            assert [key.sums.nano_usd for key in found.keys] == sorted(
                (sums.nano_usd for sums in keys.values()), reverse=True
            )
            assert found.most_more == found.rest == Sums(0, 0, 0, 0, 0)
            assert found.without == total.less(_together(keys.values()))
            assert sum(nano for _, nano in found.course) == total.nano_usd
            assert found.known == len(keys)


def _together(sums: Iterable[Sums]) -> Sums:
    columns = zip(*(astuple(each) for each in sums), strict=True)
    return Sums(*map(sum, columns)) if sums else Sums(0, 0, 0, 0, 0)


def test_a_label_that_the_parent_brings_counts_at_the_time_of_the_call() -> None:
    engine = fed(engine_of(), [call(1, at=0, trace=7, parent=2)])
    assert usd(engine) == {}
    assert report(engine).without.nano_usd == report(engine).total.nano_usd == 1000
    parent = Span(time=EPOCH + 100 * SECOND, trace=7, span=2, span_class=SpanClass.CHAIN, labels={"conversation": "c"})
    fed(engine, [parent])
    assert usd(engine) == {"c": 1000}
    assert usd(engine, window_ns=MINUTE) == {}, "the call is older than a minute"
    assert report(engine).without.nano_usd == 0


def test_an_agent_is_the_one_above_the_call_not_another_of_its_trace() -> None:
    spans = [
        call(1, 1, at=1, trace=7, parent=11),
        call(2, 10, at=2, trace=7, parent=12),
        *(
            Span(
                time=EPOCH + number * SECOND,
                trace=7,
                span=number,
                parent=0 if number == 13 else 13,
                span_class=SpanClass.AGENT,
                labels={"agent": f"agent-{number}"},
            )
            for number in (11, 12, 13)
        ),
    ]
    assert usd(fed(engine_of(), *([span] for span in spans)), "agent") == {"agent-12": 10, "agent-11": 1}


def test_time_alone_lets_spend_leave() -> None:
    engine = fed(engine_of(), [call(1, labels={"conversation": "c"})])
    engine.advance(EPOCH + 59 * SECOND)
    assert usd(engine, window_ns=MINUTE) == {"c": 1000}
    engine.advance(EPOCH + 62 * SECOND)
    assert usd(engine, window_ns=MINUTE) == {}
    assert usd(engine, window_ns=5 * MINUTE) == {"c": 1000}
    engine.advance(EPOCH + 62 * MINUTE)
    assert report(engine).total == Sums(0, 0, 0, 0, 0)


def test_pages_follow_each_other_and_the_rest_is_what_they_leave_out() -> None:
    spans = [call(number, number, labels={"conversation": f"c{number}"}) for number in range(1, 41)]
    engine = fed(engine_of(), spans)
    pages = [report(engine, offset=offset, limit=15) for offset in (0, 15, 30, 45)]
    assert [key.value for page in pages for key in page.keys] == [f"c{number}" for number in range(40, 0, -1)]
    assert pages[0].rest.calls == 25
    by_tokens = report(engine, order="tokens", limit=1)
    assert by_tokens.keys[0].value == "c40", "of equal ones the more expensive"


def test_a_restart_goes_on_with_the_windows_and_with_what_is_awaited() -> None:
    engine = fed(engine_of([BY_TENANT]), [call(1, 5, trace=7, parent=2), call(3, 9, labels={"tenant": "t"})])
    again = engine_of([BY_TENANT])
    again.thaw(roundtrip(engine.freeze()), engine.time)
    assert usd(again, "tenant") == {"t": 9}
    parent = Span(time=EPOCH + SECOND, trace=7, span=2, span_class=SpanClass.CHAIN, labels={"conversation": "c"})
    for each in (engine, again):
        fed(each, [parent], [call(1, 5, trace=7, parent=2)])
        assert usd(each) == {"c": 5}, "and the call that came again is not counted again"
    assert report(again) == report(engine)


@pytest.mark.parametrize("before", [None, Spend()], ids=["without spend", "with spend"])
def test_a_state_from_before_spend_was_counted_is_taken(before: Spend | None) -> None:
    old = fed(Engine([BY_TENANT], spend=before), [call(1, 5, labels={"tenant": "t"})])
    state = roundtrip(old.freeze())
    state.pop("spend", None)
    engine = state["engine"]
    assert isinstance(engine, dict)
    if before is None:
        del engine["followed"]
    new = engine_of([BY_TENANT])
    new.thaw(state, old.time)
    assert usd(new, "tenant") == {}
    fed(new, [call(2, 7, labels=dict.fromkeys(FOLLOWED, "x"))])
    for label in FOLLOWED:
        assert usd(new, label) == {"x": 7}


def test_rules_decide_the_same_with_spend_and_without() -> None:
    spans = [call(1, trace=7, parent=2), replace(call(2, trace=7), span_class=SpanClass.AGENT, labels={"agent": "a"})]
    rule = rule_of(name="each", threshold=0, group_by=())
    told = [
        [
            replace(event, detected_at=0)
            for spans in ([spans[1]], [spans[0]])
            for event in engine.ingest(batch_of(spans), EPOCH)
        ]
        for engine in (Engine([rule]), engine_of([rule]))
    ]
    assert told[0] == told[1] != []


def test_many_conversations_are_held_by_bounded_memory_and_the_answer_says_how_exact_it_is() -> None:
    engine = engine_of()
    number = 0
    for second in range(0, 40, 2):
        spans = []
        for _ in range(2000):
            number += 1
            spans.append(call(number, 100, at=second, labels={"conversation": f"once-{number}"}))
        number += 1
        spans.append(call(number, 50_000, at=second, labels={"conversation": "runaway"}))
        fed(engine, spans)
    found = report(engine, limit=3)
    assert (found.keys[0].value, found.keys[0].sums.nano_usd) == ("runaway", 20 * 50_000)
    assert found.total.nano_usd == 20 * (2000 * 100 + 50_000)
    assert found.total.calls == sum(key.sums.calls for key in found.keys) + found.rest.calls
    assert 0 < found.most_more.nano_usd <= 20 * 2 * 100
    assert found.known < 20 * 4 * 256


def test_absent_numbers_are_no_spend() -> None:
    engine = fed(engine_of(), [call(1, 0, input_tokens=-1, output_tokens=-1, labels={"conversation": "c"})])
    (key,) = report(engine).keys
    assert key.sums == Sums(0, 0, 1, 0, 0)
    assert np.isfinite(key.sums.nano_usd)


def test_a_conversation_keeps_its_name_when_texts_that_nobody_has_are_forgotten() -> None:
    engine = fed(engine_of(), [call(1, 10**6, labels={"conversation": "kept"})])
    number = 1
    for minutes in range(4, 41, 4):  # after two minutes traces and spans are forgotten, and their texts
        spans = []
        for _ in range(5000):
            number += 1
            spans.append(call(number, 1, at=60 * minutes, labels={"conversation": f"{number}"}))
        fed(engine, spans)
    (first,) = report(engine, limit=1).keys
    assert (first.value, first.sums.nano_usd) == ("kept", 10**6)
    assert len({key.value for key in report(engine, limit=500).keys}) == 500
