"""The rules for Prometheus: each fires on what it is for, in Prometheus' own engine, and on nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
from metric_names import Metrics, selectors_of
from promql_peer import PrometheusSeries, prometheus
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "prometheus" / "tocsin.rules.yaml"
RULES: list[dict[str, Any]] = [rule for group in YAML(typ="safe").load(FILE)["groups"] for rule in group["rules"]]
MINUTE = 60_000
NOW = 10_000 * MINUTE
TARGET = {"job": "tocsin", "instance": "bell"}


def course(name: str, *values: float | None, **labels: str) -> PrometheusSeries:
    """Return a series scraped every minute until now; None is a scrape that had no such series."""
    begin = NOW - (len(values) - 1) * MINUTE
    samples = tuple((begin + at * MINUTE, value) for at, value in enumerate(values) if value is not None)
    return PrometheusSeries({"__name__": name, **TARGET, **labels}, samples)


STEADY = [7.0] * 100
GROWING = [float(number) for number in range(100)]
STOPPED = [float(min(number, 60)) for number in range(100)]
BORN = [None] * 95 + [1.0] * 5
"""A counter's label that is seen for the first time."""
SLOW = [
    course("tocsin_detection_seconds_bucket", *STEADY, le="1.0"),
    course("tocsin_detection_seconds_bucket", *GROWING, le="2.5"),
    course("tocsin_detection_seconds_bucket", *GROWING, le="+Inf"),
]
QUICK = [course("tocsin_detection_seconds_bucket", *GROWING, le=le) for le in ("0.5", "1.0", "2.5", "+Inf")]

# Rule -> what makes it fire, and what must not.
CASES: dict[str, tuple[list[PrometheusSeries], list[PrometheusSeries]]] = {
    "TocsinDown": ([course("up", 1, 0)], [course("up", 0, 1)]),
    "TocsinRestarts": (
        [course("process_start_time_seconds", 1, 1, 5, 5, 9, 9, 12)],
        [course("process_start_time_seconds", 1, 1, 5, 5, 5, 9)],
    ),
    "TocsinOverloaded": (
        [course("tocsin_refused_requests_total", *GROWING, reason="memory")],
        [course("tocsin_refused_requests_total", *GROWING, reason="malformed")],
    ),
    "TocsinSendersRefused": (
        [course("tocsin_refused_requests_total", *GROWING, reason="malformed")],
        [course("tocsin_refused_requests_total", *GROWING, reason="memory")],
    ),
    "TocsinHearsNothing": (
        [course("tocsin_spans_received_total", *STOPPED, transport="grpc")],
        [
            course("tocsin_spans_received_total", *STOPPED, transport="grpc"),
            course("tocsin_spans_received_total", *GROWING, transport="http"),
        ],
    ),
    "TocsinConfigurationRefused": ([course("tocsin_rule_load_errors", 2)], [course("tocsin_rule_load_errors", 0)]),
    "TocsinNotificationsWait": (
        [course("tocsin_notification_queue", *STEADY)],
        [course("tocsin_notification_queue", *STEADY, 0, 5)],
    ),
    "TocsinNotificationsLost": (
        [course("tocsin_dropped_notifications_total", *BORN, contact_point="slack", reason="expired")],
        [
            course("tocsin_dropped_notifications_total", *BORN, contact_point="slack", reason="merged"),
            course("tocsin_dropped_notifications_total", *STEADY, contact_point="slack", reason="expired"),
        ],
    ),
    "TocsinDeadLetters": ([course("tocsin_dead_letters", 1)], [course("tocsin_dead_letters", 0)]),
    "TocsinDetectsSlowly": (SLOW, QUICK),
    "TocsinJournalDegraded": ([course("tocsin_journal_degraded", 1)], [course("tocsin_journal_degraded", 0)]),
    "TocsinStorageDegraded": ([course("tocsin_storage_degraded", 1)], [course("tocsin_storage_degraded", 0)]),
    "TocsinForwardDegraded": ([course("tocsin_forward_degraded", 1)], [course("tocsin_forward_degraded", 0)]),
    "TocsinForwardDrops": (
        [course("tocsin_forward_dropped_requests_total", *GROWING, reason="size")],
        [course("tocsin_forward_dropped_requests_total", *STEADY, reason="size")],
    ),
    "TocsinSnapshotsFail": (
        [course("tocsin_snapshot_failures_total", *GROWING)],
        [course("tocsin_snapshot_failures_total", *STEADY)],
    ),
    "TocsinUnpricedModels": (
        [course("tocsin_unpriced_spans_total", *BORN, provider="openai", model="new")],
        [course("tocsin_unpriced_spans_total", *STEADY, provider="openai", model="old")],
    ),
    "TocsinGroupsOverflow": (
        [course("tocsin_overflow_samples_total", *GROWING)],
        [course("tocsin_overflow_samples_total", *STEADY)],
    ),
    "TocsinBlocksFull": (
        [course("tocsin_blocks_refused_total", *GROWING)],
        [course("tocsin_blocks_refused_total", *STEADY)],
    ),
    "TocsinCertificateExpires": (
        [course("tocsin_certificate_expiry_timestamp_seconds", NOW / 1000 + 6 * 86400, listener="api")],
        [course("tocsin_certificate_expiry_timestamp_seconds", NOW / 1000 + 8 * 86400, listener="api")],
    ),
    "TocsinInternalErrors": (
        [course("tocsin_internal_errors_total", *BORN, stage="decode")],
        [course("tocsin_internal_errors_total", *STEADY, stage="decode")],
    ),
}


@pytest.mark.peer
def test_each_rule_fires_on_what_it_is_for_and_on_nothing_else() -> None:
    assert [rule["alert"] for rule in RULES] == list(CASES)
    with prometheus() as engine:
        for rule in RULES:
            bad, good = CASES[rule["alert"]]
            [fired] = engine.ask(bad, [(rule["expr"], NOW)])
            assert isinstance(fired, dict), f"{rule['alert']}: {fired}"
            assert len(fired) == 1, rule["alert"]
            [labels] = fired
            used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
            assert used <= {name for name, _ in labels}, f"{rule['alert']}: its summary has a label that is not there"
            assert engine.ask(good, [(rule["expr"], NOW)]) == [{}], rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_uses_what_is_exposed_and_says_what_to_do(rule: dict[str, Any]) -> None:
    exposed = Metrics.documented()
    for selector in selectors_of(rule["expr"]):
        assert exposed.mistake(selector) is None
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"]["severity"] in {"critical", "high", "medium", "low"}
    assert (ROOT / rule["annotations"]["runbook"]).is_file()
