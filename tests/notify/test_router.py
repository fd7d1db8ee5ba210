import dataclasses
from typing import Any

import pytest
from alert_events import AT, MINUTE, alert_event
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.routing.decision import Decision, Reason
from tocsin.notify.routing.inhibition import Inhibitions, InhibitRule
from tocsin.notify.routing.matchers import labels_of, matches, parse_matchers
from tocsin.notify.routing.router import Active, Plan, Router
from tocsin.notify.routing.silences import Silence, SilenceState
from tocsin.notify.routing.timings import TimeInterval
from tocsin.notify.routing.tree import RouteConfig, Tree
from tocsin.rules.rule import ROUTED, Severity
from tocsin.service.loading import load_text

ROUTES: TypeAdapter[tuple[RouteConfig, ...]] = TypeAdapter(tuple[RouteConfig, ...])
HOUR = 60 * MINUTE


def tree(*routes: dict[str, Any]) -> Tree:
    return Tree(ROUTES.validate_python(list(routes)))


def routed_event(transition: Transition = Transition.FIRING, **changes: Any) -> AlertEvent:  # noqa: ANN401
    event = alert_event(transition, **{"notify": (ROUTED,), **changes})
    level = dataclasses.replace(event.rule.levels[0], notify=(ROUTED,))
    return dataclasses.replace(event, rule=dataclasses.replace(event.rule, levels=(level,)))


def silence(*matchers: str, start: int = AT, end: int = AT + HOUR, name: str = "sil_1") -> Silence:
    return Silence(name, parse_matchers(list(matchers)), start, end, "deploy", "ann", AT, AT)


class Heard:
    """Whom the outbox would have told."""

    def __init__(self) -> None:
        self.told: set[tuple[str, str]] = set()

    def __call__(self, contact_point: str, alert_id: str) -> bool:
        return (contact_point, alert_id) in self.told


def router(plan: Plan | None = None) -> tuple[Router, Heard]:
    heard = Heard()
    made = Router(heard)
    made.adopt(plan or Plan())
    return made, heard


def decided(made: Router, heard: Heard, event: AlertEvent, now: int = AT) -> Decision:
    routed = made.decide(event, now)
    assert routed is not None
    assert routed.event.notify == routed.decision.contact_points
    assert ROUTED not in routed.event.notify
    heard.told |= {(name, event.alert_id) for name in routed.event.notify}
    return routed.decision


def test_the_first_branch_wins_its_deepest_route_decides_and_continue_goes_on() -> None:
    routes = tree(
        {"matchers": ['rule="other"'], "contact_points": ["nobody"]},
        {"contact_points": ["audit"], "continue": True},
        {
            "matchers": ['team="support"'],
            "contact_points": ["support"],
            "group_by": ["team"],
            "routes": [
                {"matchers": ['severity=~"high|critical"'], "contact_points": ["oncall"]},
                {"matchers": ['severity="low"'], "group_by": ["..."]},
            ],
        },
        {"contact_points": ["rest"]},
    )
    labels = labels_of(alert_event())
    found = routes.destinations(labels)
    assert [one.contact_point for one in found] == ["audit", "oncall"]
    assert found[1].hold is not None
    assert found[1].hold.name == "team=support"
    low = routes.destinations(labels | {"severity": "low"})
    assert [(one.contact_point, one.hold) for one in low][1] == ("support", None)
    assert [one.contact_point for one in routes.destinations({"team": "x"})] == ["audit", "rest"]


def test_a_rule_that_names_somebody_is_not_routed() -> None:
    made, heard = router(Plan(tree({"contact_points": ["routed"]})))
    assert decided(made, heard, alert_event(notify=("own",))).contact_points == ("own",)
    assert decided(made, heard, routed_event()).contact_points == ("routed",)


def test_rules_that_name_nobody_are_routed_where_there_are_routes() -> None:
    rules = "rules: [{name: r, metric: cost, condition: gt, threshold: 1}, "
    rules += (
        "{name: s, metric: cost, condition: gt, threshold: 1, notify: [own]}]\ncontact_points: {own: {type: log}}\n"
    )
    with_routes = load_text(rules + "routes: [{contact_points: own}]\n").rules
    assert [rule.levels[0].notify for rule in with_routes] == [(ROUTED,), ("own",)]
    without = load_text(rules).rules
    assert [rule.levels[0].notify for rule in without] == [(), ("own",)]
    assert [one.version == two.version for one, two in zip(with_routes, without, strict=True)] == [False, True]


