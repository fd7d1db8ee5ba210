"""What the database promises, the same on SQLite and on PostgreSQL."""

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from event_samples import event_of, life
from postgres_cluster import Cluster
from sqlalchemy import select, text, update

from tocsin.alerts.document import load_event
from tocsin.alerts.event import Transition
from tocsin.alerts.state import AlertState
from tocsin.notify.history import AttemptRecord, Outcome
from tocsin.notify.store import Unfinished
from tocsin.storage import database as database_module
from tocsin.storage.alerts import AlertFilter, Label, alert, alerts, story_of
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database
from tocsin.storage.dead_letters import dead_letters
from tocsin.storage.schema import HEAD
from tocsin.storage.tables import ALERTS, DELIVERIES, EVENTS, REPLICAS

AT = 1_767_669_250_123_456_789


class Following:
    """Whoever delivers: remembers what it is given."""

    def __init__(self) -> None:
        self.given: list[Unfinished] = []
        self.complete: list[bool] = []
        self.told = asyncio.Event()

    def adopt(self, left: Sequence[Unfinished]) -> None:
        self.given += left
        self.told.set()

    def refill(self, left: Sequence[Unfinished], *, complete: bool) -> None:
        self.given += left
        self.complete.append(complete)
        self.told.set()

    @property
    def ids(self) -> list[str]:
        return [one.event.id for one in self.given]


def tried(point: str, outcome: Outcome, number: int = 1, at: int = AT) -> AttemptRecord:
    return AttemptRecord(point, outcome, number, at, 0.25, "503 busy")


async def rows(database: Database, statement: Any) -> list[Any]:  # noqa: ANN401  # any select
    async with database.connection() as connection:
        return list((await connection.execute(statement)).all())


async def test_what_is_owed_is_known_after_a_restart_in_its_order_with_its_attempts(place: StorageConfig) -> None:
    events = [event_of(number) for number in range(5)]
    async with Database(place) as database:
        for number, event in enumerate(events):
            assert database.accepted("hook", event, AT + number)
            assert not database.accepted("hook", event, AT + 99)
        assert database.accepted("mail", events[0], AT)
        database.attempted(events[3], tried("hook", Outcome.RETRYING, 1))
        database.attempted(events[3], tried("hook", Outcome.RETRYING, 2, AT + 5))
        database.finished("hook", events[1], Outcome.DELIVERED, "200")
        database.finished("hook", events[2], Outcome.MERGED, "merged")
    async with Database(place) as database:
        left = database.unfinished("hook")
        assert [(one.event, one.published_ns, one.attempts) for one in left] == [
            (events[0], AT, 0),
            (events[3], AT + 3, 2),
            (events[4], AT + 4, 0),
        ]
        assert [one.event for one in database.unfinished("mail")] == [events[0]]
        assert database.unfinished("nobody") == []


async def test_what_was_accepted_within_two_days_is_not_accepted_again_after_a_restart(place: StorageConfig) -> None:
    done, owed, old = event_of(1), event_of(2), event_of(3)
    now = time.time_ns()
    async with Database(place) as database:
        database.accepted("hook", done, now)
        database.finished("hook", done, Outcome.DELIVERED, "200")
        database.accepted("hook", owed, now - 72 * 3600 * 10**9)
        database.accepted("hook", old, now - 49 * 3600 * 10**9)
        database.finished("hook", old, Outcome.DELIVERED, "200")
    async with Database(place) as database:
        assert not database.accepted("hook", done, now)
        assert not database.accepted("hook", owed, now)
        assert database.accepted("mail", done, now)
        assert database.accepted("hook", old, now)  # longer ago than any log is read again


async def test_who_was_told_of_an_alert_and_not_of_its_end_is_known_after_a_restart(place: StorageConfig) -> None:
    going_on, over = life("a"), life("b")
    async with Database(place) as database:
        now = time.time_ns()
        for number, event in enumerate([*going_on[:2], *over]):
            database.accepted("pager", event, now + number)
            database.finished("pager", event, Outcome.DELIVERED, "200")
        database.accepted("chat", over[0], now)
    async with Database(place) as database:
        assert list(database.told("pager")) == [going_on[0].alert_id]
        assert list(database.told("chat")) == [over[0].alert_id]
        assert database.told("nobody") == ()


