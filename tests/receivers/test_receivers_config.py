"""What may be written under `receivers:`, and what is said about the rest."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from receiver_harness import KIB, CountingObserver, RecordingIntake, receiving

from tocsin.errors import ConfigError
from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.config import OtlpReceiverConfig, ReceiversConfig, endpoint_of
from tocsin.receivers.otlp import otlp_receivers


def mistake_in(grpc: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as mistake:
        ReceiversConfig.model_validate({"otlp": {"grpc": grpc}})
    error = mistake.value.errors()[0]
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"


def test_nothing_written_listens_on_the_standard_ports_of_this_machine_only() -> None:
    config = ReceiversConfig()
    assert config.otlp.grpc is not None
    assert config.otlp.http is not None
    assert (config.otlp.grpc.endpoint, config.otlp.http.endpoint) == ("127.0.0.1:4317", "127.0.0.1:4318")
    assert config.otlp.grpc.max_request_size == 64 * KIB * KIB


def test_sizes_and_times_are_written_as_people_write_them() -> None:
    config = OtlpReceiverConfig.model_validate({"http": {"max_request_size": "4MiB", "read_timeout": "5s"}})
    assert config.http is not None
    assert config.http.max_request_size == 4 * KIB * KIB
    assert config.http.read_timeout == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:4317", "127.0.0.1", 4317, True),
        ("127.8.8.8:1", "127.8.8.8", 1, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:4317", "::1", 4317, True),
        ("0.0.0.0:4317", "0.0.0.0", 4317, False),  # noqa: S104 - parsed, not bound
        ("[::]:4317", "::", 4317, False),
        ("collector.example:4317", "collector.example", 4317, False),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, host: str, port: int, is_loopback: bool) -> None:
    endpoint = endpoint_of(text)
    assert (endpoint.host, endpoint.port, endpoint.is_loopback) == (host, port, is_loopback)
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text", ["", "4317", ":4317", "127.0.0.1", "x:y", "::1:4317", "http://x:1", "x:70000", "[x]:1"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|port|IPv6"):
        endpoint_of(text)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"tls": {"cert_file": "x"}}, "otlp.grpc.tls.key_file: Field required"),
        (
            {"tls": {"cert_file": "x", "key_file": "y", "min_version": 1.3}},
            "otlp.grpc.tls: Value error, gRPC's own TLS takes 1.2 and 1.3",
        ),
        ({"auth": {"tokens": []}}, "otlp.grpc.auth.tokens: Tuple should have at least 1 item"),
        ({"endpoint": "0.0.0.0:4317"}, "otlp.grpc: Value error, 0.0.0.0:4317 can be reached from other machines"),
        ({"endpoint": "4317"}, "otlp.grpc.endpoint: Value error, '4317' is no endpoint; write host:port"),
        ({"max_request_size": "1KiB"}, "otlp.grpc.max_request_size: Value error, 1024 bytes is no sensible limit"),
        ({"max_request_size": "4GiB"}, "otlp.grpc.max_request_size: Value error, 4294967296 bytes"),
        ({"read_timeout": "0"}, "otlp.grpc.read_timeout: Value error, is no sensible time"),
        ({"max_concurrent_streams": 0}, "otlp.grpc.max_concurrent_streams: Input should be"),
        ({"endpont": "x"}, "otlp.grpc.endpont: Extra inputs"),
    ],
)
def test_a_mistake_is_said_at_its_key(written: dict[str, Any], said: str) -> None:
    assert mistake_in(written).startswith(said)


def test_with_both_off_there_would_be_no_way_in() -> None:
    with pytest.raises(ValidationError, match="both grpc and http are null"):
        OtlpReceiverConfig.model_validate({"grpc": None, "http": None})


async def run_with(config: dict[str, Any], budget: ByteBudget) -> None:
    validated = OtlpReceiverConfig.model_validate(config)
    async with otlp_receivers(validated, RecordingIntake(), CountingObserver(), budget) as listening:
        assert (listening.grpc is None) == (config.get("grpc") is None)
        assert (listening.http is None) == (config.get("http") is None)


@pytest.mark.parametrize("only", ["grpc", "http"])
async def test_one_of_the_two_may_be_off(only: str) -> None:
    await run_with({"grpc": None, "http": None} | {only: {"endpoint": "127.0.0.1:0"}}, ByteBudget(2**30))


async def test_an_address_that_others_reach_is_served_with_a_loud_warning(caplog: pytest.LogCaptureFixture) -> None:
    await run_with({"grpc": {"endpoint": "0.0.0.0:0", "allow_unauthenticated": True}, "http": None}, ByteBudget(2**30))
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (
            logging.WARNING,
            "allow_unauthenticated: whoever reaches this address may use it; keep it inside a network that you trust",
        )
    ]


async def test_loopback_is_served_without_a_warning_on_ipv6_too(caplog: pytest.LogCaptureFixture) -> None:
    await run_with({"grpc": {"endpoint": "localhost:0"}, "http": {"endpoint": "[::1]:0"}}, ByteBudget(2**30))
    assert caplog.records == []


async def test_a_budget_that_the_largest_request_could_never_fit_in_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"limits\.in_flight_bytes is 100000, less than twice"):
        await run_with({"grpc": {"endpoint": "127.0.0.1:0"}, "http": None}, ByteBudget(100_000))


async def test_a_taken_http_port_is_refused_with_its_place() -> None:
    async with receiving() as tocsin:
        assert tocsin.listening.http is not None
        with pytest.raises(ConfigError, match=r"receivers\.otlp\.http\.endpoint: cannot listen on 127.*in use"):
            async with receiving(http_port=tocsin.listening.http.port):
                pass
