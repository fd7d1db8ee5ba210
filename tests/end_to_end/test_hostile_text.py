"""Attribute values that are headers, templates, markup and control characters stay text wherever they are shown."""

import json
import time
from pathlib import Path
from random import Random

from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from prometheus_client.parser import text_string_to_metric_families
from running_service import RunningService
from webhook_receiver import WebhookReceiver

RULE = """
- name: evil
  metric: count
  window: 5m
  group_by: conversation
  condition: gt
  threshold: 0
  summary: "seen {{ group.conversation }}"
  notify: [hook, terminal]
"""
TEMPLATE = "{{ 7 | times: 7 }}{% assign x = 49 %}{{ rule.description }}"
EVIL = (
    f'x\r\nwebhook-id: forged\r\n\r\n\x1b[2J\u202e<!channel><script>alert(1)</script>"}} 1\nforged_metric 1\n{TEMPLATE}'
)


def test_hostile_attribute_values_stay_text_in_webhooks_log_lines_and_metrics(
    tmp_path: Path, webhooks: WebhookReceiver
) -> None:
    config = write_configuration(tmp_path / "c.yaml", RULE, webhook=webhooks.url)
    attributes = {"gen_ai.conversation.id": EVIL, "gen_ai.provider.name": EVIL, EVIL: EVIL}
    call = Call.drawn(Random(1), end=time.time_ns(), model=EVIL, attributes=attributes)
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        assert export(request_of([call]).SerializeToString()) == b""
        [delivery] = webhooks.wait_for("evil")
        line = service.wait_for_line("seen ")
        metrics = service.get("/metrics")
    assert delivery.headers["webhook-id"] != "forged"
    assert list(delivery.headers).count("webhook-id") == 1
    text = json.dumps(delivery.body, ensure_ascii=False)
    for control in ("\x1b", "\u202e", "\\u001b", "\\r", "\\n"):
        assert control not in text
    assert "{{ 7 | times: 7 }}" in delivery.body["summary"]  # shown, not run
    assert "49" not in delivery.body["summary"].replace("= 49", "")
    assert "\x1b" not in line
    assert not any(each.startswith(("webhook-id", "forged_metric")) for each in service.lines)
    families = {family.name for family in text_string_to_metric_families(metrics)}
    assert "forged_metric" not in families
    assert "tocsin_samples" in families