def test_an_alert_that_no_route_takes_is_recorded_with_that() -> None:
    made, heard = router(Plan(tree({"matchers": ['team="x"'], "contact_points": ["x"]})))
    found = decided(made, heard, routed_event())
    assert (found.contact_points, found.held[0].reason) == ((), Reason.NO_ROUTE)


def test_what_was_decided_is_not_decided_again_not_even_by_the_next_process() -> None:
    made, heard = router()
    event = alert_event(notify=("own",))
    decided(made, heard, event)
    assert made.decide(event, AT) is None
    following, _ = router()
    following.load([(event.alert_id, Active(event))], [event.id])
    assert following.decide(event, AT) is None


def test_a_silence_holds_back_from_its_start_until_before_its_end() -> None:
    for now, told in ((AT - 1, True), (AT, False), (AT + HOUR - 1, False), (AT + HOUR, True)):
        made, heard = router()
        made.silences.put(silence('conversation="conv-42"'))
        found = decided(made, heard, alert_event(notify=("own",)), now)
        assert bool(found.contact_points) == told
        assert found.silenced_by == (() if told else ("sil_1",))


def test_who_heard_of_an_alert_hears_its_end_silence_or_not_and_nobody_else_does() -> None:
    made, heard = router()
    loud = alert_event(notify=("own",))
    decided(made, heard, loud)
    made.silences.put(silence('rule="runaway-conversation"'))
    quiet = alert_event(notify=("own",))
    decided(made, heard, quiet)
    ends = [dataclasses.replace(one, id=one.id + "e", transition=Transition.RESOLVED) for one in (loud, quiet)]
    assert decided(made, heard, ends[0]).contact_points == ("own",)
    unheard = decided(made, heard, ends[1])
    assert (unheard.contact_points, unheard.held[0].reason) == ((), Reason.UNHEARD)


def test_a_silences_end_tells_what_still_fires_once() -> None:
    made, heard = router()
    ended = silence('team="support"')
    made.silences.put(ended)
    events = [alert_event(notify=("own",)) for _ in range(3)]
    for event in events:
        decided(made, heard, event)
    over = dataclasses.replace(events[0], id="evt_over", transition=Transition.RESOLVED)
    decided(made, heard, over)
    assert ended.state(AT + HOUR) is SilenceState.EXPIRED
    told = made.after(ended, AT + HOUR)
    assert [one.event.alert_id for one in told] == [event.alert_id for event in events[1:]]
    assert all(one.event.notify == ("own",) for one in told)
    assert made.after(ended, AT + HOUR) == []


def test_what_another_silence_covers_is_not_told_at_the_end_of_the_first() -> None:
    made, heard = router()
    first, second = silence('team="support"'), silence('team="support"', end=AT + 2 * HOUR, name="sil_2")
    made.silences.put(first)
    made.silences.put(second)
    decided(made, heard, alert_event(notify=("own",)))
    assert made.after(first, AT + HOUR) == []
    assert [one.event.notify for one in made.after(second, AT + 2 * HOUR)] == [("own",)]


def test_an_acknowledged_alert_is_not_reminded_of_but_told_when_it_gets_worse() -> None:
    made, heard = router()
    event = alert_event(notify=("own",))
    decided(made, heard, event)
    made.acknowledge(event.alert_id, "ann")
    reminder = dataclasses.replace(event, id="evt_r", transition=Transition.REMINDER)
    assert decided(made, heard, reminder).held[0].reason is Reason.ACKNOWLEDGED
    worse = dataclasses.replace(event, id="evt_w", escalated_from=Severity.LOW)
    assert decided(made, heard, worse).contact_points == ("own",)


def test_contact_points_and_routes_are_muted_and_the_timing_is_named() -> None:
    plan = Plan(
        tree({"contact_points": ["a", "b"], "mute_timings": ["quiet"]}),
        {"quiet": (TimeInterval(),), "off": (TimeInterval.model_validate({"years": ["1999"]}),)},
        contact_timings={"c": ("off", "quiet")},
    )
    made, heard = router(plan)
    found = decided(made, heard, routed_event(notify=(ROUTED, "c", "d")))
    assert found.contact_points == ("d",)
    assert {(one.contact_point, one.reason, one.by) for one in found.held} == {
        (name, Reason.MUTED, "quiet") for name in "abc"
    }


