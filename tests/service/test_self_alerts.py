"""Alerts about Tocsin itself: when they fire, whom they tell, what they say, and that they end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.contact import ContactConfig
from tocsin.notify.kinds import AnyContact
from tocsin.notify.message import MessageWriter
from tocsin.pricing.unpriced import UnpricedModel
from tocsin.rules.rule import Severity
from tocsin.service.self_alerts.conditions import Kind
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.service.self_alerts.watch import SelfWatch

SECOND = 10**9
MINUTE = 60 * SECOND
START = 1_790_000_000 * SECOND
"""2026-09-21T14:13:20Z."""
CONTACT: TypeAdapter[ContactConfig] = TypeAdapter(AnyContact)
LOG = CONTACT.validate_python({"type": "log"})
CONTACTS = {"oncall": LOG, "slack": LOG, "hook": LOG}


class Watched:
    """A watch and its clock; remembers what was said."""

    def __init__(self, config: SelfAlertsConfig | None = None, contacts: Sequence[str] = tuple(CONTACTS)) -> None:
        self.config = config or SelfAlertsConfig()
        self.contacts: dict[str, ContactConfig] = dict.fromkeys(contacts, LOG)
        self.watch = SelfWatch(self.config, self.contacts)
        self.now = START
        self.said: list[AlertEvent] = []

    def pass_time(self, seconds: float = 1, *, step: float = 1) -> list[AlertEvent]:
        """Go on second by second; return what was said meanwhile."""
        before = len(self.said)
        end = self.now + round(seconds * SECOND)
        while self.now < end:
            self.now = min(end, self.now + round(step * SECOND))
            self.said += self.watch.advance(self.now)
        return self.said[before:]

    def fail(self, *names: str, times: int = 1) -> None:
        for name in names * times:
            self.watch.delivery(name, ok=False, reason="503 from the receiver")

    def keep_failing(self, *names: str) -> list[AlertEvent]:
        """Ten failures of each over half a minute; return what was said meanwhile."""
        self.fail(*names, times=9)
        before = self.pass_time(30)
        self.fail(*names)
        return before + self.pass_time()


def summary_of(event: AlertEvent) -> str:
    return MessageWriter().message_of(event).summary


def told(events: Sequence[AlertEvent]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(event.rule.name, event.transition.value, event.notify) for event in events]


def unpriced(*models: tuple[str, int], reason: str = "no price") -> list[UnpricedModel]:
    return [UnpricedModel("acme", model, count, START, reason) for model, count in models]


# Delivery


def test_a_contact_point_that_fails_ten_times_in_a_row_is_told_of_through_the_others() -> None:
    watched = Watched()
    [event] = watched.keep_failing("hook")
    assert (event.rule.project, event.rule.name, event.severity) == ("tocsin", "delivery-failing", Severity.HIGH)
    assert event.group == {"contact_point": "hook"}
    assert event.notify == ("oncall", "slack")
    assert event.evidence.value == 10
    assert summary_of(event) == (
        "contact point hook takes no notifications since 2026-09-21T14:13:21Z: 10 attempts failed (503 from the "
        "receiver). They are tried again for 24 hours. Check it with: tocsin notify-test hook"
    )


def test_one_that_fails_for_five_minutes_is_told_of_however_few_the_attempts_are() -> None:
    watched = Watched()
    watched.fail("hook")
    assert watched.pass_time(299) == []
    watched.fail("hook")
    assert watched.pass_time() == [], "4 minutes and 59 seconds lie between the two"
    watched.pass_time(30)
    watched.fail("hook")
    [event] = watched.pass_time()
    assert event.evidence.value == 3


def test_many_failures_within_seconds_are_the_restart_of_a_receiver_for_which_much_waits() -> None:
    watched = Watched()
    watched.fail("hook", times=500)
    assert watched.pass_time(29) == []
    watched.fail("hook")
    assert watched.pass_time() == []
    watched.watch.delivery("hook", ok=True)
    assert watched.pass_time(400) == []


def test_silence_after_a_failure_is_no_further_failure() -> None:
    watched = Watched()
    watched.fail("hook")
    assert watched.pass_time(3600, step=10) == []


def test_a_refusal_for_good_is_told_of_at_once() -> None:
    watched = Watched()
    watched.watch.delivery("hook", ok=False, permanent=True, reason="404 from the receiver")
    [event] = watched.pass_time()
    assert "Some were refused for good; the others are tried again" in summary_of(event)


def test_a_success_between_failures_starts_the_count_again() -> None:
    watched = Watched()
    for _ in range(5):
        watched.fail("hook", times=9)
        assert watched.pass_time(60) == []
        watched.watch.delivery("hook", ok=True)


def test_the_end_is_told_to_who_was_told_of_the_beginning() -> None:
    watched = Watched()
    [fired] = watched.keep_failing("hook")
    watched.watch.delivery("hook", ok=True)
    [resolved] = watched.pass_time(2)
    assert resolved.transition is Transition.RESOLVED
    assert resolved.notify == fired.notify
    assert resolved.alert_id == fired.alert_id
    assert summary_of(resolved) == "resolved: contact point hook takes notifications again, or is another one now"


def test_the_only_contact_point_is_told_that_it_fails_since_it_may_have_recovered() -> None:
    watched = Watched(contacts=["hook"])
    [event] = watched.keep_failing("hook")
    assert event.notify == ("hook",)


def test_a_reminder_goes_to_the_failing_one_too_because_only_an_attempt_shows_that_it_recovered() -> None:
    watched = Watched()
    watched.keep_failing("hook")
    [reminder] = watched.pass_time(30 * 60)
    assert reminder.transition is Transition.REMINDER
    assert reminder.notify == ("oncall", "slack", "hook")
    assert summary_of(reminder).startswith("still firing: contact point hook takes no notifications since ")


def test_two_that_fail_are_two_alerts_and_each_is_told_of_the_other() -> None:
    watched = Watched(contacts=["a", "b"])
    events = watched.keep_failing("a", "b")
    assert [(event.group["contact_point"], event.notify) for event in events] == [("a", ("b",)), ("b", ("a",))]


def test_a_contact_point_whose_settings_changed_or_that_went_is_not_known_to_fail_any_more() -> None:
    watched = Watched()
    assert len(watched.keep_failing("hook", "slack")) == 2
    changed = CONTACT.validate_python({"type": "log", "min_severity": "high"})
    watched.watch.reconfigure(watched.config, {"oncall": LOG, "hook": changed})
    events = watched.pass_time(2)
    assert {(event.group["contact_point"], event.transition) for event in events} == {
        ("hook", Transition.RESOLVED),
        ("slack", Transition.RESOLVED),
    }
    assert all("slack" not in event.notify for event in events), "nobody is told who is not there"


def test_an_unchanged_contact_point_goes_on_failing_through_a_reload() -> None:
    watched = Watched()
    watched.keep_failing("hook")
    watched.watch.reconfigure(watched.config, dict(CONTACTS))
    assert watched.pass_time(60) == []
    assert watched.watch.firing == (("delivery-failing", {"contact_point": "hook"}),)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 200), st.sampled_from(["ok", "fail", "lost"])), max_size=60))
def test_delivery_alerts_agree_with_the_list_of_all_attempts(course: list[tuple[int, str]]) -> None:
    watched = Watched(SelfAlertsConfig.model_validate({"cooldown": "1d"}))
    history: list[tuple[int, str]] = []
    for seconds, outcome in course:
        watched.pass_time(seconds)
        watched.watch.delivery("hook", ok=outcome == "ok", permanent=outcome == "lost")
        watched.pass_time()
        history.append((watched.now, outcome))
        since = [entry for at, entry in enumerate(history) if all(one != "ok" for _, one in history[at:])]
        failing = bool(since) and (
            (len(since) >= 10 and since[-1][0] - since[0][0] >= MINUTE / 2)
            or any(one == "lost" for _, one in since)
            or since[-1][0] - since[0][0] >= 5 * MINUTE
        )
        watched.pass_time()
        assert bool(watched.watch.firing) == failing


# What is wrong until it is right


def test_an_edit_that_is_not_valid_is_told_of_after_a_minute_since_somebody_may_be_editing() -> None:
    watched = Watched()
    problems = ["rules.yaml:14:15: slide 45s does not divide size 2m; use 40s or 1m", "rules.yaml:20:1: more"]
    watched.watch.configuration(problems)
    assert watched.pass_time(60) == []
    watched.watch.configuration(problems[:1])  # another edit, still not valid
    [event] = watched.pass_time(1)
    assert (event.rule.name, event.severity, event.evidence.value) == ("rules-invalid", Severity.MEDIUM, 1)
    assert summary_of(event) == (
        "the configuration can't be used since 2026-09-21T14:13:21Z, and the one from before goes on: "
        "rules.yaml:14:15: slide 45s does not divide size 2m; use 40s or 1m. "
        "Correct the file; tocsin check shows every mistake"
    )
    watched.watch.configuration([])
    [resolved] = watched.pass_time(1)
    assert summary_of(resolved) == "resolved: the files are in force again"


def test_an_edit_that_is_repaired_within_the_minute_is_no_alert() -> None:
    watched = Watched()
    for _ in range(5):
        watched.watch.configuration(["a.yaml:1:1: no"])
        watched.pass_time(50)
        watched.watch.configuration([])
        watched.pass_time(20)
    assert watched.said == []


@pytest.mark.parametrize(
    ("part", "severity", "after", "words", "end"),
    [
        ("journal", Severity.CRITICAL, 5, "what is acknowledged is not kept on disk since", "is kept on disk again"),
        ("storage", Severity.HIGH, 15, "the state and history of alerts are not kept since", "are kept again"),
        ("forward", Severity.MEDIUM, 60, "received requests are not passed on since", "are passed on again"),
    ],
)
def test_a_degraded_part_is_told_of_with_its_reason(
    part: str, severity: Severity, after: int, words: str, end: str
) -> None:
    watched = Watched()
    watched.watch.degraded(part, "No space left on device.")
    assert watched.pass_time(after) == []
    [event] = watched.pass_time()
    assert (event.rule.name, event.severity) == (f"{part}-degraded", severity)
    assert words in summary_of(event)
    assert ": No space left on device. " in summary_of(event)
    watched.watch.degraded(part, None)
    [resolved] = watched.pass_time(90)
    assert summary_of(resolved).startswith("resolved: ")
    assert end in summary_of(resolved)


def test_a_part_that_comes_and_goes_is_one_notification_until_the_cooldown_is_over() -> None:
    watched = Watched()
    for _ in range(8):
        watched.watch.degraded("journal", "I/O error")
        watched.pass_time(20)
        watched.watch.degraded("journal", None)
        watched.pass_time(60)
    notified = [event for event in watched.said if event.notify]
    assert [event.transition for event in notified] == [Transition.FIRING, Transition.RESOLVED]
    assert len(watched.said) == 16, "the others are recorded"


# Rates


def test_requests_refused_for_load_for_a_minute_are_told_of_with_the_reasons() -> None:
    watched = Watched()
    for _ in range(62):
        watched.watch.refused("in_flight_bytes", 2)
        watched.watch.refused("memory")
        watched.watch.refused("malformed", 100)
        watched.pass_time()
    [event] = watched.said
    assert event.rule.name == "spans-refused"
    assert summary_of(event).startswith(
        "180 requests refused for load within a minute (in_flight_bytes 120, memory 60). "
    )
    watched.pass_time(60 + 120)
    assert watched.said[-1].transition is Transition.RESOLVED


def test_one_burst_that_was_refused_is_what_back_pressure_is_for() -> None:
    watched = Watched()
    watched.watch.refused("in_flight_bytes", 10_000)
    assert watched.pass_time(600) == []


def test_requests_that_nobody_would_take_are_no_trouble_of_ours() -> None:
    watched = Watched()
    for _ in range(600):
        for reason in ("malformed", "too_large", "shutting_down", "stopping", "unauthenticated"):
            watched.watch.refused(reason, 50)
        watched.pass_time()
    assert watched.said == []


def test_spans_from_the_future_are_told_of_by_their_share() -> None:
    watched = Watched()
    watched.watch.future(10**6, 10**9)  # what was counted before, by whomever
    for second in range(40):
        watched.watch.future(10**6 + 5 * second, 10**9 + 100 * second)
        watched.pass_time()
    [event] = watched.said
    assert event.rule.name == "clock-skew"
    assert event.evidence.value == pytest.approx(0.05)
    assert "(5 %) come from the future and are counted at the present" in summary_of(event)


@pytest.mark.parametrize(("ahead", "spans"), [(9, 9), (99, 10_000), (0, 10**6)])
def test_a_few_spans_from_the_future_are_nothing(ahead: int, spans: int) -> None:
    watched = Watched()
    watched.watch.future(0, 0)
    watched.watch.future(ahead, spans)
    assert watched.pass_time(400) == []


def test_counters_that_begin_again_are_no_skew() -> None:
    watched = Watched()
    watched.watch.future(10**6, 10**6)
    watched.pass_time()
    watched.watch.future(0, 0)
    watched.pass_time()
    watched.watch.future(3, 10**4)
    assert watched.pass_time(400) == []


# Unpriced models


def test_each_new_model_without_a_price_is_one_alert_of_low_severity() -> None:
    watched = Watched()
    watched.watch.unpriced(unpriced(("mystery-1", 3)))
    [event] = watched.pass_time()
    assert (event.rule.name, event.severity) == ("unpriced-models", Severity.LOW)
    assert event.group == {"provider": "acme", "model": "mystery-1"}
    assert summary_of(event) == (
        "model mystery-1 of acme has no price: 3 calls since 2026-09-21T14:13:21Z cost an unknown amount. "
        "Add it under prices.overrides"
    )
    watched.watch.unpriced(unpriced(("mystery-1", 900), ("mystery-2", 1)))
    [event] = watched.pass_time(3600)
    assert event.group["model"] == "mystery-2"


def test_a_call_that_only_lacks_its_usage_is_no_model_without_a_price() -> None:
    watched = Watched()
    watched.watch.unpriced(unpriced(("gpt-4o", 3), reason="no usage"))
    assert watched.pass_time(10) == []


def test_a_model_that_has_a_price_now_ends_its_alert() -> None:
    watched = Watched()
    watched.watch.unpriced(unpriced(("mystery-1", 3), ("mystery-2", 3)))
    assert len(watched.pass_time()) == 2
    watched.watch.unpriced(unpriced(("mystery-2", 3)))
    [event] = watched.pass_time(5)
    assert (event.transition, event.group["model"]) == (Transition.RESOLVED, "mystery-1")


def test_a_model_that_is_called_no_more_ends_its_alert_after_a_day_and_one_that_is_reminds_once_a_day() -> None:
    watched = Watched(contacts=["oncall"])
    for hour in range(50):
        watched.watch.unpriced(unpriced(("old", 3), ("current", 3 + hour)))
        watched.pass_time(3600, step=60)
    assert [(event.group["model"], event.transition.value) for event in watched.said[2:]] == [
        ("current", "reminder"),
        ("old", "resolved"),
        ("current", "reminder"),
    ]


def test_names_that_senders_invent_are_not_an_alert_each() -> None:
    watched = Watched()
    watched.watch.unpriced(unpriced(*((f"m{number}", 1) for number in range(400))))
    events = watched.pass_time()
    assert len(events) == 51
    assert events[-1].group == {"provider": "(others)", "model": "(others)"}
    assert events[-1].evidence.value == 350


@pytest.mark.parametrize("name", ["{{ rule.name }}", "{% endraw %}{{", "a\nb\u202e", "x" * 5000, "<!channel> & <b>"])
def test_a_models_name_is_text_whatever_is_in_it(name: str) -> None:
    watched = Watched()
    watched.watch.unpriced(unpriced((name, 1)))
    [event] = watched.pass_time()
    summary = summary_of(event)
    assert "\n" not in summary
    assert name[:20].replace("\n", " ").replace("\u202e", "") in summary
    assert "has no price: 1 call since" in summary


# Who is told


def test_only_who_is_named_is_told() -> None:
    watched = Watched(SelfAlertsConfig(notify=("slack", "gone")))
    watched.keep_failing("hook")
    watched.watch.degraded("journal", "full")
    watched.pass_time(10)
    assert told(watched.said) == [
        ("delivery-failing", "firing", ("slack",)),
        ("journal-degraded", "firing", ("slack",)),
    ]
    assert watched.config.missing(CONTACTS) == ("gone",)


@pytest.mark.parametrize("config", [SelfAlertsConfig(enabled=False), SelfAlertsConfig(min_severity=Severity.CRITICAL)])
def test_what_nobody_is_told_of_is_recorded_all_the_same(config: SelfAlertsConfig) -> None:
    watched = Watched(config)
    assert told(watched.keep_failing("hook")) == [("delivery-failing", "firing", ())]


@pytest.mark.parametrize(
    "written", [{"cooldown": "1s"}, {"cooldown": 30}, {"runbooks": "ftp://x"}, {"notify": 3}, {"min_severity": "loud"}]
)
def test_what_can_not_be_meant_is_refused(written: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SelfAlertsConfig.model_validate(written)


# Time and restarts


def test_a_clock_that_is_set_back_does_not_hold_up_an_alert() -> None:
    watched = Watched()
    watched.pass_time(10)
    watched.now -= 3600 * SECOND
    watched.watch.degraded("journal", "full")
    [event] = watched.pass_time(10)
    assert event.rule.name == "journal-degraded"


def test_an_evaluation_is_due_once_a_second() -> None:
    watched = Watched()
    watched.pass_time()
    watched.watch.delivery("hook", ok=False, permanent=True)
    assert watched.pass_time(0.9, step=0.1) == []
    assert len(watched.pass_time(0.1)) == 1


def restarted(watched: Watched) -> Watched:
    """Another process, some seconds later, with what the former one kept as a snapshot keeps it."""
    after = Watched(watched.config, tuple(watched.contacts))
    after.now = watched.now + 5 * SECOND
    after.watch.thaw(json.loads(json.dumps(watched.watch.freeze())))
    return after


def test_after_a_restart_nothing_is_told_twice_and_the_end_is_told() -> None:
    before = Watched()
    before.watch.unpriced(unpriced(("mystery-1", 3)))
    fired = before.keep_failing("hook")
    assert len(fired) == 2
    after = restarted(before)
    assert after.pass_time(60) == []
    after.watch.unpriced(unpriced(("mystery-1", 2)))
    assert after.pass_time(60) == []
    after.watch.delivery("hook", ok=True)
    after.watch.unpriced([])
    ends = after.pass_time(2)
    assert {(event.alert_id, event.transition) for event in ends} == {
        (event.alert_id, Transition.RESOLVED) for event in fired
    }
    assert all(event.notify for event in ends)


def test_what_a_restart_mended_ends_after_it() -> None:
    before = Watched()
    before.watch.configuration(["a.yaml:1:1: no"])
    before.watch.degraded("journal", "full")
    before.pass_time(70)
    after = restarted(before)
    assert told(after.pass_time(40)) == [
        ("rules-invalid", "resolved", ("oncall", "slack", "hook")),
        ("journal-degraded", "resolved", ("oncall", "slack", "hook")),
    ]


@pytest.mark.parametrize(
    "state", [None, 3, {}, {"form": 9}, {"form": 1, "alerts": [{}]}, {"form": 1, "alerts": [], "deliveries": [[1]]}]
)
def test_a_state_that_can_not_be_read_is_left_out(state: Any) -> None:  # noqa: ANN401  # anything at all
    watched = Watched()
    watched.watch.thaw(state)
    assert watched.pass_time(60) == []


def test_every_condition_has_its_page() -> None:
    pages = {page.stem for page in (Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md")}
    assert {kind.value for kind in Kind} <= pages