async def test_the_same_event_found_twice_is_one_row(place: StorageConfig) -> None:
    firing, reminder, resolved = life("a")
    async with Database(place) as database:
        for _ in range(2):
            for event in (firing, reminder, resolved):
                database.record(event)
            await database.settled()
        assert len(await rows(database, select(EVENTS.c.id))) == 3
        (row,) = await rows(database, select(ALERTS))
        assert (row.state, row.resolved_at) == ("resolved", resolved.resolved_at)
        documents = await rows(database, select(EVENTS.c.document).order_by(EVENTS.c.at))
        assert [load_event(one.document) for one in documents] == [firing, reminder, resolved]


@pytest.mark.parametrize("seed", range(4))
async def test_an_alert_never_goes_back_in_whatever_order_its_events_arrive(place: StorageConfig, seed: int) -> None:
    random = Random(seed)
    events = [event for name in "abcdef" for event in life(name)]
    shuffled = random.sample(events, len(events))
    async with Database(place) as database, Database(place) as other:
        for event in shuffled:
            random.choice([database, other]).record(event)
            if random.random() < 0.3:
                await random.choice([database, other]).settled()
        await database.settled()
        await other.settled()
        found = await rows(database, select(ALERTS.c.state, ALERTS.c.value))
        assert set(found) == {("resolved", 3.0)}
        assert len(found) == 6


async def test_a_test_notification_is_no_alert(place: StorageConfig) -> None:
    async with Database(place) as database:
        database.record(event_of(1, transition=Transition.TEST))
        await database.settled()
        assert await rows(database, select(ALERTS)) == []


async def test_what_did_not_fit_is_given_page_by_page(place: StorageConfig) -> None:
    events = [event_of(number) for number in range(10)]
    async with Database(place) as database:
        following = Following()
        database.follow("hook", following)
        for number, event in enumerate(events):
            database.accepted("hook", event, AT + number)
        database.finished("hook", events[5], Outcome.DELIVERED, "200")
        database.more("hook", AT + 1, 4)
        await database.settled()
        assert following.ids == [event.id for event in (events[2], events[3], events[4], events[6])]
        database.more("hook", AT + 6, 4)
        await database.settled()
        assert following.ids[4:] == [event.id for event in events[7:]]
        assert following.complete == [False, True]


async def test_what_ended_since_it_was_read_is_not_started_again(place: StorageConfig) -> None:
    event = event_of(1)
    async with Database(place) as database:
        following = Following()
        database.follow("hook", following)
        database.accepted("hook", event, AT)
        database.more("hook", 0, 10)
        database.finished("hook", event, Outcome.DELIVERED, "200")
        await database.settled()
        assert following.given == []


async def test_a_dead_letter_is_kept_shown_and_sent_again_with_its_old_id(place: StorageConfig) -> None:
    event, other = event_of(1), event_of(2)
    async with Database(place) as database:
        following = Following()
        database.follow("hook", following)
        for one in (event, other):
            database.accepted("hook", one, AT)
        database.attempted(event, tried("hook", Outcome.FAILED, 7))
        database.finished("hook", event, Outcome.FAILED, "410 gone")
        database.finished("hook", other, Outcome.DELIVERED, "200")
        await database.settled()
        async with database.connection() as connection:
            (letter,) = await dead_letters(connection, limit=10)
        assert (letter.id, letter.status, letter.attempts, letter.reason) == (
            f"{event.id}:hook",
            "failed",
            7,
            "410 gone",
        )
        before = time.time_ns()
        assert await database.resend("hook", event.id)
        async with asyncio.timeout(5):
            await following.told.wait()
        (given,) = following.given
        assert given.event == event
        assert given.attempts == 7
        assert given.published_ns >= before  # a day of retries begins anew
        assert not await database.resend("hook", event.id)
        assert not await database.resend("hook", other.id)
        database.finished("hook", event, Outcome.DELIVERED, "200")
        await database.settled()
        async with database.connection() as connection:
            assert await dead_letters(connection, limit=10) == []


async def test_what_waits_for_a_removed_contact_point_is_a_dead_letter(place: StorageConfig) -> None:
    event = event_of(1)
    async with Database(place) as database:
        database.accepted("gone", event, AT)
        database.accepted("kept", event, AT)
    async with Database(place) as database:
        database.keep({"kept"})
        await database.settled()
        assert database.unfinished("gone") == []
        assert len(database.unfinished("kept")) == 1
        async with database.connection() as connection:
            (letter,) = await dead_letters(connection, limit=10)
        assert (letter.contact_point, letter.status) == ("gone", "dropped")
        assert "removed" in letter.reason


