"""Memory: a million active conversations in one five-minute sum, and a service that idles."""

from typing import Any

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic, send
from benchmarks.outcome import Effort, NotRunError, Outcome

__all__ = ["run"]

_CONVERSATIONS = 1_000_000
_MIB = 1 << 20


def run(effort: Effort) -> list[Outcome]:
    """Measure both; the million is not shortened for a quick run, for a tenth says little."""
    del effort
    return [_idle(), *_conversations()]


def _idle() -> Outcome:
    with servers.tocsin(configuration.mixed()) as server:
        server.settled_cpu_seconds()
        return Outcome("memory, idle", server.resident_bytes() / _MIB, "MiB", target="<= 120")


def _conversations() -> list[Outcome]:
    config: dict[str, Any] = configuration.mixed()
    config["rules"] = [configuration.probe_rule(threshold=10**9, notify=[])]
    config["limits"] = {"groups": 2 * _CONVERSATIONS}
    traffic = Traffic(spans=512, conversations=_CONVERSATIONS, total=_CONVERSATIONS, sequential=True)
    with servers.tocsin(config) as server:
        idle = server.resident_bytes()
        report = send(server.grpc_port, traffic, 240)
        server.settled_cpu_seconds()
        resident, series = server.resident_bytes(), server.total("tocsin_series")
    if series < _CONVERSATIONS:
        raise NotRunError(f"{_CONVERSATIONS} conversations were sent, {series:.0f} series are held")
    note = f"{report['acknowledged']:,} spans in {report['seconds']:.1f} s; {idle / _MIB:.0f} MiB before"
    each = (resident - idle) / _CONVERSATIONS
    return [
        Outcome("memory, 1M active conversations", resident / _MIB, "MiB", target="<= 1024", note=note),
        Outcome("memory, one more conversation", each, "bytes"),
    ]
