"""Envoy and nginx with the examples' configurations, before a provider: what is blocked never reaches it."""

import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from running_service import RunningService

from benchmarks.deployment import envoy_path, nginx_path
from benchmarks.peers import in_ci
from tocsin.guard.config import GuardConfig

EXAMPLES = Path(__file__).parents[2] / "examples" / "guard"
TOKEN = "a-token-of-the-api-for-tests"  # noqa: S105  # of a service that lives for seconds
CONFIG = f"""
receivers: {{otlp: {{grpc: {{endpoint: "127.0.0.1:0"}}, http: null}}}}
api:
  endpoint: 127.0.0.1:0
  tokens: [{{name: proxy, token: {TOKEN}, role: write}}]
contact_points: {{terminal: {{type: log}}}}
rules: []
"""


class Provider(ThreadingHTTPServer):
    """Remembers what reached it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Answers)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(
            {**{name.lower(): value for name, value in self.headers.items()}, "body": body.decode()}
        )
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing."""


@contextmanager
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_envoy(directory: Path, port: int, tocsin: int, upstream: int) -> list[str]:
    """Return the command of Envoy with the example, its addresses changed to those of the test."""
    program = envoy_path()
    if program is None:
        assert not in_ci(), "CI has Envoy: `make peers`"
        pytest.skip("no Envoy here: `make peers` fetches it")
    config: Any = YAML(typ="safe", pure=True).load((EXAMPLES / "envoy.yaml").read_text())
    [listener] = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["port_value"] = port
    for cluster in config["static_resources"]["clusters"]:
        cluster.pop("transport_socket", None)  # the provider of the test has no certificate
        [endpoints] = cluster["load_assignment"]["endpoints"]
        [endpoint] = endpoints["lb_endpoints"]
        place = {"address": "127.0.0.1", "port_value": {"tocsin": tocsin, "provider": upstream}[cluster["name"]]}
        endpoint["endpoint"]["address"]["socket_address"] = place
    text = json.dumps(config).replace("Bearer TOKEN", f"Bearer {TOKEN}")
    (directory / "envoy.json").write_text(text)
    alone = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    return [str(program), "--config-path", str(directory / "envoy.json"), *alone]


def as_nginx(directory: Path, port: int, tocsin: int, upstream: int) -> list[str]:
    """Return the command of nginx, likewise."""
    program = nginx_path()
    if program is None:
        assert not in_ci(), "CI has nginx: `make peers`"
        pytest.skip("no nginx here: `make peers` unpacks it")
    text = (EXAMPLES / "nginx.conf").read_text()
    for old, new in {
        "127.0.0.1:8417": f"127.0.0.1:{tocsin}",
        "server api.openai.com:443;": f"server 127.0.0.1:{upstream};",
        "https://provider": "http://provider",
        "127.0.0.1:10000": f"127.0.0.1:{port}",
        "Bearer TOKEN": f"Bearer {TOKEN}",
        "/tmp/nginx-guard.pid": f"{directory}/nginx.pid",  # noqa: S108  # the example's
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    kept = "".join(
        f"    {name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text("daemon off;\n" + text.replace("http {\n", "http {\n" + kept))
    return [str(program), "-c", str(directory / "nginx.conf"), "-p", str(directory), "-e", "stderr"]


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a proxy until its port is open, and to its end."""
    with log.open("wb") as words, subprocess.Popen(command, stdout=words, stderr=words) as process:  # noqa: S603
        try:
            deadline = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)  # a port tells nobody that it opens
            yield
        finally:
            process.terminate()
            process.wait(20)


def ask(port: int, *headers: tuple[str, str]) -> int:
    """Call the model through the proxy; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = b'{"model": "gpt-4o"}'
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in (("authorization", "Bearer key-of-the-provider"), ("content-length", str(len(body))), *headers):
        connection.putheader(name, value)
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status


def block(service: RunningService, conversation: str) -> None:
    body = {"label": "conversation", "value": conversation, "ttl": "1h", "reason": "a drill"}
    request = urllib.request.Request(
        f"http://{service.addresses['api']}/api/v1/blocks",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own service
        assert answer.status == 201


@pytest.mark.peer
@pytest.mark.parametrize("command_of", [as_envoy, as_nginx])
def test_the_proxy_refuses_what_is_blocked_and_lets_all_else_pass(
    command_of: Callable[[Path, int, int, int], list[str]], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    port = free_port()
    with RunningService(config) as service, provider() as behind:
        tocsin = int(service.addresses["api"].rpartition(":")[2])
        command = command_of(tmp_path, port, tocsin, behind.server_port)
        with running(command, port, tmp_path / "proxy.log"):
            conversation = "x-conversation-id"
            assert ask(port, (conversation, "conv-1")) == 200
            assert ask(port) == 200
            # The provider has what the caller sent: its own key, not Tocsin's, and the body.
            assert [one["authorization"] for one in behind.seen] == ["Bearer key-of-the-provider"] * 2
            assert behind.seen[0]["body"] == '{"model": "gpt-4o"}'
            block(service, "conv-1")
            assert ask(port, (conversation, "conv-1")) == 403
            assert ask(port, (conversation, "conv-2")) == 200
            assert ask(port, (conversation, "conv-2"), (conversation, "conv-1")) == 403
            assert len(behind.seen) == 3
            assert service.stop() == 0
            assert ask(port, (conversation, "conv-1")) == 200, "it should fail open"


def test_envoy_passes_the_headers_that_are_read() -> None:
    config = YAML(typ="safe", pure=True).load((EXAMPLES / "envoy.yaml").read_text())
    [listener] = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    allowed = manager["http_filters"][0]["typed_config"]["allowed_headers"]["patterns"]
    assert {one["exact"] for one in allowed} == set(GuardConfig().headers)
