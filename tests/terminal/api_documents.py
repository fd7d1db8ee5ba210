"""Answers of the API as `tocsin top` gets them, with whatever texts and sizes a test asks for."""

from typing import Any

from tocsin.terminal.reading import Reading, View

__all__ = ["NOW", "alert", "calls", "reading_of", "series"]

NOW = 1_790_000_000.0


def calls(usd: float = 1.5, **more: float) -> dict[str, Any]:
    return {"usd": usd, "tokens": 1234, "calls": 12, "errors": 1, "unpriced": 0} | more


def alert(rule: str = "runaway", group: str = "conv-7", severity: str = "critical", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "id": "alt_1", "project": "default", "rule": rule, "group": {"conversation": group}, "state": "firing",
        "severity": severity, "value": 2.006, "threshold": 2.0, "peak": 3.0, "unit": "USD", "suppressed": 0,
        "started_at": "2026-09-21T13:33:20.000000Z", "fired_at": "2026-09-21T13:33:20.000000Z", "resolved_at": None,
        "acknowledged_at": None, "acknowledged_by": None, "shadow": False,
    } | more  # fmt: skip


def series(rule: str = "runaway", group: str = "conv-7", closeness: float = 0.9) -> dict[str, Any]:
    return {
        "project": "default", "rule": rule, "group": {"conversation": group}, "value": 1.8, "threshold": 2.0,
        "condition": "gt", "unit": "USD", "samples": 3, "closeness": closeness,
    }  # fmt: skip


def reading_of(
    keys: int = 30,
    alerts: int = 2,
    closest: int = 5,
    name: str = "conv",
    view: View | None = None,
    **more: Any,  # noqa: ANN401
) -> Reading:
    view = view or View()
    spend = {
        "by": view.by.value, "window": {"seconds": 300}, "total": calls(40.0), "usd_per_hour": 480.0,
        "keys": [{"value": f"{name}-{at}", "share": 1 / (at + 2), **calls(1 / (at + 1))} for at in range(keys)],
        "rest": calls(0), "without": calls(0.2), "known": keys, "next_offset": None, "exact": False,
        "most_more": calls(0.01), "course": [{"at": "", "usd": float(step % 7)} for step in range(61)],
    }  # fmt: skip
    status = {
        "version": "1.2.3", "ready": True, "degraded": {}, "spans": 100, "series": 7,
        "event_time": "2026-09-21T14:13:19.500000Z",
    }  # fmt: skip
    given: dict[str, Any] = {
        "status": status,
        "spend": spend,
        "alerts": [alert(group=f"{name}-{number}") for number in range(alerts)],
        "closest": [series(group=f"{name}-{number}") for number in range(closest)],
        "spans_per_second": 180.0,
    }
    return Reading(view, NOW, **(given | more))
