"""A listener's certificate: read at the start, and again when its files change.

New handshakes get the newest certificate that can be used; connections that are open go on with theirs. One that can't
be used (another key's, no PEM, gone) changes nothing: the one before stays, and the log says so. Files are read rather
than asked for their times, as they are small: that finds every way in which they are replaced.
"""

import asyncio
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tocsin.errors import ConfigError
from tocsin.security.config import TlsConfig
from tocsin.security.validity import not_after
from tocsin.telemetry import security as events

__all__ = ["Certificate", "Certificates"]

LOOK_SECONDS: Final = 1.0
_MAX_BYTES: Final = 1024 * 1024
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_Files = tuple[bytes | str, ...]
"""Of certificate, key and clients' CA: what is in it, or why it can't be read; the last is empty if there is none."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that was checked: the key fits, and everything can be parsed."""

    chain: bytes
    """PEM."""
    key: bytes = field(repr=False)
    """PEM."""
    client_ca: bytes | None
    """PEM; None where clients need no certificate."""
    context: ssl.SSLContext
    """The same for Python's own TLS."""


class Certificates:
    """The certificate in force. Replaced on the event loop, read in any thread."""

    def __init__(self, config: TlsConfig, listener: str) -> None:
        """Read and check the files.

        Args:
            config: where they are.
            listener: the key that it stands under, like `receivers.otlp.grpc`, for messages and metrics.

        Raises:
            ConfigError: they can't be used.
        """
        self._config = config
        self._listener = listener
        self._files: _Files = _read(config)
        try:
            self.current = _checked(config, self._files)
        except ValueError as error:
            raise ConfigError(f"{listener}.tls: {error}") from error
        self._doubted: _Files | None = None
        self.context = self.current.context
        """For a server that keeps one context: each handshake with it gets the certificate of its moment."""
        self.context.sni_callback = self._newest
        events.certificate_taken(listener=listener, expires=not_after(self.current.chain), again=False)
        if _is_public(config.key_file):
            events.key_is_readable(listener=listener, path=str(config.key_file))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["Certificates"]:
        """Follow the files while the block runs."""
        watching = asyncio.create_task(self._watch(), name=f"certificate of {self._listener}")
        try:
            yield self
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    def look(self) -> None:
        """Take over what the files hold now, if that is new and can be used; blocks for some milliseconds.

        What can't be used is told at the second look that finds it, as files are replaced one after the other.
        """
        files = _read(self._config)
        if files == self._files:
            self._doubted = None
            return
        try:
            current = _checked(self._config, files)
        except ValueError as error:
            if files == self._doubted:
                self._files, self._doubted = files, None
                events.certificate_refused(listener=self._listener, problem=str(error))
            else:
                self._doubted = files
            return
        self.current, self._files, self._doubted = current, files, None
        events.certificate_taken(listener=self._listener, expires=not_after(current.chain), again=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def _newest(self, handshake: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
        handshake.context = self.current.context


def _read(config: TlsConfig) -> _Files:
    return tuple(
        _content(path) if path is not None else b""
        for path in (config.cert_file, config.key_file, config.client_ca_file)
    )


def _content(path: Path) -> bytes | str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        return error.strerror or type(error).__name__


def _checked(config: TlsConfig, files: _Files) -> Certificate:
    """Return the certificate that is in the files.

    Raises:
        ValueError: it can't be used; the text says which file, why, and what to do, and nothing of what is in it.
    """
    chain = _present("cert_file", config.cert_file, files[0])
    key = _present("key_file", config.key_file, files[1])
    client_ca = _present("client_ca_file", config.client_ca_file, files[2])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.cert_file, config.key_file, password=_no_password)
        not_after(chain)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise ValueError(
            f"{config.cert_file} and {config.key_file} can't be used together ({reason}); give a PEM certificate and"
            " its own key, not encrypted"
        ) from error
    if config.client_ca_file is not None:
        _ask_for_clients(context, config.client_ca_file, client_ca)
    if _read(config) != files:  # OpenSSL opened the files again
        raise ValueError("the files changed while they were read")
    return Certificate(chain, key, client_ca or None, context)


def _present(key: str, path: Path | None, content: bytes | str) -> bytes:
    if isinstance(content, bytes):
        return content
    raise ValueError(f"{key} {path}: can't be read ({content}); fix the path, or who may read it")


def _ask_for_clients(context: ssl.SSLContext, path: Path, client_ca: bytes) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is taken up again is not verified again: it would outlive the trust in its certificate.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    try:
        context.load_verify_locations(cadata=client_ca.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"client_ca_file {path}: no PEM certificates of an authority in it") from error


def _no_password() -> bytes:
    raise ValueError("the key is encrypted")  # else OpenSSL would ask on the terminal


def _is_public(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
