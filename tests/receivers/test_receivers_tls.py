"""TLS and mutual TLS of both receivers, with real exporters and certificates that are renewed under them."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc import aio
from made_certificates import Authority, Files
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from receiver_harness import TRACES, CountingObserver, Receiving, RecordingIntake, trace_request, unary
from test_exporters import spans

from tocsin.errors import ConfigError
from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.config import OtlpReceiverConfig
from tocsin.receivers.otlp import otlp_receivers

PERIOD = 0.1  # files are looked at once a second, and nothing announces that
HEADERS = {"content-type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> dict[str, Files]:
    return {
        "server": authority.issue("server"),
        "renewed": authority.issue("renewed"),
        "client": authority.issue("client"),
        "expired": authority.issue("expired", days=-1),
    }


@pytest.fixture(autouse=True)
def _no_other_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which requests prefers to what the exporter asks for
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(issued: dict[str, Files], tmp_path: Path) -> Files:
    """The server's certificate, in files that a test may replace."""
    files = Files(tmp_path / "tls.crt", tmp_path / "tls.key")
    files.replace(issued["server"])
    files.key.chmod(0o600)
    return files


def tls_of(files: Files, client_ca: Path | None = None) -> dict[str, Any]:
    tls = {"cert_file": str(files.cert), "key_file": str(files.key)}
    return tls | ({"client_ca_file": str(client_ca)} if client_ca else {})


class receiving_over_tls:  # noqa: N801  # reads as the harness's `receiving`
    def __init__(self, files: Files, client_ca: Path | None = None) -> None:
        one = {"endpoint": "127.0.0.1:0", "tls": tls_of(files, client_ca)}
        self._config = OtlpReceiverConfig.model_validate({"grpc": one, "http": one})
        self._intake, self._observer, self._budget = RecordingIntake(), CountingObserver(), ByteBudget(2**30)

    async def __aenter__(self) -> Receiving:
        self._running = otlp_receivers(self._config, self._intake, self._observer, self._budget, drain_seconds=2)
        listening = await self._running.__aenter__()
        return Receiving(listening, self._intake, self._observer, self._budget)

    async def __aexit__(self, *_: object) -> None:
        await self._running.__aexit__(None, None, None)


def credentials_of(ca: Path, client: Files | None = None) -> grpc.ChannelCredentials:
    pair = (client.key.read_bytes(), client.cert.read_bytes()) if client else (None, None)
    return grpc.ssl_channel_credentials(ca.read_bytes(), *pair)


def exporter(kind: str, tocsin: Receiving, ca: Path, client: Files | None = None) -> SpanExporter:
    if kind == "grpc":
        return GrpcSpanExporter(endpoint=tocsin.grpc, credentials=credentials_of(ca, client), timeout=4)
    return HttpSpanExporter(
        endpoint=f"https://{tocsin.listening.http}/v1/traces",
        certificate_file=str(ca),
        client_certificate_file=str(client.cert) if client else None,
        client_key_file=str(client.key) if client else None,
        timeout=4,
    )


async def export(kind: str, tocsin: Receiving, ca: Path, client: Files | None = None) -> SpanExportResult:
    one = exporter(kind, tocsin, ca, client)
    try:
        return await asyncio.to_thread(one.export, spans(2))
    finally:
        await asyncio.to_thread(one.shutdown)


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_the_sdk_s_exporters_deliver_over_tls(kind: str, server: Files, authority: Authority) -> None:
    async with receiving_over_tls(server) as tocsin:
        assert await export(kind, tocsin, authority.ca_file) is SpanExportResult.SUCCESS
        assert tocsin.intake.span_names == ["chat 0", "chat 1"]


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_the_sdk_s_exporters_deliver_with_a_certificate_of_their_own(
    kind: str, server: Files, authority: Authority, issued: dict[str, Files]
) -> None:
    async with receiving_over_tls(server, authority.ca_file) as tocsin:
        assert await export(kind, tocsin, authority.ca_file, issued["client"]) is SpanExportResult.SUCCESS
        assert tocsin.intake.span_names == ["chat 0", "chat 1"]


