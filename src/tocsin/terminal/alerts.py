"""Alerts as lines, and as they change."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tocsin.errors import ConfigError
from tocsin.terminal.remote import Event, RefusedError, Remote
from tocsin.terminal.wording import age, amount, group_text, printable

__all__ = ["Chosen", "alert_line", "alert_lines", "event_line", "listed", "watched"]

_WAIT_SECONDS: Final = 2.0
"""Before a stream that broke is asked for again."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which alerts."""

    state: str | None = "firing"
    rule: str | None = None
    project: str | None = None
    severity: str | None = None
    group: tuple[str, ...] = ()
    """`label=value`, or a value of any label; all must hold."""
    since: str | None = None
    """RFC 3339."""
    until: str | None = None

    def params(self) -> dict[str, Any]:
        """Return what the API is asked."""
        given = {name: getattr(self, name) for name in ("state", "rule", "project", "severity", "since", "until")}
        return {name: value for name, value in given.items() if value is not None} | {"group": list(self.group)}

    def has(self, event: dict[str, Any]) -> bool:
        """Return whether an event is of one of these alerts, whatever its state and time."""
        for name in ("rule", "project", "severity"):
            if getattr(self, name) not in (None, event[name]):
                return False
        group: dict[str, str] = event["group"]
        pairs = {f"{label}={value}" for label, value in group.items()} | {*group.values()}
        return pairs.issuperset(self.group)


def listed(remote: Remote, chosen: Chosen, limit: int) -> list[dict[str, Any]]:
    """Return alerts, the latest first. Raises what `Remote.ask` does."""
    found: list[dict[str, Any]] = remote.ask("GET", "/alerts", params=chosen.params() | {"limit": limit})["alerts"]
    return found


def watched(remote: Remote, chosen: Chosen, told: Callable[[str], None]) -> Iterator[Event]:
    """Yield alerts' events from now on; where the connection breaks it is made again.

    Args:
        remote: the service.
        chosen: which.
        told: told what became of the connection.

    Raises:
        RefusedError: the service says no.
    """
    last: str | None = None
    while True:
        try:
            with remote.events(last) as events:
                for kind, document, number in events:
                    last = number or last
                    if kind == "gap":
                        told("events were missed; `tocsin alerts` has what fires now")
                    elif kind == "alert" and chosen.has(document):
                        yield kind, document, number
            told(f"{remote.url}: the service ended the stream; asking again")
        except RefusedError as error:
            if error.status != 503:
                raise
            told(str(error))
        except ConfigError as error:
            told(str(error))
        time.sleep(_WAIT_SECONDS)


def alert_line(alert: dict[str, Any], now: float) -> str:
    """Return an alert in one line; `now` in Unix seconds."""
    value = f"{amount(alert['value'], alert['unit'])} against {amount(alert['threshold'], alert['unit'])}"
    ended = f", ended after {_lasted(alert)}" if alert["resolved_at"] else ""
    looked_after = f", {alert['acknowledged_by']} looks after it" if alert["acknowledged_at"] else ""
    shadow = " (shadow)" if alert["shadow"] else ""
    return printable(
        f"{alert['state']:8} {alert['severity']:8} {_name(alert)}{shadow} {{{group_text(alert['group'])}}} {value},"
        f" fired {age(alert['fired_at'], now)} ago{ended}{looked_after}  {alert['id']}"
    )


def alert_lines(alert: dict[str, Any], now: float) -> Iterator[str]:
    """Yield an alert with its evidence and notifications, line by line; `now` in Unix seconds."""
    yield alert_line(alert, now)
    for event in alert["events"]:
        yield printable(f"  {event['at'][:19]}Z {event['event']}{_evidence(event)}")
        for driver in event.get("drivers", ()):
            yield printable(f"    driven by {driver['attribute']} {driver['value']}: {driver['share'] or 0:.0%}")
        for trace in event.get("traces", ()):
            yield printable(f"    trace {trace['trace_id']}: {amount(trace['value'], event['unit'])}")
        for delivery in event["deliveries"]:
            answer = f": {delivery['answer']}" if delivery["answer"] else ""
            yield printable(
                f"    {delivery['contact_point']}: {delivery['status']}, attempts {delivery['attempts']}{answer}"
            )
        if event["silenced_by"]:
            yield printable(f"    nobody is told: silenced by {', '.join(event['silenced_by'])}")


def event_line(event: dict[str, Any]) -> str:
    """Return a change of an alert in one line."""
    at = event["resolved_at"] or event["fired_at"]
    return printable(
        f"{at[:19]}Z {event['event']:9} {event['severity']:8} {_name(event)} {{{group_text(event['group'])}}}"
        f" {amount(event['value'], event['unit'])} against {amount(event['threshold'], event['unit'])}"
        f"  {event['alert_id']}"
    )


def _name(alert: dict[str, Any]) -> str:
    return str(alert["rule"]) if alert["project"] == "default" else f"{alert['project']}/{alert['rule']}"


def _evidence(event: dict[str, Any]) -> str:
    if "value" not in event:
        return ""
    unit, window = event["unit"], event["window"]
    over = "" if window is None else f" over {window['seconds']:g} s"
    return (
        f": {amount(event['value'], unit)} {event['condition']} {amount(event['threshold'], unit)}"
        f" ({event['samples']} samples{over})"
    )


def _lasted(alert: dict[str, Any]) -> str:
    return age(alert["fired_at"], datetime.fromisoformat(alert["resolved_at"]).timestamp())
