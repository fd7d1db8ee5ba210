"""Every command of docs/api.md is run, and the API's own description is whole."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx2
import pytest
from otlp_requests import Call, request_of
from running_service import RunningService

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
COMMANDS = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
TOKEN = "the-admin-token-of-tests"  # noqa: S105  # of these tests
CONFIG = f"""\
receivers: {{otlp: {{grpc: {{endpoint: 127.0.0.1:0}}, http: {{endpoint: 127.0.0.1:0}}}}}}
api:
  endpoint: 127.0.0.1:0
  base_path: /tocsin
  tokens: [{{name: root, token: {TOKEN}, role: admin}}]
storage: {{directory: ./data}}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    config = tmp_path_factory.mktemp("documented") / "config.yaml"
    config.write_text(CONFIG)
    with RunningService(config) as service:
        yield service


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx2.Client]:
    origin = f"http://{service.addresses['api']}/tocsin"
    with httpx2.Client(base_url=origin, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
        yield client


def sent(service: RunningService, number: int) -> None:
    now = time.time_ns()
    calls = [Call.drawn(Random(now + at), end=now - at * 10**6, duration_ns=5 * 10**9) for at in range(number)]
    httpx2.post(
        f"http://{service.addresses['http']}/v1/traces",
        content=request_of(calls).SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
        trust_env=False,
    ).raise_for_status()


def test_the_commands_of_the_document_do_what_it_says(service: RunningService) -> None:
    sent(service, 5)
    env = {**os.environ, "TOCSIN": f"http://{service.addresses['api']}/tocsin", "TOKEN": TOKEN, "no_proxy": "*"}
    assert len(COMMANDS) > 8
    for command in COMMANDS:
        run = subprocess.run(  # noqa: S603  # our own document
            ["bash", "-c", command],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            env=env,
        )
        answers = [json.loads(line) for line in run.stdout.splitlines()]
        assert all("status" not in each or each["status"] != 422 for each in answers), (command, run.stdout)
        assert not any("title" in each or "problem" in each for each in answers), (command, run.stdout)


def test_an_alert_is_told_as_it_happens_and_again_to_who_was_away(
    service: RunningService, client: httpx2.Client
) -> None:
    rule = {"name": "calls", "metric": "count", "window": "5m", "condition": "gt", "threshold": 3}
    with client.stream("GET", "/api/v1/events", timeout=30) as events:
        lines = events.iter_lines()
        assert client.post("/api/v1/rules", json=rule).status_code == 201
        sent(service, 10)
        number = next(line for line in lines if line.startswith("id:"))
        while next(line for line in lines if line.startswith("event:")) != "event: alert":
            pass
        told = json.loads(next(line for line in lines if line.startswith("data:")).removeprefix("data:"))
    assert (told["rule"], told["event"], told["threshold"]) == ("calls", "firing", 3)
    assert client.get("/api/v1/rules/default/calls").json()["status"] == "firing"
    closest = client.get("/api/v1/series").json()["series"][0]
    assert (closest["rule"], closest["closeness"] > 1) == ("calls", True)
    last = number.removeprefix("id:").strip()
    with client.stream("GET", "/api/v1/events", headers={"last-event-id": last}, timeout=30) as events:
        assert next(line for line in events.iter_lines() if line.startswith("event: alert"))


def test_the_reference_is_one_page_without_requests_to_others(client: httpx2.Client) -> None:
    page = client.get("/api/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "<script" not in page.text
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page.text)) == {"/tocsin/api/docs.css", "/tocsin/api/openapi.json"}
    assert client.get("/api/docs.css").headers["content-type"].startswith("text/css")
    document = client.get("/api/openapi.json").json()
    for path, operations in document["paths"].items():
        assert f"<code>{path}</code>" in page.text
        for operation in operations.values():
            assert operation["summary"]
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
