"""The examples of Prela's and Arthur's documentation against the real service, as they stand but for host and ids."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from otlp_requests import Call, request_of
from running_service import RunningService

HERE = Path(__file__).parent / "seeds"
TOKEN = "the-admin-token-of-tests"  # noqa: S105  # of these tests
CONFIG = f"""\
# what was there before
receivers: {{otlp: {{grpc: {{endpoint: 127.0.0.1:0}}, http: {{endpoint: 127.0.0.1:0}}}}}}
api:
  endpoint: 127.0.0.1:0
  tokens:
    - {{name: root, token: {TOKEN}, role: admin}}
    - {{name: writer, token: the-writer-token-of-tests, role: write}}
storage: {{directory: ./data}}
contact_points:
  mail: {{type: email, host: smtp.example.com, from: tocsin@example.com, to: a@example.com}}  # the server of all mail
rules: []  # none yet
"""


class Scene:
    def __init__(self, config: Path, service: RunningService) -> None:
        self.config = config
        self.service = service
        self.origin = f"http://{service.addresses['api']}"
        self.client = httpx2.Client(
            base_url=self.origin, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60
        )

    def get(self, path: str) -> Any:  # noqa: ANN401  # JSON
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def curl(self, command: str, **names: str) -> tuple[int, Any]:
        """Run a command of a shell with the status added; returns it and the JSON."""
        for name, value in names.items():
            command = command.replace(name, value)
        run = subprocess.run(  # noqa: S603  # the text's example
            ["bash", "-c", command.replace("curl ", "curl -s -g -w '\\n%{http_code}' ", 1)],  # noqa: S607  # of the text
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PRELA_API_KEY": TOKEN, "no_proxy": "*"},
        )
        body, _, status = run.stdout.rpartition("\n")
        return int(status), json.loads(body) if body else None

    def send(self, *, number: int = 20, seconds_each: float = 5.0, **attributes: str) -> None:
        now = time.time_ns()
        calls = [
            Call.drawn(
                Random(time.time_ns() + at),
                end=now - at * 10**7,
                duration_ns=int(seconds_each * 1e9),
                attributes=attributes,
            )
            for at in range(number)
        ]
        httpx2.post(
            f"http://{self.service.addresses['http']}/v1/traces",
            content=request_of(calls).SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
            trust_env=False,
        ).raise_for_status()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    config = tmp_path_factory.mktemp("compat") / "config.yaml"
    config.write_text(CONFIG)
    with RunningService(config) as service:
        scene = Scene(config, service)
        yield scene
        scene.client.close()


def blocks(text: str, begin: str, end: str) -> list[str]:
    """Return the stretches of lines from one that begins so to the next that begins otherwise."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if re.match(begin, line):
            inside = True
            found.append([])
        elif inside and re.match(end, line):
            inside = False
        if inside:
            found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def curls(text: str) -> list[str]:
    """Return the shell's commands of a text: from `curl` on, as far as quotes and backslashes go."""
    found = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("curl "):
            command = line
            while command.endswith("\\") or command.count("'") % 2:
                command += "\n" + next(lines)
            found.append(command)
    return found


PRELA = (HERE / "prela.txt").read_text()
ARTHUR = (HERE / "arthur.txt").read_text()
PYTHON = blocks(ARTHUR, r"(response = )?requests\.", r"const |await ")
SCRIPT = blocks(ARTHUR, r"const response|await fetch", r"curl ")
HOST = "https://your-arthur-instance.example.com"


def test_the_texts_have_the_examples_that_are_run() -> None:
    assert (len(curls(PRELA)), len(curls(ARTHUR)), len(PYTHON), len(SCRIPT)) == (2, 6, 6, 6)


