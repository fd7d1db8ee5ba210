"""The stream of alerts, against a server that breaks it in every way."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice

import pytest

from tocsin.errors import ConfigError
from tocsin.terminal import alerts
from tocsin.terminal.alerts import Chosen, watched
from tocsin.terminal.remote import RefusedError, Remote


def event(rule: str, **more: object) -> dict[str, object]:
    return {"rule": rule, "project": "default", "severity": "high", "group": {"tenant": "acme"}, **more}


def frame(number: int, kind: str, document: object) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(document)}\n\n".encode()


class Streams(HTTPServer):
    """Answers each connection with the next of some streams; the last one again and again."""

    def __init__(self, answers: Sequence[tuple[int, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Streams

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("last-event-id"))
        status, body = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("content-type", "text/event-stream" if status == 200 else "application/problem+json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_WAIT_SECONDS", 0.0)


def streaming(*answers: tuple[int, bytes]) -> Iterator[Streams]:
    with Streams(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def taken(server: Streams, chosen: Chosen, number: int) -> tuple[list[object], list[str]]:
    said: list[str] = []
    with Remote(f"http://127.0.0.1:{server.server_port}", None) as remote:
        events = [document["rule"] for _, document, _ in islice(watched(remote, chosen, said.append), number)]
    return events, said


def test_after_a_break_it_goes_on_where_it_was() -> None:
    first = b"retry: 2000\n: welcome\n\n" + frame(7, "alert", event("a")) + frame(8, "state", {}) + b"id: 9\nevent: al"
    second = b": still here\n\n" + frame(9, "alert", event("b"))
    for server in streaming((200, first), (200, second)):
        events, said = taken(server, Chosen(), 2)
        assert events == ["a", "b"]
        assert server.asked == [None, "8"]
        assert "asking again" in said[0]


def test_only_what_was_chosen_is_told_and_gaps_are() -> None:
    body = b"".join(
        (
            frame(1, "alert", event("a", severity="low")),
            frame(2, "alert", event("b", group={"tenant": "other"})),
            frame(3, "alert", event("c", project="else")),
            b"event: gap\ndata: {}\n\n",
            frame(4, "alert", event("d")),
        )
    )
    for server in streaming((200, body)):
        chosen = Chosen(project="default", severity="high", group=("tenant=acme", "acme"))
        events, said = taken(server, chosen, 1)
        assert events == ["d"]
        assert said == ["events were missed; `tocsin alerts` has what fires now"]


def test_a_full_service_is_asked_again_and_one_that_says_no_is_not() -> None:
    for server in streaming((503, b'{"detail": "64 clients listen already"}'), (200, frame(1, "alert", event("a")))):
        events, said = taken(server, Chosen(), 1)
        assert events == ["a"]
        assert "64 clients" in said[0]
    for server in streaming((403, b'{"detail": "you may not"}')):
        with pytest.raises(RefusedError, match="you may not"):
            taken(server, Chosen(), 1)


def test_lists_are_read_page_by_page() -> None:
    pages = [
        (200, b'{"blocks": [{"id": 1}, {"id": 2}], "next_cursor": "x"}'),
        (200, b'{"blocks": [{"id": 3}], "next_cursor": null}'),
    ]
    for server in streaming(*pages):
        with Remote(f"http://127.0.0.1:{server.server_port}", None) as remote:
            assert [one["id"] for one in remote.all("/blocks", "blocks")] == [1, 2, 3]


def test_an_address_that_is_none_is_no_traceback() -> None:
    for url, token in (("http://", "t"), ("nonsense", "t"), ("http://[::1", "t"), ("ftp://x", "t"), ("http://x", "ü")):
        with pytest.raises(ConfigError, match="no answer"), Remote(url, token) as remote:
            remote.ask("GET", "/status")
