"""The API's answers, over real HTTP."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from tocsin import telemetry
from tocsin.api.app import application
from tocsin.api.server import serving
from tocsin.api.status import Status
from tocsin.errors import ConfigError


@pytest.fixture
def status() -> Status:
    return Status(version="0.1.0", decoder="native", receivers={"grpc": "127.0.0.1:4317"}, rules=3)


@pytest.fixture
async def client(status: Status) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving(application(status, base_path="/tocsin"), "127.0.0.1", 0) as address,
        httpx2.AsyncClient(base_url=f"http://{address}") as client,
    ):
        yield client


async def test_healthz_answers_as_long_as_the_process_lives(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readyz_is_503_until_the_receivers_listen_and_again_while_draining(
    client: httpx2.AsyncClient, status: Status
) -> None:
    assert (await client.get("/readyz")).status_code == 503
    status.ready = True
    assert (await client.get("/readyz")).json()["status"] == "ready"
    status.stopping = True
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")


async def test_readyz_says_why_an_edit_is_not_in_force_and_stays_ready(
    client: httpx2.AsyncClient, status: Status
) -> None:
    status.ready = True
    status.rule_errors = ('rules.yaml:3:5: unknown field "metrik"; did you mean "metric"?',)
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["rule_errors"] == list(status.rule_errors)
    assert answer.json()["receivers"] == {"grpc": "127.0.0.1:4317"}


async def test_metrics_come_in_the_format_that_the_scraper_asks_for(client: httpx2.AsyncClient) -> None:
    telemetry.requests_received(transport="grpc", requests=1, spans=3, records=0)
    openmetrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")
    assert 'tocsin_spans_received_total{transport="grpc"}' in openmetrics.text
    plain = await client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert 'tocsin_spans_received_total{transport="grpc"}' in plain.text


async def test_what_is_not_there_is_a_problem_document(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/nothing/here")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404
    assert "/nothing/here" in answer.json()["detail"]


async def test_a_wrong_method_is_a_problem_document_that_names_the_right_one(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.delete("/healthz")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["title"] == "Method not allowed"


async def test_every_answer_has_the_security_headers(client: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/metrics", "/nothing"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers


async def test_routes_are_found_behind_a_proxy_that_keeps_its_prefix(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/tocsin/healthz")).status_code == 200


async def test_an_address_that_is_taken_is_said_as_such() -> None:
    status = Status(version="0", decoder="native")
    async with serving(application(status), "127.0.0.1", 0) as address:
        host, _, port = address.rpartition(":")
        with pytest.raises(ConfigError, match=f"can't listen on {address}"):
            async with serving(application(status), host, int(port)):
                pass
