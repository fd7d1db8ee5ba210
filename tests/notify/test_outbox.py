import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from alert_events import alert_event
from scripted_contact import CountingObserver, Scripted, ScriptedConfig
from stepped_clock import SteppedClock, settled

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import ConfigError, DeliveryError
from tocsin.notify.egress import Network
from tocsin.notify.history import AttemptRecord, Outcome
from tocsin.notify.lane import OutboxLimits, backoff
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.notify.store import Follower, MemoryStore, Store, Unfinished
from tocsin.rules.rule import Severity


@pytest.fixture(autouse=True)
def _receivers() -> Iterator[None]:
    ScriptedConfig.receivers.clear()
    yield
    ScriptedConfig.receivers.clear()


class Scene:
    """An outbox whose world is scripted."""

    def __init__(self, outbox: Outbox, clock: SteppedClock, observer: CountingObserver) -> None:
        self.outbox = outbox
        self.clock = clock
        self.observer = observer

    async def contact(self, **receivers: Scripted | tuple[Scripted, dict[str, object]]) -> None:
        configs = {}
        for name, given in receivers.items():
            scripted, keys = given if isinstance(given, tuple) else (given, {})
            ScriptedConfig.receivers[name] = scripted
            configs[name] = ScriptedConfig.model_validate({"receiver": name, **keys})
        await self.outbox.reconfigure(configs, Network())

    async def publish(self, *events: AlertEvent) -> None:
        for event in events:
            self.outbox.publish(event)
        await settled()


@asynccontextmanager
async def scene(store: Store | None = None, **limits: float) -> AsyncIterator[Scene]:
    clock, observer = SteppedClock(), CountingObserver()
    outbox = Outbox(
        MessageWriter(),
        observer=observer,
        store=store,
        clock=clock,
        random=Random(7),
        limits=dataclasses.replace(OutboxLimits(), **limits),  # type: ignore[arg-type]
    )
    async with outbox:
        yield Scene(outbox, clock, observer)


def update_of(event: AlertEvent, transition: Transition, **changes: object) -> AlertEvent:
    made = alert_event(transition)
    return dataclasses.replace(made, alert_id=event.alert_id, notify=event.notify, **changes)  # type: ignore[arg-type]


def unavailable(_event: AlertEvent, _number: int) -> DeliveryError:
    return DeliveryError("503", retryable=True)


async def test_an_event_reaches_each_of_its_contact_points_once() -> None:
    async with scene() as it:
        one, two, other = Scripted(), Scripted(), Scripted()
        await it.contact(one=one, two=two, other=other)
        event = alert_event(notify=("one", "two", "one"))
        await it.publish(event)
        assert one.taken == [event] == two.taken
        assert other.taken == []
        assert it.observer.lengths == {"one": 0, "two": 0}
        assert {record.outcome for record in it.outbox.attempts(event.id)} == {Outcome.DELIVERED}


async def test_a_hanging_contact_point_delays_no_other_and_not_the_publisher() -> None:
    async with scene() as it:
        dead, alive = Scripted(), Scripted()
        dead.gate.clear()
        await it.contact(dead=dead, alive=alive)
        events = [alert_event(notify=("dead", "alive")) for _ in range(50)]
        await it.publish(events[0])
        assert dead.entered.is_set()
        await it.publish(*events[1:])
        await settled()
        assert alive.taken == events
        assert dead.taken == []
        assert it.observer.lengths["dead"] == 50
        dead.gate.set()
        async with asyncio.timeout(5):
            while len(dead.taken) < len(events):
                await settled()
        assert dead.taken == events


