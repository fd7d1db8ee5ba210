"""What holds of every course of an alert, whatever happens."""

from alert_courses import MINUTE, START, Course, rule_of
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.event import Transition
from tocsin.alerts.state import AlertState, Change, due
from tocsin.rules.rule import Rule

rules = st.builds(
    rule_of,
    window=st.sampled_from([None, 5]),
    before=st.integers(0, 3),
    keep=st.integers(0, 3),
    cooldown=st.integers(0, 6),
    notify_resolved=st.booleans(),
    notify=st.lists(st.sampled_from([(), ("slack",), ("slack", "oncall")]), min_size=1, max_size=3).map(tuple),
)
marks = st.text("..##  012", max_size=40)


def played(rule: Rule, drawn: str) -> Course:
    course = Course(rule)
    for _ in course.run("".join(mark if not mark.isdigit() or int(mark) < len(rule.levels) else "#" for mark in drawn)):
        following = due(course.alert)
        assert following is None or following > START + course.minute * MINUTE, "what was due has happened"
    return course


@given(rules, marks)
def test_an_episode_fires_once_and_then_only_changes_level_until_it_is_resolved(rule: Rule, drawn: str) -> None:
    level: int | None = None
    for change in played(rule, drawn).changes:
        match change.transition:
            case Transition.FIRING if level is None:
                assert change.escalated_from is None
                level = change.level
            case Transition.FIRING:
                assert change.escalated_from == level != change.level
                level = change.level
            case Transition.REMINDER:
                assert change.level == level
            case _:
                assert change.level == level
                level = None


@given(rules, marks)
def test_notifications_are_a_cooldown_apart_but_for_escalations_and_ends(rule: Rule, drawn: str) -> None:
    last: Change | None = None
    for change in played(rule, drawn).changes:
        if change.transition is Transition.RESOLVED or not change.notify:
            continue
        escalated = change.escalated_from is not None and change.level > change.escalated_from
        assert last is None or escalated or change.at - last.at >= rule.cooldown_ns
        last = change


@given(rules, marks)
def test_an_end_is_told_to_those_who_were_told_of_the_episode(rule: Rule, drawn: str) -> None:
    told: tuple[str, ...] = ()
    for change in played(rule, drawn).changes:
        if change.transition is Transition.RESOLVED:
            assert change.notify == (told if rule.notify_resolved else ())
            told = ()
        else:
            told = tuple(dict.fromkeys(told + change.notify))


@given(rules, marks)
def test_times_never_run_back_and_a_reminder_is_told(rule: Rule, drawn: str) -> None:
    course = played(rule, drawn)
    times = [change.at for change in course.changes]
    assert times == sorted(times)
    assert all(change.notify for change in course.changes if change.transition is Transition.REMINDER)


@given(rules, marks)
def test_an_alert_has_held_for_as_long_as_asked_when_it_fires(rule: Rule, drawn: str) -> None:
    course = Course(rule)
    for _, found in course.run("".join("#" if mark.isdigit() else mark for mark in drawn)):
        for change in found:
            if change.transition is Transition.FIRING and change.escalated_from is None:
                assert change.at - course.alert.started_at >= rule.for_ns or course.alert.started_at > change.at
                assert course.alert.fired_at >= change.at


@given(rules, st.text("..##012", min_size=1, max_size=12), st.integers(0, 30))
def test_passing_time_in_one_leap_ends_as_minute_by_minute(rule: Rule, drawn: str, silence: int) -> None:
    slowly, at_once = played(rule, drawn), played(rule, drawn)
    before = len(slowly.changes)
    list(slowly.run(" " * silence))
    at_once.minute += max(silence - 1, 0)
    list(at_once.run(" " * bool(silence)))
    assert (slowly.alert.state, slowly.alert.level) == (at_once.alert.state, at_once.alert.level)
    assert due(slowly.alert) == due(at_once.alert)
    assert [one for one in slowly.changes if one.transition is not Transition.REMINDER] == [
        one for one in at_once.changes if one.transition is not Transition.REMINDER
    ]
    reminders, newest = (
        [one for one in course.changes[before:] if one.transition is Transition.REMINDER]
        for course in (slowly, at_once)
    )
    assert [one.at for one in newest] == [one.at for one in reminders[-1:]]


@given(rules, marks)
def test_breaches_are_told_or_counted(rule: Rule, drawn: str) -> None:
    course = Course(rule)
    hits = counted = told = 0
    for mark, (state, found) in zip(drawn, course.run(drawn.replace("1", "0").replace("2", "0")), strict=True):
        if any(change.transition is Transition.RESOLVED for change in found):
            return  # an episode is enough
        hits += mark not in ". " and state is AlertState.FIRING
        for change in found:
            if change.notify:
                told += change.transition is Transition.FIRING and change.at == course.alert.last_hit
                counted += change.suppressed
    assert hits == counted + told + course.alert.suppressed
