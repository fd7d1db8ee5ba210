"""Ports that are the same after a restart, and that nobody else is given while their owner is down."""

import random
import socket

__all__ = ["steady_port"]

_RANGE = range(20_000, 32_000)
"""Below the ports that systems give to whoever asks for any."""
_given: set[int] = set()


def steady_port() -> int:
    """Return a port of 127.0.0.1 that is free and was not given before."""
    while True:
        port = random.SystemRandom().choice(_RANGE)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
