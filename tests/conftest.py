"""What tests of several packages share."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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
