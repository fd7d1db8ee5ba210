"""The contact point otlp: against a server that answers as the specification says, and as it should not."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from alert_events import AT, MINUTE, alert_event, message_of
from event_strategies import events
from fault_server import FaultServer, Mode, Reply
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from grpc import aio
from hypothesis import given, settings
from made_certificates import Authority
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from pydantic import ValidationError

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import ConfigError, DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.otlp import OtlpConfig, OtlpGrpc, OtlpHttp
from tocsin.notify.otlp_record import request_of
from tocsin.notify.templating.config import TextTemplate
from tocsin.notify.templating.dressing import dressed
from tocsin.rules.rule import Severity

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class LogsServer:
    """An OTLP/gRPC receiver that answers what a test wants."""

    def __init__(self) -> None:
        self.received: list[ExportLogsServiceRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.answer = ExportLogsServiceResponse()
        self.error: tuple[grpc.StatusCode, str, Status | None] | None = None
        self.port = 0

    async def export(
        self, request: bytes, context: aio.ServicerContext[bytes, ExportLogsServiceResponse]
    ) -> ExportLogsServiceResponse:
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        if self.error is not None:
            code, text, details = self.error
            trailing = () if details is None else (("grpc-status-details-bin", details.SerializeToString()),)
            context.set_trailing_metadata(trailing)
            await context.abort(code, text)
        self.received.append(ExportLogsServiceRequest.FromString(request))
        return self.answer


@asynccontextmanager
async def logs_server(credentials: grpc.ServerCredentials | None = None, port: int = 0) -> AsyncIterator[LogsServer]:
    made = LogsServer()
    server = aio.server()
    handler: grpc.RpcMethodHandler[bytes, ExportLogsServiceResponse] = grpc.unary_unary_rpc_method_handler(
        made.export, response_serializer=ExportLogsServiceResponse.SerializeToString
    )
    service, _, method = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    address = f"127.0.0.1:{port}"
    made.port = (
        server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    )
    await server.start()
    try:
        yield made
    finally:
        await server.stop(0)


@asynccontextmanager
async def otlp(
    endpoint: str,
    network: Network | None = None,
    **more: Any,  # noqa: ANN401  # keys of any type
) -> AsyncIterator[OtlpGrpc | OtlpHttp]:
    written = {"type": "otlp", "endpoint": endpoint, "allow_private": True, "timeout": "5s", **more}
    notifier = OtlpConfig.model_validate(written).build(network or Network())
    try:
        yield notifier
    finally:
        await notifier.aclose()


def record_in(request: ExportLogsServiceRequest) -> LogRecord:
    [resource] = request.resource_logs
    [scope] = resource.scope_logs
    [record] = scope.log_records
    return record


def attributes_of(record: LogRecord) -> dict[str, object]:
    def plain(value: AnyValue) -> object:
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [plain(one) for one in value.array_value.values]
        return getattr(value, str(kind))

    return {one.key: plain(one.value) for one in record.attributes}


def record_of(event: AlertEvent, attempt: Attempt | None = None) -> LogRecord:
    return record_in(ExportLogsServiceRequest.FromString(request_of(message_of(event), attempt or Attempt(AT), {})))


def test_a_record_says_what_happened_when_and_how_bad() -> None:
    event = alert_event()
    record = record_of(event)
    assert record.event_name == "tocsin.alert.firing"
    assert record.time_unix_nano == event.fired_at
    assert record.observed_time_unix_nano == event.detected_at
    assert (record.severity_number, record.severity_text) == (21, "critical")
    assert record.body.string_value.endswith(
        "spent $27.31 in 5m, over the limit of $25.00 (240 calls, 97 % claude-sonnet-4-5)"
    )
    assert record.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    found = attributes_of(record)
    expected = {
        "log.record.uid": event.id,
        "tocsin.alert.id": event.alert_id,
        "tocsin.alert.value": 27.31,
        "tocsin.alert.threshold": 25.0,
        "tocsin.alert.unit": "USD",
        "tocsin.alert.samples": 240,
        "tocsin.alert.group.conversation": "conv-42",
        "tocsin.alert.trace_ids": ["0af7651916cd43dd8448eb211c80319c"],
        "tocsin.alert.url": f"https://tocsin.example/alerts/{event.alert_id}",
        "tocsin.rule.name": "runaway-conversation",
        "tocsin.rule.window_seconds": 300.0,
        "tocsin.rule.label.team": "support",
    }
    assert found.items() >= expected.items()


@pytest.mark.parametrize(
    ("transition", "severity", "number"),
    [
        (Transition.FIRING, Severity.HIGH, 17),
        (Transition.FIRING, Severity.MEDIUM, 13),
        (Transition.REMINDER, Severity.LOW, 9),
        (Transition.RESOLVED, Severity.CRITICAL, 9),
        (Transition.ACKNOWLEDGED, Severity.CRITICAL, 9),
        (Transition.TEST, Severity.CRITICAL, 9),
    ],
)
def test_what_is_over_is_no_error_however_bad_it_was(transition: Transition, severity: Severity, number: int) -> None:
    record = record_of(alert_event(transition, severity=severity, resolved_at=AT))
    assert record.severity_number == number
    assert record.severity_text == str(severity)
    assert record.event_name == f"tocsin.alert.{transition}"


def test_an_end_has_the_time_of_the_end_and_an_escalation_that_of_its_detection() -> None:
    over = record_of(alert_event(Transition.RESOLVED, resolved_at=AT + MINUTE))
    worse = record_of(alert_event(escalated_from=Severity.LOW, detected_at=AT + 2 * MINUTE))
    assert (over.time_unix_nano, worse.time_unix_nano) == (AT + MINUTE, AT + 2 * MINUTE)
    assert attributes_of(worse)["tocsin.alert.escalated_from"] == "low"


def test_words_of_ones_own_are_the_body() -> None:
    message, _ = dressed(message_of(alert_event()), TextTemplate(title="{{ event }}", text="{{ subject }}\nburns"))
    record = record_in(ExportLogsServiceRequest.FromString(request_of(message, Attempt(AT), {})))
    assert record.body.string_value == "firing: conversation conv-42\nburns"


def test_merged_events_are_counted() -> None:
    assert attributes_of(record_of(alert_event(), Attempt(AT, merged=3)))["tocsin.alert.merged"] == 3


@settings(deadline=None, max_examples=50)
@given(events())
def test_any_event_is_a_record(event: AlertEvent) -> None:
    record = record_of(event)
    assert attributes_of(record)["log.record.uid"] == event.id
    assert len(record.trace_id) in (0, 16)


async def test_records_go_over_grpc_with_headers_and_the_same_id_each_time() -> None:
    async with (
        logs_server() as server,
        otlp(
            f"http://127.0.0.1:{server.port}",
            headers={"Authorization": "Bearer s3cret-word"},
            resource={"deployment.environment.name": "prod"},
        ) as notifier,
    ):
        message = message_of(alert_event())
        answer = await notifier.send(message, Attempt(AT))
        await notifier.send(message, Attempt(AT, 2))
        assert answer.status == "OK"
        first, second = server.received
        assert first == second
        sender = {one.key: one.value.string_value for one in first.resource_logs[0].resource.attributes}
        assert (sender["service.name"], sender["deployment.environment.name"]) == ("tocsin", "prod")
        assert server.metadata[0]["authorization"] == "Bearer s3cret-word"


@pytest.mark.parametrize("protocol", ["grpc", "http", "http/protobuf"])
async def test_a_rejected_record_is_no_delivery_and_a_warning_is_one(protocol: str) -> None:
    rejected = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=1, error_message="too old")
    )
    warned = ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess(error_message="old-fashioned"))
    async with logs_server() as over_grpc, FaultServer() as over_http:
        port = over_grpc.port if protocol == "grpc" else over_http.port
        async with otlp(f"http://127.0.0.1:{port}", protocol=protocol) as notifier:
            over_grpc.answer, over_http.default = rejected, Reply(body=rejected.SerializeToString())
            with pytest.raises(DeliveryError, match="rejected the record: too old") as caught:
                await notifier.send(message_of(alert_event()), Attempt(AT))
            assert not caught.value.retryable
            over_grpc.answer, over_http.default = warned, Reply(body=warned.SerializeToString())
            answer = await notifier.send(message_of(alert_event()), Attempt(AT))
            assert answer.excerpt == "old-fashioned"


def retry_info(seconds: int) -> Status:
    detail = Packed()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    return Status(code=8, message="slow down", details=[detail])


@pytest.mark.parametrize(
    ("error", "retryable", "wait"),
    [
        ((grpc.StatusCode.UNAVAILABLE, "busy", None), True, None),
        ((grpc.StatusCode.UNAVAILABLE, "busy", retry_info(9)), True, 9.0),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_info(7)), True, 7.0),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", None), False, None),
        ((grpc.StatusCode.UNAUTHENTICATED, "no s3cret-word", None), False, None),
        ((grpc.StatusCode.UNIMPLEMENTED, "no logs here", None), False, None),
        ((grpc.StatusCode.ABORTED, "again", None), True, None),
    ],
)
async def test_a_grpc_status_says_whether_a_retry_can_help(
    error: tuple[grpc.StatusCode, str, Status | None], retryable: bool, wait: float | None
) -> None:
    async with (
        logs_server() as server,
        otlp(f"http://127.0.0.1:{server.port}", headers={"x-key": "s3cret-word"}) as notifier,
    ):
        server.error = error
        with pytest.raises(DeliveryError, match=error[0].name) as caught:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert (caught.value.retryable, caught.value.retry_after) == (retryable, wait)
        assert "s3cret" not in str(caught.value)
        server.error = None
        await notifier.send(message_of(alert_event()), Attempt(AT))


@pytest.mark.parametrize("mode", [Mode.HANG, Mode.RESET, Mode.WHOLE])
async def test_who_speaks_no_grpc_costs_no_more_than_the_timeout(mode: Mode) -> None:
    async with (
        FaultServer(default=Reply(mode=mode)) as server,
        otlp(f"http://127.0.0.1:{server.port}", timeout="1s") as notifier,
    ):
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert caught.value.retryable


async def test_a_receiver_that_comes_back_is_tried_at_once() -> None:
    async with logs_server() as server:
        port = server.port
    async with otlp(f"http://127.0.0.1:{port}") as notifier:
        for _ in range(3):
            with pytest.raises(DeliveryError):
                await notifier.send(message_of(alert_event()), Attempt(AT))
        async with logs_server(port=port) as again:
            await notifier.send(message_of(alert_event()), Attempt(AT))
            assert len(again.received) == 1


def resolving(*addresses: str) -> Network:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return Network(resolve=resolve)


async def test_grpc_goes_to_judged_addresses_alone() -> None:
    async with logs_server() as server:
        url = f"http://logs.test.example:{server.port}"
        async with otlp(url, resolving("127.0.0.1"), allow_private=False) as notifier:
            with pytest.raises(DeliveryError, match=r"loopback.*allow_private") as caught:
                await notifier.send(message_of(alert_event()), Attempt(AT))
            assert not caught.value.retryable
        async with otlp(url, resolving("127.0.0.2", "127.0.0.1")) as notifier:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert len(server.received) == 1
        assert server.metadata[0]


async def test_grpc_uses_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer() as proxy, logs_server() as server:
        monkeypatch.setenv("http_proxy", proxy.url("/"))
        monkeypatch.setenv("grpc_proxy", proxy.url("/"))
        async with otlp(f"http://logs.test.example:{server.port}", resolving("127.0.0.1")) as notifier:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert (len(proxy.received), len(server.received)) == (0, 1)


async def test_tls_is_checked_against_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("collector")
    ours = authority.issue("tocsin")
    credentials = grpc.ssl_server_credentials(
        [(files.key.read_bytes(), files.cert.read_bytes())], authority.ca_file.read_bytes(), require_client_auth=True
    )
    trust = {"ca_file": authority.ca_file, "cert_file": ours.cert, "key_file": ours.key, "timeout": "2s"}
    async with logs_server(credentials) as server:
        right = f"https://localhost:{server.port}"
        async with otlp(right, resolving("127.0.0.1"), **trust) as notifier:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        wrong = f"https://other.test.example:{server.port}"
        without = {"ca_file": authority.ca_file, "timeout": "2s"}
        for url, files_of in ((wrong, trust), (right, {"timeout": "2s"}), (right, without)):
            async with otlp(url, resolving("127.0.0.1"), **files_of) as notifier:
                with pytest.raises(DeliveryError):
                    await notifier.send(message_of(alert_event()), Attempt(AT))
        assert len(server.received) == 1


async def test_http_takes_mutual_tls_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files, ours = authority.issue("collector"), authority.issue("tocsin")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file)
    context.load_cert_chain(files.cert, files.key)
    context.verify_mode = ssl.CERT_REQUIRED
    trust = {"ca_file": authority.ca_file, "cert_file": ours.cert, "key_file": ours.key, "protocol": "http"}
    async with FaultServer(tls=context, default=Reply(body=b"")) as server:
        url = f"https://localhost:{server.port}"
        async with otlp(url, resolving("127.0.0.1"), **trust) as notifier:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert [request.path for request in server.received] == ["/v1/logs"]
        assert server.received[0].headers["content-type"] == "application/x-protobuf"
        assert record_in(ExportLogsServiceRequest.FromString(server.received[0].body)).severity_number == 21


async def test_an_error_over_http_says_its_message() -> None:
    status = Status(code=3, message="no such tenant s3cret-word")
    async with (
        FaultServer(default=Reply(400, body=status.SerializeToString())) as server,
        otlp(server.url("/otlp"), protocol="http", headers={"x-key": "s3cret-word"}) as notifier,
    ):
        with pytest.raises(DeliveryError, match="no such tenant") as caught:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        assert not caught.value.retryable
        assert "s3cret" not in str(caught.value)
        assert server.received[0].path == "/otlp/v1/logs"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"endpoint": "collector:4317"}, "whole address"),
        ({"endpoint": "http://collector:4317/x"}, "gRPC has no path"),
        ({"endpoint": "http://collector:4317?x=1"}, "no query"),
        ({"endpoint": "http://user:pw@collector:4317"}, "no user or password"),
        ({"endpoint": "http://collector:4317", "ca_file": "ca.pem"}, "plain text"),
        ({"endpoint": "https://collector:4317", "cert_file": "c.pem"}, "go together"),
        ({"endpoint": "https://collector:4317", "headers": {"x-bin": "a"}}, "no header's name"),
        ({"endpoint": "https://collector:4317", "headers": {"grpc-x": "a"}}, "no header's name"),
        ({"endpoint": "https://collector:4317", "headers": {"x": "a\u00e9"}}, "not printable ASCII"),
        ({"endpoint": "https://collector:4317", "protocol": "http/json"}, "protocol"),
    ],
)
def test_what_is_configured_wrong_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        OtlpConfig.model_validate({"type": "otlp", **wrong})


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_certificate_that_is_none_is_said_before_anything_is_sent(protocol: str, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    files = {"cert_file": tmp_path / "x.pem", "key_file": tmp_path / "x.pem"}
    config = OtlpConfig.model_validate({"type": "otlp", "endpoint": "https://c:1", "protocol": protocol, **files})
    with pytest.raises(ConfigError, match="cert_file"):
        config.build(Network())


def test_the_path_of_logs_may_be_written_out() -> None:
    written = {"type": "otlp", "endpoint": "https://collector/otlp/v1/logs/", "protocol": "http"}
    assert OtlpConfig.model_validate(written).endpoint == "https://collector/otlp"
