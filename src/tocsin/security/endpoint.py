"""Where something listens, and whether others than this machine can reach it."""

import ipaddress
import re
from typing import NamedTuple

__all__ = ["Endpoint", "endpoint_of"]

_ENDPOINT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d{1,5})")


class Endpoint(NamedTuple):
    """Where a listener stands."""

    host: str
    """A name or an address; IPv6 without its brackets."""
    port: int
    """0 lets the system choose."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; of names, only localhost counts as such."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint_of(text: str) -> Endpoint:
    """Return the endpoint that a person wrote: `127.0.0.1:4317`, `localhost:0`, `[::1]:4317`.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    found = _ENDPOINT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no endpoint; write host:port, like 127.0.0.1:4317, 0.0.0.0:4317 or [::1]:4317")
    port = int(found["port"])
    if port > 65535:
        raise ValueError(f"{text!r} has no valid port; ports go from 0 (any free one) to 65535")
    if found["v6"] is None:
        return Endpoint(found["host"], port)
    try:
        return Endpoint(str(ipaddress.IPv6Address(found["v6"])), port)
    except ValueError as error:
        raise ValueError(f"{text!r} has no IPv6 address in its brackets") from error
