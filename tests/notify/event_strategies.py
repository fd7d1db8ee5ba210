"""Any alert event at all, hostile text included."""

from alert_events import AT, alert_event
from hypothesis import strategies as st

from tocsin.alerts.event import AlertEvent, Driver, TraceShare, Transition
from tocsin.rules.rule import Aggregate, Condition, Metric, Scope, Severity

__all__ = ["events", "hostile_text"]

hostile_text = st.one_of(
    st.text(st.characters(), max_size=60),
    st.sampled_from(
        [
            "<!channel> <@U024BE7LH> <http://evil.example|click>",
            "a\r\nBcc: everyone@evil.example",
            "\x1b[2J\x1b]0;pwned\x07",
            "\u202egnp.exe",
            "\ud800",
            "{{ 7 | times: 7 }} {% raw %}",
            "<script>alert(1)</script>",
            "&amp;&lt;" * 1000,
            "x" * 5000,
            "",
        ]
    ),
)
_values = st.one_of(st.floats(), st.floats(0, 1e6), st.sampled_from([0.0, 1e300, 27.31]))
_times = st.integers(0, 2**63)


@st.composite
def events(draw: st.DrawFn) -> AlertEvent:
    aggregate = draw(st.sampled_from(Aggregate))
    rule = {
        "name": draw(hostile_text),
        "description": draw(hostile_text),
        "metric": draw(st.sampled_from(Metric)),
        "attribute": draw(hostile_text),
        "scope": draw(st.sampled_from(Scope)),
        "aggregate": aggregate,
        "quantile": draw(st.floats(0, 1)) if aggregate is Aggregate.QUANTILE else None,
        "condition": draw(st.sampled_from(Condition)),
        "window_ns": draw(st.none() | st.integers(1, 10**17)),
        "labels": draw(st.dictionaries(hostile_text, hostile_text, max_size=2)),
        "summary": draw(st.none() | hostile_text),
        "dashboard_url": draw(st.none() | st.just("https://g.example/d?v={{ group.a }}") | hostile_text),
        "runbook_url": draw(st.none() | st.just("https://r.example/x") | hostile_text),
    }
    evidence = {
        "value": draw(_values),
        "samples": draw(st.integers(0, 10**9)),
        "unpriced_samples": draw(st.integers(0, 3)),
        "estimated": draw(st.booleans()),
        "window_from": draw(_times),
        "window_to": draw(_times),
        "traces": tuple(draw(st.lists(st.builds(TraceShare, hostile_text, _values), max_size=5))),
        "drivers": tuple(draw(st.lists(st.builds(Driver, hostile_text, hostile_text, _values), max_size=5))),
    }
    return alert_event(
        # An acknowledgement is told only to receivers that follow each alert, never as a webhook body.
        draw(st.sampled_from([one for one in Transition if one is not Transition.ACKNOWLEDGED])),
        evidence=evidence,
        rule=rule,
        group=draw(st.dictionaries(st.just("a") | hostile_text, hostile_text, max_size=3)),
        severity=draw(st.sampled_from(Severity)),
        escalated_from=draw(st.none() | st.sampled_from(Severity)),
        threshold=draw(_values),
        peak=draw(_values),
        suppressed=draw(st.integers(0, 10**6)),
        resolved_at=draw(st.none() | _times),
        fired_at=draw(st.sampled_from([AT]) | _times),
        event_to_arrival_ns=draw(st.none() | st.integers(-(10**12), 10**15)),
    )
