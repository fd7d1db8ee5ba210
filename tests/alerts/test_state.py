"""Alert state, drawn in time: one character a minute."""

import pytest
from alert_courses import MINUTE, START, Course, notices, rule_of, states

from tocsin.alerts.event import Transition
from tocsin.alerts.state import Alert, AlertState, due, elapse, observe, worse
from tocsin.rules.rule import Condition

NAN = float("nan")


@pytest.mark.parametrize(
    ("before", "keep", "drawn", "wanted"),
    [
        (0, 0, ".##.#..", "iffrfrr"),
        (2, 0, ".##.####..", "ippippffrr"),
        (3, 0, "##########", "pppfffffff"),
        (0, 2, "#....", "fffrr"),
        (0, 2, "#.#...", "fffffr"),
        (0, 3, "##..#....#", "ffffffffrf"),
        (2, 2, "####...##", "ppffffrpp"),
        (1, 0, "#.#.#.", "pipipi"),
        (1, 0, "# .", "pfr"),
    ],
)
def test_an_alert_fires_after_for_and_resolves_after_keep_firing_for(
    before: int, keep: int, drawn: str, wanted: str
) -> None:
    assert states(rule_of(before=before, keep=keep), drawn) == wanted


@pytest.mark.parametrize(
    ("cooldown", "drawn", "wanted"),
    [
        (0, "##.#.", "f.rfr"),
        (3, "#########", "f..m..m.."),  # at the end of each cooldown, while it fires
        (3, "#.#.#.#", "frFRfrF"),  # an episode within the cooldown is recorded only, its end too
        (4, "#.#.....#", "frFR....f"),
        (5, "##.......", "f.r......"),  # resolved is told, cooldown or not
        (3, "#.###.", "frFm.r"),  # it still fires as the cooldown ends, so it is told after all
    ],
)
def test_a_cooldown_keeps_quiet_and_ends_with_a_reminder(cooldown: int, drawn: str, wanted: str) -> None:
    assert notices(rule_of(cooldown=cooldown), drawn) == wanted


def test_an_alert_need_not_be_reported_resolved() -> None:
    assert notices(rule_of(notify_resolved=False), "#.#.") == "fRfR"


LEVELS = (("slack",), ("slack", "oncall"), ("phone",))


@pytest.mark.parametrize(
    ("cooldown", "drawn", "wanted"),
    [
        (9, "0011 22 1100.", "f.f..f..F.F.r"),
        (9, "0.1.2", "frFRF"),  # within the cooldown of the last notification a new episode is recorded only
        (0, "0121.", "ffffr"),  # without a cooldown every change is told
        (3, "100000", "fF.m.."),
    ],
)
def test_levels_escalate_in_spite_of_the_cooldown_and_fall_in_silence(cooldown: int, drawn: str, wanted: str) -> None:
    assert notices(rule_of(cooldown=cooldown, notify=LEVELS), drawn) == wanted


def test_whoever_was_told_of_an_episode_is_told_of_its_end() -> None:
    course = Course(rule_of(cooldown=60, notify=LEVELS))
    list(course.run("0210."))
    fired, escalated, *recorded, resolved = course.changes
    assert (fired.notify, fired.escalated_from) == (("slack",), None)
    assert (escalated.notify, escalated.escalated_from, escalated.level) == (("phone",), 0, 2)
    assert [(change.notify, change.escalated_from, change.level) for change in recorded] == [((), 2, 1), ((), 1, 0)]
    assert resolved.transition is Transition.RESOLVED
    assert resolved.notify == ("slack", "phone")
    assert resolved.level == 0


def test_a_level_without_contact_points_begins_no_cooldown() -> None:
    assert notices(rule_of(cooldown=5, notify=((), ("oncall",))), "0010000000.") == "F.fF......r"


def test_an_alert_that_nobody_is_told_of_is_only_recorded() -> None:
    assert notices(rule_of(cooldown=2, notify=((),)), "######.#.") == "F.....RFR"


