"""What Tocsin says of itself: names, bounds, and nothing that a client could forge or leak."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin import telemetry
from tocsin.telemetry import (
    Reading,
    forward,
    guard,
    history,
    journal,
    recovery,
    routing,
    security,
    self_alerts,
    storage,
)

OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"
PROMISED = (
    "tocsin_spans_received_total",
    "tocsin_samples_total",
    "tocsin_late_samples_total",
    "tocsin_unpriced_spans_total",
    "tocsin_duplicate_spans_total",
    "tocsin_refused_requests_total",
    "tocsin_detection_seconds_bucket",
    "tocsin_notifications_total",
    "tocsin_notification_queue",
    "tocsin_series",
    "tocsin_rule_load_errors",
    "tocsin_cost_usd_total",
    "tocsin_tokens_total",
)


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """Give the source of readings back as it was."""
    yield
    telemetry.read_from(Reading)


def exposed() -> str:
    return telemetry.exposition("")[0].decode()


def value(name: str, text: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def everything_happens() -> None:
    forward.request_delivered()
    telemetry.started(version="0", decoder="native")
    telemetry.bytes_received(transport="grpc", size=10)
    telemetry.requests_received(transport="grpc", requests=1, spans=1, records=1)
    telemetry.request_refused(transport="grpc", reason="malformed")
    telemetry.spans_rejected(reason="order", spans=1)
    telemetry.values_refused(kind="tokens", values=1)
    telemetry.spans_unpriced(provider="openai", model="mystery", spans=1)
    telemetry.batch_evaluated(spans=1, seconds=0.001)
    telemetry.alert_changed(rule="r", event="firing", detection_seconds=0.001)
    telemetry.notification_delivered(contact_point="c", seconds=0.1)
    telemetry.notification_failed(contact_point="c", retryable=True)
    telemetry.notification_dropped(contact_point="c", reason="expired")
    telemetry.notifications_waiting(contact_point="c", length=1)
    telemetry.template_failed(field_name="summary")
    telemetry.configuration_taken(rules=1, warnings=["c.yaml:1:1: hm"], reload=True)
    telemetry.configuration_refused(problems=["c.yaml:1:1: what"])
    telemetry.restart_needed(keys=["api.endpoint"])
    telemetry.internal_error(stage="decode", error=ValueError("x"))
    guard.blocked(action="blocked", label="conversation", by="rule default/r", reason="r")
    guard.block_refused(limit=1, by="rule default/r")
    guard.checked(via="http", blocked=True)
    guard.watchers_counted(number=1)
    guard.watch_refused(reason="watchers")
    storage.storage_degraded(reason="down")
    storage.storage_recovered(seconds=1.0)
    storage.storage_write_dropped(reason="queue_full", kind="Recorded", detail="")
    telemetry.memory_measured(resident=2, limit=1)
    telemetry.memory_measured(resident=0, limit=1)
    history.attributes_left_out(number=1)
    journal.measured(size=0)
    recovery.frozen(seconds=0.02)
    routing.notification_held(reason="silenced")
    routing.routing_not_loaded(reason="down")
    routing.silence_ended(silence="sil_1", firing=2)
    recovery.recovered(snapshot=None, records=0, seconds=0.1)
    security.request_refused(reason="unauthenticated")
    security.certificate_taken(listener="api", expires=4e9, again=True)
    security.certificate_refused(listener="api", problem="no PEM")
    self_alerts.self_alert_changed(rule="r", event="firing", text="t", group={"contact_point": "c"})
    self_alerts.self_alerts_firing(rules=["r"], firing=[])
    telemetry.read_from(
        lambda: Reading(
            samples={"r": 1},
            late={"r": 1},
            ungrouped={"r": 1},
            series={"r": 1},
            cost_usd={("openai", "gpt-4o"): 1.5},
            tokens={("openai", "gpt-4o", "input"): 7},
        )
    )


def test_all_promised_names_are_exposed() -> None:
    everything_happens()
    text = exposed()
    for name in PROMISED:
        assert re.search(rf"^{name}[{{ ]", text, re.MULTILINE), name


def test_the_page_on_operations_lists_what_is_exposed_and_nothing_else() -> None:
    everything_happens()
    types = dict(re.findall(r"^# TYPE (tocsin_\w+) (\w+)$", exposed(), re.MULTILINE))
    exposed_names = {name for name in types if not name.endswith("_created")}
    table = "\n".join(line for line in OPERATIONS.read_text().splitlines() if line.startswith("| `tocsin_"))
    assert set(re.findall(r"`(tocsin_\w+)", table)) == exposed_names


def test_providers_and_models_are_bounded_and_counters_never_fall() -> None:
    models = {("p", f"m{number}"): 1.0 for number in range(2 * telemetry.MAX_MODELS)}
    telemetry.read_from(lambda: Reading(cost_usd=models))
    first = exposed()
    assert first.count("tocsin_cost_usd_total{") <= telemetry.MAX_MODELS + 1
    more = {("p", "newcomer"): 1000.0, **models}
    telemetry.read_from(lambda: Reading(cost_usd=more))
    second = exposed()
    for line in first.splitlines():
        if line.startswith("tocsin_cost_usd_total{"):
            name = line.rpartition(" ")[0]
            assert value(name, second) >= value(name, first)
    assert "newcomer" not in second


def test_an_internal_error_is_logged_once_a_minute_without_its_data() -> None:
    stream = io.StringIO()
    telemetry.configure_logging(level="info", form="text", stream=stream)
    for _ in range(3):
        try:
            int("tell nobody")
        except ValueError as error:
            telemetry.internal_error(stage="a test", error=error)
    [line] = stream.getvalue().splitlines()
    assert "error=ValueError" in line
    assert "test_telemetry.py:" in line
    assert "nobody" not in line
    assert 'stage="a test"' in line


def test_a_value_can_not_forge_a_line_of_the_log() -> None:
    stream = io.StringIO()
    telemetry.configure_logging(level="info", form="text", stream=stream)
    logging.getLogger("tocsin.alerts").error("conv-1\n2026-01-01T00:00:00Z info all is well \x1b[2J")
    telemetry.notification_dropped(contact_point="a\nb", reason="expired")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


def test_the_json_log_has_one_object_a_line_with_its_fields() -> None:
    stream = io.StringIO()
    telemetry.configure_logging(level="info", form="json", stream=stream)
    telemetry.service_ready(addresses=["127.0.0.1:1"], rules=2, contact_points=1, seconds=0.5)
    logging.getLogger("tocsin.alerts").critical("ring\nring", extra={"alert": {"id": "evt_1"}})
    try:
        1 / 0  # noqa: B018  # for its error
    except ZeroDivisionError:
        logging.getLogger("tocsin.x").exception("odd")
    ready, alert, odd = map(json.loads, stream.getvalue().splitlines())
    assert (ready["message"], ready["rules"], ready["level"]) == ("ready", 2, "info")
    assert (alert["message"], alert["alert"]["id"]) == ("ring\nring", "evt_1")
    assert "ZeroDivisionError" in odd["exception"]


def test_alerts_are_logged_whatever_the_level_and_libraries_only_when_they_warn() -> None:
    stream = io.StringIO()
    telemetry.configure_logging(level="error", form="text", stream=stream)
    logging.getLogger("tocsin.alerts").info("a quiet alert")
    logging.getLogger("tocsin.service").info("chatter")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("httpx2").info("chatter")
    assert [line.partition(" info ")[2].strip() for line in stream.getvalue().splitlines()] == ["a quiet alert"]


def test_the_queue_is_the_sum_over_contact_points() -> None:
    telemetry.notifications_waiting(contact_point="a", length=3)
    telemetry.notifications_waiting(contact_point="b", length=2)
    telemetry.notifications_waiting(contact_point="c", length=0)
    assert value("tocsin_notification_queue", exposed()) == 5
    telemetry.notifications_waiting(contact_point="a", length=0)
    telemetry.notifications_waiting(contact_point="b", length=0)
    assert value("tocsin_notification_queue", exposed()) == 0
