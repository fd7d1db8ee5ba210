"""The program in which Apprise runs: `python -m tocsin.notify.apprise_child`, one a message.

Apprise's plugins make their own connections, follow redirects and cannot be stopped. In a process of their own every
connection is judged at the moment it is made, by Python's audit events, which no plugin gets around; nothing else in
the service pays for that; and a plugin that hangs is killed with its process.

It reads one JSON object from its input: `urls`, `allow_private`, and, unless the addresses are only to be checked,
`title`, `body` and `kind`. It writes a line for each address as it is done: `number`, `taken`, `said`, `refused`.
"""

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any, Final

from tocsin.notify.egress import refusal_of

__all__ = ["main"]

_CONNECTS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_PROGRAMS: Final = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
_SAID: Final = 500


_number: ContextVar[int] = ContextVar("number", default=-1)
"""Of the address that this thread tells; Apprise hands it on to the threads that it uses."""


class _RefusedError(PermissionError):
    """What a plugin's connection fails with; its libraries take it for the operating system's word."""


class _Warnings(logging.Handler):
    """Keeps what Apprise logs of each address: its answers are yes and no alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[int, str] = {}
        """Number of an address -> the last line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.said[_number.get()] = record.getMessage()


def main() -> None:
    """Do what the input asks for, and end the process whatever still runs."""
    asked = json.load(sys.stdin)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a plugin prints is no answer
    refusals: dict[int, str] = {}
    sys.addaudithook(lambda event, arguments: _judge(event, arguments, refusals, allow_private=asked["allow_private"]))
    import apprise  # after the hook: nothing of it runs unwatched

    warnings = _Warnings()
    logger = logging.getLogger("apprise")
    logger.addHandler(warnings)
    logger.propagate = False
    # In memory: some plugins would keep a cache on the disk.
    asset = apprise.AppriseAsset(
        storage_mode="memory", async_mode=False, app_id="Tocsin", app_desc="Tocsin", app_url=""
    )
    writing = threading.Lock()

    def deliver(number: int, url: str) -> None:
        _number.set(number)
        answer: dict[str, object] = {"number": number, "taken": False}
        try:
            service = apprise.Apprise.instantiate(url, asset=asset)
            if isinstance(service, apprise.NotifyBase):
                answer["taken"] = "body" not in asked or _notified(apprise, service, asked)
        except Exception as error:  # noqa: BLE001  # whatever a plugin raises is its answer
            answer["said"] = f"{type(error).__name__}: {error}"
        answer.setdefault("said", warnings.said.get(number, "")[:_SAID])
        answer["refused"] = refusals.get(number)
        with writing:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

    threads = [
        threading.Thread(target=deliver, args=(number, url), daemon=True) for number, url in enumerate(asked["urls"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)  # plugins leave threads behind


def _notified(apprise: Any, service: Any, asked: Mapping[str, str]) -> bool:  # noqa: ANN401  # a module, a plugin
    told = apprise.Apprise(service)
    # Of Apprise 2 the answer is an object that is true, of Apprise 1 it is True.
    return bool(told.notify(body=asked["body"], title=asked["title"], notify_type=asked["kind"], body_format="text"))


def _judge(event: str, arguments: tuple[Any, ...], refusals: dict[int, str], *, allow_private: bool) -> None:
    """Refuse a connection that may not be made, and programs.

    Raises:
        PermissionError: it is refused.
    """
    why = None
    if event in _PROGRAMS:
        why = "it runs another program, which is not allowed"
    elif event in _CONNECTS and arguments[1] is not None:
        why = _refusal(arguments[0], arguments[1], allow_private=allow_private)
    if why is not None:
        refusals[_number.get()] = why
        raise _RefusedError(why)


def _refusal(sock: socket.socket, address: Any, *, allow_private: bool) -> str | None:  # noqa: ANN401  # by the family
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return "it connects to a socket of this machine, which is not allowed"
    host = str(address[0])
    try:
        judged = ip_address(host.partition("%")[0])
    except ValueError:
        return f"it connects to {host} without looking the name up first, so that it can't be judged"
    name = refusal_of(judged, allow_private=allow_private)
    if name is None:
        return None
    advice = "" if allow_private else "; set allow_private: true on the contact point if it is meant"
    return f"{host} is a {name} address{advice}"


if __name__ == "__main__":
    main()
