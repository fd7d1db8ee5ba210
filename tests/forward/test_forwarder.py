"""What is offered arrives: the same bytes, each client's in order, through every fault of the next collector."""

import asyncio
import gzip
import random
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from next_collector import (
    HANG,
    LOST_ANSWER,
    REFUSED,
    RESET,
    Fault,
    NextCollector,
    collecting,
    files_of,
    forwarding,
    read_request,
    request,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tocsin import telemetry

PROTOCOLS = pytest.mark.parametrize("protocol", ["grpc", "http"])


def counted(name: str) -> float:
    for line in telemetry.exposition("")[0].decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return 0.0


def some_requests(count: int, clients: int = 3) -> list[bytes]:
    return [request(f"client {number % clients}", number) for number in range(count)]


def assert_order_of_each_client(requests: list[bytes]) -> None:
    """Each client's requests first arrived in order; a repeat is one of a former one."""
    latest: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    for client, number in map(read_request, requests):
        assert (client, number) in seen or number > latest.get(client, -1)
        seen.add((client, number))
        latest[client] = max(number, latest.get(client, -1))


@PROTOCOLS
async def test_what_is_offered_arrives_byte_for_byte_and_in_order(protocol: str, tmp_path: Path) -> None:
    collector = NextCollector()
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        sent = some_requests(200)
        kept = [forwarder.offer("traces", data) for data in sent]
        assert all(await asyncio.gather(*[future for future in kept if future]))
        await collector.has(len(sent))
        assert await forwarder.drain(5) == 0
    assert sorted(collector.requests) == sorted(sent)
    assert_order_of_each_client(collector.requests)
    assert not files_of(tmp_path)  # nothing is left on disk


@PROTOCOLS
async def test_requests_of_several_clients_are_sent_side_by_side_and_those_of_one_are_not(
    protocol: str, tmp_path: Path
) -> None:
    collector = NextCollector(gate=asyncio.Event())
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        for number, client in enumerate("aaaaabbbccdef"):
            forwarder.offer("traces", request(client, number))
        await collector.until(lambda: collector.at_once == 4)
        assert collector.gate is not None
        collector.gate.set()
        await collector.has(13)
    assert {read_request(data) for data in collector.requests[:4]} == {("a", 0), ("b", 5), ("c", 8), ("d", 10)}
    assert_order_of_each_client(collector.requests)
    assert collector.most_at_once == 4


@PROTOCOLS
async def test_one_in_flight_keeps_the_order_of_all(protocol: str, tmp_path: Path) -> None:
    attempts = iter(range(1000))
    collector = NextCollector(fault=lambda _data: Fault() if next(attempts) % 5 == 3 else None)
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path, in_flight=1) as forwarder:
        sent = some_requests(30)
        for data in sent:
            forwarder.offer("traces", data)
        await collector.has(len(sent))
    assert collector.requests == sent
    assert collector.most_at_once == 1


@PROTOCOLS
async def test_signals_go_to_their_own_paths_and_only_those_configured(protocol: str, tmp_path: Path) -> None:
    collector = NextCollector()
    async with (
        collecting(protocol, collector) as port,
        forwarding(protocol, port, tmp_path, signals=["traces", "metrics"]) as forwarder,
    ):
        assert forwarder.offer("logs", b"not forwarded") is None
        for signal in ("traces", "metrics"):
            assert forwarder.offer(signal, b"any bytes of " + signal.encode()) is not None
        await collector.has(2)
    assert sorted(collector.taken) == [("metrics", b"any bytes of metrics"), ("traces", b"any bytes of traces")]


@PROTOCOLS
async def test_headers_and_compression_reach_the_next_collector(protocol: str, tmp_path: Path) -> None:
    collector = NextCollector()
    async with (
        collecting(protocol, collector) as port,
        forwarding(
            protocol, port, tmp_path, headers={"Authorization": "Bearer tops3cret"}, compression="gzip"
        ) as forwarder,
    ):
        data = request("a", 1, body=200_000)
        forwarder.offer("traces", data)
        await collector.has(1)
    [arrived], [metadata] = collector.requests, collector.metadata
    assert metadata["authorization"] == "Bearer tops3cret"
    if protocol == "http":
        assert metadata["content-encoding"] == "gzip"
        assert len(arrived) < 10_000
        arrived = gzip.decompress(arrived)
    assert arrived == data


