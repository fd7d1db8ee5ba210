"""What the engine and its neighbours have counted, as metrics read when somebody scrapes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tocsin.telemetry.registry import REGISTRY

__all__ = ["MAX_MODELS", "Reading", "bounded_model", "read_from"]

MAX_MODELS: Final = 200
"""Distinct (provider, model) pairs with labels of their own; all later ones are counted as `other`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the engine and its neighbours have counted so far, read at a scrape; counters never fall."""

    samples: Mapping[str, int] = field(default_factory=dict)
    """Rule -> samples."""
    late: Mapping[str, int] = field(default_factory=dict)
    ungrouped: Mapping[str, int] = field(default_factory=dict)
    series: Mapping[str, int] = field(default_factory=dict)
    """Rule -> series that are known now."""
    overflow: int = 0
    late_in_trace: int = 0
    firing: int = 0
    pending: int = 0
    duplicates: int = 0
    future: int = 0
    traces: int = 0
    """Traces that are open now."""
    waiting: int = 0
    """Samples that wait for a label of their trace now."""
    cost_usd: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(provider, model) -> US dollars."""
    tokens: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """(provider, model, type) -> tokens."""
    in_flight_bytes: int = 0


class _Bounded:
    """The (provider, model) pairs with labels of their own: the first ones, for good."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def of(self, provider: str, model: str) -> tuple[str, str]:
        pair = (provider[:128] or "unknown", model[:128] or "unknown")
        if pair not in self._known:
            if len(self._known) >= MAX_MODELS:
                return "other", "other"
            self._known.add(pair)
        return pair


_MODELS = _Bounded()


class _Readings(Collector):
    """Turns a `Reading` to metrics when somebody scrapes."""

    def __init__(self) -> None:
        self.source: Callable[[], Reading] = Reading

    def collect(self) -> Iterator[Metric]:
        reading = self.source()
        yield _family("tocsin_samples", "Samples that a rule counted.", "rule", reading.samples)
        yield _family("tocsin_late_samples", "Samples older than the rule's window, not counted.", "rule", reading.late)
        yield _family("tocsin_ungrouped_samples", "Samples that never got a group's label.", "rule", reading.ungrouped)
        series = GaugeMetricFamily("tocsin_series", "Series that live now.", labels=["rule"])
        for rule, number in reading.series.items():
            series.add_metric([rule], number)
        yield series
        for name, text, number in (
            ("tocsin_duplicate_spans", "Spans that arrived again.", reading.duplicates),
            ("tocsin_future_samples", "Samples from the future, counted now.", reading.future),
            ("tocsin_overflow_samples", "Samples of groups past limits.groups.", reading.overflow),
            ("tocsin_late_in_trace_spans", "Spans of traces that were complete.", reading.late_in_trace),
        ):
            yield CounterMetricFamily(name, text, value=number)
        for name, text, number in (
            ("tocsin_open_traces", "Traces that are not complete.", reading.traces),
            ("tocsin_waiting_samples", "Samples that wait for a label of their trace.", reading.waiting),
            ("tocsin_alerts_firing", "Alerts that fire now.", reading.firing),
            (
                "tocsin_alerts_pending",
                "Alerts whose condition holds, not yet for long enough.",
                reading.pending,
            ),
            ("tocsin_in_flight_bytes", "Bytes of requests not yet answered.", reading.in_flight_bytes),
        ):
            yield GaugeMetricFamily(name, text, value=number)
        yield from self._by_model(reading)

    def _by_model(self, reading: Reading) -> Iterator[Metric]:
        cost: dict[tuple[str, str, str], float] = {}
        for pair, usd in reading.cost_usd.items():
            key = (*_MODELS.of(*pair), "")
            cost[key] = cost.get(key, 0.0) + usd
        tokens: dict[tuple[str, str, str], float] = {}
        for (provider, model, kind), number in reading.tokens.items():
            key = (*_MODELS.of(provider, model), kind)
            tokens[key] = tokens.get(key, 0.0) + number
        for name, text, labels, values in (
            ("tocsin_cost_usd", "What model calls cost, each counted once.", ["provider", "model"], cost),
            (
                "tocsin_tokens",
                "Tokens of model calls, each counted once.",
                ["provider", "model", "type"],
                tokens,
            ),
        ):
            family = CounterMetricFamily(name, text, labels=labels)
            for key, value in values.items():
                family.add_metric(key[: len(labels)], value)
            yield family


def _family(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


_READINGS = _Readings()
REGISTRY.register(_READINGS)


def read_from(source: Callable[[], Reading]) -> None:
    """Ask `source` for what the engine has counted, at each scrape."""
    _READINGS.source = source


def bounded_model(provider: str, model: str) -> tuple[str, str]:
    """Return label values for a model: its own for the first `MAX_MODELS` pairs, `other` for all later ones."""
    return _MODELS.of(provider, model)
