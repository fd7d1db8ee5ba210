"""The load generator: built from `generator/` on demand, cached, run against servers on this machine."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.outcome import NotRunError
from benchmarks.peers import peers_directory

__all__ = ["Traffic", "attempted", "background", "dump", "generator_path", "probe", "send"]

_SOURCE = Path(__file__).parent / "generator"


@dataclass(frozen=True, slots=True)
class Traffic:
    """The shape of a load; what the generator's flags mean is said in its own help."""

    spans: int = 512
    """In a request."""
    body: int = 0
    """Bytes of messages in a span."""
    connections: int = 2
    inflight: int = 8
    """Requests at once, over all connections."""
    conversations: int = 10_000
    tenants: int = 100
    rate: float = 0
    """Spans a second; 0: as fast as the server answers."""
    total: int = 0
    """Stop after this many spans; 0: by time alone."""
    sequential: bool = False
    """Visit the conversations one after the other, so that n spans touch n of them."""

    def flags(self) -> list[str]:
        """Return the generator's flags."""
        pairs = {
            "spans": self.spans,
            "body": self.body,
            "connections": self.connections,
            "inflight": self.inflight,
            "conversations": self.conversations,
            "tenants": self.tenants,
            "rate": self.rate,
            "total": self.total,
        }
        flags = [f"-{name}={value}" for name, value in pairs.items()]
        return [*flags, "-sequential"] if self.sequential else flags


def generator_path() -> Path:
    """Return the program, after building it where its sources changed.

    Raises:
        NotRunError: there is no Go, or the build failed.
    """
    peers_directory().mkdir(parents=True, exist_ok=True)
    binary = peers_directory() / f"load-{_digest()}"
    with (peers_directory() / "load.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.access(binary, os.X_OK):
            return binary
        if shutil.which("go") is None:
            raise NotRunError("the load generator needs Go 1.26 or later on PATH")
        building = binary.with_suffix(".building")
        done = subprocess.run(
            ["go", "build", "-o", building, "."],
            cwd=_SOURCE,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if done.returncode != 0:
            raise NotRunError(f"the load generator does not build:\n{done.stderr[-2000:]}")
        building.rename(binary)
    return binary


def send(port: int, traffic: Traffic, seconds: float) -> dict[str, Any]:
    """Send for some seconds (or `traffic.total` spans) and return the generator's report.

    Raises:
        NotRunError: not everything that was sent was acknowledged: such a number is no result.
    """
    report = attempted(port, traffic, seconds)
    if report["errors"] or report["acknowledged"] != report["spans"]:
        raise NotRunError(
            f"of {report['spans']} spans {report['acknowledged']} were acknowledged and "
            f"{report['rejected']} rejected; errors: {report['errors']}"
        )
    return report


def attempted(port: int, traffic: Traffic, seconds: float) -> dict[str, Any]:
    """Send for some seconds and return the generator's report, whatever became of the spans."""
    return _run("send", f"-target=127.0.0.1:{port}", f"-duration={seconds}s", *traffic.flags())


@contextmanager
def background(port: int, traffic: Traffic, seconds: float) -> Iterator[None]:
    """Keep up a load while the block runs; it ends with the block, or after these seconds."""
    command = [
        str(generator_path()),
        "send",
        f"-target=127.0.0.1:{port}",
        f"-duration={seconds}s",
        *traffic.flags(),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def probe(port: int, webhook_port: int, *flags: str) -> dict[str, Any]:
    """Send spans that each cross a threshold, receive their webhooks, and return the generator's report."""
    return _run("probe", f"-target=127.0.0.1:{port}", f"-listen=127.0.0.1:{webhook_port}", *flags)


def dump(path: Path, requests: int, traffic: Traffic) -> list[bytes]:
    """Return serialised export requests, written to `path` on the way."""
    shape = [f"-spans={traffic.spans}", f"-body={traffic.body}"]
    groups = [f"-conversations={traffic.conversations}", f"-tenants={traffic.tenants}"]
    _run("dump", f"-out={path}", f"-requests={requests}", *shape, *groups)
    data = path.read_bytes()
    found: list[bytes] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _run(*arguments: str | Path) -> dict[str, Any]:
    done = subprocess.run([generator_path(), *arguments], capture_output=True, text=True, timeout=1000, check=False)
    if done.returncode != 0:
        raise NotRunError(f"load {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _digest() -> str:
    made_of = hashlib.sha256()
    for path in sorted(_SOURCE.iterdir()):
        made_of.update(path.name.encode() + b"\0" + path.read_bytes())
    return made_of.hexdigest()[:12]
