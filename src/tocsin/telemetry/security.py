"""What is said of who was not let in, and of certificates. Never a token, a key, or a part of one."""

import logging
import time

from prometheus_client import Counter, Gauge

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY

__all__ = [
    "certificate_refused",
    "certificate_taken",
    "key_is_readable",
    "listener_is_open",
    "request_refused",
    "tokens_in_the_clear",
]

_refused = Counter(
    "tocsin_refused_api_requests", "Requests to the API that went no further.", ["reason"], registry=REGISTRY
)
_loads = Counter(
    "tocsin_certificate_loads",
    "Certificates read, at the start and when they changed.",
    ["listener", "outcome"],
    registry=REGISTRY,
)
_expiry = Gauge(
    "tocsin_certificate_expiry_timestamp_seconds",
    "Until when the certificate in force is valid, Unix time.",
    ["listener"],
    registry=REGISTRY,
)


def request_refused(*, reason: str, who: str | None = None) -> None:
    """The API took a request no further; `reason` is one of a fixed few words, `who` the name of a token."""
    _refused.labels(reason).inc()
    if who is None:
        log(logging.DEBUG, "API request refused", reason=reason)
    else:
        log(logging.DEBUG, "API request refused", reason=reason, token=who)


def certificate_taken(*, listener: str, expires: float, again: bool) -> None:
    """A certificate is in force from the next connection on; `expires` in Unix seconds."""
    _loads.labels(listener, "taken").inc()
    _expiry.labels(listener).set(expires)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
    if expires <= time.time():
        log(logging.ERROR, "the certificate is expired: clients will refuse it", listener=listener, until=until)
    elif again:
        log(logging.INFO, "certificate renewed", listener=listener, until=until)


def certificate_refused(*, listener: str, problem: str) -> None:
    """A new certificate can't be used; the one before goes on."""
    _loads.labels(listener, "refused").inc()
    log(logging.ERROR, "new certificate not taken, the one before stays in force", listener=listener, reason=problem)


def key_is_readable(*, listener: str, path: str) -> None:
    """Everybody on this machine can read a private key."""
    log(
        logging.WARNING,
        "everybody on this machine can read this private key; chmod 600 it",
        listener=listener,
        file=path,
    )


def listener_is_open(*, listener: str, endpoint: str) -> None:
    """It was told in words to ask nobody who they are."""
    log(
        logging.WARNING,
        "allow_unauthenticated: whoever reaches this address may use it; keep it inside a network that you trust",
        listener=listener,
        endpoint=endpoint,
    )


def tokens_in_the_clear(*, listener: str, endpoint: str) -> None:
    """Tokens cross a network without TLS of ours."""
    log(
        logging.WARNING,
        "tokens are sent to this address without TLS, so that whoever is on the way can read them; set tls, or let a"
        " proxy end it",
        listener=listener,
        endpoint=endpoint,
    )
