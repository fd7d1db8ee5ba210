"""Alert events as documents come back exactly, hostile text and all."""

import dataclasses

import pytest
from alert_events import alert_event
from event_strategies import events
from hypothesis import given

from tocsin.alerts.document import dump_event, load_event
from tocsin.alerts.event import AlertEvent


@given(events())
def test_an_event_comes_back_as_it_went(event: AlertEvent) -> None:
    back = load_event(dump_event(event))
    # The text has every digit, tells NaN from a number, -0.0 from 0.0, and a float from a whole number.
    assert repr(back) == repr(event)
    assert back.rule == event.rule or event.rule != event.rule


def test_a_field_of_another_kind_is_said_with_its_place() -> None:
    document = dump_event(alert_event())
    with pytest.raises(ValueError, match="alert event: evidence: samples: '240' is no whole number"):
        load_event(document.replace(b'"samples":240', b'"samples":"240"'))


def test_numbers_of_numpy_are_written_as_what_they_are() -> None:
    np = pytest.importorskip("numpy")
    event = alert_event()
    evidence = dataclasses.replace(event.evidence, value=np.float64(27.31))
    assert load_event(dump_event(dataclasses.replace(event, evidence=evidence))).evidence.value == 27.31
