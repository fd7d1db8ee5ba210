"""Turns of reading: as many as there is room for, fair between connections, and lost by those who dawdle."""

import asyncio
import contextlib
import random

import pytest

from tocsin.errors import OverloadedError
from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.turns import Turns

FOREVER = 30.0


def turns_of(most: int, *, patience: float = FOREVER, most_waiting: int = 100) -> Turns:
    return Turns(ByteBudget(most * 10), 10, patience=patience, most_waiting=most_waiting)


class Readers:
    """Tasks that have or wait for a turn, each until it is told to end."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        """Who got a turn."""
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, connection: str, seconds: float = FOREVER) -> None:
        """Let one ask for a turn; return when it has it or waits."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._read(name, connection, seconds), name=name)
        await settled()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.tasks[name]
        await settled()

    async def _read(self, name: str, connection: str, seconds: float) -> None:
        async with self.turns.turn(connection, seconds):
            self.order.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_are_read_at_once_than_there_is_room_for() -> None:
    readers = Readers(turns_of(2))
    for name in "abcd":
        await readers.begin(name, name)
    assert readers.order == ["a", "b"]
    assert (readers.turns.reading, readers.turns.waiting) == (2, 2)
    await readers.end("a")
    assert readers.order == ["a", "b", "c"]
    for name in "bcd":
        await readers.end(name)
    assert (readers.turns.reading, readers.turns.waiting) == (0, 0)


async def test_connections_alternate_however_many_streams_one_has() -> None:
    readers = Readers(turns_of(1))
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        await readers.begin(name, name[0])
    for _ in range(7):
        await readers.end(readers.order[-1])
    assert readers.order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_one_that_dawdles_loses_its_turn_when_another_waits_and_only_then() -> None:
    readers = Readers(turns_of(1, patience=0.1))
    await readers.begin("slow", "x")
    await asyncio.sleep(0.15)  # nobody waits: nothing happens
    assert not readers.tasks["slow"].done()
    await readers.begin("next", "y")
    with pytest.raises(OverloadedError) as refused:
        await asyncio.wait_for(readers.tasks["slow"], 5)
    assert (refused.value.reason, refused.value.retry_after) == ("reading", 1.0)
    await settled()
    assert readers.order == ["slow", "next"]
    await readers.end("next")


async def test_only_as_many_lose_their_turn_as_wait() -> None:
    readers = Readers(turns_of(3, patience=0.1))
    for name in "abc":
        await readers.begin(name, name)
    await readers.begin("d", "d")
    done, _ = await asyncio.wait({readers.tasks["a"]}, timeout=5)
    assert done
    assert not readers.tasks["b"].done()
    await settled()
    assert readers.order == ["a", "b", "c", "d"]
    for name in "bcd":
        await readers.end(name)
    with pytest.raises(OverloadedError):
        await readers.tasks["a"]


async def test_a_turn_that_does_not_come_in_time_is_an_overload_and_not_the_senders_fault() -> None:
    readers = Readers(turns_of(1))
    await readers.begin("a", "a")
    await readers.begin("b", "b", seconds=0.05)
    with pytest.raises(OverloadedError, match="send again later"):
        await asyncio.wait_for(readers.tasks["b"], 5)
    assert readers.turns.waiting == 0
    await readers.end("a")


async def test_a_block_that_takes_too_long_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with turns_of(1).turn("a", 0.05):
            await asyncio.Event().wait()


async def test_more_waiters_than_allowed_are_refused_at_once() -> None:
    readers = Readers(turns_of(1, most_waiting=2))
    for name in "abc":
        await readers.begin(name, name)
    with pytest.raises(OverloadedError, match="2 messages wait"):
        async with readers.turns.turn("d", FOREVER):
            pass
    for name in "abc":
        await readers.end(name)


async def test_whatever_happens_no_turn_is_lost_and_none_is_given_twice() -> None:
    for seed in range(30):
        chance = random.Random(seed)
        turns = turns_of(3, patience=0.002, most_waiting=20)
        most = 0

        async def one(chance: random.Random, turns: Turns) -> None:
            nonlocal most
            with contextlib.suppress(OverloadedError, TimeoutError):
                async with turns.turn(chance.choice("abc"), chance.choice([0.001, FOREVER])):
                    most = max(most, turns.reading)
                    await asyncio.sleep(chance.choice([0, 0.001, 0.005]))

        tasks = [asyncio.create_task(one(chance, turns)) for _ in range(40)]
        for task in chance.sample(tasks, 10):
            await asyncio.sleep(0)
            task.cancel()
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 3, seed
        assert (turns.reading, turns.waiting) == (0, 0), seed
        readers = Readers(turns)
        for name in "xyz":
            await readers.begin(name, name)
        assert readers.order == ["x", "y", "z"], seed
        for name in "xyz":
            await readers.end(name)