async def test_an_event_that_cannot_be_read_is_a_dead_letter_and_costs_only_itself(place: StorageConfig) -> None:
    torn, whole = event_of(1), event_of(2)
    async with Database(place) as database:
        database.accepted("hook", torn, AT)
        database.accepted("hook", whole, AT + 1)
        await database.settled()
        await database._transaction(
            lambda connection: connection.execute(
                update(DELIVERIES).where(DELIVERIES.c.event_id == torn.id).values(document=b'{"version":1')
            )
        )
    async with Database(place) as database:
        assert [one.event for one in database.unfinished("hook")] == [whole]
        async with database.connection() as connection:
            (letter,) = await dead_letters(connection, limit=10)
        assert (letter.event_id, letter.sendable) == (torn.id, False)
        assert not await database.resend("hook", torn.id)


async def test_a_change_that_the_database_refuses_costs_only_itself(
    place: StorageConfig,
) -> None:
    bad, good = event_of(1), [event_of(number) for number in range(2, 9)]
    bad = dataclasses.replace(bad, suppressed=2**70)  # no integer column holds it
    async with Database(place) as database:
        for event in [*good[:3], bad, *good[3:]]:
            database.record(event)
        await database.settled()
        assert database.degraded is None
        assert {row.id for row in await rows(database, select(EVENTS.c.id))} == {event.id for event in good}


async def test_old_rows_go_and_what_is_owed_or_fires_stays(place: StorageConfig) -> None:
    config = place.model_copy(update={"retention": timedelta(days=30)})
    now, day = time.time_ns(), 86_400 * 10**9
    old, recent = life("old", at=now - 40 * day), life("recent", at=now - 5 * day)
    firing = life("firing", at=now - 40 * day)[0]
    async with Database(config) as database:
        for event in (*old, *recent, firing):
            database.record(event)
        database.accepted("hook", firing, now - 40 * day)
        database.accepted("hook", old[0], now - 40 * day)
        database.attempted(old[0], tried("hook", Outcome.DELIVERED, at=now - 40 * day))
        database.finished("hook", old[0], Outcome.DELIVERED, "200")
        await database.settled()
        await database._transaction(
            lambda connection: connection.execute(
                update(DELIVERIES).where(DELIVERIES.c.event_id == old[0].id).values(finished=now - 40 * day)
            )
        )
        assert await database.delete_old() == 3
        left = {row.id for row in await rows(database, select(ALERTS.c.id))}
        assert left == {recent[0].alert_id, firing.alert_id}
        assert len(await rows(database, select(EVENTS.c.id))) == 4
        assert [row.event_id for row in await rows(database, select(DELIVERIES.c.event_id))] == [firing.id]


async def test_alerts_are_found_by_state_rule_group_severity_and_time_page_by_page(place: StorageConfig) -> None:
    hour = 3600 * 10**9
    lives = [life(f"conv-{number}", at=AT + number * hour) for number in range(6)]
    async with Database(place) as database:
        for number, (firing, reminder, resolved) in enumerate(lives):
            database.record(firing)
            database.record(reminder)
            if number < 3:
                database.record(resolved)
        await database.settled()
        ids = [one[0].alert_id for one in lives]

        async def found(**chosen: Any) -> list[str]:  # noqa: ANN401  # fields of the filter
            async with database.connection() as connection:
                return [one.id for one in await alerts(connection, AlertFilter(**chosen), limit=50)]

        assert await found() == ids[::-1]
        assert await found(state=AlertState.FIRING) == ids[:2:-1]
        assert await found(rule="no such") == []
        assert await found(group=(Label("conversation", "conv-4"),)) == [ids[4]]
        assert await found(group=(Label(None, "conv-4"),)) == [ids[4]]
        assert await found(group=(Label("model", "conv-4"),)) == []
        assert await found(projects=frozenset({"other"})) == []
        assert await found(until=lives[2][0].fired_at) == ids[1::-1]
        assert await found(since=lives[1][2].resolved_at) == ids[:0:-1]
        pages, after = [], None
        async with database.connection() as connection:
            while page := await alerts(connection, AlertFilter(), limit=4, after=after):
                pages.append([one.id for one in page])
                after = page[-1].fired_at, page[-1].id
        assert pages == [ids[:1:-1], ids[1::-1]]


