"""`Guard`: what an application or a proxy asks before each model call. Needs grpcio and nothing else of Tocsin's.

    guard = Guard("tocsin.internal:4317", token=…, tls=True)
    guard.check(conversation="conv-42", tenant="acme")  # raises BlockedError

A thread follows what is blocked, so that a question is a look into a dictionary: it waits for nobody, in a coroutine
either. Only the first question waits, for as long as connecting may take.
"""

import os
import threading
from time import monotonic
from types import TracebackType
from typing import Literal, Self

from tocsin.guard.errors import BlockedError, GuardUnavailableError
from tocsin.guard.watched import Watched
from tocsin.guard.watching import Watching
from tocsin.guard.ways import Tls, Ways

__all__ = ["Guard"]


class Guard:
    """Answers whether a call may be made, by what it follows. Any number of threads and tasks may ask one guard.

    Make it after a process has forked; a fork's copy begins anew at its first question.
    """

    def __init__(
        self,
        endpoint: str | None = "127.0.0.1:4317",
        *,
        http: str | None = None,
        token: str | None = None,
        tls: Tls = False,
        fail: Literal["open", "closed"] = "open",
        max_stale: float = 10.0,
        connect_seconds: float = 2.0,
    ) -> None:
        """Make it; it connects when it is first used or entered.

        Args:
            endpoint: HOST:PORT of Tocsin's OTLP/gRPC listener; `https://` before it stands for `tls=True`. None: `http`
                alone.
            http: URL of Tocsin's API, like `http://tocsin:8417`: asked while gRPC does not get through.
            token: of the API, with the role `read` or more and not bound to projects.
            tls: False: none. True: by the certificates that gRPC trusts. Text: the file of a CA. Bytes: that CA in PEM.
                Credentials of gRPC: these, for certificates of the client's own. An `https://` of `http` trusts the
                same CA, else the system's.
            fail: what is answered of keys that are not known to be blocked while it is not known what is: "open" lets
                them pass, "closed" refuses them. What is known to be blocked stays so until its end.
            max_stale: seconds without a sign of life of Tocsin's, after which nothing is known; it gives one every 2 s.
            connect_seconds: so long the first question waits to be connected.

        Raises:
            ValueError: an argument can't be.
            OSError: the CA's file can't be read.
        """
        if fail not in ("open", "closed"):
            raise ValueError(f"fail is {fail!r}; it is 'open' or 'closed'")
        if not max_stale > 0:
            raise ValueError(f"max_stale is {max_stale!r}; it is a number of seconds above 0")
        self._ways = Ways.of(endpoint, http, tls, token)
        self._closed_means_no = fail == "closed"
        self._max_stale = max_stale
        self._connect_seconds = connect_seconds
        self._lock = threading.Lock()
        self._watching: Watching | None = None
        self._watched = Watched()
        self._process = os.getpid()
        self._closed = False

    def check(self, **labels: str | None) -> None:
        """Return where a call for these may be made; None stands for a label that there is none of.

        Raises:
            BlockedError: one of them is blocked.
            GuardUnavailableError: it is not known, and the guard fails closed.
        """
        watched = self._ready()
        block = watched.find(labels)
        if block is not None:
            raise BlockedError(
                label=block.label,
                value=block.value,
                reason=block.reason,
                until=block.until,
                rule=block.rule,
                alert_id=block.alert_id,
            )
        if self._closed_means_no and not watched.is_fresh(self._max_stale):
            raise GuardUnavailableError(self.problem or f"nothing was heard for {self._max_stale:g} s")

    def is_blocked(self, **labels: str | None) -> bool:
        """Whether `check` would raise."""
        try:
            self.check(**labels)
        except BlockedError:
            return True
        return False

    @property
    def connected(self) -> bool:
        """Whether it is known now what is blocked."""
        return self._watched.is_fresh(self._max_stale)

    @property
    def problem(self) -> str | None:
        """Why it is not connected, in words; None while it is, and before the first attempt."""
        return None if self._watching is None else self._watching.problem

    @property
    def via(self) -> Literal["grpc", "http"] | None:
        """How it was heard last what is blocked; None before that."""
        return self._watched.via

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is known what is blocked; return whether it is. None: `connect_seconds`."""
        self._start()
        return self._watched.known.wait(self._connect_seconds if seconds is None else seconds)

    def close(self) -> None:
        """Stop following; what is asked afterwards is answered as if the service were away."""
        with self._lock:
            self._closed = True
            watching, self._watching = self._watching, None
        if watching is not None:
            watching.close()

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        """Connect without holding up the event loop."""
        import asyncio  # only whoever has it already comes here

        await asyncio.to_thread(self.wait)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def _ready(self) -> Watched:
        if self._watching is None or self._process != os.getpid():
            self._start()
        watched = self._watched
        if not watched.known.is_set() and (left := watched.begun + self._connect_seconds - monotonic()) > 0:
            watched.known.wait(left)
        return watched

    def _start(self) -> None:
        with self._lock:
            if self._process != os.getpid():  # the thread stayed with the other process
                self._process, self._watching, self._watched = os.getpid(), None, Watched()
            if self._watching is None and not self._closed:
                self._watched.begun = monotonic()
                self._watching = Watching(self._ways, self._watched, self._max_stale)
                self._watching.start()
