"""What the engine can be told in the configuration: `trace:` and `limits:`."""

from datetime import timedelta

from pydantic import Field

from tocsin.model.settings import Duration, Settings, Size

__all__ = ["LimitsConfig", "TraceConfig"]


class TraceConfig(Settings):
    """When a trace is complete."""

    grace: Duration = timedelta(seconds=5)
    """After the root span arrived and nothing followed for this long."""
    idle: Duration = timedelta(seconds=60)
    """Without a root span: when nothing came for this long."""
    max_age: Duration = timedelta(hours=1)
    """In any case after this long."""


class LimitsConfig(Settings):
    """What bounds memory; each limit says how it was met when it is."""

    groups: int = Field(default=2_000_000, ge=1)
    """Groups per grouping; further ones share one overflow group."""
    traces: int = Field(default=100_000, ge=100)
    """Open traces; past it the ones that were quiet for longest are completed early."""
    waiting: int = Field(default=100_000, ge=0)
    """Spans that wait for a group or filter attribute of their trace; past it the oldest count as without."""
    evidence: int = Field(default=1_000_000, ge=1000)
    """Recent samples kept to say which traces and models an alert comes from, over all rules."""
    dedup_window: Duration = timedelta(minutes=10)
    """For how long a span that is delivered again is recognised."""
    max_skew: Duration = timedelta(seconds=10)
    """How far a span's time may be ahead of the wall clock; one further ahead is counted at the engine's time."""
    in_flight_bytes: Size = Field(default=256 * 1024 * 1024, ge=1024)
    """Request bytes accepted and not yet evaluated; past it requests are refused with a retryable status."""
    memory: Size | None = Field(default=None, ge=64 * 1024 * 1024)
    """Resident memory of the process; past it requests are refused with a retryable status. Left out: no limit."""