async def test_an_alert_has_its_events_and_what_became_of_each_notification(place: StorageConfig) -> None:
    firing, reminder, _ = life("a")
    async with Database(place) as database:
        database.record(firing)
        database.record(reminder)
        database.accepted("hook", firing, AT)
        database.attempted(firing, tried("hook", Outcome.RETRYING, 1, AT))
        database.attempted(firing, tried("hook", Outcome.DELIVERED, 2, AT + 1))
        database.finished("hook", firing, Outcome.DELIVERED, "200 ok")
        await database.settled()
        async with database.connection() as connection:
            row = await alert(connection, firing.alert_id)
            story = await story_of(connection, firing.alert_id)
            assert await alert(connection, "alt_none") is None
        assert row is not None
        assert (row.value, row.peak, row.group) == (2.0, 2.0, {"conversation": "a"})
        assert [one.event for one in story] == [firing, reminder]
        (delivery,) = story[0].deliveries
        assert (delivery.status, delivery.attempts, delivery.outcome) == ("delivered", 2, "200 ok")
        assert [(one.number, one.outcome) for one in story[0].attempts] == [(1, "retrying"), (2, "delivered")]
        assert story[1].deliveries == ()


@pytest.mark.peer
async def test_a_process_leaves_what_another_living_one_delivers_and_takes_it_over_when_it_is_gone(
    on_postgresql: StorageConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first = on_postgresql
    second = first.model_copy(update={"directory": tmp_path_factory.mktemp("second")})
    event, late = event_of(1), event_of(2)
    async with Database(first) as one:
        one.accepted("hook", event, AT)
        await one.settled()
        async with Database(second) as other:
            assert other.unfinished("hook") == []
            assert not other.accepted("hook", event, AT)  # known, and somebody else's
    async with Database(second) as other:
        following = Following()
        other.follow("hook", following)
        await other._take_over()
        assert following.given == []
        await other._transaction(lambda connection: connection.execute(update(REPLICAS).values(seen=0)))
        await other._take_over()
        assert following.ids == [event.id]
        other.accepted("hook", late, AT + 1)
    async with Database(first) as one:
        assert one.unfinished("hook") == []  # the other was seen a moment ago


@pytest.mark.peer
async def test_nothing_is_lost_while_postgresql_restarts_and_the_state_says_so_and_recovers(
    cluster: Cluster,
    on_postgresql: StorageConfig,
) -> None:
    events = [event_of(number) for number in range(60)]
    async with Database(on_postgresql) as database:
        for event in events[:20]:
            database.record(event)
            database.accepted("hook", event, AT)
        await database.settled()
        await asyncio.to_thread(cluster.stop)
        try:
            for event in events[20:]:
                database.record(event)
                database.accepted("hook", event, AT)
            async with asyncio.timeout(20):
                while database.degraded is None:  # noqa: ASYNC110  # nothing tells of it but this
                    await asyncio.sleep(0.01)
            assert database.unwritten == 80
            assert "127.0.0.1" not in database.degraded
        finally:
            await asyncio.to_thread(cluster.start)
        async with asyncio.timeout(30):
            await database.settled()
        assert database.degraded is None
        assert len(await rows(database, select(EVENTS.c.id))) == 60
        assert len(await rows(database, select(DELIVERIES.c.event_id))) == 60


@pytest.mark.peer
async def test_what_was_owed_before_a_start_without_postgresql_is_given_when_it_is_back(
    cluster: Cluster,
    on_postgresql: StorageConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event, new = event_of(1), event_of(2)
    async with Database(on_postgresql) as database:
        database.accepted("hook", event, AT)
    monkeypatch.setattr(database_module, "START_SECONDS", 0.1)
    await asyncio.to_thread(cluster.stop)
    try:
        async with Database(on_postgresql) as database:
            assert database.degraded is not None
            following = Following()
            database.follow("hook", following)
            assert database.accepted("hook", new, AT + 1)
            await asyncio.to_thread(cluster.start)
            async with asyncio.timeout(30):
                await database.settled()
            assert following.ids == [event.id]
    finally:
        if cluster._process is None:
            await asyncio.to_thread(cluster.start)


@pytest.mark.peer
async def test_many_processes_that_start_at_once_make_the_tables_once(
    on_postgresql: StorageConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first = on_postgresql
    places = [first.model_copy(update={"directory": tmp_path_factory.mktemp("x")}) for _ in range(4)]

    async def live(config: StorageConfig, number: int) -> None:
        async with Database(config) as database:
            for event in (event_of(number), *life("shared")):
                database.record(event)
                database.accepted(f"hook-{number}", event, AT)
            await database.settled()

    async with asyncio.TaskGroup() as tasks:
        for number, config in enumerate(places):
            tasks.create_task(live(config, number))
    async with Database(first) as database:
        assert len(await rows(database, select(ALERTS.c.id))) == 5
        (version,) = await rows(database, text("SELECT version_num FROM alembic_version"))
        assert version[0] == HEAD
