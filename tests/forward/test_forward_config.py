"""What may stand under `forward:`, and what is said of the rest."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tocsin.errors import ConfigError
from tocsin.forward.config import Compression, ForwardConfig, OtlpForwardConfig, Protocol
from tocsin.forward.entry import Signal
from tocsin.forward.forwarder import refuse_loop


def made(**fields: object) -> OtlpForwardConfig:
    return OtlpForwardConfig.model_validate({"endpoint": "http://collector:4317", **fields})


def test_the_defaults_are_those_of_the_reference() -> None:
    assert ForwardConfig().otlp is None
    config = made()
    assert (config.protocol, config.compression, config.add_cost) == (Protocol.GRPC, Compression.NONE, False)
    assert config.signals == (Signal.TRACES, Signal.LOGS, Signal.METRICS)
    assert (config.timeout, config.in_flight) == (timedelta(seconds=10), 4)
    assert (config.queue.max_size, config.queue.max_age) == (1 << 30, timedelta(hours=24))
    assert (config.retry.initial, config.retry.max) == (timedelta(seconds=1), timedelta(seconds=30))


@pytest.mark.parametrize(
    ("fields", "target", "secure", "url"),
    [
        ({}, "collector:4317", False, "http://collector:4317"),
        ({"endpoint": "https://collector:4317"}, "collector:4317", True, "https://collector:4317"),
        ({"endpoint": "https://collector/"}, "collector:443", True, "https://collector:443"),
        ({"endpoint": "collector:4317", "tls": {}}, "collector:4317", True, "https://collector:4317"),
        ({"endpoint": "collector:4317", "tls": {"insecure": True}}, "collector:4317", False, "http://collector:4317"),
        ({"endpoint": "http://[::1]:4317"}, "[::1]:4317", False, "http://[::1]:4317"),
        ({"endpoint": "https://a/otlp/", "protocol": "http/protobuf"}, "a:443", True, "https://a:443/otlp"),
        ({"endpoint": "http://a", "protocol": "http"}, "a:80", False, "http://a:80"),
    ],
)
def test_endpoints_are_understood(fields: dict[str, Any], target: str, secure: bool, url: str) -> None:
    config = made(**fields)
    assert (config.target, config.secure, config.base_url) == (target, secure, url)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"endpoint": "ftp://collector:4317"}, "scheme 'ftp' is not known"),
        ({"endpoint": "collector:4317"}, "say whether collector:4317 speaks TLS: write http://collector:4317"),
        ({"endpoint": "collector", "tls": {}}, "has no port"),
        ({"endpoint": "http://"}, "names no host"),
        ({"endpoint": "http://a:99999"}, "no valid port"),
        ({"endpoint": "http://a:0"}, "no port"),
        ({"endpoint": "http://u:tops3cret@a:1"}, "holds a user or password"),
        ({"endpoint": "http://a:1?x=1"}, "query or fragment"),
        ({"endpoint": "http://a b:1"}, "names no host"),
        ({"endpoint": "http://a:1/otlp"}, "gRPC has no path"),
        ({"endpoint": "http://a:1/v1/traces", "protocol": "http"}, "are added by themselves"),
        ({"protocol": "http/json"}, "'http/json' is not sent"),
        ({"protocol": "udp"}, "'grpc' or 'http'"),
        ({"compression": "brotli"}, "'none' or 'gzip'"),
        ({"tls": {}}, "begins with http://"),
        ({"endpoint": "https://a:1", "tls": {"insecure": True}}, "begins with https://"),
        ({"endpoint": "https://a:1", "tls": {"cert_file": "a"}}, "go together"),
        ({"endpoint": "a:1", "tls": {"insecure": True, "ca_file": "a"}}, "insecure means no TLS"),
        ({"headers": {"a b": "x"}}, "no header's name"),
        ({"headers": {"x-bin": "x"}}, "no header's name"),
        ({"headers": {"Content-Type": "x"}}, "set by Tocsin itself"),
        ({"headers": {"grpc-timeout": "x"}}, "set by Tocsin itself"),
        ({"headers": {"a": "x", "A": "y"}}, "there twice"),
        ({"headers": {"a": "tops3cret\n"}}, "not printable ASCII"),
        ({"headers": {"a": ""}}, "is empty"),
        ({"signals": []}, "at least one"),
        ({"signals": ["traces", "traces"]}, "each signal once"),
        ({"signals": ["profiles"]}, "'traces', 'logs' or 'metrics'"),
        ({"timeout": "0"}, "greater than"),
        ({"queue": {"max_size": "1KiB"}}, "greater than"),
        ({"queue": {"max_age": "0"}}, "greater than"),
        ({"retry": {"initial": "1m"}}, "max is less than initial"),
        ({"endpont": "x"}, "Extra inputs"),
    ],
)
def test_what_can_not_be_is_refused_with_what_to_do(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        made(**fields)
    text = str(refused.value)
    assert said in text
    assert "tops3cret" not in text


def test_headers_are_secrets() -> None:
    config = made(headers={"Authorization": "Bearer tops3cret"})
    assert "tops3cret" not in f"{config!r} {config.model_dump()} {config.model_dump_json()}"


@pytest.mark.parametrize(
    ("endpoint", "own", "loops"),
    [
        ("http://127.0.0.1:4317", ("127.0.0.1", 4317), True),
        ("http://localhost:4317", ("127.0.0.1", 4317), True),
        ("http://LOCALHOST:4317", ("0.0.0.0", 4317), True),  # noqa: S104 - compared with
        ("http://[::1]:4317", ("::", 4317), True),
        ("http://0.0.0.0:4317", ("127.0.0.1", 4317), True),
        ("http://10.0.0.5:4317", ("10.0.0.5", 4317), True),
        ("http://127.0.0.1:4317", ("127.0.0.1", 4318), False),
        ("http://collector:4317", ("127.0.0.1", 4317), False),
        ("http://10.0.0.5:4317", ("10.0.0.6", 4317), False),
        ("http://127.0.0.1:4317", ("127.0.0.1", 0), False),
    ],
)
def test_an_endpoint_that_is_our_own_is_refused(endpoint: str, own: tuple[str, int], loops: bool) -> None:
    config = made(endpoint=endpoint)
    if not loops:
        refuse_loop(config, [own])
        return
    with pytest.raises(ConfigError, match="would come back for ever"):
        refuse_loop(config, [("127.0.0.1", 1), own])
