"""kill -9 between a ticket's making and the note of it: the next process finds it, and makes no second."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fault_server import Mode, Reply
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService
from tracker_servers import GitHubServer, JiraServer, TrackerServer

CONFIG = """
receivers: {{otlp: {{grpc: {{endpoint: "127.0.0.1:0"}}, http: {{endpoint: "127.0.0.1:0"}}}}}}
api: {{endpoint: "127.0.0.1:0"}}
network: {{allow_private: true}}
contact_points:
  github: {{type: ticket, system: github, repository: acme/llm, api_url: "{github}", token: t0ken, search_lag: 500ms}}
  jira: {{type: ticket, system: jira, project: OPS, api_url: "{jira}", user: tocsin@test.example, token: t0ken,
    search_lag: 500ms}}
rules:
  - {{name: costly-call, metric: cost, scope: span, condition: gt, threshold: $0.10, notify: [github, jira]}}
"""


class Killer:
    """Kills a process once two trackers have made an issue each, before either has said so."""

    def __init__(self) -> None:
        self.victim = 0
        self.made = 0

    def made_one(self) -> None:
        self.made += 1
        if self.made == 2:
            os.kill(self.victim, signal.SIGKILL)


def watch(tracker: TrackerServer, killer: Killer) -> None:
    """Have the answer to the first issue lost."""
    usual = tracker.done

    def done(method: str, path: str, query: Mapping[str, str], body: Any) -> Reply:  # noqa: ANN401  # JSON
        before = len(tracker.issues)
        reply = usual(method, path, query, body)
        if len(tracker.issues) > before == 0:
            killer.made_one()
            return Reply(mode=Mode.HANG)
        return reply

    tracker.done = done  # type: ignore[method-assign]  # what stands between it and who asks


@pytest.mark.slow
async def test_a_process_that_is_killed_in_between_leaves_one_ticket(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    async with GitHubServer() as github, JiraServer() as jira:
        killer = Killer()
        for tracker in (github, jira):
            watch(tracker, killer)
        config.write_text(CONFIG.format(github=github.url(""), jira=jira.url("")))
        await asyncio.to_thread(fire_and_be_killed, config, killer)
        assert len(github.issues) == len(jira.issues) == 1
        await asyncio.to_thread(run_until_delivered, config)
        for tracker in (github, jira):
            assert len(tracker.issues) == 1
            assert tracker.issues[0].comments == []
            assert tracker.problems == []


def fire_and_be_killed(config: Path, killer: Killer) -> None:
    call = Call.drawn(Random(7), end=time.time_ns(), input_tokens=100_000)
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        killer.victim = service.process.pid
        export(request_of([call]).SerializeToString())
        assert service.process.wait(20) == -signal.SIGKILL


def run_until_delivered(config: Path) -> None:
    with RunningService(config) as service:
        service.wait_for_metric("tocsin_notifications_total", 2, seconds=20, outcome="delivered")
        assert service.stop() == 0
