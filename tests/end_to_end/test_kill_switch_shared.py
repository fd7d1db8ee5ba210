"""Two services on one PostgreSQL: what one of them blocks, the applications that follow the other are refused."""

import time
from pathlib import Path
from random import Random

import httpx2
import pytest
from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from postgres_cluster import Cluster, new_database
from running_service import RunningService

from tocsin.guard import Guard

RULES = """
- name: runaway
  metric: cost
  window: 5m
  group_by: conversation
  condition: gt
  threshold: $1
  actions: [{block: conversation, ttl: 1h}]
"""


def service_of(directory: Path, url: str) -> RunningService:
    directory.mkdir()
    config = write_configuration(
        directory / "c.yaml", RULES, more=f"storage: {{directory: ./data, url: '{url}'}}\njournal: {{enabled: false}}\n"
    )
    return RunningService(config)


def seconds_until(condition: bool, guard: Guard, conversation: str, *, most: float = 15) -> float:
    begun = time.monotonic()
    while guard.is_blocked(conversation=conversation) is not condition:
        assert time.monotonic() - begun < most, guard.problem
        time.sleep(0.005)
    return time.monotonic() - begun


@pytest.mark.peer
@pytest.mark.slow
def test_what_one_process_blocks_and_lifts_the_other_tells_of(cluster: Cluster, tmp_path: Path) -> None:
    url = new_database(cluster).get_secret_value()
    spans = request_of(
        [
            Call.drawn(
                Random(1),
                end=time.time_ns(),
                input_tokens=1_000_000,
                attributes={"gen_ai.conversation.id": "conv-42"},
            )
        ]
    )
    with service_of(tmp_path / "one", url) as one, service_of(tmp_path / "two", url) as two:
        here = Guard(one.addresses["grpc"], http=f"http://{one.addresses['api']}")
        there = Guard(None, http=f"http://{two.addresses['api']}")
        with here, there, Exporter(one.addresses["grpc"]) as export:
            export(spans.SerializeToString())
            assert seconds_until(True, here, "conv-42") < 5
            print(f"known to the other after {seconds_until(True, there, 'conv-42'):.3f} s")  # noqa: T201
            with httpx2.Client(base_url=f"http://{two.addresses['api']}/api/v1", trust_env=False) as api:
                lifted = api.delete("/blocks", params={"label": "conversation", "value": "conv-42", "reason": "fixed"})
                assert lifted.status_code == 200, lifted.text
                seconds_until(False, there, "conv-42")
                print(f"lifted in the other after {seconds_until(False, here, 'conv-42'):.3f} s")  # noqa: T201
                changes = api.get("/blocks/history").json()["changes"]
                assert next((each["action"], each["reason"]) for each in changes) == ("unblocked", "fixed")
            assert one.metric("tocsin_block_changes_of_others_total") == 1
