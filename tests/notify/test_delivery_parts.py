import asyncio

import pytest
from alert_events import AT, alert_event
from scripted_contact import CountingObserver

from tocsin.notify.clock import SystemClock
from tocsin.notify.history import AttemptRecord, History, Outcome
from tocsin.notify.http import retry_after_of
from tocsin.notify.message import MessageWriter
from tocsin.notify.template import VARIABLES, problem_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("99999999999999999999", 999_999_999.0),
        ("Tue, 06 Jan 2026 03:15:10 GMT", 59.876543),
        ("Tue, 06 Jan 2020 03:15:10 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after_is_a_number_or_a_date_or_nothing(written: str, seconds: float | None) -> None:
    found = retry_after_of({"retry-after": written}, AT)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


def test_history_keeps_the_last_events_and_their_last_records() -> None:
    history = History(events=2, records=3)
    for event in ("one", "two", "three"):
        for number in range(1, 6):
            history.add(event, AttemptRecord("hook", Outcome.RETRYING, number, AT, 0.1, "503"))
    assert history.of("one") == ()
    assert [record.number for record in history.of("three")] == [3, 4, 5]


async def test_the_systems_clock_waits_for_the_event_or_the_time() -> None:
    clock, event = SystemClock(), asyncio.Event()
    before = clock.monotonic()
    await clock.wait(event, 0.01)
    assert clock.monotonic() - before >= 0.009
    event.set()
    async with asyncio.timeout(5):
        await clock.wait(event, None)
        await clock.wait(event, 3600)
    assert clock.now_ns() > AT


@pytest.mark.parametrize(
    "template", ["{{ value", "{% if %}", "{{ value | nonsense: }}", "{% nonsense %}", "{{ grup.conversation }}"]
)
def test_a_template_that_cannot_work_has_a_problem_in_one_line(template: str) -> None:
    problem = problem_of(template)
    assert problem
    assert "\n" not in problem


def test_what_a_check_accepts_is_what_a_template_is_given() -> None:
    for name in VARIABLES:
        written = f"{{{{ {name} }}}}x"
        observer = CountingObserver()
        MessageWriter(observer=observer).message_of(alert_event(rule={"summary": written}))
        assert problem_of(written) is None
        assert observer.templates == []


def test_a_template_that_can_be_parsed_has_none() -> None:
    assert problem_of("{{ group.conversation }} spent {{ value | usd }} in {{ window }}") is None
