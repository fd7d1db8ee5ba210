"""A real Kafka broker for tests: one process that is broker and controller, on free ports of 127.0.0.1.

`make peers` copies its jars once; Java 17 or later runs them. The broker has three listeners: in the clear, with a
password (SCRAM), and in the clear under a name that it advertises instead of its address, which may lead elsewhere.
"""

import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import peers

__all__ = ["PASSWORD", "USER", "Broker", "broker", "kafka_path", "provide_kafka"]

USER: Final = "tocsin"
PASSWORD: Final = "a-password-of-a-test"  # noqa: S105  # of a broker that lives for seconds

_POM: Final = peers.COLLECTOR_CONFIGS / "kafka-pom.xml"
_START_SECONDS: Final = 90.0
# A small heap and the quick compiler alone: it lives for seconds.
_JAVA: Final = ("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


def kafka_path() -> Path | None:
    """Return the directory of Kafka's jars, or None if they were not fetched or there is no Java."""
    return _directory() if _directory().is_dir() and shutil.which("java") is not None else None


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    plain: str
    """host:port, without a password."""
    with_password: str
    """host:port, where `USER` is to give `PASSWORD`."""
    elsewhere: str
    """host:port, which says that the broker is at the address that was asked for instead."""
    process: subprocess.Popen[bytes]

    def freeze(self) -> None:
        """Let it answer nothing, as a machine that hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def broker(*, advertised: str = "127.0.0.1:9", topics_by_themselves: bool = True) -> Iterator[Broker]:
    """Run a broker in a directory of its own.

    Args:
        advertised: where the listener `elsewhere` says that the broker is.
        topics_by_themselves: whether writing to a topic makes it.

    Raises:
        PeerBuildError: it does not start; the text has its last words.
    """
    jars = kafka_path()
    if jars is None:
        raise peers.PeerBuildError("there is no Kafka; run `make peers` (needs Java 17 and Maven)")
    with tempfile.TemporaryDirectory(prefix="kafka-") as directory:
        work = Path(directory)
        ports = _free_ports(4)
        (work / "server.properties").write_text(
            _properties(work, ports, advertised, topics_by_themselves=topics_by_themselves)
        )
        _format(jars, work)
        with (work / "log").open("wb") as log:
            process = subprocess.Popen(
                _java(jars, work, "kafka.Kafka", ["server.properties"]),
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait(process, ports[0], work / "log")
            plain, secured, moved = (f"127.0.0.1:{port}" for port in ports[:3])
            yield Broker(plain, secured, moved, process)
        finally:
            # Its data are thrown away, so there is nothing for it to finish.
            process.kill()
            process.wait(30)


def fetch_kafka() -> Path:
    """Copy the broker's jars unless they are there; return their directory. Two callers at once copy them once.

    Raises:
        PeerBuildError: a step failed.
    """
    peers.peers_directory().mkdir(parents=True, exist_ok=True)
    with peers.locked(peers.peers_directory() / "kafka.lock"):
        if _directory().is_dir():
            return _directory()
        with tempfile.TemporaryDirectory(prefix="build-", dir=peers.peers_directory()) as directory:
            work = Path(directory)
            shutil.copy(_POM, work / "pom.xml")
            peers.step(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"], work, {})
            # A rename, so that no one ever finds half of them under the final name.
            (work / "libs").replace(_directory())
    return _directory()


def provide_kafka() -> int:
    """Say whether there is a Kafka, fetching it first where needed; return the exit code for `make peers`."""
    for program in ("java", "mvn"):
        if kafka_path() is None and shutil.which(program) is None:
            print(f"peers: no Kafka: {program} is not on PATH; install Java 17 and Maven, and run `make peers` again.")
            return peers.without("the contact point kafka is tested without a broker.")
    try:
        jars = kafka_path() or fetch_kafka()
    except peers.PeerBuildError as error:
        print(f"peers: {error}")
        return peers.without("the contact point kafka is tested without a broker.")
    version = next((jar.stem for jar in sorted(jars.glob("kafka_*.jar"))), "no broker among the jars")
    print(f"peers: Kafka {version}: {jars}")
    return 0


def _directory() -> Path:
    return peers.peers_directory() / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _properties(work: Path, ports: Sequence[int], advertised: str, *, topics_by_themselves: bool) -> str:
    plain, secured, moved, controller = ports
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAIN://127.0.0.1:{plain},SECURED://127.0.0.1:{secured},MOVED://127.0.0.1:{moved},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAIN://127.0.0.1:{plain},SECURED://127.0.0.1:{secured},MOVED://{advertised}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listener.security.protocol.map": "PLAIN:PLAINTEXT,MOVED:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": scram,
        "log.dirs": str(work / "data"),
        "num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": str(topics_by_themselves).lower(),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _format(jars: Path, work: Path) -> None:
    identity = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    peers.step(
        _java(
            jars,
            work,
            "kafka.tools.StorageTool",
            ["format", "-t", identity, "-c", "server.properties", "--add-scram", user],
        ),
        work,
        {},
    )


def _java(jars: Path, work: Path, main: str, arguments: Sequence[str]) -> list[str]:
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [*_JAVA, quiet, f"-Djava.io.tmpdir={work}", "-cp", f"{jars}/*", main, *arguments]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise peers.PeerBuildError(f"the Kafka broker does not start; its last words:\n{last}")
