"""Ten thousand rules that differ in a tenant's name against ten of them: they share a plan."""

from benchmarks.load import configuration, servers
from benchmarks.load.generator import Traffic
from benchmarks.load.rounds import measure, ratios
from benchmarks.outcome import Effort, Outcome, median_outcome

__all__ = ["run"]

_FEW, _MANY = 10, 10_000


def run(effort: Effort) -> list[Outcome]:
    """Load both with the traffic of ten thousand tenants."""
    traffic = Traffic(spans=512, tenants=_MANY)
    with (
        servers.tocsin(configuration.per_tenant(_FEW), name="few") as few,
        servers.tocsin(configuration.per_tenant(_MANY), name="many") as many,
    ):
        samples = measure([few, many], traffic, effort)
        started = many.ready_seconds
    cpu = {name: [sample.cpu_per_million for sample in taken] for name, taken in samples.items()}
    return [
        median_outcome(
            "CPU, 10,000 per-tenant rules / 10",
            ratios(cpu["many"], cpu["few"]),
            "x",
            target="<= 1.5",
        ),
        median_outcome("CPU, 10 per-tenant rules", cpu["few"], "s per million spans"),
        median_outcome("CPU, 10,000 per-tenant rules", cpu["many"], "s per million spans"),
        Outcome("start to ready, 10,000 rules", started, "s"),
    ]