@pytest.mark.parametrize(
    ("cooldown", "keep", "drawn", "wanted"),
    [
        (3, 0, "#......", "f..r..."),
        (3, 0, "#.#.....", "f..m.r.."),
        (3, 0, "####....", "f..m..r."),
        (3, 5, "#......", "f....r."),
        (0, 0, "#.#", "r.r"),  # fired and resolved in the same minute
        (3, 0, "#..#", "f..f"),  # it resolves when the cooldown is over, and the hit of that minute fires anew
    ],
)
def test_hits_of_a_rule_without_a_window_are_told_once_a_cooldown(
    cooldown: int, keep: int, drawn: str, wanted: str
) -> None:
    assert notices(rule_of(window=None, cooldown=cooldown, keep=keep), drawn) == wanted


def test_a_reminder_of_hits_says_how_many_and_the_worst() -> None:
    course = Course(rule_of(window=None, cooldown=5, notify=LEVELS[:1]))
    list(course.run("#.##."))
    observe(course.alert, 0, 99.0, START + 4 * MINUTE, hits=3)
    (reminder,) = elapse(course.alert, START + 5 * MINUTE, course.alert.peak)
    assert reminder.transition is Transition.REMINDER
    assert reminder.suppressed == 5
    assert course.alert.peak == 99.0
    (resolved,) = elapse(course.alert, START + 60 * MINUTE, 0.0)
    assert resolved.transition is Transition.RESOLVED
    assert resolved.at == START + 9 * MINUTE, "a cooldown after the last hit"


def test_hits_between_two_levels_escalate_once() -> None:
    course = Course(rule_of(window=None, cooldown=30, notify=LEVELS[:2]))
    list(course.run("0101010"))
    assert [(change.level, bool(change.notify)) for change in course.changes] == [(0, True), (1, True)]
    assert course.alert.suppressed == 5


@pytest.mark.parametrize("minutes", [30, 95, 10_000])
def test_a_jump_over_many_cooldowns_gives_one_reminder_the_newest(minutes: int) -> None:
    rule = rule_of(cooldown=30)
    alert = Alert(rule, {})
    observe(alert, 0, 1.0, START, hits=1)
    (reminder,) = elapse(alert, START + minutes * MINUTE, 1.0)
    assert reminder.transition is Transition.REMINDER
    assert reminder.at == START + minutes // 30 * 30 * MINUTE
    assert due(alert) == reminder.at + 30 * MINUTE


def test_a_jump_over_the_end_gives_the_last_reminder_before_it_and_the_end() -> None:
    alert = Alert(rule_of(cooldown=10, keep=35), {})
    observe(alert, 0, 1.0, START, hits=1)
    observe(alert, -1, 0.0, START, hits=0)
    reminder, resolved = elapse(alert, START + 1000 * MINUTE, 0.0)
    assert (reminder.transition, reminder.at) == (Transition.REMINDER, START + 30 * MINUTE)
    assert (resolved.transition, resolved.at) == (Transition.RESOLVED, START + 35 * MINUTE)


def test_what_was_due_before_an_evaluation_has_its_own_time() -> None:
    course = Course(rule_of(before=2))
    list(course.run("#"))
    changes = observe(course.alert, -1, 0.0, START + 9 * MINUTE, hits=0)
    assert [(change.transition, change.at) for change in changes] == [
        (Transition.FIRING, START + 2 * MINUTE),
        (Transition.RESOLVED, START + 9 * MINUTE),
    ]
    assert course.alert.started_at == START
    assert course.alert.fired_at == START + 2 * MINUTE


@pytest.mark.parametrize(
    ("condition", "left", "right", "wanted"),
    [
        (Condition.GT, 1.0, 2.0, 2.0),
        (Condition.GTE, 2.0, 1.0, 2.0),
        (Condition.LT, 1.0, 2.0, 1.0),
        (Condition.LTE, NAN, 2.0, 2.0),
        (Condition.GT, 2.0, NAN, 2.0),
    ],
)
def test_the_worse_value_is_the_one_further_beyond_the_threshold(
    condition: Condition, left: float, right: float, wanted: float
) -> None:
    assert worse(rule_of(condition=condition), left, right) == wanted


def test_an_alert_at_rest_has_nothing_due() -> None:
    alert = Alert(rule_of(), {})
    assert alert.state is AlertState.INACTIVE
    assert due(alert) is None
    assert elapse(alert, START, 0.0) == []
