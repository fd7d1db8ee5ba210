import dataclasses

from alert_events import alert_event
from hypothesis import given
from hypothesis import strategies as st

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.backlog import Backlog, Pending


def pending(transition: Transition = Transition.FIRING, *, alert: str | None = None, due: float = 0.0) -> Pending:
    event: AlertEvent = alert_event(transition)
    if alert is not None:
        event = dataclasses.replace(event, alert_id=alert)
    return Pending(event, published_ns=0, due=due)


def test_the_event_that_is_due_first_is_offered_first() -> None:
    backlog = Backlog(10)
    late, soon = pending(due=5), pending(due=1)
    backlog.add(late)
    backlog.add(soon)
    assert backlog.head() is soon


def test_a_later_event_of_an_alert_is_not_offered_before_the_earlier_one() -> None:
    backlog = Backlog(10)
    first, second = pending(alert="a", due=9), pending(alert="a", due=1)
    backlog.add(first)
    backlog.add(second)
    assert backlog.head() is first
    backlog.remove(first)
    assert backlog.head() is second


def test_a_full_backlog_lets_go_of_what_is_missed_least() -> None:
    backlog = Backlog(4)
    kept = pending()
    superseded, resolved = pending(alert="a"), pending(Transition.RESOLVED, alert="a")
    reminder = pending(Transition.REMINDER)
    for item in (kept, superseded, resolved, reminder):
        assert backlog.add(item) is None
    assert backlog.add(pending()) is reminder
    assert backlog.add(pending()) is superseded
    assert backlog.add(pending()) is resolved
    assert backlog.add(pending()) is kept


def test_the_event_that_is_being_sent_is_never_let_go() -> None:
    backlog = Backlog(1)
    sending = pending(Transition.REMINDER)
    backlog.add(sending)
    backlog.take(sending)
    newest = pending()
    assert backlog.add(newest) is newest
    assert list(backlog) == [sending]


def test_merging_leaves_the_latest_of_each_alert_and_counts_the_others() -> None:
    backlog = Backlog(10)
    items = [pending(alert="a"), pending(alert="b"), pending(alert="a"), pending(alert="a")]
    for item in items:
        backlog.add(item)
    gone = backlog.merge()
    assert gone == [(items[0], items[3]), (items[2], items[3])]
    assert items[3].merged == 2
    assert set(map(id, backlog)) == {id(items[1]), id(items[3])}
    assert backlog.merge() == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10)), max_size=40), st.data())
def test_the_head_is_what_a_plain_search_finds(entries: list[tuple[str, float]], data: st.DataObject) -> None:
    backlog, shadow = Backlog(100), list[Pending]()
    for alert, due in entries:
        item = pending(alert=alert, due=due)
        backlog.add(item)
        shadow.append(item)
        if data.draw(st.booleans()) and shadow:
            head = backlog.head()
            assert head is not None
            if data.draw(st.booleans()):
                backlog.remove(head)
                shadow.remove(head)
            else:
                head.due = data.draw(st.floats(0, 20))
                backlog.changed(head)
        heads: dict[str, Pending] = {}
        for one in shadow:
            heads.setdefault(one.event.alert_id, one)
        expected = min(heads.values(), key=lambda one: (one.due, one.sequence), default=None)
        assert backlog.head() is expected
        assert len(backlog) == len(shadow)
