"""Ids: the same for the same event in any process, different for any other."""

import re
import subprocess
import sys
from dataclasses import replace

from alert_courses import rule_of
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.event import Transition
from tocsin.alerts.identity import alert_id, event_id

RULE = rule_of()
texts = st.text("ab:1\x00é", max_size=3)
facts = st.tuples(texts, texts, texts, st.dictionaries(texts, texts, max_size=2), st.integers(0, 20))
Facts = tuple[str, str, str, dict[str, str], int]


def id_of(facts: Facts) -> str:
    project, name, version, group, started_at = facts
    return alert_id(replace(RULE, project=project, name=name, version=version), group, started_at)


@given(facts, facts)
def test_alerts_have_one_id_if_and_only_if_all_their_facts_agree(left: Facts, right: Facts) -> None:
    assert (id_of(left) == id_of(right)) == (left == right)
    assert re.fullmatch("alt_[0-9a-f]{32}", id_of(left))


@given(
    st.tuples(texts, st.sampled_from(Transition), st.integers(0, 30), st.integers(0, 3)),
    st.tuples(texts, st.sampled_from(Transition), st.integers(0, 30), st.integers(0, 3)),
)
def test_events_have_one_id_if_and_only_if_all_their_facts_agree(
    left: tuple[str, Transition, int, int], right: tuple[str, Transition, int, int]
) -> None:
    assert (event_id(*left) == event_id(*right)) == (left == right)
    assert re.fullmatch("evt_[0-9a-f]{32}", event_id(*left))


def test_the_order_of_labels_does_not_matter() -> None:
    assert alert_id(RULE, {"a": "1", "b": "2"}, 5) == alert_id(RULE, {"b": "2", "a": "1"}, 5)


def test_another_process_finds_the_same_ids() -> None:
    program = "from tocsin.alerts.identity import event_id; print(event_id('alt_x', 'firing', 5, 0))"
    program = program.replace("'firing'", "Transition.FIRING").replace(
        "import event_id", "import event_id; from tocsin.alerts.event import Transition"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603  # our own interpreter
    assert other.stdout.strip() == event_id("alt_x", Transition.FIRING, 5, 0)


def test_ids_stay_as_they_are() -> None:
    """What was sent before an update must be known after it: receivers drop repeats by these."""
    assert alert_id(RULE, {"tenant": "acme"}, 1) == "alt_6f2fc8a7ac222744e2c9f4608bf13d36"
    assert event_id("alt_x", Transition.FIRING, 5, 0) == "evt_3db9c9ba6e02e146e3beeb0155143200"
