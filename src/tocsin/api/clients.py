"""How often each client may ask: a token bucket for each address, for as many addresses as there is room for."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["Clients", "client_of"]

_MOST: Final = 10_000
"""Addresses that are remembered. The one that asked longest ago is forgotten, and begins with a full bucket."""


class Clients:
    """Buckets of `count` requests that fill up within `seconds`. Used on one event loop."""

    def __init__(self, *, count: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = float(count)
        self._per_second = count / seconds
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Address -> what was left in the bucket, and when."""

    def wait(self, client: str) -> int:
        """Return for how many whole seconds a client must wait before it may ask; 0: it may ask now."""
        left = self._left(client)
        return 0 if left >= 1.0 else max(1, math.ceil((1.0 - left) / self._per_second))

    def count(self, client: str) -> None:
        """Count one request of a client."""
        self._buckets[client] = (max(0.0, self._left(client) - 1.0), self._clock())
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)

    def _left(self, client: str) -> float:
        left, at = self._buckets.get(client, (self._count, 0.0))
        return min(self._count, left + (self._clock() - at) * self._per_second)


def client_of(host: str) -> str:
    """Return what stands for a client: its IPv4 address, or the IPv6 network (/64) that one customer has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
