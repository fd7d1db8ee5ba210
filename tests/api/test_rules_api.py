"""Rules and contact points over HTTP, in the real service, down to the characters of the file."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from otlp_requests import Call, request_of
from running_service import RunningService

CONFIG = """\
# my configuration
receivers: {otlp: {grpc: {endpoint: 127.0.0.1:0}, http: {endpoint: 127.0.0.1:0}}}
api:
  endpoint: 127.0.0.1:0
  tokens:
    - {name: root, token: the-admin-token-of-tests, role: admin}
    - {name: writer, token: the-writer-token-of-tests, role: write}
    - {name: reader, token: the-reader-token-of-tests, role: read}
    - {name: bound, token: the-bound-token-of-tests, role: write, projects: [other]}
storage: {directory: ./data}
contact_points:
  # the team's
  hook: {type: log}
rules:
  # one conversation burns money
  - name: runaway   # keep me
    metric: cost
    window: 5m
    group_by: [conversation]
    condition: gt
    threshold: 25   # dollars
    notify: [hook]
"""
NEW = {"name": "new", "metric": "latency", "aggregate": "p95", "window": "5m", "condition": "gt", "threshold": "3s"}


class Scene:
    def __init__(self, config: Path, service: RunningService) -> None:
        self.config = config
        self.service = service
        self.clients = {
            name: httpx2.Client(
                base_url=f"http://{service.addresses['api']}/api/v1",
                headers={"authorization": f"Bearer the-{name}-token-of-tests"} if name else {},
                timeout=60,
                trust_env=False,
            )
            for name in ("admin", "writer", "reader", "bound", "")
        }

    def ask(
        self, method: str, path: str, body: object = None, *, who: str = "admin", **headers: str
    ) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.clients[who].request(method, path, json=body, headers=named)

    def json(self, method: str, path: str, body: object = None, *, status: int = 200, **headers: str) -> Any:  # noqa: ANN401
        answer = self.ask(method, path, body, **headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    config = tmp_path_factory.mktemp("rules-api") / "config.yaml"
    config.write_text(CONFIG)
    with RunningService(config) as service:
        scene = Scene(config, service)
        yield scene
        for client in scene.clients.values():
            client.close()


@pytest.fixture
def scene(running: Scene) -> Iterator[Scene]:
    yield running
    for rule in running.json("GET", "/rules")["rules"]:
        if rule["name"] != "runaway":
            assert running.ask("DELETE", f"/rules/{rule['project']}/{rule['name']}").status_code == 204
    for point in running.json("GET", "/contact-points")["contact_points"]:
        if point["name"] != "hook":
            assert running.ask("DELETE", f"/contact-points/{point['name']}").status_code == 204
    current = running.json("GET", "/rules/default/runaway")
    running.json(
        "PATCH",
        "/rules/default/runaway",
        {
            "threshold": 25,
            **dict.fromkeys(
                set(current["rule"]) - {"name", "metric", "window", "group_by", "condition", "threshold", "notify"}
            ),
        },
    )
    assert running.config.read_text() == CONFIG


def test_a_rule_is_made_changed_and_removed_and_the_file_is_as_it_was(scene: Scene) -> None:
    made = scene.ask("POST", "/rules", {**NEW, "notify": ["hook"]})
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/rules/default/new"
    assert made.json()["status"] == "live"
    assert made.json()["pending"] is None
    assert "rules=2" in scene.service.wait_for_line("configuration reloaded rules=2")
    assert scene.config.read_text().startswith(CONFIG)
    changed = scene.json("PATCH", "/rules/default/new", {"threshold": "4s", "notify": None})
    assert changed["rule"]["threshold"] == "4s"
    assert "notify" not in changed["rule"]
    replaced = scene.json("PUT", "/rules/default/new", {"metric": "tokens", "condition": "gt", "threshold": 1})
    assert replaced["rule"] == {"name": "new", "metric": "tokens", "condition": "gt", "threshold": 1}
    assert scene.ask("DELETE", "/rules/default/new").status_code == 204
    assert scene.ask("DELETE", "/rules/default/new").status_code == 404


def test_an_edit_of_what_somebody_else_changed_is_refused(scene: Scene) -> None:
    tag = scene.ask("GET", "/rules/default/runaway").headers["etag"]
    scene.json("PATCH", "/rules/default/runaway", {"threshold": 30}, if_match=tag)
    assert "threshold: 30   # dollars" in scene.config.read_text()
    for method, body in (("PATCH", {"threshold": 1}), ("PUT", {"metric": "cost"}), ("DELETE", None)):
        assert scene.ask(method, "/rules/default/runaway", body, if_match=tag).status_code == 412
    assert scene.ask("POST", "/rules/default/runaway/disable", if_match=tag).status_code == 412


def test_a_change_by_hand_counts_at_once(scene: Scene) -> None:
    tag = scene.ask("GET", "/rules/default/runaway").headers["etag"]
    scene.config.write_text(CONFIG.replace("threshold: 25", "threshold: 26"))
    assert scene.ask("PATCH", "/rules/default/runaway", {"threshold": 1}, if_match=tag).status_code == 412
    assert scene.json("GET", "/rules/default/runaway")["rule"]["threshold"] == 26


def test_a_rule_is_switched_off_and_on(scene: Scene) -> None:
    assert scene.json("POST", "/rules/default/runaway/disable")["status"] == "disabled"
    assert [rule["name"] for rule in scene.json("GET", "/rules?status=disabled")["rules"]] == ["runaway"]
    assert scene.json("POST", "/rules/default/runaway/enable")["status"] == "live"


def test_a_change_that_is_not_valid_says_why_at_the_field(scene: Scene) -> None:
    body = {**NEW, "metric": "latencyy", "notify": ["nobody"]}
    refused = scene.json("POST", "/rules", body, status=422)
    assert {error["field"] for error in refused["errors"]} == {"metric", "notify.0"}
    assert "did you mean 'latency'?" in refused["errors"][0]["detail"]
    assert scene.json("POST", "/rules", {"metric": "cost"}, status=422)["errors"]
    assert scene.ask("POST", "/rules", {**NEW, "name": "runaway"}).status_code == 409
    assert scene.json("PATCH", "/rules/default/runaway", {"name": "other"}, status=422)["errors"][0]["field"] == "name"
    assert scene.config.read_text() == CONFIG


def test_a_request_that_comes_again_is_done_once(scene: Scene) -> None:
    first = scene.ask("POST", "/rules", NEW, idempotency_key="k1")
    again = scene.ask("POST", "/rules", NEW, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert scene.ask("POST", "/rules", {**NEW, "name": "x"}, idempotency_key="k1").status_code == 422
    assert scene.ask("POST", "/rules", NEW, who="writer", idempotency_key="k1").status_code == 409  # of somebody else


def test_who_may_do_what(scene: Scene) -> None:
    assert scene.ask("GET", "/rules", who="").status_code == 401
    assert scene.ask("POST", "/rules", NEW, who="reader").status_code == 403
    assert scene.ask("POST", "/rules", NEW, who="bound").status_code == 403
    assert scene.ask("GET", "/rules/default/runaway", who="bound").status_code == 404
    assert scene.ask("DELETE", "/rules/default/runaway", who="bound").status_code == 404
    assert scene.json("GET", "/rules?limit=5", who="bound")["rules"] == []
    assert scene.ask("POST", "/rules", {**NEW, "project": "other"}, who="bound").status_code == 201
    assert scene.ask("POST", "/contact-points", {"name": "x", "type": "log"}, who="writer").status_code == 403


def test_lists_come_in_pages(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.json("POST", "/rules", {**NEW, "name": name}, status=201)
    first = scene.json("GET", "/rules?limit=3")
    rest = scene.json("GET", f"/rules?limit=3&cursor={first['next_cursor']}")
    assert [rule["name"] for rule in (*first["rules"], *rest["rules"])] == ["runaway", "a", "b", "c"]
    assert rest["next_cursor"] is None
    assert scene.ask("GET", "/rules?limit=1001").status_code == 422
    assert [rule["name"] for rule in scene.json("GET", "/rules?search=RUN")["rules"]] == ["runaway"]


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        (NEW, set()),
        ({**NEW, "metric": "cots"}, {"metric"}),
        ({"name": "e", "expr": "avg_over_time(latency[5m]) > 3"}, set()),
        ({"name": "e", "expr": "avg_over_time(latency[5m]) >"}, {"expr"}),
        ({"name": "q", "sql": "SELECT 1", "bound": "upper_bound", "threshold": 1}, {"sql", "interval"}),
        ({"name": "q", "sql": "SELECT 1 AS metric_value", "bound": "no", "threshold": 1}, {"sql", "bound"}),
        ({"name": "t", "template": "no_such"}, {"template"}),
    ],
)
def test_the_checklist_says_what_is_missing(scene: Scene, fields: dict[str, Any], failed: set[str]) -> None:
    found = scene.json("POST", "/rules/validate", fields, who="reader")
    assert {line["field"] for line in found["requirements"] if not line["passed"]} == failed
    assert found["valid"] is (not failed)
    assert all(line["advice"] for line in found["requirements"] if not line["passed"])


def test_secrets_of_contact_points_go_in_and_never_come_out(scene: Scene) -> None:
    address = "https://hooks.slack.com/services/T00/B00/never-shown"
    made = scene.ask("POST", "/contact-points", {"name": "slack", "type": "slack", "webhook_url": address})
    assert made.status_code == 201, made.text
    assert made.json()["secrets"] == {"webhook_url": True, "bot_token": False}
    scene.json("PUT", "/contact-points/slack", {"type": "slack", "min_severity": "high"})
    assert address in scene.config.read_text()
    texts = [scene.ask("GET", path).text for path in ("/contact-points", "/contact-points/slack", "/status")]
    assert "never-shown" not in made.text + "".join(texts)
    assert scene.ask("DELETE", "/contact-points/hook").status_code == 409
    assert "never-shown" not in "\n".join(scene.service.lines)


def test_secrets_do_not_follow_to_another_host(scene: Scene) -> None:
    mail = {
        "type": "email",
        "host": "smtp.example.com",
        "username": "u",
        "from": "a@example.com",
        "to": "b@example.com",
    }
    scene.json("POST", "/contact-points", {"name": "mail", **mail, "password": "the-password"}, status=201)
    moved = scene.json("PUT", "/contact-points/mail", {**mail, "host": "smtp.evil.example"}, status=422)
    assert moved["errors"][0]["field"] == "password"
    assert "the-password" not in json.dumps(moved)


@pytest.mark.parametrize(
    ("fields", "secret", "moved"),
    [
        (
            {"type": "otlp", "endpoint": "https://logs.example.com", "headers": {"x-key": "the-secret"}},
            "headers",
            {"endpoint": "https://logs.evil.example"},
        ),
        (
            {"type": "kafka", "brokers": "k.example", "topic": "t", "tls": True, "username": "u"}
            | {"password": "the-secret"},
            "password",
            {"brokers": "k.evil.example"},
        ),
        (
            {"type": "ticket", "system": "github", "repository": "a/b", "token": "the-secret"},
            "token",
            {"api_url": "https://github.evil.example"},
        ),
    ],
)
def test_secrets_of_every_kind_stay_and_do_not_follow(
    scene: Scene, fields: dict[str, Any], secret: str, moved: dict[str, str]
) -> None:
    name = f"of-{fields['type']}"
    made = scene.json("POST", "/contact-points", {"name": name, **fields}, status=201)
    assert made["secrets"] == {secret: True}
    without = {key: value for key, value in fields.items() if key != secret}
    kept = scene.json("PUT", f"/contact-points/{name}", {**without, "min_severity": "high"})
    assert kept["secrets"] == {secret: True}
    refused = scene.json("PUT", f"/contact-points/{name}", {**without, **moved}, status=422)
    assert refused["errors"][0]["field"] == secret
    assert "the-secret" not in json.dumps([made, kept, refused])


def test_addresses_of_apprise_are_secrets_and_one_that_it_does_not_know_is_refused(scene: Scene) -> None:
    fields = {"name": "chat", "type": "apprise", "urls": ["json://127.0.0.1/the-secret"]}
    made = scene.json("POST", "/contact-points", fields, status=201)
    assert made["secrets"] == {"urls": True}
    wrong = scene.ask(
        "POST", "/contact-points", {**fields, "name": "chat-2", "urls": ["nosuch://127.0.0.1/the-secret"]}
    )
    assert wrong.status_code == 422
    assert "the-secret" not in json.dumps(made) + wrong.text


def test_a_contact_point_is_tried(scene: Scene) -> None:
    assert scene.json("POST", "/contact-points/hook/test")["delivered"] is True
    assert scene.ask("POST", "/contact-points/nobody/test").status_code == 404


def test_what_a_contact_point_would_be_sent_is_shown_and_not_sent(scene: Scene) -> None:
    body = '{"text": "{{ subject }}"}'
    fields = {"type": "webhook", "template": {"body": body}, "state": "incident"}
    found = scene.json("POST", "/contact-points/preview", fields, who="writer")
    assert json.loads(found["sent"]) == {"text": "conversation conv-42"}
    assert found["problems"] == {}
    named = scene.json("POST", "/contact-points/preview", {"name": "hook", "template": {"text": "{{ event }}!"}})
    assert named["text"] == "firing!"
    wrong = scene.json(
        "POST", "/contact-points/preview", {"type": "log", "template": {"text": "{{ valu }}"}}, status=422
    )
    assert wrong["errors"][0]["field"] == "template.text"
    assert "did you mean 'value'" in wrong["errors"][0]["detail"]
    for refused, field in (({"type": "pigeon"}, "type"), ({"type": "log", "state": "asleep"}, "state")):
        assert scene.json("POST", "/contact-points/preview", refused, status=422)["errors"][0]["field"] == field
    assert scene.ask("POST", "/contact-points/preview", {"name": "nobody"}).status_code == 404
    assert scene.ask("POST", "/contact-points/preview", {"type": "log"}, who="reader").status_code == 403


def test_state_and_series_are_shown(scene: Scene) -> None:
    assert scene.json("GET", "/status")["who"] == {"name": "root", "role": "admin", "projects": None}
    assert scene.json("GET", "/series")["series"] == []
    with scene.clients["reader"].stream("GET", "/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.iter_lines()
        assert next(lines) == "retry: 2000"
        scene.json("POST", "/rules", NEW, status=201)
        assert next(line for line in lines if line.startswith("event:")) == "event: state"


def test_a_backtest_tells_how_far_it_is_and_what_it_found(scene: Scene) -> None:
    now = time.time_ns()
    calls = [Call.drawn(Random(at), end=now - at * 10**9) for at in range(50)]
    httpx2.post(
        f"http://{scene.service.addresses['http']}/v1/traces",
        content=request_of(calls).SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
        trust_env=False,
    ).raise_for_status()
    rule = {**NEW, "metric": "cost", "aggregate": "sum", "threshold": 1}
    assert scene.ask("POST", "/rules/backtest", {"rule": {**rule, "metric": "x"}}).status_code == 422
    answer = scene.ask("POST", "/rules/backtest", {"rule": rule, "from": "1h"}, who="reader")
    assert answer.status_code == 200, answer.text
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1]["report"]["spans"] == len(calls)
    assert lines[-1]["report"]["rules"][0]["name"] == "new"
    assert [line["progress"]["done"] for line in lines[:-1]][-1] == 1.0
    nothing = scene.ask("POST", "/rules/backtest", {"rule": rule, "to": "2001-01-01"}, accept="text/event-stream")
    assert [line for line in nothing.text.splitlines() if line.startswith("event:")][-1] == "event: problem"
    assert scene.ask("POST", "/rules/backtest", {"rule": rule}, who="bound").status_code == 403


def test_a_rule_that_leaves_its_name_to_a_template_is_listed_and_changed(scene: Scene) -> None:
    scene.json("POST", "/rules", {"template": "traffic_stopped", "notify": "hook"}, status=201)
    assert scene.json("GET", "/rules/default/traffic-stopped")["status"] == "live"
    scene.json("POST", "/rules/default/traffic-stopped/disable")
    changed = scene.json("PUT", "/rules/default/traffic-stopped", {"template": "traffic_stopped", "enabled": False})
    assert changed["rule"] == {"template": "traffic_stopped", "enabled": False}
    assert changed["status"] == "disabled"
    assert scene.config.read_text().endswith("  - template: traffic_stopped\n    enabled: false\n")