async def test_a_retry_waits_for_its_backoff_and_carries_the_same_event() -> None:
    async with scene() as it:
        flaky = Scripted(lambda _event, number: DeliveryError("503", retryable=True) if number < 4 else None)
        await it.contact(hook=flaky)
        event = alert_event()
        await it.publish(event)
        assert [attempt.number for _, attempt in flaky.attempts] == [1]
        await it.clock.advance(1 + 2 + 4)
        assert flaky.taken == [event]
        assert [attempt.number for _, attempt in flaky.attempts] == [1, 2, 3, 4]
        assert it.observer.failures == [("hook", event.id, True)] * 3
        outcomes = [record.outcome for record in it.outbox.attempts(event.id)]
        assert outcomes == [Outcome.RETRYING] * 3 + [Outcome.DELIVERED]


def test_backoff_is_exponential_fully_jittered_and_capped() -> None:
    limits, random = OutboxLimits(), Random(1)
    for attempts, top in [(1, 1.0), (2, 2.0), (5, 16.0), (9, 256.0), (10, 300.0), (10_000, 300.0)]:
        drawn = [backoff(attempts, limits, random) for _ in range(500)]
        assert all(0 <= seconds <= top for seconds in drawn)
        assert max(drawn) > 0.9 * top
        assert min(drawn) < 0.1 * top


async def test_retry_after_holds_back_everything_for_that_receiver() -> None:
    async with scene() as it:
        busy = Scripted(
            lambda _event, number: DeliveryError("429", retryable=True, retry_after=120) if number == 1 else None
        )
        await it.contact(hook=busy)
        await it.publish(alert_event())
        await it.publish(alert_event())
        await it.clock.advance(119)
        assert len(busy.attempts) == 1
        await it.clock.advance(2)
        assert len(busy.attempts) >= 2


async def test_an_absurd_retry_after_is_cut_to_an_hour() -> None:
    async with scene() as it:
        hostile = Scripted(
            lambda _event, number: DeliveryError("429", retryable=True, retry_after=1e9) if number == 1 else None
        )
        await it.contact(hook=hostile)
        await it.publish(alert_event())
        await it.clock.advance(3601)
        assert len(hostile.taken) == 1


async def test_a_final_refusal_is_not_retried_and_is_logged_as_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scene() as it:
        closed = Scripted(lambda _event, _number: DeliveryError("410 gone", retryable=False))
        await it.contact(hook=closed)
        event = alert_event()
        await it.publish(event)
        await it.clock.advance(86_400)
        assert len(closed.attempts) == 1
        assert it.observer.failures == [("hook", event.id, False)]
        assert it.outbox.attempts(event.id)[-1].outcome is Outcome.FAILED
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_after_a_day_of_failures_an_event_is_given_up_and_said() -> None:
    async with scene() as it:
        down = Scripted(unavailable)
        await it.contact(hook=down)
        event = alert_event()
        await it.publish(event)
        await it.clock.advance(23.9 * 3600)
        assert len(it.outbox) == 1
        await it.clock.advance(3600)
        assert len(it.outbox) == 0
        assert it.observer.drops == [("hook", event.id, "expired")]
        assert 250 < len(down.attempts) < 1500


