"""The table of alerts: every episode of a rule and group that the database still has."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from tocsin.history.store import Store
from tocsin.storage.alerts import AlertRow

__all__ = ["fill_alerts"]

_TABLE: Final = (
    "CREATE TABLE alerts (id VARCHAR, project VARCHAR, rule VARCHAR, version VARCHAR, labels JSON, state VARCHAR, "
    "severity VARCHAR, threshold DOUBLE, value DOUBLE, peak DOUBLE, suppressed BIGINT, started_at TIMESTAMPTZ, "
    "fired_at TIMESTAMPTZ, resolved_at TIMESTAMPTZ, acknowledged_at TIMESTAMPTZ, shadow BOOLEAN)"
)
_TIMES: Final = ("started_at", "fired_at", "resolved_at", "acknowledged_at")
_AT_ONCE: Final = 1000


def fill_alerts(store: Store, alerts: Sequence[AlertRow]) -> None:
    """Make the table, and put alerts in."""
    store.database.execute(_TABLE)
    for begin in range(0, len(alerts), _AT_ONCE):
        rows = [_row(alert) for alert in alerts[begin : begin + _AT_ONCE]]
        marks = ", ".join("make_timestamptz(?::BIGINT)" if index in range(11, 15) else "?" for index in range(16))
        store.database.executemany(f"INSERT INTO alerts VALUES ({marks})", rows)  # noqa: S608  # placeholders only


def _row(alert: AlertRow) -> list[Any]:
    times = [None if (at := getattr(alert, name)) is None else at // 1000 for name in _TIMES]
    return [
        alert.id,
        alert.project,
        alert.rule,
        alert.version,
        orjson.dumps(alert.group).decode(),
        str(alert.state.value),
        str(alert.severity.value),
        alert.threshold,
        alert.value,
        alert.peak,
        alert.suppressed,
        *times,
        alert.shadow,
    ]
