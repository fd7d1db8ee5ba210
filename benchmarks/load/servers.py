"""Servers under load: started on free ports, watched through the kernel's own counters, always stopped."""

import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load.generator import generator_path
from benchmarks.outcome import NotRunError
from benchmarks.peers import COLLECTOR_CONFIGS, collector_path

__all__ = ["Server", "collector", "drain", "free_port", "grpcio_floor", "tocsin", "upb"]

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_QUIET_SECONDS = 0.25
_QUIET_SHARE = 0.1  # of a core: above what timers take, and above the counters' steps of 10 ms
_SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; its numbers include those of its child processes."""

    name: str
    process: psutil.Process
    grpc_port: int
    http_port: int
    """Of the metrics page (Tocsin: the API); 0 where there is none."""
    directory: Path
    """Where its configuration is."""
    ready_seconds: float
    """From the start of the process to its readiness."""

    def cpu_seconds(self) -> float:
        """Return user and system time so far, in steps of 10 ms."""
        total = 0.0
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        ended = self.process.cpu_times()
        return total + ended.children_user + ended.children_system

    def settled_cpu_seconds(self) -> float:
        """Return the CPU time once the server has gone quiet: work put off until later counts too."""
        until = time.monotonic() + _SETTLE_SECONDS
        before = self.cpu_seconds()
        while time.monotonic() < until:
            time.sleep(_QUIET_SECONDS)
            after = self.cpu_seconds()
            if after - before <= _QUIET_SHARE * _QUIET_SECONDS:
                return after
            before = after
        return before

    def resident_bytes(self) -> int:
        """Return the resident memory (VmRSS)."""
        return sum(process.memory_info().rss for process in self._family())

    def metrics(self) -> dict[str, float]:
        """Return the samples of its metrics page: the name with its labels -> the value."""
        text = self.get("/metrics").decode()
        found = re.findall(r"^([a-zA-Z_:][^\s{]*(?:\{.*\})?) ([^\s]+)", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def total(self, metric: str) -> float:
        """Return the sum of a metric over its labels; 0 where it does not occur."""
        return sum(value for name, value in self.metrics().items() if name.split("{", 1)[0] == metric)

    def get(self, path: str) -> bytes:
        """Return the body of a page.

        Raises:
            NotRunError: the answer is no success.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise NotRunError(f"{self.name}: GET {path} gave {answer.status}")
        return body

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def tocsin(
    config: Mapping[str, Any], *, name: str = "tocsin", files: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run Tocsin on a configuration, to which free ports and a fresh data directory are added.

    Args:
        config: the configuration file; written as JSON, which is YAML.
        name: for messages.
        files: further files, by name, put beside the configuration.
    """
    grpc_port, http_port, api_port = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as made:
        directory = Path(made)
        whole = {
            "receivers": {
                "otlp": {
                    "grpc": {"endpoint": f"127.0.0.1:{grpc_port}"},
                    "http": {"endpoint": f"127.0.0.1:{http_port}"},
                }
            },
            "api": {"endpoint": f"127.0.0.1:{api_port}"},
            **config,
        }
        (directory / "config.yaml").write_text(json.dumps(whole, indent=1), encoding="utf-8")
        for path, text in (files or {}).items():
            (directory / path).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "tocsin", "serve", "--config", str(directory / "config.yaml")]
        with _running(name, command, directory, grpc_port, api_port, lambda: _answers_ready(api_port)) as server:
            yield server


@contextmanager
def collector() -> Iterator[Server]:
    """Run the OpenTelemetry Collector on the same job: cost by OTTL, sums by conversation, model and tenant.

    Raises:
        NotRunError: it is not built.
    """
    binary = collector_path()
    if binary is None:
        raise NotRunError("there is no collector; `make peers` builds one")
    grpc_port, metrics_port, own_port = free_port(), free_port(), free_port()
    text = (COLLECTOR_CONFIGS / "collector-signal-to-metrics.yaml").read_text(encoding="utf-8")
    for written, port in (("127.0.0.1:27317", grpc_port), ("127.0.0.1:27464", metrics_port)):
        text = text.replace(written, f"127.0.0.1:{port}")
    text = text.replace("27888", str(own_port))
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as made:
        config = Path(made) / "config.yaml"
        config.write_text(text, encoding="utf-8")
        command = [str(binary), f"--config={config}"]
        with _running("collector", command, Path(made), grpc_port, metrics_port, lambda: _listens(grpc_port)) as server:
            yield server


@contextmanager
def upb() -> Iterator[Server]:
    """Run the Python server that walks upb messages and keeps one sum."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upb_server", "--port", str(port)]
    with _running("upb server", command, _ROOT, port, 0, lambda: _listens(port)) as server:
        yield server


@contextmanager
def grpcio_floor() -> Iterator[Server]:
    """Run a grpc.aio server that drops everything: what Tocsin's receiver can't go below."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.grpcio_floor", "--port", str(port)]
    with _running("grpcio floor", command, _ROOT, port, 0, lambda: _listens(port)) as server:
        yield server


@contextmanager
def drain() -> Iterator[Server]:
    """Run the Go server that drops everything: the transport's own floor."""
    port = free_port()
    command = [str(generator_path()), "drain", f"-listen=127.0.0.1:{port}"]
    with _running("drain", command, Path.cwd(), port, 0, lambda: _listens(port)) as server:
        yield server


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    name: str, command: list[str], directory: Path, grpc_port: int, http_port: int, ready: Callable[[], bool]
) -> Iterator[Server]:
    with tempfile.TemporaryFile("w+") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            watched = psutil.Process(process.pid)
            while not ready():
                if process.poll() is not None or time.monotonic() - started > _START_SECONDS:
                    log.seek(0)
                    said = log.read()[-800:].strip()
                    raise NotRunError(f"{name} did not become ready (exit code {process.poll()}); it said:\n{said}")
                time.sleep(0.002)
            yield Server(name, watched, grpc_port, http_port, directory, time.monotonic() - started)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
