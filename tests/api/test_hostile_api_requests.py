"""What strangers try on the API: other sites' pages, other names, floods, odd paths, markup."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from api_harness import bearer, serving_trial, tokens_of
from hypothesis import given
from hypothesis import strategies as st

from tocsin.api import edge
from tocsin.api.clients import Clients, client_of
from tocsin.api.connection import ApiProtocol
from tocsin.api.headers import PAGE_POLICY
from tocsin.api.origin import Hosts, is_forged, is_json
from tocsin.security.endpoint import endpoint_of
from tocsin.security.roles import Role

DONE = "/api/v1/trial/done"
NOTED = "/api/v1/trial/noted"
SEEN = "/api/v1/trial/seen"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with serving_trial() as (client, _):
        yield client


def own(client: httpx2.AsyncClient) -> str:
    return str(client.base_url).rstrip("/")


# DNS rebinding


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8417", "", "[::2]"])
async def test_a_rebound_name_gets_nothing(host: str, client: httpx2.AsyncClient) -> None:
    for path in (SEEN, "/metrics", "/healthz", "/api/openapi.json"):
        answer = await client.get(path, headers={"host": host})
        assert answer.status_code == 421, path
        assert not host or host not in answer.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST.:8417", "[::1]:8417", "127.9.9.9"]
)
async def test_names_of_this_machine_are_its_names(host: str, client: httpx2.AsyncClient) -> None:
    assert (await client.get(SEEN, headers={"host": host})).status_code == 200


async def test_further_names_are_configured() -> None:
    async with serving_trial(allowed_hosts=["tocsin.internal"], public_url="https://bell.example/t") as (client, _):
        for host, code in (("tocsin.internal:80", 200), ("bell.example", 200), ("other.example", 421)):
            assert (await client.get(SEEN, headers={"host": host})).status_code == code


def test_where_it_listens_on_all_addresses_it_may_be_asked_for_by_any_but_by_no_name() -> None:
    hosts = Hosts(endpoint_of("0.0.0.0:8417"))
    assert hosts.allow("10.1.2.3:8417")
    assert hosts.allow("[fd00::7]:8417")
    assert not hosts.allow("evil.example:8417")
    assert not Hosts(endpoint_of("127.0.0.1:8417")).allow("10.1.2.3:8417")
    assert Hosts(endpoint_of("192.0.2.7:1")).allow("192.0.2.7:1")


async def test_names_do_not_matter_where_tokens_are_asked_for() -> None:
    async with serving_trial(tokens=tokens_of(Role.READ)) as (client, _):
        headers = bearer(Role.READ) | {"host": "tocsin.monitoring.svc"}
        assert (await client.get(SEEN, headers=headers)).status_code == 200


# Cross-site requests


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "content-type": "text/plain"},
        {"origin": "https://evil.example", "content-type": "application/json"},
    ],
)
async def test_another_site_s_page_changes_nothing(headers: dict[str, str], client: httpx2.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await client.request(method, DONE, headers=headers)).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
async def test_what_a_form_can_send_is_not_read(kind: str | None, client: httpx2.AsyncClient) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert (await client.post(NOTED, content=b'{"text": "x"}', headers=headers)).status_code == 415


async def test_a_preflight_allows_nothing(client: httpx2.AsyncClient) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = await client.options(DONE, headers=asked)
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_our_own_page_programs_and_tokens_change_what_they_may(client: httpx2.AsyncClient) -> None:
    for headers in ({}, {"origin": own(client)}, {"origin": own(client), "sec-fetch-site": "same-origin"}):
        assert (await client.post(DONE, headers=headers)).status_code == 200
        assert (await client.post(NOTED, json={"text": "x"}, headers=headers)).status_code == 200
    async with serving_trial(tokens=tokens_of(Role.WRITE)) as (other, _):
        headers = bearer(Role.WRITE) | {"origin": "https://wiki.example"}
        assert (await other.post(DONE, headers=headers)).status_code == 200


def test_a_page_behind_a_proxy_is_ours_by_its_public_url() -> None:
    headers = {"host": "127.0.0.1:8417", "origin": "https://bell.example"}
    assert is_forged(headers, None)
    assert not is_forged(headers, "https://bell.example/tocsin")


@given(st.text())
def test_no_content_type_but_json_is_json(kind: str) -> None:
    assert not is_json(kind) or "json" in kind.lower()


@given(st.text(), st.text())
def test_odd_origins_and_hosts_are_judged_and_not_stumbled_over(origin: str, host: str) -> None:
    assert is_forged({"origin": origin, "host": "127.0.0.1"}, None) or "127.0.0.1" in origin
    assert not Hosts().allow(host) or any(one in host.lower() for one in ("localhost", "127.", "::", "1"))


# Sizes and rates


async def test_a_body_over_the_limit_is_refused_announced_or_not(client: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    text = b'{"text": "%s"}' % (b"x" * (edge.MAX_BODY - 12))
    assert (await client.post(NOTED, content=text, headers=headers)).status_code == 200
    assert (await client.post(NOTED, content=text + b" ", headers=headers)).status_code == 413
    reader, writer = await connected(client)
    head = b"POST /api/v1/trial/noted HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(head + b"content-length: %d\r\n\r\n" % (edge.MAX_BODY + 1))  # of which nothing is sent
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    reader, writer = await connected(client)
    writer.write(head + b"transfer-encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%s\r\n" % (edge.MAX_BODY + 1, b" " * (edge.MAX_BODY + 1)))  # and no end
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_body_is_not_read_of_who_has_no_token() -> None:
    async with serving_trial(tokens=tokens_of(Role.WRITE)) as (client, _):
        reader, writer = await connected(client)
        writer.write(b"POST /api/v1/trial/noted HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_headers_and_targets_over_the_limit_are_refused(client: httpx2.AsyncClient) -> None:
    many = {f"x-{number}": "y" for number in range(edge.MAX_HEADERS + 1)}
    assert (await client.get(SEEN, headers=many)).status_code == 431
    assert (await client.get(SEEN, params={"q": "x" * edge.MAX_TARGET})).status_code == 414
    assert (await client.get(SEEN, headers={"x": "y" * edge.MAX_HEADER_BYTES})).status_code == 431
    assert (await client.get(SEEN)).status_code == 200


async def test_a_flood_of_headers_is_ended(client: httpx2.AsyncClient) -> None:
    _, writer = await connected(client)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while sent < 64 * 1024 * 1024:
                writer.write(b"x-%d: %s\r\n" % (sent, b"y" * 1000))
                sent += 1000
                await writer.drain()
    writer.close()
    assert sent < 64 * 1024 * 1024  # what the sockets hold, and no more
    assert (await client.get("/healthz")).status_code == 200


async def test_slow_headers_are_cut_off(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiProtocol, "header_seconds", 0.2)
    for begin in (b"", b"GET /healthz HTTP/1.1\r\nhost: loc"):
        reader, writer = await connected(client)
        writer.write(begin)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_slow_body_is_cut_off(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.2)
    reader, writer = await connected(client)
    head = b"POST /api/v1/trial/noted HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(head + b"content-length: 100\r\n\r\n{")
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_one_connection_too_many_is_told_so(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiProtocol, "max_connections", 3)
    open_ones = [await connected(client) for _ in range(3)]
    reader, last = await connected(client)
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
    for _, writer in open_ones:
        writer.close()
    last.close()


async def test_a_client_that_asks_too_often_is_told_when_to_come_again() -> None:
    async with serving_trial(rate_limit="5/s") as (client, _):
        answers = [await client.get("/healthz") for _ in range(20)]
    late = [answer for answer in answers if answer.status_code == 429]
    assert len(late) > 5
    assert {answer.headers["retry-after"] for answer in late} == {"1"}


def test_a_bucket_fills_up_with_time_for_each_client_alone() -> None:
    now = [0.0]
    clients = Clients(count=2, seconds=10.0, clock=lambda: now[0])
    for _ in range(2):
        assert clients.wait("a") == 0
        clients.count("a")
    assert clients.wait("a") == 5
    assert clients.wait("b") == 0
    now[0] = 5.0
    assert clients.wait("a") == 0
    now[0] = 1000.0
    for _ in range(2):
        clients.count("a")
    assert clients.wait("a") == 5


def test_clients_are_addresses_or_networks_and_so_many() -> None:
    assert client_of("2001:db8:1:2:3:4:5:6") == client_of("2001:db8:1:2::1")
    assert client_of("2001:db8:1:2::1") != client_of("2001:db8:1:3::1")
    assert client_of("::ffff:192.0.2.1") == client_of("192.0.2.1") == "192.0.2.1"
    clients = Clients(count=1, seconds=1e9)
    for number in range(20_000):
        clients.count(str(number))
    assert len(clients._buckets) == 10_000
    assert clients.wait("19999") > 0


# Paths, headers, markup


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/api/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/....//....//etc/passwd",
        "/api/v1/trial/..%5c..%5cetc%5cpasswd",
        "/static/%00/etc/passwd",
        "//etc/passwd",
        "/file:///etc/passwd",
    ],
)
async def test_no_path_leads_to_a_file(path: str, client: httpx2.AsyncClient) -> None:
    reader, writer = await connected(client)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"root:" not in answer


async def test_no_prefix_or_spelling_of_a_public_path_opens_a_closed_one() -> None:
    async with serving_trial(tokens=tokens_of(Role.READ), base_path="/tocsin") as (client, _):
        reached = []
        for path in (
            "/healthz/../metrics",
            "/tocsin/healthz/..%2fmetrics",
            "/tocsin/tocsin/metrics",
            "/tocsin/metrics",
            "/metrics/",
            "//metrics",
            "/METRICS",
            "/healthz/metrics",
            "/healthz%2f",
            "/healthz;x=/metrics",
        ):
            reader, writer = await connected(client)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            reached.append((path, (await reader.read()).split()[1]))
            writer.close()
        assert {code for _, code in reached} == {b"401"}, reached
        assert (await client.get("/tocsin/healthz")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/x%0d%0aset-cookie:%20a=b", "/x%0aset-cookie:%20a=b", "/x%E5%98%8A%E5%98%8Dset-cookie:%20a=b"]
)
async def test_no_path_adds_a_header_to_an_answer(path: str, client: httpx2.AsyncClient) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


async def test_a_redirect_is_never_made_of_a_host_header(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/healthz/", headers={"host": "localhost:1"})
    assert (answer.status_code, "location" in answer.headers) == (404, False)


WANTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


async def test_every_answer_can_be_framed_sniffed_and_referred_by_nobody(client: httpx2.AsyncClient) -> None:
    asked = [
        await client.get("/healthz"),
        await client.get("/metrics"),
        await client.get("/nothing"),
        await client.get("/healthz", headers={"host": "evil.example"}),
        await client.post(DONE, headers={"origin": "https://evil.example"}),
        await client.post(NOTED, content=b"{", headers={"content-type": "application/json"}),
        await client.get("/healthz", headers={"x": "y" * 40_000}),
        await no_http(client),
        await client.get("/api/v1/trial/broken"),
        await client.delete("/healthz"),
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 404, 421, 403, 422, 431, 400, 500, 405]
    for answer in asked:
        assert {name: answer.headers[name] for name in WANTED} == WANTED
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers  # which plain HTTP may not say


def test_a_page_may_run_files_of_ours_only() -> None:
    policy = dict(part.strip().split(" ", 1) for part in PAGE_POLICY.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in PAGE_POLICY


async def test_stored_markup_is_answered_as_data(client: httpx2.AsyncClient) -> None:
    markup = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
    answer = await client.post(NOTED, json={"text": markup})
    assert answer.json()["text"] == markup
    assert answer.headers["content-type"] == "application/json"
    missing = await client.get(f"/{markup}")
    assert missing.headers["content-type"] == "application/problem+json"
    wrong = await client.post(NOTED, json={"text": [markup], markup: 1})
    assert wrong.headers["content-type"] == "application/problem+json"
    for each in (answer, missing, wrong):
        assert each.headers["x-content-type-options"] == "nosniff"


async def test_an_error_inside_tells_nobody_what_it_was_about(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/api/v1/trial/broken")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert "the secret is out" not in "".join(f"{vars(record)}{record.getMessage()}" for record in caplog.records)


async def test_what_is_no_http_writes_no_log(client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        reader, writer = await connected(client)
        writer.write(b"\x16\x03\x01 is this a TLS hello?\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert not caplog.records


async def no_http(client: httpx2.AsyncClient) -> httpx2.Response:
    reader, writer = await connected(client)
    writer.write(b"HELLO\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    return httpx2.Response(int(status.split()[1]), headers=headers, content=body)


async def connected(client: httpx2.AsyncClient) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(client.base_url.host, client.base_url.port)
