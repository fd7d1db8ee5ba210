"""A steady load of 10,000 spans a second, the collector's own load test: what it takes."""

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic, send
from benchmarks.outcome import Effort, Outcome, median_outcome

__all__ = ["run"]

_RATE = 10_000


def run(effort: Effort) -> list[Outcome]:
    """Measure it in several stretches."""
    traffic = Traffic(spans=100, rate=_RATE)
    shares: list[float] = []
    with servers.tocsin(configuration.mixed()) as server:
        send(server.grpc_port, traffic, effort.seconds)
        for _ in range(effort.rounds):
            before = server.settled_cpu_seconds()
            report = send(server.grpc_port, traffic, effort.seconds)
            shares.append((server.settled_cpu_seconds() - before) / report["seconds"])
        resident = server.resident_bytes() / (1 << 20)
    return [
        median_outcome("10k spans/s steady, share of a core", shares, "", target="<= 0.2", note="100 a request"),
        Outcome("10k spans/s steady, memory", resident, "MiB", target="<= 200"),
    ]
