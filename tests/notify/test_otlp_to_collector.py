"""Records as the real OpenTelemetry Collector takes them and writes them down."""

import json
from pathlib import Path
from typing import Any

import pytest
from alert_events import AT, MINUTE, alert_event, message_of
from collector_process import collector, free_port

from tocsin.alerts.event import Transition
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.otlp import OtlpConfig

pytestmark = pytest.mark.peer


async def test_a_collector_takes_records_over_both_protocols(tmp_path: Path) -> None:
    written = tmp_path / "logs.json"
    http_port = free_port()
    fired = alert_event()
    over = alert_event(Transition.RESOLVED, alert_id=fired.alert_id, resolved_at=AT + MINUTE)
    async with collector({"file": {"path": str(written)}}, tmp_path, http_port=http_port) as grpc_target:
        for endpoint, protocol, event in (
            (f"http://{grpc_target}", "grpc", fired),
            (f"http://127.0.0.1:{http_port}", "http", over),
        ):
            keys = {"type": "otlp", "endpoint": endpoint, "protocol": protocol, "allow_private": True}
            notifier = OtlpConfig.model_validate(keys).build(Network())
            answer = await notifier.send(message_of(event), Attempt(AT))
            await notifier.aclose()
            assert answer.status in ("OK", "200")
            assert answer.excerpt == ""
    first, second = records_in(written)
    assert (first["eventName"], second["eventName"]) == ("tocsin.alert.firing", "tocsin.alert.resolved")
    assert (first["severityNumber"], first["severityText"]) == (21, "critical")
    assert first["timeUnixNano"] == str(fired.fired_at)
    assert second["timeUnixNano"] == str(AT + MINUTE)
    assert first["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    assert "spent $27.31 in 5m" in first["body"]["stringValue"]
    ids = [attributes_of(record)["log.record.uid"]["stringValue"] for record in (first, second)]
    assert ids == [fired.id, over.id]
    assert attributes_of(first)["tocsin.alert.value"] == {"doubleValue": 27.31}


def records_in(file: Path) -> list[dict[str, Any]]:
    return [
        record
        for line in file.read_text().splitlines()
        for resource in json.loads(line)["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def attributes_of(record: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in record["attributes"]}
