"""Where a notification may go.

The name is resolved once, every address is judged, and the judged one is used.

A contact point's address is typed by a user, and later arrives through an API, so it must not become a way to
the machine's own services, its neighbours or a cloud's metadata. Judging the name is not enough (`0x7f.1` and
`2130706433` are 127.0.0.1), nor is judging a look-up that the connection then repeats (DNS rebinding): the
connection is made to the very address that was judged, while Host and SNI keep the name. Sources: IANA
special-purpose address registries (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4).
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpcore2

from tocsin.errors import DeliveryError

__all__ = ["Address", "Network", "Resolver", "refusal_of", "system_resolver"]

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> IP addresses as text, in the order to try; raises OSError where there are none."""

_NEVER = {
    "0.0.0.0/8": "unspecified",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "::/128": "unspecified",
    "ff00::/8": "multicast",
}
"""No receiver has such an address, whatever is allowed."""
_PRIVATE = {
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "local NAT64",
    "100::/64": "discard",
    "2001::/23": "reserved",
    "2001:db8::/32": "documentation",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
}
_NEVER_NETWORKS = [(ip_network(text), name) for text, name in _NEVER.items()]
_PRIVATE_NETWORKS = [(ip_network(text), name) for text, name in _PRIVATE.items()]
_NAT64 = ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ip_network("2000::/3")


def refusal_of(address: Address, *, allow_private: bool) -> str | None:
    """Return why nothing is sent to `address`, in a word (`loopback`, `private`, …).

    Or None if it may be used.
    """
    for one in (address, *_embedded(address)):
        for network, name in _NEVER_NETWORKS:
            if one in network:
                return name
        if allow_private:
            continue
        for network, name in _PRIVATE_NETWORKS:
            if one in network:
                return name
        if isinstance(one, IPv6Address) and one not in _GLOBAL_UNICAST and not _embedded(one):
            return "reserved"
    return None


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 address inside an IPv6 one that leads to it: mapped, compatible, NAT64, 6to4."""
    if isinstance(address, IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return (last,)
    return ()


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the operating system, off the event loop."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Network:
    """The way out, shared by the contact points of one configuration."""

    allow_private: bool = False
    """`network.allow_private`; a contact point may allow itself more."""
    resolve: Resolver = field(default=system_resolver, compare=False)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return the default trust, made once (it costs tens of milliseconds).

        Verified, never switched off.
        """
        return httpcore2.default_ssl_context()

    async def addresses(self, host: str, port: int, *, allow_private: bool) -> list[str]:
        """Return the addresses to connect to, all judged.

        Raises:
            DeliveryError: the name has no address (retryable), or one of them is not allowed (final: a name
            that answers with a public and a private address is what an attack looks like).
        """
        allowed = allow_private or self.allow_private
        try:
            found = await self.resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise DeliveryError(f"{host}: no address found ({_reason(error)})", retryable=True) from error
        judged = []
        for text in found:
            try:
                address = ip_address(text.partition("%")[0])
            except ValueError as error:
                raise DeliveryError(f"{host}: the resolver gave {text!r}, no address", retryable=True) from error
            if name := refusal_of(address, allow_private=allowed):
                raise DeliveryError(_refused(host, address, name), retryable=False)
            judged.append(text)
        if not judged:
            raise DeliveryError(f"{host}: no address found", retryable=True)
        return judged

    async def connect(self, host: str, port: int, *, allow_private: bool) -> socket.socket:
        """Return a connected non-blocking socket to a judged address of `host`; the caller owns it.

        Raises:
            DeliveryError: as `addresses`, or none of them accepts.
        """
        loop = asyncio.get_running_loop()
        last: OSError | None = None
        for address in await self.addresses(host, port, allow_private=allow_private):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)  # noqa: FBT003  # the socket takes it by position
                await loop.sock_connect(sock, (address, port))
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise DeliveryError(f"{host}:{port}: can't connect ({_reason(last)})", retryable=True) from last


def _refused(host: str, address: Address, name: str) -> str:
    where = host if host.strip("[]") == str(address) else f"{host} resolves to {address}, which"
    if any(address in network for network, _ in _NEVER_NETWORKS):
        return f"{where} is a {name} address; nothing can be sent there"
    return f"{where} is a {name} address; set allow_private: true on the contact point if it is meant"


def _reason(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