def test_prelas_examples_make_rules_that_fire(scene: Scene) -> None:
    base = "/api/v1/alerts/projects"
    status, first = scene.curl(curls(PRELA)[0], **{"https://api.prela.dev": scene.origin, "{project_id}": "my-project"})
    assert status == 201
    assert {key: first[key] for key in ("name", "metric_type", "condition", "threshold", "cooldown_minutes")} == {
        "name": "High Latency Alert",
        "metric_type": "latency_p95",
        "condition": "gt",
        "threshold": 3000,
        "cooldown_minutes": 30,
    }
    assert (first["enabled"], first["notify_slack"], first["notify_email"]) == (True, True, False)
    status, second = scene.curl(curls(PRELA)[1], **{"https://api.prela.dev": scene.origin})
    assert (status, second["threshold"], second["severity"]) == (201, 0.05, "critical")
    assert scene.get(f"{base}/my-project/rules") == [first, second]
    assert scene.get(f"{base}/my-project/rules/{first['id']}") == first
    assert "hooks.slack.com" not in json.dumps([first, second])
    assert "# none yet" in scene.config.read_text()
    assert "# the server of all mail" in scene.config.read_text()
    scene.send(number=20, seconds_each=5.0)
    deadline = time.monotonic() + 10
    while not (found := scene.get(f"{base}/my-project/triggered")) and time.monotonic() < deadline:
        time.sleep(0.05)  # asking is the only way to see it
    assert found[0]["rule_id"] == first["id"]
    assert found[0]["metric_type"] == "latency_p95"
    assert found[0]["metric_value"] == pytest.approx(5000, rel=0.02)


def test_prelas_rules_are_updated_and_deleted(scene: Scene) -> None:
    base = "/api/v1/alerts/projects/p2/rules"
    body = {
        "name": "Costs",
        "metric_type": "cost_per_trace",
        "condition": "gte",
        "threshold": 0.5,
        "agent_name": "planner",
        "notify_email": True,
        "email_addresses": ["x@example.com", "y@example.com"],
    }
    made = scene.client.post(base, json=body)
    assert made.status_code == 201, made.text
    rule = made.json()
    assert {key: rule[key] for key in body} == body
    assert (rule["evaluation_window_minutes"], rule["severity"], rule["cooldown_minutes"]) == (60, "medium", 30)
    changed = scene.client.put(f"{base}/{rule['id']}", json={"threshold": 2, "enabled": False}).json()
    assert changed == {**rule, "threshold": 2, "enabled": False}
    assert scene.client.put(f"{base}/{rule['id']}", json={"notify_email": False}).json()["email_addresses"] == []
    assert scene.client.delete(f"{base}/{rule['id']}").status_code == 204
    assert scene.client.get(f"{base}/{rule['id']}").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"evaluation_window_minutes": 4},
        {"evaluation_window_minutes": 1441},
        {"cooldown_minutes": 4},
        {"metric_type": "vibes"},
        {"condition": "eq"},
        {"severity": "urgent"},
        {"notify_slack": True},
        {"notify_pagerduty": True},
        {"name": "a/b"},
    ],
)
def test_what_prela_refuses_is_refused_and_nothing_is_written(scene: Scene, wrong: dict[str, object]) -> None:
    before = scene.config.read_text()
    body = {"name": "n", "metric_type": "error_rate", "condition": "gt", "threshold": 1}
    answer = scene.client.post("/api/v1/alerts/projects/p3/rules", json={**body, **wrong})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]
    assert scene.config.read_text() == before


