"""The outbox on a real database and real receivers: killed, restarted, asked to send less."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from event_samples import event_of, life
from fault_server import FaultServer, Reply
from pydantic import TypeAdapter

from tocsin.notify.egress import Network
from tocsin.notify.kinds import AnyContact
from tocsin.notify.lane import OutboxLimits
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

CONTACT: TypeAdapter[Any] = TypeAdapter(AnyContact)
EVENTS = 40
_VICTIM = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from event_samples import event_of
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

async def main():
    async with Database(StorageConfig(directory=Path({directory!r}))) as database:
        for number in range({events}):
            event = event_of(number, notify=("hook",))
            database.record(event)
            database.accepted("hook", event, 1_800_000_000_000_000_000 + number)
        await database.settled()
        print("settled", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def hook(url: str, **keys: object) -> dict[str, Any]:
    return {"hook": CONTACT.validate_python({"type": "webhook", "url": url, **keys})}


async def until(condition: Any, seconds: float = 20.0) -> None:  # noqa: ANN401  # a function without arguments
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # the receiver is a thread of its own
            await asyncio.sleep(0.01)


def ids_of(receiver: FaultServer) -> list[str]:
    return [one.headers["webhook-id"] for one in receiver.received]


async def test_what_was_settled_before_a_kill_is_delivered_once_by_the_next_process(tmp_path: Path) -> None:
    code = _VICTIM.format(tests=str(Path(__file__).parents[1]), directory=str(tmp_path / "data"), events=EVENTS)
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert victim.stdout is not None
    assert await victim.stdout.readline() == b"settled\n"
    os.kill(victim.pid, signal.SIGKILL)
    await victim.communicate()
    events = [event_of(number, notify=("hook",)) for number in range(EVENTS)]
    place = StorageConfig(directory=tmp_path / "data")
    async with FaultServer() as receiver, Database(place) as database:
        async with Outbox(MessageWriter(), store=database) as outbox:
            await outbox.reconfigure(hook(receiver.url()), Network(allow_private=True))
            for event in events:
                outbox.publish(event)  # found again in the log of inputs
            await until(lambda: len(receiver.received) == EVENTS and len(outbox) == 0)
        assert ids_of(receiver) == [event.id for event in events]
    async with Database(place) as database:
        assert database.unfinished("hook") == []


async def test_more_than_the_queue_holds_waits_in_the_database_and_arrives_in_order(place: StorageConfig) -> None:
    events = [event_of(number, notify=("hook",)) for number in range(120)]
    async with FaultServer() as receiver, Database(place) as database:
        async with Outbox(MessageWriter(), store=database, limits=OutboxLimits(queue=10)) as outbox:
            await outbox.reconfigure(hook(receiver.url()), Network(allow_private=True))
            for event in events:
                outbox.publish(event)
            await until(lambda: len(receiver.received) == len(events))
        assert ids_of(receiver) == [event.id for event in events]


async def test_a_dead_letter_sent_again_arrives_under_its_old_id(place: StorageConfig) -> None:
    event = event_of(1, notify=("hook",))
    async with (
        FaultServer(Reply(410)) as receiver,
        Database(place) as database,
        Outbox(MessageWriter(), store=database) as outbox,
    ):
        await outbox.reconfigure(hook(receiver.url()), Network(allow_private=True))
        outbox.publish(event)
        await until(lambda: len(receiver.received) == 1 and len(outbox) == 0)
        await database.settled()
        assert await outbox.resend("hook", event.id)
        await until(lambda: len(receiver.received) == 2)
        assert ids_of(receiver) == [event.id] * 2


async def test_a_receiver_that_answers_429_gets_the_latest_of_each_alert_and_nothing_is_lost(
    place: StorageConfig,
) -> None:
    lives = [[dataclasses.replace(one, notify=("hook",)) for one in life(f"conv-{number}")] for number in range(8)]
    busy = Reply(429, {"retry-after": "1"})
    async with FaultServer(busy, busy) as receiver, Database(place) as database:
        async with Outbox(MessageWriter(), store=database) as outbox:
            await outbox.reconfigure(hook(receiver.url()), Network(allow_private=True))
            for step in range(3):
                for one in lives:
                    outbox.publish(one[step])
            await until(lambda: len(outbox) == 0)
        # What had gathered while it asked for less was merged: it got the last of each alert, and no other.
        assert sorted(ids_of(receiver)[2:]) == sorted(one[-1].id for one in lives)
    async with Database(place) as database:
        assert database.unfinished("hook") == []