async def test_a_defect_in_a_notifier_costs_neither_the_event_nor_the_lane(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scene() as it:
        buggy = Scripted(lambda _event, number: RuntimeError("oops") if number == 1 else None)
        await it.contact(hook=buggy)
        event = alert_event()
        await it.publish(event)
        await it.clock.advance(2)
        assert buggy.taken == [event]
        assert "unexpected error" in caplog.text


async def test_an_event_that_keeps_failing_holds_back_only_its_own_alert() -> None:
    async with scene() as it:
        poison = alert_event()
        picky = Scripted(lambda event, _number: unavailable(event, 0) if event is poison else None)
        await it.contact(hook=picky)
        resolved, other = update_of(poison, Transition.RESOLVED), alert_event()
        await it.publish(poison, resolved, other)
        assert picky.taken == [other]
        picky.behaviour = lambda _event, _number: None
        await it.clock.advance(2)
        assert picky.taken == [other, poison, resolved]


async def test_events_below_the_minimum_severity_are_not_sent() -> None:
    async with scene() as it:
        pager = Scripted()
        await it.contact(pager=(pager, {"min_severity": "high"}))
        await it.publish(alert_event(notify=("pager",), severity=Severity.MEDIUM))
        assert pager.attempts == []


async def test_who_was_told_of_an_alert_hears_of_its_end_also_when_it_fell_below_the_minimum() -> None:
    async with scene() as it:
        pager = Scripted()
        await it.contact(pager=(pager, {"min_severity": "high"}))
        fired = alert_event(notify=("pager",), severity=Severity.CRITICAL)
        eased = update_of(fired, Transition.FIRING, severity=Severity.MEDIUM, escalated_from=Severity.CRITICAL)
        resolved = update_of(fired, Transition.RESOLVED, severity=Severity.MEDIUM)
        await it.publish(fired, eased, resolved)
        assert pager.taken == [fired, eased, resolved]


async def test_over_the_rate_limit_updates_of_one_alert_are_merged_and_the_latest_wins() -> None:
    async with scene() as it:
        slow = Scripted()
        await it.contact(chat=(slow, {"rate_limit": "2/m"}))
        first, second, third = (alert_event(notify=("chat",)) for _ in range(3))
        await it.publish(first, second)
        reminder = update_of(third, Transition.REMINDER)
        resolved = update_of(third, Transition.RESOLVED)
        await it.publish(third, reminder)
        await it.publish(resolved)
        assert slow.taken == [first, second]
        await it.clock.advance(61)
        assert slow.taken == [first, second, resolved]
        assert slow.attempts[-1][1].merged == 2
        assert it.observer.drops == [("chat", third.id, "merged"), ("chat", reminder.id, "merged")]
        assert it.outbox.attempts(third.id)[-1].outcome is Outcome.MERGED


async def test_no_minute_has_more_messages_than_the_rate_limit() -> None:
    async with scene() as it:
        chat = Scripted()
        await it.contact(chat=(chat, {"rate_limit": "10/m"}))
        await it.publish(*(alert_event(notify=("chat",)) for _ in range(35)))
        times = []
        for _ in range(240):
            before = len(chat.taken)
            await it.clock.advance(1)
            times += [it.clock.seconds] * (len(chat.taken) - before)
        assert len(chat.taken) == 35
        later = [time for time in times if time > 1001]
        assert all(sum(start <= time < start + 59 for time in later) <= 10 for start in later)


async def test_a_full_queue_drops_reminders_first_and_counts_each(caplog: pytest.LogCaptureFixture) -> None:
    async with scene(queue=3) as it:
        dead = Scripted()
        dead.gate.clear()
        await it.contact(hook=dead)
        sending, firing = alert_event(), alert_event()
        reminder = update_of(alert_event(), Transition.REMINDER)
        await it.publish(sending)
        await it.publish(firing, reminder)
        newest = alert_event()
        await it.publish(newest)
        assert it.observer.drops == [("hook", reminder.id, "queue_full")]
        assert "is lost" in caplog.text
        dead.gate.set()
        await settled()
        assert dead.taken == [sending, firing, newest]


async def test_contact_points_that_do_not_change_keep_queue_and_worker_through_a_reload() -> None:
    async with scene() as it:
        steady, gone, fresh = Scripted(), Scripted(), Scripted()
        steady.gate.clear()
        gone.gate.clear()
        await it.contact(steady=steady, gone=gone)
        events = [alert_event(notify=("steady", "gone")) for _ in range(3)]
        await it.publish(*events)
        await it.contact(steady=steady, fresh=fresh)
        assert gone.closed
        assert not steady.closed
        assert {reason for name, _, reason in it.observer.drops if name == "gone"} == {"removed"}
        assert len([drop for drop in it.observer.drops if drop[0] == "gone"]) == 3
        steady.gate.set()
        await settled()
        assert steady.taken == events
        assert len(steady.attempts) == 3


async def test_a_changed_contact_point_gets_what_waited_for_the_old_one_at_once() -> None:
    async with scene() as it:
        old, new = Scripted(unavailable), Scripted()
        await it.contact(hook=old)
        event = alert_event()
        await it.publish(event)
        ScriptedConfig.receivers["mended"] = new
        await it.outbox.reconfigure({"hook": ScriptedConfig(receiver="mended")}, Network())
        await settled()
        assert new.taken == [event]
        assert old.closed


async def test_a_contact_point_that_cannot_be_built_leaves_everything_as_it_was() -> None:
    class Unbuildable(ScriptedConfig):
        def build(self, network: Network) -> Scripted:
            raise ConfigError("ca.pem: no such file")

    async with scene() as it:
        steady, half = Scripted(), Scripted()
        await it.contact(steady=steady)
        ScriptedConfig.receivers["half"] = half
        with pytest.raises(ConfigError):
            await it.outbox.reconfigure(
                {"half": ScriptedConfig(receiver="half"), "bad": Unbuildable(receiver="x")}, Network()
            )
        assert it.outbox.contact_points == ("steady",)
        assert half.closed
        event = alert_event(notify=("steady",))
        await it.publish(event)
        assert steady.taken == [event]


async def test_draining_tries_what_waits_once_more_without_waiting_for_its_time() -> None:
    async with scene() as it:
        flaky, down = (
            Scripted(lambda _event, number: unavailable(_event, 0) if number == 1 else None),
            Scripted(unavailable),
        )
        await it.contact(flaky=flaky, down=down)
        event = alert_event(notify=("flaky", "down"))
        await it.publish(event)
        assert await it.outbox.drain(5) == 1
        assert flaky.taken == [event]
        assert len(down.attempts) == 2


async def test_draining_ends_at_its_deadline_though_a_receiver_hangs() -> None:
    async with scene() as it:
        dead = Scripted()
        dead.gate.clear()
        await it.contact(hook=dead)
        await it.publish(alert_event())
        assert await it.outbox.drain(0.05) == 1
        late = alert_event()
        it.outbox.publish(late)
        assert ("hook", late.id, "closed") in it.observer.drops


async def test_an_event_for_a_contact_point_that_does_not_exist_is_counted_and_raises_nothing() -> None:
    async with scene() as it:
        event = alert_event(notify=("nobody",))
        it.outbox.publish(event)
        assert it.observer.drops == [("nobody", event.id, "unknown")]


class Ledger(MemoryStore):
    """A durable store without a disk: another outbox may be given it later."""

    durable = True

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Unfinished] = {}
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.tries: list[AttemptRecord] = []
        self.followers: dict[str, Follower] = {}
        self.questions: list[tuple[str, int, int]] = []
        self.heard: dict[str, list[str]] = {}

    def accepted(self, contact_point: str, event: AlertEvent, published_ns: int) -> bool:
        new = (contact_point, event.id) not in self.known
        if new:
            self.known[contact_point, event.id] = Unfinished(event, published_ns, 0)
            self.heard.setdefault(contact_point, []).append(event.alert_id)
        return new

    def attempted(self, event: AlertEvent, record: AttemptRecord) -> None:
        self.tries.append(record)
        key = record.contact_point, event.id
        if record.number:
            self.known[key] = dataclasses.replace(self.known[key], attempts=record.number)

    def finished(self, contact_point: str, event: AlertEvent, outcome: Outcome, text: str) -> None:
        self.outcomes[contact_point, event.id] = outcome

    def unfinished(self, contact_point: str) -> list[Unfinished]:
        return [
            one
            for (name, event_id), one in self.known.items()
            if name == contact_point and (name, event_id) not in self.outcomes
        ]

    def told(self, contact_point: str) -> list[str]:
        return self.heard.get(contact_point, [])

    def follow(self, contact_point: str, follower: Follower | None) -> None:
        if follower is not None:
            self.followers[contact_point] = follower

    def more(self, contact_point: str, after_ns: int, limit: int) -> None:
        self.questions.append((contact_point, after_ns, limit))

    def answer(self) -> None:
        """Answer the questions, as a database would a while later."""
        questions, self.questions = self.questions, []
        for contact_point, after_ns, limit in questions:
            left = [one for one in self.unfinished(contact_point) if one.published_ns > after_ns]
            self.followers[contact_point].refill(left[:limit], complete=len(left) < limit)

    async def resend(self, contact_point: str, event_id: str) -> bool:
        if self.outcomes.pop((contact_point, event_id), None) is None:
            return False
        self.followers[contact_point].adopt([self.known[contact_point, event_id]])
        return True


