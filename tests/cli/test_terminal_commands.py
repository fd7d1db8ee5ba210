"""`tocsin top`, `alerts`, `silence` and `block` against a running service: as documented, and where they fail."""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import jsonschema
import pytest
from otlp_requests import Call, request_of
from running_service import RunningService
from typer.testing import CliRunner

from tocsin.cli import app

DOCS = Path(__file__).parents[2] / "docs" / "terminal.md"
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL) for line in block.splitlines()
]
LIVE = ("tocsin top", "tocsin alerts --watch --severity critical")
"""Commands that go on until somebody ends them; each has a test of its own."""
READ, WRITE, BOUND = "token-of-who-may-read", "token-of-who-may-write", "token-of-who-sees-a-project"
CONFIG = f"""\
receivers: {{otlp: {{grpc: {{endpoint: 127.0.0.1:0}}, http: {{endpoint: 127.0.0.1:0}}}}}}
api:
  endpoint: 127.0.0.1:0
  base_path: /tocsin
  tokens:
    - {{name: reader, token: {READ}, role: read}}
    - {{name: ann, token: {WRITE}, role: write}}
    - {{name: bound, token: {BOUND}, role: read, projects: [other]}}
storage: {{directory: ./data}}
rules:
  - {{name: runaway, metric: cost, window: 1h, group_by: [conversation], condition: gt, threshold: 0.05,
     severity: critical}}
  - {{name: slow, metric: latency, aggregate: max, window: 1h, condition: gt, threshold: 1h, severity: low}}
"""  # fmt: skip


def sent(service: RunningService, conversation: str, calls: int = 20, seed: int = 0) -> None:
    now, random = time.time_ns(), Random(f"{conversation}{seed}")
    attributes = {"gen_ai.conversation.id": conversation, "tenant.id": "acme"}
    spans = [Call.drawn(random, end=now - at * 10**6, attributes=attributes) for at in range(calls)]
    httpx2.post(
        f"http://{service.addresses['http']}/v1/traces",
        content=request_of(spans).SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
        trust_env=False,
    ).raise_for_status()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    config = tmp_path_factory.mktemp("terminal") / "config.yaml"
    config.write_text(CONFIG)
    with RunningService(config) as service:
        sent(service, "conv-7")
        sent(service, "conv-8", calls=3)
        while not run(service, "alerts", "--json").document:
            pass  # the history is written behind
        yield service


@dataclass
class Ran:
    code: int
    output: str
    error: str

    @property
    def document(self) -> Any:  # noqa: ANN401  # JSON
        assert self.code == 0, (self.code, self.error)
        return json.loads(self.output)


def environment(service: RunningService, token: str | None = WRITE) -> dict[str, str]:
    url = f"http://{service.addresses['api']}/tocsin"
    return {"TOCSIN_URL": url} | ({} if token is None else {"TOCSIN_TOKEN": token})


def run(service: RunningService, *words: str, token: str | None = WRITE) -> Ran:
    result = CliRunner().invoke(app, list(words), env=environment(service, token))
    return Ran(result.exit_code, result.stdout, result.stderr)


def alert_id(service: RunningService) -> str:
    found: str = run(service, "alerts", "--rule", "runaway", "--json").document[0]["id"]
    return found


def test_the_commands_of_the_document_do_what_it_says(service: RunningService) -> None:
    number = alert_id(service)
    assert set(LIVE) <= set(COMMANDS)
    assert len(COMMANDS) > 10
    for command in COMMANDS:
        if command not in LIVE:
            words = shlex.split(command.replace("$ALERT_ID", number))
            assert words[0] == "tocsin"
            ran = run(service, *words[1:])
            assert ran.code == 0, (command, ran)
            if "--json" in words:
                assert ran.document


