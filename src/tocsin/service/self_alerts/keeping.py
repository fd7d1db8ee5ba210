"""What the watch over Tocsin itself keeps across a restart, as plain values."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from tocsin.alerts.state import Alert, AlertState
from tocsin.model.state import State
from tocsin.service.self_alerts.conditions import Kind, rule_of
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.service.self_alerts.readings import Attempts, Deliveries, Model, Unpriced

__all__ = ["frozen", "thawed"]

_Key = TypeVar("_Key", bound=tuple[Kind, Any])
_TIMES = ("level", "started_at", "fired_at", "ceased_at", "last_hit", "peak", "notified_at", "notified", "suppressed")
_FORM = 1


def frozen(alerts: Mapping[_Key, Alert], deliveries: Deliveries, unpriced: Unpriced) -> State:
    """Return the state of alerts, and of the conditions that hold until the opposite is seen."""
    return {
        "form": _FORM,
        "alerts": [_frozen_alert(kind, alert) for (kind, _), alert in alerts.items()],
        "deliveries": [
            [name, known.failures, known.permanent, known.reason, known.first_at, known.last_at]
            for name, known in deliveries.attempts.items()
            if known.read == known.failures
        ],
        "unpriced": [
            [provider, name, model.calls, model.since, model.last_at]
            for (provider, name), model in unpriced.models.items()
        ],
    }


def thawed(
    state: State, deliveries: Deliveries, unpriced: Unpriced, config: SelfAlertsConfig
) -> Iterator[tuple[Kind, dict[str, str], Alert]]:
    """Give the parts back their state, and yield the alerts; nothing of a state that can't be read."""
    try:
        alerts = _checked(state, deliveries, unpriced, config)
    except (AttributeError, KeyError, LookupError, TypeError, ValueError):
        return
    yield from alerts


def _checked(
    state: Any,  # noqa: ANN401  # a tree of anything, checked by use
    deliveries: Deliveries,
    unpriced: Unpriced,
    config: SelfAlertsConfig,
) -> list[tuple[Kind, dict[str, str], Alert]]:
    if state["form"] != _FORM:
        return []
    alerts = [_thawed_alert(entry, config) for entry in state["alerts"]]
    attempts = {
        str(name): Attempts(int(failures), bool(permanent), str(reason), int(failures), int(first), int(last))
        for name, failures, permanent, reason, first, last in state["deliveries"]
    }
    models = {
        (str(provider), str(name)): Model(int(calls), int(since), int(last))
        for provider, name, calls, since, last in state["unpriced"]
    }
    deliveries.attempts.update(attempts)
    unpriced.models.update(models)
    return alerts


def _frozen_alert(kind: Kind, alert: Alert) -> State:
    return {
        "kind": kind.value,
        "group": dict(alert.group),
        "state": alert.state.value,
        "told": list(alert.told),
        **{name: getattr(alert, name) for name in _TIMES},
    }


def _thawed_alert(entry: Mapping[str, Any], config: SelfAlertsConfig) -> tuple[Kind, dict[str, str], Alert]:
    kind, group = Kind(entry["kind"]), {str(label): str(value) for label, value in entry["group"].items()}
    alert = Alert(
        rule_of(kind, (), config),
        group,
        AlertState(entry["state"]),
        told=tuple(map(str, entry["told"])),
        **{name: entry[name] for name in _TIMES},
    )
    return kind, group, alert
