"""The queue on disk: order, bounds, and what is left of it after a crash or a disk that fails."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from next_collector import NextCollector, bytes_in, files_of, forwarding, grpc_collector, read_request
from test_forwarder import assert_order_of_each_client, counted

from tocsin.forward.bounds import QueueLimits
from tocsin.forward.entry import Entry, Signal
from tocsin.forward.queue import Queue
from tocsin.forward.segment import HEADER_SIZE

HOUR = 3600 * 10**9
SMALL = QueueLimits(max_size=1 << 20, max_age_ns=HOUR, listed=8, listed_bytes=400)


class Clock:
    now = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.now


class Waiting:
    """A queue and what it has listed."""

    def __init__(self, directory: Path, limits: QueueLimits, *, sync: float = 1.0) -> None:
        self.clock = Clock()
        self.listed: list[Entry] = []
        self.purges = 0
        self.queue = Queue(directory, limits, self.listed.append, self._purge, sync=sync, clock=self.clock)

    def _purge(self) -> None:
        self.purges += 1

    def put(self, data: bytes) -> "asyncio.Future[bool]":
        return self.queue.put(Entry(Signal.TRACES, 1, self.clock(), len(data), data))

    async def taken(self) -> bytes:
        """Send the next request."""
        async with asyncio.timeout(10):
            while True:
                while not self.listed:  # noqa: ASYNC110 - the queue has no event for it
                    await asyncio.sleep(0)
                entry = self.listed.pop(0)
                if not entry.gone:
                    break
        data = await self.queue.read(entry)
        assert data is not None
        self.queue.finish(entry)
        return data

    async def everything(self) -> list[bytes]:
        taken = []
        while not self.queue.is_empty:
            taken.append(await self.taken())
        return taken


@asynccontextmanager
async def waiting(directory: Path, limits: QueueLimits = SMALL, sync: float = 1.0) -> AsyncIterator[Waiting]:
    made = Waiting(directory, limits, sync=sync)
    await made.queue.open()
    try:
        yield made
    finally:
        await made.queue.close()


def bodies(count: int, size: int = 100, begin: int = 0) -> list[bytes]:
    return [str(number).encode().rjust(size, b".") for number in range(begin, begin + count)]


@pytest.mark.parametrize("sync", [0.0, 1.0])
async def test_what_does_not_fit_the_list_is_read_from_disk_in_order(tmp_path: Path, sync: float) -> None:
    async with waiting(tmp_path, sync=sync) as held:
        sent = bodies(100)
        assert all(await asyncio.gather(*map(held.put, sent)))
        assert len(held.listed) == SMALL.listed
        assert sum(entry.data is not None for entry in held.listed) == 4
        assert await held.everything() == sent
    assert not files_of(tmp_path)


@pytest.mark.parametrize("seed", range(8))
async def test_any_course_of_puts_sends_and_restarts_keeps_order_and_loses_nothing(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    expected: list[bytes] = []
    number = 0
    for _ in range(4):
        async with waiting(
            tmp_path, QueueLimits(1 << 24, HOUR, listed=draw.choice((2, 8, 64)), listed_bytes=500)
        ) as held:
            for _ in range(60):
                match draw.randrange(4):
                    case 0 | 1:
                        made = bodies(draw.randrange(1, 12), draw.choice((20, 100, 30_000)), number)
                        number += len(made)
                        kept = [held.put(data) for data in made]
                        expected += made
                        if draw.random() < 0.5:
                            assert all(await asyncio.gather(*kept))
                        while len(expected) > 20:
                            assert await held.taken() == expected.pop(0)
                    case 2:
                        await asyncio.sleep(0)
                    case _:
                        for _ in range(draw.randrange(min(len(expected), 12) + 1)):
                            assert await held.taken() == expected.pop(0)
            assert held.queue.waiting == len(expected)
    async with waiting(tmp_path) as held:
        assert held.queue.waiting == len(expected)
        assert await held.everything() == expected


async def test_the_oldest_are_dropped_when_there_is_too_much(tmp_path: Path) -> None:
    before = counted('tocsin_forward_dropped_requests_total{reason="size"}')
    async with waiting(tmp_path) as held:
        sent = bodies(400, 10_000)
        for data in sent:
            assert await held.put(data)
        held.queue.tick()
        assert held.purges == 1
        assert bytes_in(tmp_path) <= SMALL.max_size
        dropped = int(counted('tocsin_forward_dropped_requests_total{reason="size"}') - before)
        assert held.queue.waiting == 400 - dropped
        assert 295 <= dropped <= 305
        assert await held.everything() == sent[dropped:]


async def test_a_request_larger_than_the_queue_is_dropped_alone(tmp_path: Path) -> None:
    async with waiting(tmp_path) as held:
        assert await held.put(b"first")
        assert not await held.put(bytes(SMALL.max_size))
        assert await held.put(b"last")
        assert await held.everything() == [b"first", b"last"]


async def test_what_is_too_old_is_dropped(tmp_path: Path) -> None:
    before = counted('tocsin_forward_dropped_requests_total{reason="age"}')
    async with waiting(tmp_path) as held:
        await asyncio.gather(*map(held.put, bodies(30)))
        held.clock.now += HOUR // 2
        young = bodies(5, begin=100)
        await asyncio.gather(*map(held.put, young))
        held.clock.now += HOUR // 2 + 1
        for _ in range(20):  # what is listed is dropped at each tick, and more is listed then
            held.queue.tick()
            await held.queue._reader.submit(lambda: None)  # type: ignore[union-attr]
            await asyncio.sleep(0)
        assert counted('tocsin_forward_dropped_requests_total{reason="age"}') == before + 30
        assert await held.everything() == young


async def test_what_is_being_sent_is_not_dropped_for_its_age(tmp_path: Path) -> None:
    async with waiting(tmp_path) as held:
        await held.put(b"on its way")
        held.listed[0].sending = True
        held.clock.now += 2 * HOUR
        held.queue.tick()
        assert await held.taken() == b"on its way"


async def test_a_corrupt_request_costs_only_itself(tmp_path: Path) -> None:
    sent = bodies(10)
    async with waiting(tmp_path) as held:
        await asyncio.gather(*map(held.put, sent))
    [path] = files_of(tmp_path)
    content = bytearray(path.read_bytes())
    record = HEADER_SIZE + 100
    content[3 * record + 12] ^= 1  # a header
    content[6 * record + HEADER_SIZE + 50] ^= 1  # a request
    path.write_bytes(content[:-1])  # and the last one is torn
    collector = NextCollector()
    before = counted('tocsin_forward_dropped_requests_total{reason="corrupt"}')
    async with grpc_collector(collector) as port, forwarding("grpc", port, tmp_path) as forwarder:
        await collector.has(7)
        assert await forwarder.drain(5) == 0
    assert collector.requests == [data for number, data in enumerate(sent) if number not in (3, 6, 9)]
    assert counted('tocsin_forward_dropped_requests_total{reason="corrupt"}') == before + 3


async def test_a_full_disk_leaves_a_queue_in_memory_that_says_so_and_recovers(tmp_path: Path) -> None:
    async with waiting(tmp_path) as held:
        full = tmp_path / "000000000001.requests"
        full.symlink_to("/dev/full")
        assert not await held.put(b"first")
        assert held.queue.degraded == "No space left on device"
        assert counted("tocsin_forward_degraded") == 1
        assert not await held.put(b"second")
        assert await held.taken() == b"first"  # sent from memory
        full.unlink()
        async with asyncio.timeout(10):
            while held.queue.degraded:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert counted("tocsin_forward_degraded") == 0
        assert await held.put(b"third")
    async with waiting(tmp_path) as held:
        assert await held.everything() == [b"second", b"third"]


async def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path) -> None:
    before = counted('tocsin_forward_dropped_requests_total{reason="memory"}')
    async with waiting(tmp_path, QueueLimits(1 << 20, HOUR, memory=1000)) as held:
        (tmp_path / "000000000001.requests").symlink_to("/dev/full")
        sent = bodies(25)
        for data in sent:
            assert not await held.put(data)
        assert held.queue.waiting_bytes == 1000
        assert counted('tocsin_forward_dropped_requests_total{reason="memory"}') == before + 15
        assert [await held.taken() for _ in range(10)] == sent[-10:]


async def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    async with waiting(tmp_path) as held:
        pipe = tmp_path / "000000000001.requests"
        os.mkfifo(pipe)  # to open it for writing waits for a reader
        kept = held.put(b"first")
        async with asyncio.timeout(10):
            while not kept.done():
                await asyncio.sleep(0.05)
                held.queue.tick()
        assert not kept.result()
        assert held.queue.degraded == "the disk has not written for 2 s"
        assert not await held.put(b"second")
        assert await held.taken() == b"first"
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        pipe.unlink()
        os.close(descriptor)
        async with asyncio.timeout(10):
            while held.queue.degraded:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert await held.everything() == [b"second"]


async def test_a_directory_that_can_not_be_made_leaves_a_queue_in_memory(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("in the way")
    async with waiting(tmp_path / "queue") as held:
        assert not await held.put(b"one")
        assert held.queue.degraded
        assert await held.everything() == [b"one"]


async def test_a_file_that_can_not_be_read_costs_only_itself_and_stays(tmp_path: Path) -> None:
    sent = bodies(3)
    for data in sent:
        async with waiting(tmp_path) as held:
            await held.put(data)
    first, second, _ = sorted(files_of(tmp_path))
    put_in_the_way(first)
    second.write_bytes(b"nothing of ours")
    before = counted('tocsin_forward_dropped_requests_total{reason="corrupt"}')
    async with waiting(tmp_path) as held:
        assert await held.everything() == sent[2:]
    assert files_of(tmp_path) == [first]
    assert counted('tocsin_forward_dropped_requests_total{reason="corrupt"}') == before + 1


def put_in_the_way(path: Path) -> None:
    """A directory in a file's place: it is there, and reading it fails."""
    path.unlink()
    path.mkdir()