async def test_what_a_former_process_left_is_delivered_first_and_its_attempts_go_on() -> None:
    store, left = Ledger(), alert_event()
    store.known["hook", left.id] = Unfinished(left, SteppedClock().now_ns(), 3)
    async with scene(store) as it:
        receiver = Scripted()
        await it.contact(hook=receiver)
        event = alert_event()
        await it.publish(event)
        assert receiver.taken == [left]
        assert receiver.attempts[0][1].number == 4
        store.answer()
        await settled()
        assert receiver.taken == [left, event]
        assert store.outcomes == {("hook", left.id): Outcome.DELIVERED, ("hook", event.id): Outcome.DELIVERED}


async def test_an_event_that_was_accepted_before_is_not_sent_again() -> None:
    store, receiver = Ledger(), Scripted()
    event = alert_event()
    async with scene(store) as it:
        await it.contact(hook=receiver)
        await it.publish(event)
    async with scene(store) as it:
        await it.contact(hook=receiver)
        await it.publish(event, event)
    assert receiver.taken == [event]


async def test_who_was_told_before_a_restart_hears_of_the_end_also_below_the_minimum() -> None:
    store, pager = Ledger(), Scripted()
    fired = alert_event(notify=("pager",), severity=Severity.CRITICAL)
    async with scene(store) as it:
        await it.contact(pager=(pager, {"min_severity": "high"}))
        await it.publish(fired)
    async with scene(store) as it:
        await it.contact(pager=(pager, {"min_severity": "high"}))
        store.answer()
        resolved = update_of(fired, Transition.RESOLVED, severity=Severity.MEDIUM)
        await it.publish(resolved)
        assert pager.taken == [fired, resolved]


