"""Whole path: OTLP/gRPC in, priced, in the windows of twenty mixed rules, acknowledged; against real peers.

The collector does what it can of the same job: cost by OTTL, sums by conversation, model and tenant, without
windows and rules. Both are first held against the cost of what was sent: speed of a wrong sum is no speed.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic, send
from benchmarks.load.rounds import Sample, measure, ratios
from benchmarks.load.servers import Server
from benchmarks.outcome import Effort, NotRunError, Outcome, median_outcome

__all__ = ["SHAPES", "Shape", "run"]

_VERIFIED_SPANS = 51_200


@dataclass(frozen=True, slots=True)
class Shape:
    """A load and what is asked of Tocsin under it."""

    name: str
    traffic: Traffic
    goal: str
    """For the CPU of Tocsin over that of the collector."""
    upb: bool = False
    """Whether throughput is compared with the upb server."""


SHAPES = (
    Shape("512 a request, no bodies", Traffic(spans=512), "<= 0.2", upb=True),
    Shape("512 a request, 2 kB", Traffic(spans=512, body=2048), "<= 0.333"),
    Shape("512 a request, 16 kB", Traffic(spans=512, body=16384, inflight=4), "<= 0.5"),
    Shape("10 a request, no bodies", Traffic(spans=10, inflight=32, connections=4), "<= 1"),
)


def run(effort: Effort) -> list[Outcome]:
    """Measure every shape; peers that are not there leave their rows out."""
    rows: list[Outcome] = []
    with _servers() as running:
        rows += [row for server in running.values() if server.http_port for row in _verified(server)]
        for shape in SHAPES:
            taking_part = [server for name, server in running.items() if name != "upb server" or shape.upb]
            rows += _rows(shape, measure(taking_part, shape.traffic, effort))
    return rows


@contextmanager
def _servers() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        running = [stack.enter_context(servers.tocsin(configuration.mixed()))]
        running += [stack.enter_context(start()) for start in (servers.upb, servers.grpcio_floor, servers.drain)]
        try:
            running.append(stack.enter_context(servers.collector()))
        except NotRunError as missing:
            print(f"  without the collector: {missing}", flush=True)
        yield {server.name: server for server in running}


def _verified(server: Server) -> list[Outcome]:
    """Send a known amount and compare the cost that the server found with that of the generator."""
    metric = {"tocsin": "tocsin_cost_usd_total", "collector": "app_cost_usd_sum"}[server.name]
    sent = send(server.grpc_port, Traffic(spans=512, total=_VERIFIED_SPANS), 60)
    server.settled_cpu_seconds()
    found = server.total(metric)
    return [
        Outcome(
            name=f"cost found by {server.name}, relative error",
            value=abs(found / sent["usd"] - 1),
            unit="",
            target="<= 0.001",
            note=f"sent ${sent['usd']:.2f}, found ${found:.2f}",
        )
    ]


def _rows(shape: Shape, samples: dict[str, list[Sample]]) -> list[Outcome]:
    cpu = {name: [sample.cpu_per_million for sample in taken] for name, taken in samples.items()}
    rate = {name: [sample.spans_per_second for sample in taken] for name, taken in samples.items()}
    rows: list[Outcome] = []
    if "collector" in cpu:
        rows.append(
            median_outcome(
                f"CPU, Tocsin / collector, {shape.name}",
                ratios(cpu["tocsin"], cpu["collector"]),
                "x",
                target=shape.goal,
            )
        )
    if shape.upb:
        rows.append(
            median_outcome(
                f"throughput, Tocsin / upb server, {shape.name}",
                ratios(rate["tocsin"], rate["upb server"]),
                "x",
                target=">= 10",
            )
        )
    missing = "" if "collector" in cpu else "no collector to compare with; `make peers` builds one"
    rows += [
        median_outcome(f"CPU, {name}, {shape.name}", values, "s per million spans", note=missing)
        for name, values in cpu.items()
    ]
    rows.append(median_outcome(f"throughput, Tocsin, {shape.name}", rate["tocsin"], "spans/s"))
    return rows
