"""The real service with a secret in every place that takes one, under errors of every kind: none of them comes out."""

import base64
import hashlib
import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from otlp_requests import Call, request_of
from running_service import RunningService

SECRETS = {
    "GRPC": "marker-grpc-0123456789",
    "HTTP": "marker-http-0123456789",
    "READER": "marker-reader-0123456789",
    "FORWARD": "marker-forward-0123456789",
    "HOOK_PATH": "marker-hook-path-0123456789",
    "HOOK_HEADER": "marker-hook-header-0123456789",
    "SLACK_PATH": "marker-slack-path-0123456789",
    "SLACK_BOT": "marker-slack-bot-0123456789",
    "PAGER": "markerpager0123456789",
    "MAIL": "marker-mail-0123456789",
}
SIGNING = b"marker-signing-key-0123456789"
GUESS = "marker-guess-0123456789"

CONFIGURATION = """
receivers:
  otlp:
    grpc: {{endpoint: 127.0.0.1:0, auth: {{tokens: [{{name: a, token: "${{env:GRPC}}"}}]}}}}
    http: {{endpoint: 127.0.0.1:0, auth: {{tokens: [{{name: b, token: "${{file:http-token}}"}}]}}}}
api: {{endpoint: 127.0.0.1:0, tokens: [{{name: c, token: "${{env:READER}}", role: admin}}]}}
storage: {{directory: {directory}}}
journal: {{snapshot_interval: 1s}}
forward: {{otlp: {{endpoint: "http://{echo}", protocol: http, headers: {{authorization: "Bearer ${{env:FORWARD}}"}}}}}}
log: {{level: debug, format: {form}}}
contact_points:
  hook:
    type: webhook
    url: http://{echo}/in/${{env:HOOK_PATH}}?key=${{env:HOOK_PATH}}
    secret: ${{env:SIGNING}}
    headers: {{Authorization: "${{env:HOOK_HEADER}}"}}
    allow_private: true
  final: {{type: webhook, url: "http://{echo}/final/${{env:HOOK_PATH}}", allow_private: true}}
  slack: {{type: slack, webhook_url: "http://{echo}/services/T0/${{env:SLACK_PATH}}", allow_private: true}}
  bot:
    type: slack
    bot_token: "${{env:SLACK_BOT}}"
    channel: "#a"
    api_url: "http://{echo}/api"
    allow_private: true
  pager: {{type: pagerduty, routing_key: "${{env:PAGER}}", url: "http://{echo}/v2/enqueue", allow_private: true}}
  mail:
    type: email
    host: 127.0.0.1
    port: {port}
    timeout: 500ms
    tls: none
    from: a@example.com
    to: b@example.com
    username: u
    password: ${{env:MAIL}}
    allow_private: true
rules:
  - name: any-call
    metric: count
    window: 5m
    condition: gt
    threshold: 0
    notify: [hook, final, slack, bot, pager, mail]
"""


@pytest.fixture
def echo() -> Iterator[str]:
    """A receiver that fails and says all that it was told, as some do."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("latin-1")
            told = f"no {self.path} here {self.headers.get('authorization', '')} {body[:60]}"
            data = json.dumps({"ok": False, "error": told}).encode() if self.path.startswith("/api/") else told.encode()
            self.send_response(200 if self.path.startswith("/api/") else 404 if "/final" in self.path else 500)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def answer_to(url: str, token: str = "", data: bytes | None = None) -> str:
    """Return all that is answered, headers too."""
    request = urllib.request.Request(url, data=data)  # noqa: S310  # of this machine
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return f"{answer.status} {answer.headers}{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.headers}{error.read().decode()}"


def export(address: str, token: str) -> str:
    call = Call.drawn(Random(3), end=time.time_ns())
    with grpc.insecure_channel(address) as channel:
        method: Any = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        metadata = (("authorization", f"Bearer {token}"),)
        try:
            return repr(method(request_of([call]).SerializeToString(), timeout=10, metadata=metadata))
        except grpc.RpcError as error:
            return f"{error.details()} {error.trailing_metadata()}"


def forms(secret: str) -> set[bytes]:
    data = secret.encode()
    return {
        data,
        data.hex().encode(),
        base64.b64encode(data).rstrip(b"="),
        hashlib.sha256(data).hexdigest().encode(),
        hashlib.sha256(data).digest(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_comes_out_of_a_service_in_trouble(
    form: str, tmp_path: Path, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing = "whsec_" + base64.b64encode(SIGNING).decode()
    for name, secret in (SECRETS | {"SIGNING": signing}).items():
        monkeypatch.setenv(name, secret)
    (tmp_path / "http-token").write_text(SECRETS["HTTP"] + "\n")
    directory = tmp_path / "data"
    written = CONFIGURATION.format(directory=directory, echo=echo, port=echo.partition(":")[2], form=form)
    config = tmp_path / "config.yaml"
    config.write_text(written)
    told: list[str] = []
    with RunningService(config) as service:
        api, http = (f"http://{service.addresses[name]}" for name in ("api", "http"))
        told += [export(service.addresses["grpc"], token) for token in (SECRETS["GRPC"], GUESS, SECRETS["READER"])]
        told += [answer_to(f"{http}/v1/traces", token, b"\xff") for token in (SECRETS["HTTP"], GUESS, "")]
        assert told[0] == "b''"
        told += [answer_to(f"{api}/metrics?token={GUESS}", token) for token in (GUESS, SECRETS["GRPC"], "")]
        deadline = time.monotonic() + 30
        tried = ""
        while not all(
            f'contact_point="{name}"' in tried for name in ("hook", "final", "slack", "bot", "pager", "mail")
        ):
            assert time.monotonic() < deadline, tried
            metrics = answer_to(f"{api}/metrics", SECRETS["READER"])
            tried = "".join(line for line in metrics.splitlines() if line.startswith("tocsin_notifications_total"))
            time.sleep(0.1)
        config.write_text(written + '\nnotes: "${env:MAIL}"\napi: "${env:READER}"\n')
        service.wait_for_line("configuration not taken")
        config.write_text(written.replace("threshold: 0", "threshold: 1"))
        service.wait_for_line("configuration reloaded")
        for path in ("/metrics", "/readyz", "/healthz", "/api/openapi.json", "/api/v1/dead-letters", "/api/v1/alerts"):
            told.append(answer_to(api + path, SECRETS["READER"]))
            assert told[-1].startswith("200 "), path
        alerts = json.loads(told[-1].partition("\n\n")[2])["alerts"]
        stories = [answer_to(f"{api}/api/v1/alerts/{alert['id']}", SECRETS["READER"]) for alert in alerts]
        assert '"attempts"' in "".join(stories)
        told += stories
        time.sleep(1.2)  # a snapshot is taken
        if form == "text":
            service.signal(signal.SIGKILL)  # and one of them ends in order
        service.stop()
        lines = service.lines
    files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert files
    places = {"the log": "\n".join(lines).encode(), "answers": "\n".join(told).encode()}
    places |= {str(path): data for path, data in files.items()}
    for name, secret in (SECRETS | {"SIGNING": signing, "KEY": SIGNING.decode(), "GUESS": GUESS}).items():
        for one in forms(secret):
            for place, data in places.items():
                at = data.find(one)
                assert at < 0, f"{name} is in {place}: {data[max(0, at - 200) : at + 60]!r}"
