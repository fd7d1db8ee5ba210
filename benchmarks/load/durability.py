"""What it costs that nothing acknowledged is lost: the same load with the journal and without, in turn."""

from contextlib import ExitStack

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic
from benchmarks.load.rounds import measure, ratios
from benchmarks.outcome import Effort, Outcome, median_outcome

__all__ = ["run"]

_BUSY = Traffic(spans=512)
_STEADY = Traffic(spans=100, rate=10_000)


def run(effort: Effort) -> list[Outcome]:
    """Measure throughput, CPU and acknowledgement of both; and with every commit on the disk before the answer."""
    modes: dict[str, dict[str, object]] = {"kept": {}, "not kept": {"enabled": False}, "kept, sync 0s": {"sync": "0s"}}
    with ExitStack() as stack:
        running = [
            stack.enter_context(servers.tocsin({**configuration.mixed(), "journal": journal}, name=name))
            for name, journal in modes.items()
        ]
        busy = measure(running, _BUSY, effort)
        steady = measure(running, _STEADY, effort)
    rate = {name: [sample.spans_per_second for sample in samples] for name, samples in busy.items()}
    cpu = {name: [sample.cpu_per_million for sample in samples] for name, samples in busy.items()}
    rows = [
        median_outcome(
            f"throughput, {name} / not kept, 512 a request", ratios(rate[name], rate["not kept"]), "x", target=target
        )
        for name, target in (("kept", ">= 0.75"), ("kept, sync 0s", ""))
    ]
    rows.append(median_outcome("CPU, kept / not kept, 512 a request", ratios(cpu["kept"], cpu["not kept"]), "x"))
    rows += [
        median_outcome(
            f"acknowledgement p99 at 10k spans/s, {name}",
            [sample.p99_ms for sample in samples],
            "ms",
            target="<= 30" if name == "kept" else "",
        )
        for name, samples in steady.items()
    ]
    return rows
