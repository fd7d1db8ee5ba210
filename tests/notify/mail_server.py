"""A real SMTP server (aiosmtpd) on the test's own loop, and one that misbehaves before it says a word of SMTP."""

import asyncio
import email
import email.policy
import socket
import ssl
import struct
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

__all__ = ["CERT", "BrokenMailServer", "Mail", "MailServer", "server_tls"]

_DATA = Path(__file__).parent / "test_data"
CERT = _DATA / "untrusted-test-only.cert.pem"


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, _DATA / "untrusted-test-only.key.pem")
    return context


@dataclass(frozen=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    encrypted: bool
    login: str | None

    @property
    def message(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class MailServer:
    """Takes mail; refuses recipients with the code that `refusals` has for them."""

    def __init__(self, *, tls: str = "none", login: tuple[str, str] | None = None, data_answer: str = "") -> None:
        self.mails: list[Mail] = []
        self.refusals: dict[str, str] = {}
        self.data_answer = data_answer
        self._tls = tls
        self._login = login
        self._protocols: list[SMTP] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        context = server_tls()
        self._server = await loop.create_server(
            lambda: self._protocol(context), "127.0.0.1", 0, ssl=context if self._tls == "tls" else None
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for protocol in self._protocols:
            if protocol._handler_coroutine is not None and not protocol._handler_coroutine.done():
                protocol._handler_coroutine.cancel()
                await asyncio.wait([protocol._handler_coroutine])
            if protocol.transport is not None:
                protocol.transport.close()
        await asyncio.sleep(0)

    def _protocol(self, context: ssl.SSLContext) -> SMTP:
        protocol = SMTP(
            self,
            hostname="mail.test.example",
            tls_context=context if self._tls == "starttls" else None,
            require_starttls=self._tls == "starttls",
            auth_required=self._login is not None,
            auth_require_tls=self._tls == "starttls",
            authenticator=self._authenticate,
            auth_exclude_mechanism=["LOGIN"],
            loop=asyncio.get_running_loop(),
        )
        self._protocols.append(protocol)
        return protocol

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        given = data.login.decode(), data.password.decode()
        session.login_name = given[0]  # type: ignore[attr-defined]
        return AuthResult(success=given == self._login, handled=False)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data_answer:
            return self.data_answer
        content = envelope.content
        assert isinstance(content, bytes)
        transport = server.transport
        assert transport is not None
        self.mails.append(
            Mail(
                envelope.mail_from or "",
                tuple(envelope.rcpt_tos),
                content,
                transport.get_extra_info("ssl_object") is not None,
                getattr(session, "login_name", None),
            )
        )
        return f"250 OK queued as {len(self.mails)}"


class BrokenMailServer:
    """Accepts a connection and then hangs, resets it, or says that it is too busy."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._fault == "hang":
                await asyncio.Event().wait()
            if self._fault == "busy":
                writer.write(b"421 mail.test.example too busy\r\n")
                await writer.drain()
                await reader.read()
            if self._fault == "reset":
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except asyncio.CancelledError:
            pass  # by __aexit__ alone
        finally:
            writer.transport.abort()
            self._tasks.discard(task)
