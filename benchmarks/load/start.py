"""Start: from the start of the process to an answer of /readyz."""

from benchmarks.load import configuration, servers
from benchmarks.outcome import Effort, Outcome, median_outcome

__all__ = ["run"]


def run(effort: Effort) -> list[Outcome]:
    """Start the service on the twenty rules, again and again."""
    seconds = []
    for _ in range(effort.rounds + 1):
        with servers.tocsin(configuration.mixed()) as server:
            seconds.append(server.ready_seconds)
    # The first start reads the disk; the goal is for a machine that has run it before, as a restart is.
    return [median_outcome("start to ready", seconds[1:], "s", target="<= 2", note=f"first: {seconds[0]:.2f} s")]
