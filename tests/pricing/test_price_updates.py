"""Newer price tables: fetched in the background, judged, swapped in; never without being asked."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from calls import Call, batch_of_calls
from genai_prices import data_snapshot

from tocsin.pricing import PriceBook, PricesConfig

MANY = 3_000


def table(models: int) -> bytes:
    listed = [
        {"id": f"m{number}", "match": {"equals": f"m{number}"}, "prices": {"input_mtok": 1, "output_mtok": 2}}
        for number in range(models)
    ]
    provider = {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "x",
        "model_match": {"starts_with": "m"},
        "models": listed,
    }
    return json.dumps([provider]).encode()


@pytest.fixture
def mirror() -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body: bytes = self.server.body  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    data_snapshot.set_custom_snapshot(None)


def book_from(mirror: ThreadingHTTPServer, previous: PriceBook | None = None) -> PriceBook:
    url = f"http://127.0.0.1:{mirror.server_port}/"
    return PriceBook(PricesConfig.model_validate({"auto_update": True, "update_url": url}), previous)


def cost_of(book: PriceBook, model: str) -> int:
    batch = batch_of_calls([Call(model=model, input=1000)])
    book.price(batch)
    return int(batch.computed_nano[0])


def test_a_fetched_table_prices_and_survives_a_reload(mirror: ThreadingHTTPServer) -> None:
    mirror.body = table(MANY)  # type: ignore[attr-defined]
    book = book_from(mirror)
    assert cost_of(book, "m7") == -1
    assert [entry.model for entry in book.unpriced()] == ["m7"]
    book.start()
    try:
        assert book._updater is not None
        assert book._updater.wait(30)
        assert cost_of(book, "m7") == 1_000_000
        assert book.unpriced() == []
        assert "fetched" in book.table_version
        assert cost_of(book_from(mirror, previous=book), "m7") == 1_000_000
        assert cost_of(PriceBook(PricesConfig(), previous=book), "m7") == -1
    finally:
        book.close()


@pytest.mark.parametrize("body", [table(10), b"[]", b"{}", b"not json"])
def test_a_broken_table_changes_nothing(
    mirror: ThreadingHTTPServer, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.body = body  # type: ignore[attr-defined]
    book = book_from(mirror)
    caplog.set_level(logging.CRITICAL, "genai-prices")
    book.start()
    try:
        assert book._updater is not None
        with pytest.raises(ValueError, match=r".*"):
            book._updater.wait(30)
        assert cost_of(book, "gpt-4o") == 2_500_000
    finally:
        book.close()


def test_nothing_is_fetched_unless_asked() -> None:
    before = threading.active_count()
    book = PriceBook(PricesConfig())
    book.start()
    book.close()
    assert threading.active_count() == before