async def test_an_idle_queue_needs_no_disk(tmp_path: Path) -> None:
    async with waiting(tmp_path, QueueLimits(64 << 20, HOUR)) as held:
        for _ in range(5):
            await held.put(bytes(900_000))
            await held.taken()
        await held.queue._writer.submit(lambda: None)  # type: ignore[union-attr]
        assert bytes_in(tmp_path) < 1_000_000


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from next_collector import forwarding, request

async def main():
    async with forwarding("grpc", int(sys.argv[1]), Path(sys.argv[2])) as forwarder:
        for number in range(100_000):
            if await forwarder.offer("traces", request(f"client {number % 3}", number)):
                print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("is_up", [True, False], ids=["while it sends", "while nobody listens"])
async def test_what_was_promised_before_a_kill_is_sent_after_it(
    is_up: bool, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    collector = NextCollector()
    promised: set[int] = set()

    async def run_and_kill(port: int) -> None:
        paths = [str(Path(__file__).parent)]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(port), str(tmp_path), *paths, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        goal = random.Random(port).randrange(50, 400)
        while len(promised) < goal:
            promised.add(int(await child.stdout.readline()))
        child.send_signal(signal.SIGKILL)
        promised.update(map(int, (await child.stdout.read()).split()))
        await child.wait()

    if is_up:
        async with grpc_collector(collector) as port:
            await run_and_kill(port)
    else:
        await run_and_kill(free_port())
    async with grpc_collector(collector) as port, forwarding("grpc", port, tmp_path) as forwarder:
        assert await forwarder.drain(20) == 0
    arrived = [read_request(data)[1] for data in collector.requests]
    assert promised <= set(arrived)
    assert_order_of_each_client(collector.requests)
