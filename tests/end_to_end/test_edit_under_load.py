"""An edit of the rules while spans arrive: no span is lost, windows go on, and the new rule is live at once."""

import json
import threading
import time
from pathlib import Path
from random import Random

import pytest
from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService
from webhook_receiver import WebhookReceiver

SPANS_A_REQUEST = 500
REQUESTS_A_SECOND = 20
SECONDS = 6

OLD = """
- name: kept
  metric: count
  window: 30m
  condition: gt
  threshold: 50000
  notify: [hook]
"""
NEW = """
- name: added
  metric: input_tokens
  window: 30m
  group_by: tenant
  condition: gt
  threshold: 1
  notify: [hook]
"""


class Sender:
    """Sends requests made beforehand at a steady pace, and counts the spans that were acknowledged."""

    def __init__(self, address: str, requests: list[bytes]) -> None:
        self.acknowledged = 0
        self.late_by = 0.0
        """Seconds behind the pace at the end."""
        self._requests = requests
        self._address = address
        self._thread = threading.Thread(target=self._send)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _send(self) -> None:
        begin = time.monotonic()
        pause = threading.Event()
        with Exporter(self._address) as export:
            for number, request in enumerate(self._requests):
                pause.wait(max(0.0, begin + number / REQUESTS_A_SECOND - time.monotonic()))
                assert export(request) == b""
                self.acknowledged += SPANS_A_REQUEST
        self.late_by = time.monotonic() - begin - len(self._requests) / REQUESTS_A_SECOND


@pytest.mark.slow
def test_an_edit_under_load_loses_no_span_and_no_window(tmp_path: Path, webhooks: WebhookReceiver) -> None:
    random, now = Random(1), time.time_ns()
    requests = [
        request_of(
            Call.drawn(random, end=now - random.randrange(10**9), attributes={"tenant.id": f"t{index % 50}"})
            for index in range(SPANS_A_REQUEST)
        ).SerializeToString()
        for _ in range(SECONDS * REQUESTS_A_SECOND)
    ]
    config = write_configuration(tmp_path / "c.yaml", OLD, webhook=webhooks.url)
    edited = write_configuration(tmp_path / "edited.yaml", OLD + NEW, webhook=webhooks.url)
    with RunningService(config) as service:
        sender = Sender(service.addresses["grpc"], requests)
        sender.start()
        service.wait_for_metric("tocsin_samples_total", 20_000, rule="kept")
        edited_at = time.monotonic()
        edited.replace(config)
        [first, *_] = webhooks.wait_for("added")
        before = service.metric("tocsin_samples_total", rule="kept")
        sender.join()
        assert before < sender.acknowledged == SPANS_A_REQUEST * len(requests)
        assert first.at - edited_at < 1.0
        assert sender.late_by < 1.0
        assert service.metric("tocsin_spans_received_total") == sender.acknowledged
        assert service.metric("tocsin_samples_total", rule="kept") == sender.acknowledged
        assert service.metric("tocsin_late_samples_total") == 0
        # 50,000 spans are more than arrived on either side of the edit: the window went on.
        [kept] = webhooks.wait_for("kept")
        assert kept.body["value"] > 50_000
        assert json.loads(service.get("/readyz"))["rules"] == 2
