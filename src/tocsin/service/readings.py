"""The engine's counters as telemetry wants them: labelled by a rule's name, money in dollars."""

from collections.abc import Mapping

from tocsin.engine.statistics import EngineStatistics
from tocsin.model.batch import NANO_USD
from tocsin.telemetry import Reading

__all__ = ["reading_of", "rule_label"]


def reading_of(statistics: EngineStatistics, in_flight_bytes: int) -> Reading:
    """Return what a scrape shows."""
    return Reading(
        samples=_by_rule(statistics.samples),
        late=_by_rule(statistics.late),
        ungrouped=_by_rule(statistics.ungrouped),
        series=_by_rule(statistics.series),
        overflow=statistics.overflow,
        late_in_trace=statistics.late_in_trace,
        firing=statistics.firing,
        pending=statistics.pending,
        duplicates=statistics.duplicates,
        future=statistics.future,
        traces=statistics.open_traces,
        waiting=statistics.waiting,
        cost_usd={model: nano / NANO_USD for model, nano in statistics.cost_nano.items()},
        tokens=statistics.tokens,
        in_flight_bytes=in_flight_bytes,
    )


def rule_label(key: tuple[str, str]) -> str:
    """Return the name of a rule (project, name) in metrics: bare in the default project."""
    project, name = key
    return name if project == "default" else f"{project}/{name}"


def _by_rule(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {rule_label(key): number for key, number in counts.items()}
