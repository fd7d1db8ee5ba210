"""Interleaved rounds: each server takes the same load in turn; only ratios within a round count."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.generator import Traffic, send
from benchmarks.load.servers import Server
from benchmarks.outcome import Effort

__all__ = ["Sample", "measure", "ratios", "sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One server under one load, once."""

    cpu_per_million: float
    """CPU-seconds of the server's processes for a million spans."""
    spans_per_second: float
    """Acknowledged, with the generator on the same machine."""
    p99_ms: float
    """Of a request."""


def sample(server: Server, traffic: Traffic, seconds: float) -> Sample:
    """Load a server once.

    Raises:
        NotRunError: it lost or refused spans.
    """
    before = server.settled_cpu_seconds()
    report = send(server.grpc_port, traffic, seconds)
    used = server.settled_cpu_seconds() - before
    return Sample(
        cpu_per_million=used / report["acknowledged"] * 1e6,
        spans_per_second=report["spans_per_second"],
        p99_ms=report["latency_ms"]["p99"],
    )


def measure(servers: Sequence[Server], traffic: Traffic, effort: Effort) -> dict[str, list[Sample]]:
    """Return the samples of each server by its name, one a round, after a round that warms up."""
    found: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for number in range(effort.rounds + 1):
        # The order turns from round to round, so that nobody always runs after the same neighbour.
        turn = number % len(servers)
        for server in [*servers[turn:], *servers[:turn]]:
            taken = sample(server, traffic, effort.seconds if number else min(1.0, effort.seconds))
            if number:
                found[server.name].append(taken)
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return one ratio a round."""
    return [left / right for left, right in zip(above, below, strict=True)]
