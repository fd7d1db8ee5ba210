import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tocsin.cli.notify_test import notify_test
from tocsin.notify.templating.preview import STATES

app = typer.Typer()
app.command("notify-test")(notify_test)


class _Receiver(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:  # http.server's name
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"thank you")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # http.server's own
        pass


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    _Receiver.status = 200
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(tmp_path: Path, contact: str, name: str = "hook", *options: str) -> tuple[int, str]:
    file = tmp_path / "config.yaml"
    file.write_text(f"contact_points:\n  hook: {contact}\nrules: []\n")
    result = CliRunner().invoke(app, [name, "--config", str(file), *options])
    return result.exit_code, result.output


def hook_at(server: ThreadingHTTPServer, more: str = ", allow_private: true") -> str:
    return f"{{type: webhook, url: 'http://127.0.0.1:{server.server_port}/x?key=hush'{more}}}"


def test_the_receivers_answer_is_shown(tmp_path: Path, receiver: ThreadingHTTPServer) -> None:
    code, output = run(tmp_path, hook_at(receiver))
    assert code == 0
    assert "hook (webhook): delivered in" in output
    assert "200 thank you" in output


@pytest.mark.parametrize(
    "written",
    [
        "{{type: otlp, protocol: http, endpoint: 'http://127.0.0.1:{port}', allow_private: true}}",
        "{{type: apprise, urls: 'json://127.0.0.1:{port}/hush', allow_private: true}}",
    ],
)
def test_other_kinds_are_tried_alike(tmp_path: Path, receiver: ThreadingHTTPServer, written: str) -> None:
    code, output = run(tmp_path, written.format(port=receiver.server_port))
    assert "delivered in" in output
    assert "hush" not in output
    assert code == 0


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "{{type: kafka, brokers: '127.0.0.1:{port}', topic: t, timeout: 1s, allow_private: true}}",
            "Kafka topic t at",
        ),
        (
            "{{type: ticket, system: github, repository: a/b, token: hush, api_url: 'http://127.0.0.1:{port}',"
            " allow_private: true}}",
            "127.0.0.1 answered 501",
        ),
    ],
)
def test_a_receiver_of_another_kind_is_said(
    tmp_path: Path, receiver: ThreadingHTTPServer, written: str, said: str
) -> None:
    code, output = run(tmp_path, written.format(port=receiver.server_port))
    assert "not delivered" in output
    assert said in output
    assert "hush" not in output
    assert code == 1


def test_a_refusal_is_shown_and_the_exit_code_says_so(tmp_path: Path, receiver: ThreadingHTTPServer) -> None:
    _Receiver.status = 403
    code, output = run(tmp_path, hook_at(receiver))
    assert code == 1
    assert "not delivered" in output
    assert "403: thank you" in output
    assert "hush" not in output


def test_a_private_address_is_refused_with_what_to_do(tmp_path: Path, receiver: ThreadingHTTPServer) -> None:
    code, output = run(tmp_path, hook_at(receiver, ""))
    assert code == 1
    assert "allow_private: true" in output


def test_an_unknown_name_lists_those_that_there_are(tmp_path: Path) -> None:
    code, output = run(tmp_path, "{type: log}", name="hok")
    assert code == 1
    assert "no contact point 'hok'; there are: hook" in output


def test_a_configuration_that_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    code, output = run(tmp_path, "{type: webhook}")
    assert code == 1
    assert "config.yaml:2:" in output


def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path) -> None:
    code, output = run(tmp_path, "{type: webhook, url: 'https://hooks.test.example/', ca_file: /nowhere/ca.pem}")
    assert code == 1
    assert "/nowhere/ca.pem" in output


def test_a_preview_sends_nothing_and_shows_every_state(tmp_path: Path) -> None:
    contact = (
        "{type: webhook, url: 'https://hooks.test.example/hush', template: {body: '[\"{{ event }}\", {{ samples }}]'}}"
    )
    code, output = run(tmp_path, contact, "hook", "--preview")
    assert code == 0
    assert [line for line in output.splitlines() if line.startswith("──")] == [f"── {state} ──" for state in STATES]
    assert '"reminder"' in output
    assert "hush" not in output
    code, output = run(tmp_path, contact, "hook", "--preview", "--state", "no-data", "--json")
    assert code == 0
    found = json.loads(output)["no-data"]
    assert json.loads(found["sent"]) == ["firing", 0]
    assert found["problems"] == {}


@pytest.mark.parametrize("options", [["--state", "firing"], ["--preview", "--state", "asleep"]])
def test_a_state_that_can_not_be_shown_is_refused(tmp_path: Path, options: list[str]) -> None:
    code, output = run(tmp_path, "{type: log}", "hook", *options)
    assert code == 2
    assert "--state" in output


def test_an_answer_is_there_for_programs(tmp_path: Path, receiver: ThreadingHTTPServer) -> None:
    code, output = run(tmp_path, hook_at(receiver), "hook", "--json")
    assert code == 0
    assert json.loads(output)["delivered"] is True