def test_reminders_come_no_sooner_than_the_routes_interval() -> None:
    made, heard = router(Plan(tree({"contact_points": ["a"], "repeat_interval": "1h"})))
    event = routed_event()
    decided(made, heard, event)
    soon = dataclasses.replace(event, id="evt_soon", transition=Transition.REMINDER)
    assert decided(made, heard, soon, AT + HOUR - 1).held[0].reason is Reason.REPEAT
    later = dataclasses.replace(event, id="evt_later", transition=Transition.REMINDER)
    assert decided(made, heard, later, AT + HOUR).contact_points == ("a",)


def test_inhibition_ends_with_its_source() -> None:
    rule = InhibitRule.model_validate(
        {"source_matchers": ['severity="critical"'], "target_matchers": ['severity="low"'], "equal": ["team"]}
    )
    made, heard = router(Plan(inhibit_rules=(rule,)))
    source = alert_event(notify=("own",))
    decided(made, heard, source)
    first = decided(made, heard, alert_event(notify=("own",), severity=Severity.LOW))
    assert (first.contact_points, first.held[0].by) == ((), source.alert_id)
    other = alert_event(notify=("own",), severity=Severity.LOW, rule={"labels": {"team": "x"}})
    assert decided(made, heard, other).contact_points == ("own",)
    decided(made, heard, dataclasses.replace(source, id="evt_end", transition=Transition.RESOLVED))
    assert decided(made, heard, alert_event(notify=("own",), severity=Severity.LOW)).contact_points == ("own",)


small = st.fixed_dictionaries(
    {"severity": st.sampled_from("ab"), "team": st.sampled_from("xy"), "rule": st.sampled_from("pq")}
)
matcher = st.tuples(
    st.sampled_from(["severity", "team", "rule"]), st.sampled_from(["=", "!="]), st.sampled_from("abxypq")
).map("".join)
rules = st.builds(
    lambda source, target, equal: InhibitRule.model_validate(
        {"source_matchers": source, "target_matchers": target, "equal": sorted(equal)}
    ),
    st.lists(matcher, max_size=2),
    st.lists(matcher, max_size=2),
    st.sets(st.sampled_from(["severity", "team", "rule"])),
)


@given(st.lists(rules, max_size=3), st.lists(st.tuples(st.integers(0, 4), st.booleans(), small), max_size=12), small)
def test_inhibition_is_what_every_pair_looked_at_says(
    inhibit: list[InhibitRule], steps: list[tuple[int, bool, dict[str, str]]], asked: dict[str, str]
) -> None:
    made = Inhibitions(tuple(inhibit))
    firing: dict[str, dict[str, str]] = {}
    for number, fires, labels in steps:
        if fires:
            made.fires(str(number), labels)
            firing[str(number)] = labels
        else:
            made.ends(str(number))
            firing.pop(str(number), None)
    expected = set()
    for rule in inhibit:
        if matches(rule.target_matchers, asked):
            both = matches(rule.source_matchers, asked)
            expected |= {
                source
                for source, labels in firing.items()
                if source != "0"
                and matches(rule.source_matchers, labels)
                and not (both and matches(rule.target_matchers, labels))
                and all(labels.get(name) == asked.get(name) for name in rule.equal)
            }
    found = made.source_of("0", asked)
    assert (found in expected) if expected else (found is None)


def test_a_decision_survives_as_a_document() -> None:
    made, heard = router(Plan(tree({"contact_points": ["a"], "group_by": ["team"]})))
    made.silences.put(silence('team="nobody"'))
    found = decided(made, heard, routed_event(notify=(ROUTED, "b")))
    assert found.incidents["a"].startswith("inc_")
    assert Decision.of(found.event_id, found.alert_id, found.at, found.document()) == found


@pytest.mark.parametrize(
    "written", [{"receiver": "a"}, {"group_interval": "0s"}, {"matchers": ["x"]}, {"routes": [{"x": 1}]}]
)
def test_routes_that_mean_nothing_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        tree(written)