async def test_what_is_undelivered_at_the_end_stays_in_a_durable_store() -> None:
    store = Ledger()
    async with scene(store) as it:
        await it.contact(hook=Scripted(unavailable))
        event = alert_event()
        await it.publish(event)
        assert await it.outbox.drain(5) == 1
        late = alert_event()
        it.outbox.publish(late)
    assert store.outcomes == {}
    assert it.observer.drops == []
    receiver = Scripted()
    async with scene(store) as it:
        await it.contact(hook=receiver)
        await settled()
        assert receiver.taken == [event, late]


async def test_a_day_of_retries_counts_from_before_the_restart() -> None:
    store = Ledger()
    event = alert_event()
    store.known["hook", event.id] = Unfinished(event, SteppedClock().now_ns() - 86_399_000_000_000, 400)
    async with scene(store) as it:
        down = Scripted(unavailable)
        await it.contact(hook=down)
        await it.clock.advance(600)
        assert store.outcomes == {("hook", event.id): Outcome.FAILED}
        assert it.observer.drops == [("hook", event.id, "expired")]
        assert len(down.attempts) < 10


async def test_a_full_queue_leaves_later_events_in_the_store_and_has_them_in_their_order() -> None:
    store = Ledger()
    async with scene(store, queue=4) as it:
        slow = Scripted()
        slow.gate.clear()
        await it.contact(hook=slow)
        events = [alert_event(notify=("hook",)) for _ in range(30)]
        await it.publish(*events)
        assert it.observer.lengths["hook"] == 4
        slow.gate.set()
        async with asyncio.timeout(5):
            while len(slow.taken) < len(events):
                await settled()
                store.answer()
        assert slow.taken == events
        assert it.observer.drops == []
        last = alert_event()
        await it.publish(last)
        assert slow.taken[-1] is last  # straight from memory again


