"""Who may send: tokens at both receivers, asked for before anything is read, and never told back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from grpc import aio
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped] # no stubs in the package
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from receiver_harness import METRICS, TRACES, CountingObserver, Receiving, RecordingIntake, trace_request, unary
from test_exporters import spans

from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.config import OtlpReceiverConfig
from tocsin.receivers.otlp import otlp_receivers

SENDER = "sender-token-0123456789"
READER = "reader-token-0123456789"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
HEADERS = {"content-type": "application/x-protobuf"}


def config_of(*secrets: tuple[str, str]) -> OtlpReceiverConfig:
    tokens = [{"name": f"{role} {at}", "token": secret, "role": role} for at, (secret, role) in enumerate(secrets)]
    one = {"endpoint": "127.0.0.1:0", "auth": {"tokens": tokens}}
    return OtlpReceiverConfig.model_validate({"grpc": one, "http": one})


@pytest.fixture
async def tocsin() -> AsyncIterator[Receiving]:
    config = config_of((SENDER, "ingest"), (READER, "read"))
    intake, observer, budget = RecordingIntake(), CountingObserver(), ByteBudget(2**30)
    async with otlp_receivers(config, intake, observer, budget, drain_seconds=2) as listening:
        yield Receiving(listening, intake, observer, budget)


def authorized(secret: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),) if secret else ()


async def grpc_answer(tocsin: Receiving, method: str, data: bytes, metadata: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401  # bytes, or a refusal
    """Return the answer, or the refusal."""
    async with aio.insecure_channel(tocsin.grpc) as channel:
        try:
            return await unary(channel, method)(data, metadata=metadata, timeout=10)
        except aio.AioRpcError as error:
            return error


async def post(tocsin: Receiving, secret: str | None, path: str = "/v1/traces") -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.post(
            tocsin.http + path, content=trace_request("x"), headers=HEADERS | dict(authorized(secret))
        )


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_the_sdk_s_exporters_send_with_a_token(kind: str, tocsin: Receiving) -> None:
    headers = dict(authorized(SENDER))
    exporter: SpanExporter = (
        GrpcSpanExporter(endpoint=tocsin.grpc, insecure=True, headers=headers)
        if kind == "grpc"
        else HttpSpanExporter(endpoint=f"{tocsin.http}/v1/traces", headers=headers)
    )
    assert await asyncio.to_thread(exporter.export, spans(2)) is SpanExportResult.SUCCESS
    await asyncio.to_thread(exporter.shutdown)
    assert tocsin.intake.span_names == ["chat 0", "chat 1"]


@pytest.mark.parametrize("method", [TRACES, METRICS, REFLECTION])
@pytest.mark.parametrize("secret", [None, "wrong-token-0123456789", SENDER + "x"])
async def test_grpc_refuses_who_has_no_token_with_one_answer(
    method: str, secret: str | None, tocsin: Receiving
) -> None:
    refused = await grpc_answer(tocsin, method, trace_request("x"), authorized(secret))
    assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.details() == "a bearer token of this listener is needed"
    details = dict(refused.trailing_metadata())["grpc-status-details-bin"]
    assert Status.FromString(details).message == refused.details()
    assert tocsin.observer.refusals == {("grpc", "unauthenticated"): 1}
    assert tocsin.observer.requests["grpc"] == 0


async def test_grpc_refuses_a_token_that_may_not_send(tocsin: Receiving) -> None:
    refused = await grpc_answer(tocsin, TRACES, trace_request("x"), authorized(READER))
    assert refused.code() is grpc.StatusCode.PERMISSION_DENIED
    assert tocsin.observer.refusals == {("grpc", "forbidden"): 1}


async def test_two_tokens_at_once_are_none(tocsin: Receiving) -> None:
    refused = await grpc_answer(tocsin, TRACES, b"", authorized(SENDER) * 2)
    assert refused.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_health_of_grpc_needs_no_token(tocsin: Receiving) -> None:
    answer = await grpc_answer(tocsin, HEALTH, b"", ())
    assert health_pb2.HealthCheckResponse.FromString(answer).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/nothing"])
@pytest.mark.parametrize("secret", [None, "wrong-token-0123456789", SENDER + "x"])
async def test_http_refuses_who_has_no_token_with_one_answer(path: str, secret: str | None, tocsin: Receiving) -> None:
    answer = await post(tocsin, secret, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert Status.FromString(answer.content).message == "a bearer token of this listener is needed"
    assert tocsin.observer.refusals == {("http", "unauthenticated"): 1}
    assert tocsin.intake.offers == []


async def test_http_refuses_a_token_that_may_not_send(tocsin: Receiving) -> None:
    answer = await post(tocsin, READER)
    assert (answer.status_code, "www-authenticate" in answer.headers) == (403, False)
    assert tocsin.observer.refusals == {("http", "forbidden"): 1}


async def test_http_takes_what_comes_with_a_token(tocsin: Receiving) -> None:
    assert (await post(tocsin, SENDER)).status_code == 200
    assert tocsin.intake.span_names == ["x"]


async def test_a_token_is_in_no_answer_and_no_log(tocsin: Receiving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    guess = "guess-that-nobody-is-to-see"
    answer = await post(tocsin, guess)
    refused = await grpc_answer(tocsin, TRACES, trace_request("x"), authorized(guess))
    told = f"{answer.headers!r}{answer.content!r}{refused.details()}{refused.trailing_metadata()!r}"
    told += "".join(str(vars(record)) for record in caplog.records if not record.name.startswith(("httpcore", "grpc")))
    for secret in (guess, SENDER, READER):
        assert secret not in told


async def test_nothing_of_a_body_is_read_before_the_token_is_known(tocsin: Receiving) -> None:
    """The sender announces a body and sends none of it: the answer comes all the same."""
    assert tocsin.listening.http is not None
    reader, writer = await asyncio.open_connection(*tocsin.listening.http)
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
    writer.write(head + b"content-length: 1000000\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()

    async with aio.insecure_channel(tocsin.grpc) as channel:
        call: aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(TRACES)(
            timeout=10
        )  # of which no message is sent
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_tokens_are_changed_while_running() -> None:
    intake, observer, budget = RecordingIntake(), CountingObserver(), ByteBudget(2**30)
    before, after = "the-token-before-0123", "the-token-after-01234"
    async with otlp_receivers(config_of((before, "ingest")), intake, observer, budget, drain_seconds=2) as listening:
        running = Receiving(listening, intake, observer, budget)
        assert (await post(running, before)).status_code == 200
        listening.adopt(config_of((after, "ingest")))
        for secret, http, code in ((before, 401, grpc.StatusCode.UNAUTHENTICATED), (after, 200, None)):
            assert (await post(running, secret)).status_code == http
            answer = await grpc_answer(running, TRACES, trace_request("y"), authorized(secret))
            assert (answer.code() if isinstance(answer, aio.AioRpcError) else None) is code
        # An edit that takes all tokens away waits for a restart, as it would open the listener.
        listening.adopt(OtlpReceiverConfig.model_validate({"grpc": {"endpoint": "127.0.0.1:0"}}))
        assert (await post(running, None)).status_code == 401


@pytest.mark.parametrize("only", ["grpc", "http"])
@pytest.mark.parametrize("endpoint", ["0.0.0.0:0", "[::]:0", "192.0.2.7:0", "collector.example:0"])
def test_a_listener_that_others_reach_asks_who_is_there_or_is_told_not_to(only: str, endpoint: str) -> None:
    def written(**more: object) -> OtlpReceiverConfig:
        return OtlpReceiverConfig.model_validate({only: {"endpoint": endpoint, **more}})

    with pytest.raises(ValueError, match="allow_unauthenticated: true if everybody who reaches it may use it"):
        written()
    files = {"cert_file": "a", "key_file": "b"}
    with pytest.raises(ValueError, match="nothing here asks who is there; add auth with tokens, or tls with client_ca"):
        written(tls=files)
    tokens = {"tokens": [{"name": "x", "token": SENDER}]}
    assert written(auth=tokens)
    assert written(tls=files | {"client_ca_file": "c"})
    assert written(allow_unauthenticated=True)
    with pytest.raises(ValueError, match="allow_unauthenticated has no effect where tokens"):
        written(auth=tokens, allow_unauthenticated=True)