@pytest.mark.parametrize("kind", ["grpc", "http"])
@pytest.mark.parametrize("whose", ["nobody", "expired", "stranger"])
async def test_a_client_without_a_certificate_that_is_trusted_is_refused(
    kind: str, whose: str, server: Files, authority: Authority, stranger: Authority, issued: dict[str, Files]
) -> None:
    client = {"nobody": None, "expired": issued["expired"], "stranger": stranger.issue("client")}[whose]
    async with receiving_over_tls(server, authority.ca_file) as tocsin:
        assert not await taken(kind, tocsin, authority.ca_file, client)
        assert tocsin.intake.offers == []


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_nothing_is_taken_in_the_clear_where_tls_is_served(kind: str, server: Files) -> None:
    async with receiving_over_tls(server) as tocsin:
        if kind == "grpc":
            async with aio.insecure_channel(tocsin.grpc) as channel:
                with pytest.raises(aio.AioRpcError):
                    await unary(channel, TRACES)(trace_request("x"), timeout=3)
        else:
            async with httpx2.AsyncClient(trust_env=False) as client:
                with pytest.raises(httpx2.HTTPError):
                    await client.post(f"{tocsin.http}/v1/traces", content=trace_request("x"), headers=HEADERS)
        assert tocsin.intake.offers == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_before_1_2_is_refused(server: Files, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with receiving_over_tls(server) as tocsin:
        for endpoint in (tocsin.listening.grpc, tocsin.listening.http):
            assert endpoint is not None
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(*endpoint, ssl=context, server_hostname="localhost")


async def taken(kind: str, tocsin: Receiving, ca: Path, client: Files | None) -> bool:
    """Whether one request on a new connection is taken."""
    if kind == "grpc":
        credentials = credentials_of(ca, client)
        alone = [("grpc.use_local_subchannel_pool", 1)]
        async with aio.secure_channel(tocsin.grpc, credentials, options=alone) as channel:
            try:
                await unary(channel, TRACES)(trace_request("x"), timeout=5)
            except aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017  # both ways are answers
                return False
            return True
    context = ssl.create_default_context(cafile=ca)
    if client:
        context.load_cert_chain(client.cert, client.key)
    async with httpx2.AsyncClient(trust_env=False, verify=context) as http:
        try:
            url = f"https://{tocsin.listening.http}/v1/traces"
            answer = await http.post(url, content=trace_request("x"), headers=HEADERS)
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200


async def certificate_served(tocsin: Receiving, kind: str, ca: Path) -> str:
    """Return the name in the certificate that a new connection gets."""
    endpoint = tocsin.listening.grpc if kind == "grpc" else tocsin.listening.http
    assert endpoint is not None
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2" if kind == "grpc" else "http/1.1"])
    _, writer = await asyncio.open_connection(*endpoint, ssl=context)
    subject = writer.get_extra_info("peercert")["subject"]
    writer.transport.abort()
    return str(dict(pair for group in subject for pair in group)["commonName"])


async def until_served(tocsin: Receiving, kind: str, ca: Path, name: str) -> None:
    async with asyncio.timeout(15):
        while await certificate_served(tocsin, kind, ca) != name:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(PERIOD)


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_a_renewed_certificate_is_served_to_new_connections_and_open_ones_go_on(
    kind: str, server: Files, authority: Authority, issued: dict[str, Files]
) -> None:
    context = ssl.create_default_context(cafile=authority.ca_file)
    credentials = credentials_of(authority.ca_file)
    async with (
        receiving_over_tls(server) as tocsin,
        aio.secure_channel(tocsin.grpc, credentials) as channel,
        httpx2.AsyncClient(trust_env=False, verify=context) as http,
    ):

        async def send() -> None:
            if kind == "grpc":
                await unary(channel, TRACES)(trace_request("x"), timeout=5)
                assert channel.get_state() is grpc.ChannelConnectivity.READY
            else:
                url = f"https://{tocsin.listening.http}/v1/traces"
                answer = await http.post(url, content=trace_request("x"), headers=HEADERS)
                ports.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])

        ports: set[int] = set()
        await send()
        assert await certificate_served(tocsin, kind, authority.ca_file) == "server"
        server.replace(issued["renewed"])
        await until_served(tocsin, kind, authority.ca_file, "renewed")
        await send()
        assert len(ports) <= 1  # the same connection, then
        assert len(tocsin.intake.offers) == 2


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_trust_in_clients_is_renewed_too(
    kind: str, server: Files, authority: Authority, stranger: Authority, issued: dict[str, Files], tmp_path: Path
) -> None:
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(authority.ca_file.read_bytes())
    newcomer = stranger.issue("newcomer")
    async with receiving_over_tls(server, client_ca) as tocsin:
        assert await taken(kind, tocsin, authority.ca_file, issued["client"])
        assert not await taken(kind, tocsin, authority.ca_file, newcomer)
        client_ca.write_bytes(stranger.ca_file.read_bytes())
        async with asyncio.timeout(15):
            while not await taken(kind, tocsin, authority.ca_file, newcomer):  # noqa: ASYNC110
                await asyncio.sleep(PERIOD)
        assert not await taken(kind, tocsin, authority.ca_file, issued["client"])


@pytest.mark.parametrize("breakage", ["another key", "no PEM", "gone", "half written"])
async def test_a_broken_new_certificate_leaves_the_old_one_in_force_loudly(
    breakage: str, server: Files, authority: Authority, issued: dict[str, Files], caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving_over_tls(server) as tocsin:
        match breakage:
            case "another key":
                server.key.write_bytes(issued["client"].key.read_bytes())
            case "no PEM":
                server.cert.write_text("to be done")
            case "gone":
                server.cert.unlink()
            case _:
                server.cert.write_bytes(server.cert.read_bytes()[:200])
        async with asyncio.timeout(20):
            while sum("the one before stays" in record.message for record in caplog.records) < 2:  # noqa: ASYNC110
                await asyncio.sleep(PERIOD)
        for kind in ("grpc", "http"):
            assert await certificate_served(tocsin, kind, authority.ca_file) == "server"
        server.replace(issued["renewed"])
        for kind in ("grpc", "http"):
            await until_served(tocsin, kind, authority.ca_file, "renewed")
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "PRIVATE KEY" not in logged
    assert issued["client"].key.read_text().splitlines()[1] not in logged


@pytest.mark.parametrize("only", ["grpc", "http"])
async def test_a_certificate_that_can_not_be_used_at_the_start_is_a_mistake_at_its_key(
    only: str, server: Files, tmp_path: Path
) -> None:
    server.key.unlink()
    one = {"endpoint": "127.0.0.1:0", "tls": tls_of(server)}
    config = OtlpReceiverConfig.model_validate({"grpc": None, "http": None} | {only: one})
    expected = rf"receivers\.otlp\.{only}\.tls: key_file .*tls\.key: can't be read \(No such file"
    with pytest.raises(ConfigError, match=expected):
        async with otlp_receivers(config, RecordingIntake(), CountingObserver(), ByteBudget(2**30)):
            pass