def test_one_look_says_what_is_spent_and_what_fires(service: RunningService) -> None:
    document = run(service, "top", "--once", "--json", "--by", "tenant").document
    assert document["spend"]["keys"][0]["value"] == "acme"
    assert document["spend"]["keys"][0]["calls"] == document["spend"]["total"]["calls"] >= 23
    assert {one["rule"] for one in document["alerts"]} >= {"runaway"}
    assert document["closest"][0]["rule"] == "runaway"
    assert document["lag_seconds"] >= 0
    text = run(service, "top", "--once").output
    assert re.search(r"^critical +runaway +conversation=conv-7 ", text, re.MULTILINE)
    assert re.search(r"^ +1 +conv-7 +\$0\.07", text, re.MULTILINE), text
    assert "q quit" not in text


def test_spend_is_as_its_description_says(service: RunningService) -> None:
    with httpx2.Client(
        base_url=environment(service)["TOCSIN_URL"], headers={"authorization": f"Bearer {READ}"}, trust_env=False
    ) as client:
        described = client.get("/api/openapi.json").json()
        answer = described["paths"]["/api/v1/spend"]["get"]["responses"]["200"]
        shape = answer["content"]["application/json"]["schema"]
        for by in ("conversation", "tenant", "agent", "model"):
            for order in ("usd", "errors"):
                asked = {"by": by, "window": "1h", "order": order, "limit": 1}
                found = client.get("/api/v1/spend", params=asked).json()
                jsonschema.validate(found, {**shape, "components": described["components"]})
                total = {name: found["total"][name] for name in ("usd", "tokens", "calls", "errors", "unpriced")}
                parts = [*found["keys"], found["rest"], found["without"]]
                for name, whole in total.items():
                    assert sum(part[name] for part in parts) == pytest.approx(whole)
        first = client.get("/api/v1/spend", params={"limit": 1}).json()
        assert first["next_offset"] == 1
        assert first["keys"][0]["value"] == "conv-7"
        for wrong in ({"by": "user"}, {"window": "2h"}, {"limit": 0}, {"limit": 501}, {"offset": -1}, {"order": "x"}):
            refused = client.get("/api/v1/spend", params=wrong)
            assert refused.status_code == 422
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["errors"][0]["field"] == f"query.{next(iter(wrong))}"


def test_what_a_token_may_not_see_is_said_in_its_place(service: RunningService) -> None:
    document = run(service, "top", "--once", "--json", token=BOUND).document
    assert document["spend"] is None
    assert "not bound to projects" in document["refused"]["spend"]
    assert document["alerts"] == []
    assert "403" in run(service, "top", "--once", token=BOUND).output


def test_an_alert_is_shown_with_its_evidence_and_acknowledged(service: RunningService) -> None:
    number = alert_id(service)
    shown = run(service, "alerts", "show", number).output
    assert "firing: $0.05" in shown or "firing: $0.07" in shown
    assert "driven by model gpt-4o: 100%" in shown
    refused = run(service, "alerts", "ack", number, token=READ)
    assert (refused.code, "403" in refused.error) == (1, True)
    assert run(service, "alerts", "ack", number).output.startswith(f"{number}: ann looks after it")
    assert "ann looks after it" in run(service, "alerts").output
    assert run(service, "alerts", "ack", number, "--json").document[0]["acknowledged_by"] == "ann"


def test_alerts_are_chosen_by_what_is_asked(service: RunningService) -> None:
    assert run(service, "alerts", "--rule", "slow").output == "0 alerts\n"
    assert run(service, "alerts", "--group", "conv-7").output.endswith("1 alert\n")
    assert run(service, "alerts", "--group", "conversation=conv-9").output == "0 alerts\n"
    assert run(service, "alerts", "--state", "resolved").output == "0 alerts\n"
    assert run(service, "alerts", "--severity", "low").output == "0 alerts\n"
    wrong = run(service, "alerts", "--since", "yesterday")
    assert wrong.code == 1
    assert "since" in wrong.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alerts", "show"), "which one?"),
        (("alerts", "show", "alt_none"), "there is no such alert"),
        (("alerts", "ack", "../rules"), "is no alert's id"),
        (("alerts", "show", "x", "--watch"), "--watch goes with list alone"),
        (("silence", "add"), "at least one"),
        (("silence", "add", "rule=slow", "--by", "me"), "--by goes with --config"),
        (("silence", "expire", "sil_none"), "there is no such silence"),
        (("silence", "expire"), "which one?"),
        (("block", "remove", "conversation=free"), "conversation=free: it is not blocked"),
    ],
)
def test_what_can_not_be_done_is_said(service: RunningService, words: Sequence[str], said: str) -> None:
    ran = run(service, *words)
    assert (ran.code, ran.output) == (1, "")
    assert said in ran.error