def test_a_channel_that_is_not_there_is_made_by_an_admin_only(scene: Scene) -> None:
    body = {"name": "n", "metric_type": "error_rate", "condition": "gt", "threshold": 1, "notify_slack": True}
    answer = scene.client.post(
        "/api/v1/alerts/projects/p3/rules",
        json={**body, "slack_webhook_url": "https://hooks.slack.com/services/T/B/of-another"},
        headers={"authorization": "Bearer the-writer-token-of-tests"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("language", ["python", "javascript", "curl"])
def test_arthurs_examples_run(scene: Scene, language: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = f"model-of-{language}"
    rules = f"/api/v1/models/{model}/alert_rules"

    def run(number: int, rule_id: str = "") -> Any:  # noqa: ANN401  # JSON, or what was printed
        if language == "curl":
            names = {HOST: scene.origin, "your-model-id": model, "your-rule-id": rule_id, "your-api-token": TOKEN}
            return scene.curl(curls(ARTHUR)[number], **names)[1]
        if language == "javascript":
            return _javascript(SCRIPT[number], scene.origin, model, rule_id)
        return _python(PYTHON[number], scene.origin, model, rule_id, capsys)

    assert (
        scene.client.post(f"/api/v1/models/{model}/alert_rule_query_validation", json={"query": "SELECT"}).json()[
            "valid"
        ]
        is False
    )
    checked = run(0)
    assert "valid" in str(checked)
    assert "false" not in str(checked).lower()
    run(1)
    [rule] = scene.get(rules)
    assert (rule["name"], rule["bound"], rule["threshold"]) == ("Accuracy Drop Below 0.8", "lower_bound", 0.8)
    assert rule["interval"] == {"count": 1, "unit": "hours"}
    assert "${interval}" in rule["query"]
    assert rule["id"] in str(run(2))
    run(3, rule["id"])
    assert scene.get(rules) == [{**rule, "threshold": 0.75}]
    run(5)
    run(4, rule["id"])
    assert scene.get(rules) == []


def test_arthurs_alerts_have_the_time_at_which_they_fired(scene: Scene) -> None:
    query = (
        "SELECT time_bucket('${interval}', timestamp) AS metric_timestamp, SUM(value) AS metric_value"
        " FROM metrics_numeric_latest_version WHERE model_id = 'm' AND metric_name = 'inference_count'"
        " AND timestamp BETWEEN '${start_time}' AND '${end_time}' GROUP BY metric_timestamp ORDER BY metric_timestamp"
    )
    body = {"name": "calls", "metric_name": "calls", "query": query, "bound": "upper_bound", "threshold": 3}
    made = scene.client.post(
        "/api/v1/models/fires/alert_rules",
        json={**body, "interval": {"count": 1, "unit": "seconds"}, "notification_webhook_ids": ["mail"]},
    )
    assert made.status_code == 201, made.text
    [webhook] = made.json()["notification_webhook_ids"]
    patched = scene.client.patch(f"/api/v1/alert_rules/{made.json()['id']}", json={"notification_webhook_ids": []})
    assert (webhook != "mail", patched.json()["notification_webhook_ids"]) == (True, [])
    deadline = time.monotonic() + 20
    while not (found := scene.get("/api/v1/models/fires/alerts")) and time.monotonic() < deadline:
        scene.send(number=20, seconds_each=0.1)
        time.sleep(0.2)  # intervals of a second have to pass
    assert found[0]["fired_at"].endswith("Z")
    assert found[0]["alert_rule_id"] == made.json()["id"]
    unknown = {**body, "name": "x", "interval": {"count": 1, "unit": "hours"}, "notification_webhook_ids": ["nobody"]}
    assert scene.client.post("/api/v1/models/fires/alert_rules", json=unknown).status_code == 422


def test_grafana_lists_rules_and_alerts(scene: Scene) -> None:
    groups = scene.get("/prometheus/api/v1/rules")["data"]["groups"]
    rule = next(rule for group in groups for rule in group["rules"] if rule["name"] == "High Latency Alert")
    assert (rule["type"], rule["health"], rule["state"]) == ("alerting", "ok", "firing")
    assert rule["query"] == "p95(latency[60m]) gt 3000ms"
    assert rule["alerts"][0]["labels"]["alertname"] == "High Latency Alert"
    alerts = scene.get("/prometheus/api/v1/alerts")
    assert alerts["status"] == "success"
    assert {"labels", "annotations", "state", "activeAt", "value"} <= alerts["data"]["alerts"][0].keys()
    assert scene.get("/prometheus/api/v1/rules?type=record")["data"]["groups"] == []


def _python(code: str, origin: str, model: str, rule_id: str, capsys: pytest.CaptureFixture[str]) -> str:
    requests = pytest.importorskip("requests")
    code = code.replace(HOST, origin).replace("/{MODEL_ID}/", f"/{model}/")
    names = {"requests": requests, "MODEL_ID": model, "API_TOKEN": TOKEN, "ALERT_RULE_ID": rule_id}
    # An example's header is no f-string where its address is none.
    exec(code.replace('"Bearer {API_TOKEN}"', f'"Bearer {TOKEN}"'), names)  # noqa: S102  # the text's example
    return capsys.readouterr().out


def _javascript(code: str, origin: str, model: str, rule_id: str) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    names = f"const MODEL_ID = '{model}', API_TOKEN = '{TOKEN}', ALERT_RULE_ID = '{rule_id}';\n"
    program = names + code.replace(HOST, origin)
    run = subprocess.run(  # noqa: S603  # the text's example
        [node, "--input-type=module", "-e", program], capture_output=True, text=True, check=True, timeout=60
    )
    return run.stdout
