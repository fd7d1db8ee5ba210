"""Requests that a stranger's page makes a visitor's browser send: by another name, or across sites.

Without tokens, being able to reach the API is what opens it, and the browser of somebody at this machine can reach
it. Two ways lead there. A page of evil.example has its name resolve to 127.0.0.1 (DNS rebinding), and is then of one
origin with us: but the Host header still says evil.example. Or it simply posts a form to 127.0.0.1 (CSRF): but then
the browser says in Origin and Sec-Fetch-Site where that comes from, and a form can't be JSON.
Sources: OWASP Cross-Site Request Forgery Prevention Cheat Sheet; Fetch Metadata Request Headers, W3C.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from tocsin.security.endpoint import Endpoint

__all__ = ["Hosts", "is_forged", "is_form", "is_json"]

_OURS: Final = frozenset({"same-origin", "none"})


class Hosts:
    """The names by which this API may be asked for."""

    def __init__(
        self, endpoint: Endpoint | None = None, names: Iterable[str] = (), public_url: str | None = None
    ) -> None:
        """Take `localhost`, loopback addresses and those given.

        Args:
            endpoint: where it listens. On all addresses, it may be asked for by any of them, but by no name: whoever
                rebinds a name can't choose what the Host header says, and an address in it is no rebound name.
            names: further ones.
            public_url: its host is one, too.
        """
        self._any_address = endpoint is not None and endpoint.host in ("0.0.0.0", "::")  # noqa: S104  # compared
        given = [*names, "localhost"]
        if endpoint is not None:
            given.append(endpoint.host)
        if public_url is not None:
            given.append(urlsplit(public_url).hostname or "localhost")
        self._names = frozenset(_plain(name) for name in given)

    def allow(self, host: str | None) -> bool:
        """Whether a Host header, with or without a port, is one of them."""
        name = _name_of(host or "")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._any_address


def is_forged(headers: Mapping[str, str], public_url: str | None) -> bool:
    """Whether a request comes from another site's page; what no browser sent does not.

    Args:
        headers: names in lower case.
        public_url: where a page of ours is, if a proxy gives it another origin than the Host header says.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site.strip().lower() not in _OURS:
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    netloc = _netloc(origin)
    return not netloc or netloc not in (headers.get("host", "").lower(), _netloc(public_url or ""))


def is_json(content_type: str | None) -> bool:
    """Whether a body says that it is JSON, which a form can't say."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_form(content_type: str | None) -> bool:
    """Whether a body says that it is a form without files."""
    return (content_type or "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    if host.startswith("["):
        return _plain(host.partition("]")[0])
    return _plain(host.partition(":")[0])


def _plain(name: str) -> str:
    return name.strip("[]").removesuffix(".").lower()
