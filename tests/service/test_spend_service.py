"""Live spend of the real service: over a kill, without a journal, and beside edits of rules."""

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from otlp_requests import Call, request_of
from running_service import RunningService

CONFIG = """\
receivers: {otlp: {grpc: {endpoint: 127.0.0.1:0}, http: {endpoint: 127.0.0.1:0}}}
api: {endpoint: 127.0.0.1:0}
storage: {directory: ./data}
"""


def sent(service: RunningService, conversation: str, calls: int = 10) -> bytes:
    now, random = time.time_ns(), Random(conversation)
    attributes = {"gen_ai.conversation.id": conversation, "tenant.id": "acme", "gen_ai.agent.name": "planner"}
    spans = [Call.drawn(random, end=now - at * 10**6, attributes=attributes) for at in range(calls)]
    data = request_of(spans).SerializeToString()
    export(service, data)
    return data


def export(service: RunningService, data: bytes) -> None:
    headers = {"content-type": "application/x-protobuf"}
    url = f"http://{service.addresses['http']}/v1/traces"
    httpx2.post(url, content=data, headers=headers, trust_env=False).raise_for_status()


def spend(service: RunningService, by: str = "conversation") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(service.get(f"/api/v1/spend?by={by}&window=1h"))
    return found


def calls_by_key(found: dict[str, Any]) -> dict[str, int]:
    return {key["value"]: key["calls"] for key in found["keys"]}


def test_spend_is_whole_after_a_kill_and_what_is_sent_again_counts_once(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    with RunningService(config) as service:
        data = sent(service, "before", 10)
        before = spend(service)
        service.process.kill()
        service.process.wait()
    with RunningService(config) as service:
        after = spend(service)
        assert (after["keys"], after["total"]) == (before["keys"], before["total"])
        export(service, data)
        sent(service, "after", 3)
        assert calls_by_key(spend(service)) == {"before": 10, "after": 3}
        assert spend(service)["total"]["usd"] == pytest.approx(13 * 0.0035)


def test_without_a_journal_and_without_rules_every_label_is_known_and_an_edit_leaves_spend_alone(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG + "journal: {enabled: false}\n")
    with RunningService(config) as service:
        sent(service, "one", 4)
        config.write_text(
            CONFIG + "journal: {enabled: false}\nrules: [{name: a, metric: cost, window: 5m, group_by: [user],"
            " condition: gt, threshold: 1000}]\n"
        )
        service.wait_for_line("configuration reloaded")
        sent(service, "two", 2)
        for by, expected in (
            ("conversation", {"one": 4, "two": 2}),
            ("tenant", {"acme": 6}),
            ("agent", {"planner": 6}),
            ("model", {"gpt-4o": 6}),
        ):
            assert calls_by_key(spend(service, by)) == expected