async def test_news_does_not_overtake_what_waits_in_the_store_though_there_is_room() -> None:
    store = Ledger()
    async with scene(store, queue=2) as it:
        slow = Scripted()
        slow.gate.clear()
        await it.contact(hook=slow)
        events = [alert_event() for _ in range(4)]
        await it.publish(*events[:3])  # the third waits in the store
        slow.gate.set()
        await settled()
        await it.publish(events[3])
        assert slow.taken == events[:2]
        for _ in range(3):
            store.answer()
            await settled()
        assert slow.taken == events


async def test_while_the_store_is_down_nobody_waits_for_it() -> None:
    store = Ledger()
    left, event = alert_event(), alert_event()
    store.known["hook", left.id] = Unfinished(left, SteppedClock().now_ns(), 0)
    async with scene(store) as it:
        receiver = Scripted()
        await it.contact(hook=receiver)
        store.degraded = "no answer"
        await it.publish(event)
        assert receiver.taken == [left, event]
        store.degraded = None
        store.answer()
        await settled()
        assert receiver.taken == [left, event]


async def test_what_waits_for_a_contact_point_that_is_removed_is_a_dead_letter_and_can_be_sent_again() -> None:
    store = Ledger()
    async with scene(store) as it:
        down, other, back = Scripted(unavailable), Scripted(), Scripted()
        await it.contact(hook=down, other=other)
        event = alert_event(notify=("hook",))
        await it.publish(event)
        await it.contact(other=other)
        assert store.outcomes == {("hook", event.id): Outcome.DROPPED}
        with pytest.raises(LookupError):
            await it.outbox.resend("hook", event.id)
        await it.contact(other=other, hook=back)
        assert await it.outbox.resend("hook", event.id)
        await settled()
        assert back.taken == [event]
        assert not await it.outbox.resend("hook", event.id) or len(back.taken) == 1


async def test_an_event_for_an_unknown_contact_point_is_a_dead_letter_once() -> None:
    store = Ledger()
    async with scene(store) as it:
        event = alert_event(notify=("nobody",))
        it.outbox.publish(event)
        it.outbox.publish(event)
        assert store.outcomes == {("nobody", event.id): Outcome.DROPPED}
        assert it.observer.drops == [("nobody", event.id, "unknown")]


async def test_what_gathers_while_a_receiver_asks_for_less_is_merged_and_the_latest_arrives() -> None:
    async with scene() as it:
        busy = Scripted(
            lambda _event, _number: (
                DeliveryError("429", retryable=True, retry_after=60) if it.clock.seconds < 1050 else None
            )
        )
        await it.contact(hook=busy)
        fired, other = alert_event(), alert_event()
        reminder, resolved = update_of(fired, Transition.REMINDER), update_of(fired, Transition.RESOLVED)
        await it.publish(fired)
        await it.publish(reminder, resolved, other)
        await it.clock.advance(61)
        assert busy.taken == [resolved, other]
        assert busy.attempts[-2][1].merged == 2
        assert it.observer.drops == [("hook", fired.id, "merged"), ("hook", reminder.id, "merged")]


async def test_a_notifier_that_ignores_its_own_timeout_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.notify.lane._GRACE", 0.0)
    async with scene() as it:
        endless = Scripted()
        endless.gate.clear()
        await it.contact(hook=(endless, {"timeout": "20ms"}))
        event = alert_event()
        it.outbox.publish(event)
        async with asyncio.timeout(5):
            while not it.observer.failures:  # noqa: ASYNC110  # real time, and no event tells of it
                await asyncio.sleep(0.005)
        assert it.observer.failures == [("hook", event.id, True)]
