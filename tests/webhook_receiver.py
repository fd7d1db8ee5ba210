"""A real HTTP server on 127.0.0.1 that takes webhooks and remembers them."""

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Delivery", "WebhookReceiver"]


@dataclass(frozen=True)
class Delivery:
    """One POST."""

    at: float
    """`time.monotonic()` when it was read."""
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]


class WebhookReceiver:
    """Use as a context manager; `url` is where to send.

    Answers come `seconds` after a delivery was taken: a sender that is killed meanwhile can't know that it was.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.deliveries: list[Delivery] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._changed:
                    receiver.deliveries.append(Delivery(time.monotonic(), headers, json.loads(data)))
                    receiver._changed.notify_all()
                time.sleep(seconds)
                with suppress(OSError):  # the sender may be gone
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def of(self, rule: str, event: str = "firing") -> list[Delivery]:
        """Return what was delivered for a rule."""
        with self._changed:
            return [one for one in self.deliveries if one.body["rule"]["name"] == rule and one.body["event"] == event]

    def wait_for(self, rule: str, event: str = "firing", *, count: int = 1, seconds: float = 10) -> list[Delivery]:
        """Wait until so many deliveries of a rule are there, and return them.

        Raises:
            TimeoutError: they did not come.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found = [
                    one for one in self.deliveries if one.body["rule"]["name"] == rule and one.body["event"] == event
                ]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    seen = [(one.body["rule"]["name"], one.body["event"]) for one in self.deliveries]
                    raise TimeoutError(f"no {count} {event} of {rule} within {seconds} s; there were {seen}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
