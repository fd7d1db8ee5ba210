"""A small reverse proxy on 127.0.0.1, like those that stand before a service: another origin, streams passed on."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

__all__ = ["ReverseProxy"]

_OF_THE_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})


class ReverseProxy:
    """Passes what is below `prefix` on to another server, with its own Host as nginx does; a context manager."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.upstream = ""
        """HOST:PORT; set before the first request."""
        self.others: list[str] = []
        """Paths that were asked for outside of the prefix."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy._pass_on(self)

            def do_POST(self) -> None:
                proxy._pass_on(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.startswith(self.prefix + "/"):
            self.others.append(handler.path)
            handler.send_error(404)
            return
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _OF_THE_HOP}
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.request(handler.command, handler.path, body or None, headers)
            answer = connection.getresponse()
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_HOP:
                    handler.send_header(name, value)
            handler.send_header("connection", "close")
            handler.end_headers()
            while data := answer.read1(65536):
                handler.wfile.write(data)
                handler.wfile.flush()
        except (OSError, http.client.HTTPException):
            handler.close_connection = True  # the browser left, or the service stopped
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
