"""Detection: a span is sent, its rule fires, the webhook has arrived. Both ends are one process."""

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic, background, probe, send
from benchmarks.load.servers import Server
from benchmarks.outcome import Effort, NotRunError, Outcome

__all__ = ["run"]

_INTERVAL_MS = 25
_GRACE_SECONDS = 15.0


def run(effort: Effort) -> list[Outcome]:
    """Measure an idle server, then the same one at half of the load that it can take."""
    webhook = servers.free_port()
    config = configuration.mixed()
    config["rules"] = [*config["rules"], configuration.probe_rule()]
    with servers.tocsin(configuration.with_webhook(config, webhook)) as server:
        rows = _rows("idle", _probe(server, webhook, effort, "idle"), {"p50": "<= 5", "p99": "<= 25"})
        peak = send(server.grpc_port, Traffic(spans=512), effort.seconds)["spans_per_second"]
        server.settled_cpu_seconds()
        lasting = effort.probes * _INTERVAL_MS / 1e3 + 2 * _GRACE_SECONDS
        with background(server.grpc_port, Traffic(spans=512, rate=peak / 2), lasting):
            report = _probe(server, webhook, effort, "busy")
    rows += _rows("half of peak load", report, {"p99": "<= 100"}, f"load {peak / 2:,.0f} spans/s, 512 a request")
    return rows


def _probe(server: Server, webhook: int, effort: Effort, prefix: str) -> dict[str, dict[str, float]]:
    report = probe(
        server.grpc_port,
        webhook,
        f"-count={effort.probes}",
        f"-interval={_INTERVAL_MS}ms",
        f"-prefix={prefix}",
        f"-wait={_GRACE_SECONDS}s",
    )
    arrived = len({hit["conversation"] for hit in report["hits"]})
    if arrived != effort.probes:
        raise NotRunError(f"{effort.probes} spans crossed the threshold, {arrived} webhooks came: {report['errors']}")
    return report


def _rows(when: str, report: dict[str, dict[str, float]], goals: dict[str, str], note: str = "") -> list[Outcome]:
    detection, inside = report["detection_ms"], report["arrival_to_detection_ms"]
    rows = [
        Outcome(
            f"detection to webhook, {when}, {rank}",
            detection[rank],
            "ms",
            target=goals.get(rank, ""),
            rounds=int(detection["count"]),
            note=note,
        )
        for rank in ("p50", "p99", "max")
    ]
    rows.append(Outcome(f"of it arrival to detection, {when}, p50", inside["p50"], "ms", note="as the webhook says"))
    return rows
