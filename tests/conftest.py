"""What tests of several packages share."""

import socket
from collections.abc import Callable, Iterator

import pytest
from webhook_receiver import WebhookReceiver


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