FAULTS = [
    Fault(),
    Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, retry_after=0.05),
    Fault(grpc.StatusCode.UNAVAILABLE, 502),
    Fault(grpc.StatusCode.DEADLINE_EXCEEDED, 504, retry_after=0),
    RESET,
    LOST_ANSWER,
]


@PROTOCOLS
@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_through_faults_that_pass(protocol: str, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    collector = NextCollector(fault=lambda _data: draw.choice(FAULTS) if draw.random() < 0.3 else None)
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        sent = some_requests(60)
        for data in sent:
            forwarder.offer("traces", data)
        await collector.until(lambda: set(collector.requests) == set(sent), seconds=40)
        assert await forwarder.drain(5) == 0
    assert_order_of_each_client(collector.requests)


@PROTOCOLS
async def test_a_collector_that_hangs_is_cut_off_and_asked_again(protocol: str, tmp_path: Path) -> None:
    hangs = iter([True, True])
    collector = NextCollector(fault=lambda _data: HANG if next(hangs, False) else None)
    async with (
        collecting(protocol, collector) as port,
        forwarding(protocol, port, tmp_path, timeout="200ms") as forwarder,
    ):
        data = request("a", 1)
        forwarder.offer("traces", data)
        await collector.has(1)
        assert collector.attempts == 3
    assert collector.requests == [data]


@PROTOCOLS
async def test_what_comes_while_it_is_away_arrives_after_its_restart(
    protocol: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    first, second = NextCollector(), NextCollector()
    sent = some_requests(50)
    async with forwarding(protocol, port, tmp_path, retry={"initial": "20ms", "max": "200ms"}) as forwarder:
        for data in sent[:20]:
            forwarder.offer("traces", data)
        async with collecting(protocol, first, port):
            await first.has(20)
        for data in sent[20:]:
            forwarder.offer("traces", data)
        assert await forwarder.drain(0.3) > 0
        assert forwarder.failing
        async with collecting(protocol, second, port):
            await second.until(lambda: len(set(first.requests + second.requests)) == len(sent))
            assert await forwarder.drain(5) == 0
            assert not forwarder.failing
    assert_order_of_each_client(first.requests + second.requests)


@PROTOCOLS
async def test_a_refused_request_is_dropped_and_counted_and_the_next_goes_on(protocol: str, tmp_path: Path) -> None:
    before = counted('tocsin_forward_dropped_requests_total{reason="refused"}')
    collector = NextCollector(fault=lambda data: REFUSED if read_request(data)[1] == 1 else None)
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        for number in range(3):
            forwarder.offer("traces", request("a", number))
        await collector.has(2)
        assert await forwarder.drain(5) == 0
    assert [read_request(data)[1] for data in collector.requests] == [0, 2]
    assert collector.attempts == 3
    assert counted('tocsin_forward_dropped_requests_total{reason="refused"}') == before + 1


async def test_exhausted_without_a_time_to_retry_is_for_good(tmp_path: Path) -> None:
    exhausted = Fault(grpc.StatusCode.RESOURCE_EXHAUSTED)
    collector = NextCollector(fault=lambda data: exhausted if read_request(data)[1] == 0 else None)
    async with collecting("grpc", collector) as port, forwarding("grpc", port, tmp_path) as forwarder:
        for number in range(2):
            forwarder.offer("traces", request("a", number))
        await collector.has(1)
    assert collector.attempts == 2


@PROTOCOLS
async def test_the_wish_to_be_left_alone_is_kept(protocol: str, tmp_path: Path) -> None:
    times: list[float] = []

    def fault(_data: bytes) -> Fault | None:
        times.append(asyncio.get_running_loop().time())
        return Fault(retry_after=1) if len(times) == 1 else None

    collector = NextCollector(fault=fault)
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        forwarder.offer("traces", request("a", 0))
        while not forwarder.failing:  # noqa: ASYNC110 - an answer has no event on this side
            await asyncio.sleep(0.005)
        forwarder.offer("traces", request("b", 1))
        await collector.has(2)
    assert times[1] - times[0] >= 0.99


@PROTOCOLS
async def test_a_request_that_is_never_taken_holds_up_its_own_client_only(protocol: str, tmp_path: Path) -> None:
    collector = NextCollector(fault=lambda data: Fault() if read_request(data)[0] == "poison" else None)
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        forwarder.offer("traces", request("poison", 0))
        for number in range(20):
            forwarder.offer("traces", request("good", number))
        forwarder.offer("traces", request("poison", 1))
        await collector.has(20)
        assert await forwarder.drain(0.3) == 2
    assert [read_request(data) for data in collector.requests] == [("good", number) for number in range(20)]


@PROTOCOLS
async def test_a_destination_that_is_down_is_tried_one_request_at_a_time(protocol: str, tmp_path: Path) -> None:
    collector = NextCollector(fault=lambda _data: Fault())
    async with (
        collecting(protocol, collector) as port,
        forwarding(protocol, port, tmp_path, retry={"initial": "200ms", "max": "200ms"}) as forwarder,
    ):
        for data in some_requests(100, clients=50):
            forwarder.offer("traces", data)
        await collector.until(lambda: collector.attempts >= 8)
        # Four went out before the first answer; then one after each wait, of 100 ms at least.
        assert collector.most_at_once <= 4
        begun, attempts = asyncio.get_running_loop().time(), collector.attempts
        await asyncio.sleep(0.5)
        assert collector.attempts - attempts <= 1 + (asyncio.get_running_loop().time() - begun) / 0.1


@PROTOCOLS
async def test_a_partial_success_is_counted_and_not_sent_again(protocol: str, tmp_path: Path) -> None:
    before = counted('tocsin_forward_rejected_items_total{signal="traces"}')
    partial = ExportTracePartialSuccess(rejected_spans=3, error_message="three were too long")
    collector = NextCollector(answer=ExportTraceServiceResponse(partial_success=partial).SerializeToString())
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        forwarder.offer("traces", request("a", 1))
        assert await forwarder.drain(5) == 0
    assert collector.attempts == 1
    assert counted('tocsin_forward_rejected_items_total{signal="traces"}') == before + 3


@PROTOCOLS
async def test_what_is_not_sent_at_the_end_is_sent_by_the_next_process(
    protocol: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    sent = some_requests(40)
    async with forwarding(protocol, free_port(), tmp_path) as forwarder:
        for data in sent:
            forwarder.offer("traces", data)
    assert forwarder.offer("traces", b"too late") is None
    collector = NextCollector()
    async with collecting(protocol, collector) as port, forwarding(protocol, port, tmp_path) as forwarder:
        await collector.has(len(sent))
        assert await forwarder.drain(5) == 0
    assert sorted(collector.requests) == sorted(sent)
    assert_order_of_each_client(collector.requests)
    assert not files_of(tmp_path)


@PROTOCOLS
async def test_no_secret_reaches_the_log(protocol: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    telemetry.forward._LAST.clear()
    faults = iter([Fault(), REFUSED])
    collector = NextCollector(fault=lambda _data: next(faults, None))
    async with (
        collecting(protocol, collector) as port,
        forwarding(protocol, port, tmp_path, headers={"authorization": "Bearer tops3cret"}) as forwarder,
    ):
        forwarder.offer("traces", request("a", 1))
        await collector.until(lambda: collector.attempts == 2)
        assert await forwarder.drain(5) == 0
    said = " ".join(str(record.__dict__) for record in caplog.records)
    assert "told to" in said
    assert "tops3cret" not in said


async def test_an_offer_never_waits_for_a_collector_that_hangs(tmp_path: Path) -> None:
    collector = NextCollector(fault=lambda _data: HANG)
    async with (
        collecting("grpc", collector) as port,
        forwarding("grpc", port, tmp_path, timeout="1s") as forwarder,
    ):
        begun = asyncio.get_running_loop().time()
        kept = [forwarder.offer("traces", data) for data in some_requests(500)]
        assert all(await asyncio.gather(*[future for future in kept if future]))
        assert asyncio.get_running_loop().time() - begun < 1.0
        assert forwarder.waiting == 500
