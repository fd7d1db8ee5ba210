"""The registry of Tocsin's own metrics, and how it is shown."""

from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

__all__ = ["REGISTRY", "SECONDS", "exposition"]

REGISTRY: Final = CollectorRegistry(auto_describe=False)
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Buckets of durations."""
ProcessCollector(registry=REGISTRY)


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all metrics and their content type: OpenMetrics where `accept` takes it, else Prometheus's."""
    encode, content_type = choose_encoder(accept)
    return encode(REGISTRY), content_type
