"""What tests of several packages share."""

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from blockbuster import blockbuster_ctx
from postgres_cluster import Cluster, new_database
from webhook_receiver import WebhookReceiver

from benchmarks import peers
from tocsin.storage.config import StorageConfig


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives ports of 127.0.0.1 that were free a moment ago; port 0 is better where the server tells."""

    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number: int = probe.getsockname()[1]
            return number

    return port


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Gives handlers and levels back: a command that ran in this process set them for itself."""
    loggers = [logging.getLogger(name) for name in (None, "tocsin", "tocsin.alerts")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


ON_THE_LOOP: Final = frozenset({"receivers"})
"""Directories of tests in which no call from our own code may block the event loop."""


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Makes a blocking call (a file, a socket, a sleep) an error where the loop runs."""
    if request.path.parent.name not in ON_THE_LOOP:
        yield
        return
    with blockbuster_ctx("tocsin") as watch:
        for name in ("threading.Lock.acquire", "threading.Lock.acquire_lock"):
            watch.functions[name].deactivate()  # executors and loggers take locks for microseconds
        # Certificates are a few kilobytes, read at the start and when they change.
        for name in ("io.BufferedReader.read", "os.stat"):
            watch.functions[name].can_block_in("tocsin/security/certificates.py", {"_content", "_is_public"})
        yield


@pytest.fixture
def webhooks() -> Iterator[WebhookReceiver]:
    """A local receiver of webhooks."""
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for all tests of the session."""
    programs = peers.postgres_path()
    if programs is None:
        assert not peers.in_ci(), "CI has a PostgreSQL: `make peers`"
        pytest.skip("no PostgreSQL here: `make peers` fetches it")
    made = Cluster(programs)
    try:
        made.create()
        yield made
    finally:
        made.close()


@pytest.fixture
def on_postgresql(cluster: Cluster, tmp_path: Path) -> StorageConfig:
    """An empty database of the server."""
    return StorageConfig(directory=tmp_path / "data", url=new_database(cluster))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StorageConfig:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return StorageConfig(directory=tmp_path / "data")
    made: StorageConfig = request.getfixturevalue("on_postgresql")
    return made
