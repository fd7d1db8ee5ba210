"""What the API shows of a running service, and the routes that show it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from tocsin.api.alerts import alerts_router
from tocsin.api.backtests import backtests_router
from tocsin.api.compat.arthur import arthur_router
from tocsin.api.compat.prela import prela_router
from tocsin.api.compat.prometheus import prometheus_router
from tocsin.api.contact_points import contact_points_router
from tocsin.api.events import events_router
from tocsin.api.rules import rules_router
from tocsin.api.ruleset import RunningRule
from tocsin.api.series import Snapshot, series_router
from tocsin.api.spend import spend_router
from tocsin.api.state import state_router
from tocsin.engine.spend import SpendReport
from tocsin.errors import OverloadedError
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter, rfc3339
from tocsin.notify.trial import Outcome, send_test
from tocsin.rules.sql.config import SqlConfig
from tocsin.storage.firings import last_fired

if TYPE_CHECKING:
    from tocsin.service.serve import Service

__all__ = ["RunningRules", "Shown", "routers_of"]


def routers_of(service: "Service") -> tuple[APIRouter, ...]:
    """Return the routes of alerts, rules, values and state; those that change files where it has files."""
    shown = Shown(service)
    routers = [
        alerts_router(service.database, shown.units),
        series_router(shown.series),
        spend_router(shown.spend),
        state_router(shown.figures),
        events_router(service.events),
    ]
    if service.editing is not None and service.backtests is not None:
        running = RunningRules(service)
        routers += [
            backtests_router(service.editing, service.backtests),
            rules_router(service.editing, running, service.idempotency),
            contact_points_router(service.editing, shown.tested, service.idempotency),
            arthur_router(service.editing, running, service.database),
            prela_router(service.editing, service.database),
            prometheus_router(service.editing, running, service.database),
        ]
    return tuple(routers)


class RunningRules:
    """`Running` of a service."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    def rules(self) -> Mapping[tuple[str, str], RunningRule]:
        """See `Running.rules`."""
        engine = self._service.engine
        series, states = engine.statistics.series, engine.standing()
        return {
            rule.key: RunningRule(series.get(rule.key, 0), frozenset(states.get(rule.key, ()))) for rule in engine.rules
        }

    def problems(self) -> Sequence[str]:
        """See `Running.problems`."""
        return self._service.status.rule_errors

    def sql(self) -> SqlConfig:
        """See `Running.sql`."""
        return self._service.loaded.configuration.sql

    async def last_fired(self) -> Mapping[tuple[str, str], int]:
        """See `Running.last_fired`."""
        try:
            async with self._service.database.connection() as connection:
                return await last_fired(connection)
        except OverloadedError:
            return {}


class Shown:
    """A service's figures; asked on its event loop."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    def series(self) -> Snapshot:
        """Return what the engine holds now."""
        engine = self._service.engine
        return Snapshot(tuple(engine.values()), engine.time)

    def spend(self, by: str, window_ns: int, *, order: str, offset: int, limit: int) -> SpendReport:
        """See `SpendSource`."""
        engine = self._service.engine
        assert engine.spend is not None  # noqa: S101  # a service's engine counts it
        return engine.spend.report(by, window_ns, engine.time, order=order, offset=offset, limit=limit)

    def units(self) -> Mapping[tuple[str, str], str]:
        """See `tocsin.api.alerts.Units`."""
        return {rule.key: rule.unit for rule in self._service.engine.rules}

    def figures(self) -> Mapping[str, Any]:
        """Return counts, lag and limits."""
        service = self._service
        counted, limits = service.engine.statistics, service.loaded.configuration.limits
        return {
            "spans": service.pipeline.spans,
            "event_time": rfc3339(service.engine.time) if service.engine.time > 0 else None,
            "in_flight_bytes": service.pipeline.in_flight_bytes,
            "alerts": {"firing": counted.firing, "pending": counted.pending},
            "series": sum(counted.series.values()),
            "late_samples": sum(counted.late.values()),
            "duplicate_spans": counted.duplicates,
            "overflow_samples": counted.overflow,
            "open_traces": counted.open_traces,
            "cost_usd": sum(counted.cost_nano.values()) / 1e9,
            "limits": {"in_flight_bytes": limits.in_flight_bytes, "memory": limits.memory or None},
            "warnings": list(service.loaded.warnings),
        }

    async def tested(self, name: str) -> Outcome | None:
        """Send a test notification; None: there is no such contact point in force."""
        configuration = self._service.loaded.configuration
        contact = configuration.contact_points.get(name)
        if contact is None:
            return None
        writer = MessageWriter(trace_url=configuration.trace_url, public_url=configuration.api.public_url)
        return await send_test(name, contact, Network(allow_private=configuration.network.allow_private), writer)
