"""A soak: the real service under a steady load for an hour, looked at every ten seconds.

Run: `python -m benchmarks.soak [--minutes 60] [--rate 10000] [--report]`; it ends by itself. The load is that of the
collector's own load tests: requests of 100 spans at 10,000 spans a second over OTLP/gRPC (22 attributes a span, 10,000
conversations, 100 tenants, every span a trace of its own), with twenty mixed rules. Beside it a span a second crosses a
threshold, and its webhook is awaited. The result is recorded under `benchmarks/results/soak/`; `--report` writes the
last one into docs/performance.md.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic, attempted, probe
from benchmarks.load.servers import Server
from benchmarks.outcome import NotRunError, Outcome

__all__ = ["Look", "Soak", "main", "outcomes", "run", "slope"]

_STRETCH_SECONDS = 60.0
"""The generator runs so long at a time: each gives the latencies of its own requests."""
_LOOK_SECONDS = 10.0
_SETTLED_SHARE = 0.35
"""The slope of memory is taken after this part of the run: the windows and the memory against repeats fill first."""
_PROBE_SECONDS = 1.0
_MIB = 1 << 20
_RESULTS = report.RESULTS / "soak"
_BEGIN = "<!-- soak: begin, written by `python -m benchmarks.soak --report` -->"
_END = "<!-- soak: end -->"


@dataclass(frozen=True, slots=True)
class Look:
    """The service at one moment."""

    seconds: float
    """Since the load began."""
    cpu: float
    """Share of a core since the last look."""
    resident_mib: float
    disk_mib: float
    """Its data directory: journal, snapshots, alerts."""


@dataclass(slots=True)
class Soak:
    """What was seen."""

    looks: list[Look] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    counted: int = 0
    """Spans that the service says it received, without probes."""
    refused: int = 0
    """Attempts that were answered UNAVAILABLE and made again."""
    errors: dict[str, int] = field(default_factory=dict)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    """Of a request, one a stretch."""
    detection_p50_ms: list[float] = field(default_factory=list)
    detection_p99_ms: list[float] = field(default_factory=list)
    probes: int = 0
    hits: int = 0


def run(seconds: float, rate: float, config: Mapping[str, Any] | None = None, *, spans: int = 100) -> Soak:
    """Load a service for so long and return what was seen.

    Args:
        seconds: of load.
        rate: spans a second.
        config: the service's; a probe's rule and webhook are added. None: the twenty mixed rules.
        spans: in a request.

    Raises:
        NotRunError: the load generator is not there, or the service does not start.
    """
    webhook = servers.free_port()
    whole = dict(config or configuration.mixed())
    whole["rules"] = [*whole["rules"], configuration.probe_rule()]
    soak, over = Soak(), threading.Event()
    with servers.tocsin(configuration.with_webhook(whole, webhook)) as server:
        watching = threading.Thread(target=_watch, args=(server, soak, over), name="looks")
        watching.start()
        try:
            left = seconds
            while left > 0:
                _stretch(server, soak, webhook, Traffic(spans=spans, rate=rate), min(left, _STRETCH_SECONDS))
                left -= _STRETCH_SECONDS
        finally:
            over.set()
            watching.join()
        warm_ups = len(soak.p99_ms)  # each run of the probe sends one span first
        soak.counted = int(server.total("tocsin_spans_received_total")) - soak.probes - warm_ups
    return soak


def _stretch(server: Server, soak: Soak, webhook: int, traffic: Traffic, seconds: float) -> None:
    """Load the service for at most a minute, and probe it meanwhile."""
    found: list[dict[str, Any]] = []
    count = max(1, int((seconds - 2) / _PROBE_SECONDS))
    flags = (f"-count={count}", f"-interval={_PROBE_SECONDS}s", f"-prefix=soak-{len(soak.p99_ms)}", "-wait=15s")
    probing = threading.Thread(target=lambda: found.append(probe(server.grpc_port, webhook, *flags)), name="probe")
    probing.start()
    try:
        sent = attempted(server.grpc_port, traffic, seconds)
    finally:
        probing.join()
    soak.sent += sent["spans"]
    soak.acknowledged += sent["acknowledged"]
    soak.refused += sent["refused"]
    for error, number in sent["errors"].items():
        soak.errors[error] = soak.errors.get(error, 0) + number
    soak.p50_ms.append(sent["latency_ms"]["p50"])
    soak.p99_ms.append(sent["latency_ms"]["p99"])
    soak.probes += count
    for detected in found:
        soak.hits += len({hit["conversation"] for hit in detected["hits"]})
        soak.detection_p50_ms.append(detected["detection_ms"]["p50"])
        soak.detection_p99_ms.append(detected["detection_ms"]["p99"])


def _watch(server: Server, soak: Soak, over: threading.Event) -> None:
    begun = before = time.monotonic()
    used = server.cpu_seconds()
    while not over.wait(_LOOK_SECONDS):
        now, spent = time.monotonic(), server.cpu_seconds()
        share = (spent - used) / (now - before)
        look = Look(now - begun, share, server.resident_bytes() / _MIB, _disk_bytes(server.directory) / _MIB)
        before, used = now, spent
        soak.looks.append(look)
        print(
            f"{look.seconds:6.0f} s  {look.cpu:5.1%} of a core  {look.resident_mib:6.0f} MiB  "
            f"{look.disk_mib:7.1f} MiB on disk",
            flush=True,
        )


def _disk_bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # a segment that was let go meanwhile
    return total


def slope(looks: Sequence[Look]) -> float:
    """Return by how much resident memory grows, MiB an hour, by least squares; 0 for fewer than two looks."""
    if len(looks) < 2:
        return 0.0
    line = statistics.linear_regression([look.seconds / 3600 for look in looks], [look.resident_mib for look in looks])
    return float(line.slope)


def settled(looks: Sequence[Look]) -> Sequence[Look]:
    """Return the looks after everything that fills up had its time."""
    return [look for look in looks if look.seconds >= _SETTLED_SHARE * looks[-1].seconds]


def outcomes(soak: Soak) -> list[Outcome]:
    """Return the rows of the table."""
    cpu = sorted(look.cpu for look in soak.looks)
    rows = [
        Outcome("CPU, median of ten seconds", statistics.median(cpu), "of a core", target="<= 0.2"),
        Outcome("CPU, the most of ten seconds", cpu[-1], "of a core"),
    ]
    for minutes in (10, 30, 60):
        reached = [look for look in soak.looks if look.seconds <= 60 * minutes + _LOOK_SECONDS]
        if reached[-1].seconds >= 60 * minutes - 2 * _LOOK_SECONDS:
            rows.append(Outcome(f"resident memory after {minutes} minutes", reached[-1].resident_mib, "MiB"))
    most = max(look.resident_mib for look in soak.looks)
    rows += [
        Outcome("resident memory, the most", most, "MiB", target="<= 200"),
        Outcome("growth of memory, once it has filled", slope(settled(soak.looks)), "MiB an hour", target="<= 15"),
        Outcome("on disk at the end", soak.looks[-1].disk_mib, "MiB"),
        Outcome("acknowledged after, p50 (median of a minute's)", statistics.median(soak.p50_ms), "ms"),
        Outcome("acknowledged after, p99 (median of a minute's)", statistics.median(soak.p99_ms), "ms", "<= 30"),
        Outcome("acknowledged after, p99 of the worst minute", max(soak.p99_ms), "ms"),
        Outcome("spans sent", soak.sent, ""),
        Outcome("spans lost", soak.sent - soak.acknowledged, "", target="<= 0"),
        Outcome("spans acknowledged and not counted", soak.acknowledged - soak.counted, "", target="<= 0"),
        Outcome("attempts refused, and made again", soak.refused, ""),
        Outcome("alerts that did not arrive", soak.probes - soak.hits, f"of {soak.probes}", target="<= 0"),
    ]
    if soak.detection_p50_ms:
        rows += [
            Outcome("span sent to webhook, p50 (median of a minute's)", statistics.median(soak.detection_p50_ms), "ms"),
            Outcome("span sent to webhook, p99 of the worst minute", max(soak.detection_p99_ms), "ms"),
        ]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print, record; return 1 where it could not run or spans or alerts were lost."""
    options = _parser().parse_args(arguments)
    if options.report:
        return _report()
    try:
        soak = run(60 * options.minutes, options.rate, spans=options.spans)
    except NotRunError as error:
        print(f"not run: {error}", file=sys.stderr)
        return 1
    rows = outcomes(soak)
    name = f"soak, {options.minutes:g} minutes at {options.rate:g} spans/s, {options.spans} a request"
    result = {**report.result_of({name: rows}, {}), "soak": asdict(soak)}
    print("\n" + report.table(result, {}))
    if soak.errors:
        print(f"\nerrors: {soak.errors}")
    _RESULTS.mkdir(parents=True, exist_ok=True)
    path = _RESULTS / f"{result['at'][:16].replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nrecorded in {path}")
    whole = soak.sent == soak.acknowledged == soak.counted and soak.probes == soak.hits
    return 0 if whole and not soak.errors else 1


def _report() -> int:
    results = sorted(_RESULTS.glob("*.json"))
    if not results:
        print("there is no soak to report; run `make soak` first", file=sys.stderr)
        return 1
    report.paste(json.loads(results[-1].read_text(encoding="utf-8")), begin=_BEGIN, end=_END)
    print(f"{results[-1].name} is in {report.DOCUMENT}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10_000, help="spans a second")
    parser.add_argument("--spans", type=int, default=100, help="in a request")
    parser.add_argument("--report", action="store_true", help="write the last recorded soak into the documentation")
    return parser


if __name__ == "__main__":
    sys.exit(main())