def test_a_silence_is_made_and_ended_through_the_service(service: RunningService) -> None:
    made = run(service, "silence", "add", "rule=other", "--for", "1h", "--comment", "c", "--json").document[0]
    assert (made["created_by"], made["state"]) == ("ann", "active")
    assert made["id"] in run(service, "silence").output
    assert run(service, "silence", "expire", made["id"], "--json").document[0]["ended_by"] == "ann"
    assert made["id"] not in run(service, "silence", "list").output
    assert made["id"] in run(service, "silence", "list", "--all").output


def test_without_a_token_it_is_asked_for(service: RunningService) -> None:
    for command in ("top", "alerts", "silence", "block"):
        ran = run(service, command, token=None)
        assert ran.code == 1
        assert "this API wants a token: --token, or TOCSIN_TOKEN" in ran.error


@pytest.mark.parametrize("command", ["top", "alerts", "silence", "block"])
def test_where_nothing_answers_it_is_said(command: str, free_port: Any) -> None:  # noqa: ANN401  # a fixture
    url = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(app, [command, "--url", url])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{url}: no answer" in result.stderr
    assert "does the service run, and is this its API?" in result.stderr


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
def test_what_is_no_api_of_ours_is_said(body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = CliRunner().invoke(app, ["alerts", "--url", f"http://127.0.0.1:{server.server_port}"])
        server.shutdown()
    assert result.exit_code == 1
    assert "that is no API of Tocsin; see --url" in result.stderr


@dataclass
class Terminal:
    """A command in a terminal of its own."""

    process: subprocess.Popen[bytes]
    master: int
    seen: str = field(default="")

    def wait_for(self, text: str, seconds: float = 30) -> str:
        """Read until `text` was written since the last time, and return what was."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen[-3000:]!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
        seen, self.seen = self.seen, ""
        return seen

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)


@pytest.fixture
def terminal(service: RunningService) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "tocsin", *shlex.split(LIVE[0])[1:], "--every", "0.2"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, **environment(service), "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        start_new_session=True,
    )
    try:
        yield Terminal(process, master)
        assert termios.tcgetattr(slave) == before, "the terminal is as it was"
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


def test_top_is_live_follows_keys_and_sizes_and_quits(service: RunningService, terminal: Terminal) -> None:
    terminal.wait_for("SPEND BY")
    terminal.press(b"t")
    terminal.wait_for("acme")
    terminal.press(b"c")
    terminal.wait_for("conv-7")
    sent(service, "conv-live", calls=40)
    terminal.wait_for("conv-live")
    terminal.press(b"w")
    terminal.wait_for("last 1h")
    terminal.resize(20, 60)
    picture = terminal.wait_for("q quit")
    assert "unpriced" not in picture.partition("SPEND BY")[2], "a narrow picture has fewer columns"
    terminal.press(b" ")
    terminal.wait_for("paused; space goes on")
    terminal.press(b"q")
    assert terminal.process.wait(20) == 0


def test_alerts_are_watched_as_they_change(service: RunningService) -> None:
    command = [sys.executable, "-m", "tocsin", *shlex.split(LIVE[1])[1:], "--json"]
    with subprocess.Popen(  # noqa: S603  # our own command
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment(service, READ)}
    ) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            assert (told["rule"], told["state"]) == ("runaway", "firing"), "what fires already comes first"
            # Nobody can see from outside when the stream is open: conversations break the rule until one is told.
            for number in range(100):
                sent(service, f"watched-{number}")
                while "event" not in told and select.select([process.stdout], [], [], 0.5)[0]:
                    told = json.loads(process.stdout.readline())
                if "event" in told:
                    break
            assert (told["event"], told["severity"]) == ("firing", "critical")
        finally:
            process.kill()
