"""An alert event as an OpenTelemetry log record.

Sources: OpenTelemetry's logs data model (event names, severity numbers), `log.record.uid` of its semantic conventions:
records of the same id are one, so that a receiver may drop those of a retry.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tocsin import __version__
from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.contact import Attempt
from tocsin.notify.message import Message
from tocsin.notify.wording import clean
from tocsin.rules.rule import Condition, Severity

__all__ = ["SCOPE", "record_shown", "request_of"]

SCOPE: Final = "tocsin.alerts"
"""The instrumentation scope of all records."""
_VALUE: Final = 1_024
_MOST_TIME: Final = 2**64 - 1
_SEVERITIES: Final = {
    Severity.CRITICAL: SeverityNumber.SEVERITY_NUMBER_FATAL,
    Severity.HIGH: SeverityNumber.SEVERITY_NUMBER_ERROR,
    Severity.MEDIUM: SeverityNumber.SEVERITY_NUMBER_WARN,
    Severity.LOW: SeverityNumber.SEVERITY_NUMBER_INFO,
}
_Attribute = str | int | float | bool | tuple[str, ...]


def request_of(message: Message, attempt: Attempt, resource: Mapping[str, str]) -> bytes:
    """Return the export request with one record.

    Args:
        message: what it tells.
        attempt: how many events it stands for.
        resource: attributes of the sender, beside service.name and service.version.
    """
    sender = {"service.name": "tocsin", "service.version": __version__, **resource}
    scope = ScopeLogs(
        scope=InstrumentationScope(name=SCOPE, version=__version__), log_records=[_record(message, attempt)]
    )
    request = ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=Resource(attributes=_pairs(sender.items())), scope_logs=[scope])]
    )
    return request.SerializeToString()


def record_shown(message: Message) -> dict[str, object]:
    """Return what a record says, for a person to read."""
    attempt = Attempt(message.event.detected_at)
    return {
        "event_name": f"tocsin.alert.{message.event.transition}",
        "body": _text(message),
        "attributes": _attributes(message, attempt),
    }


def _text(message: Message) -> str:
    return f"{message.title}: {message.summary if message.text is None else message.text}"


def _record(message: Message, attempt: Attempt) -> LogRecord:
    event = message.event
    # What is over asks for nobody's attention, however bad it was.
    calm = event.transition in (Transition.RESOLVED, Transition.ACKNOWLEDGED, Transition.TEST)
    record = LogRecord(
        time_unix_nano=_bounded(_time_of(event)),
        observed_time_unix_nano=_bounded(event.detected_at),
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO if calm else _SEVERITIES[event.severity],
        severity_text=str(event.severity),
        event_name=f"tocsin.alert.{event.transition}",
        body=AnyValue(string_value=_text(message)),
        attributes=_pairs(_attributes(message, attempt).items()),
    )
    if event.evidence.traces:
        # The trace that contributed most, so that a backend leads from the record to it.
        record.trace_id = _trace_id(event.evidence.traces[0].trace_id)
    return record


def _time_of(event: AlertEvent) -> int:
    if event.transition is Transition.RESOLVED and event.resolved_at is not None:
        return event.resolved_at
    fired = event.transition is Transition.FIRING and event.escalated_from is None
    return event.fired_at if fired else event.detected_at


def _attributes(message: Message, attempt: Attempt) -> dict[str, _Attribute]:
    event, rule, evidence = message.event, message.event.rule, message.event.evidence
    incident = message.body.get("incident")
    found: dict[str, _Attribute | None] = {
        "log.record.uid": event.id,
        "tocsin.alert.id": event.alert_id,
        "tocsin.alert.state": str(event.transition),
        "tocsin.alert.severity": str(event.severity),
        "tocsin.alert.escalated_from": str(event.escalated_from) if event.escalated_from is not None else None,
        "tocsin.alert.summary": message.summary,
        "tocsin.alert.value": _number(evidence.value),
        "tocsin.alert.threshold": None if rule.condition is Condition.PRESENT else _number(event.threshold),
        "tocsin.alert.peak": _number(event.peak),
        "tocsin.alert.unit": rule.unit,
        "tocsin.alert.condition": str(rule.condition),
        "tocsin.alert.samples": evidence.samples,
        "tocsin.alert.suppressed": event.suppressed,
        "tocsin.alert.estimated": evidence.estimated,
        "tocsin.incident.name": str(incident["name"]) if isinstance(incident, Mapping) else None,
        "tocsin.incident.firing": int(incident["firing"]) if isinstance(incident, Mapping) else None,
        "tocsin.alert.merged": attempt.merged or None,
        "tocsin.alert.trace_ids": tuple(trace.trace_id for trace in message.traces) or None,
        "tocsin.alert.url": message.links.alert,
        "tocsin.alert.dashboard_url": message.links.dashboard,
        "tocsin.alert.runbook_url": message.links.runbook,
        "tocsin.rule.name": clean(rule.name),
        "tocsin.rule.project": clean(rule.project),
        "tocsin.rule.window_seconds": rule.window_ns / 1e9 if rule.window_ns is not None else None,
    }
    found |= {f"tocsin.alert.group.{clean(name)}": clean(value, _VALUE) for name, value in event.group.items()}
    found |= {f"tocsin.rule.label.{clean(name)}": clean(value, _VALUE) for name, value in rule.labels.items()}
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _pairs(attributes: Iterable[tuple[str, _Attribute]]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes]


def _value(value: _Attribute) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case tuple():
            return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in value]))
        case _:
            return AnyValue(string_value=value)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _trace_id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if len(found) == 16 else b""


def _bounded(time_ns: int) -> int:
    return min(max(time_ns, 0), _MOST_TIME)
