"""The configuration file's model, composed of the models of the packages that it configures."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field

from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.model.settings import Settings
from tocsin.notify.kinds import AnyContact
from tocsin.pricing.config import PricesConfig
from tocsin.receivers.config import ReceiversConfig, endpoint_of
from tocsin.rules.config import RuleConfig
from tocsin.rules.rule import Sampling
from tocsin.semconv.config import AttributesConfig

__all__ = [
    "ApiConfig",
    "Configuration",
    "LogConfig",
    "NetworkConfig",
    "StorageConfig",
    "needs_restart",
]

_NEEDS_RESTART = ("receivers", "api", "storage")
"""Sections whose sockets and files are opened once."""


def _endpoint(text: str) -> str:
    return str(endpoint_of(text))


def _base_path(text: str) -> str:
    if not re.fullmatch(r"(/[\w.~-]+)*/?", text):
        raise ValueError(f"{text[:80]!r} is no path; write one that begins with '/', like /tocsin")
    return text.rstrip("/")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("should be a URL that begins with http:// or https://")
    return text


def _trace_url(text: str) -> str:
    if "{trace_id}" not in text:
        raise ValueError("should contain {trace_id}, like https://jaeger.example/trace/{trace_id}")
    return _url(text)


class ApiConfig(Settings):
    """Where the API, the metrics and the health checks listen."""

    later: ClassVar[Mapping[str, str]] = {
        "tls": "put a proxy that terminates TLS in front",
        "tokens": "let it listen on 127.0.0.1 only",
    }

    endpoint: Annotated[str, AfterValidator(_endpoint)] = "127.0.0.1:8417"
    base_path: Annotated[str, AfterValidator(_base_path)] = ""
    """Put before every route, where a proxy serves several things under one name."""
    public_url: Annotated[str, AfterValidator(_url)] | None = None
    """How people reach it: the beginning of links in notifications."""


class StorageConfig(Settings):
    """What is kept on disk."""

    later: ClassVar[Mapping[str, str]] = {
        "url": "use 'directory'",
        "retention": "leave it out: nothing is recorded yet",
    }

    directory: Path = Path("data")
    """Relative to the working directory."""


class NetworkConfig(Settings):
    """What Tocsin may connect to."""

    allow_private: bool = False
    """Contact points may have loopback, link-local and private addresses."""


class LogConfig(Settings):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Configuration(Settings):
    """A whole configuration file; docs/rules.md explains every field."""

    later: ClassVar[Mapping[str, str]] = {
        "forward": "let the sender or a collector export to both",
        "journal": "leave it out: windows begin empty after a restart",
        "routes": "name contact points under each rule's 'notify'",
        "templates": "write the rules out",
        "sql": "use metric, aggregate, window, condition and threshold",
        "cluster": "run one process",
    }
    """Keys of later versions -> what to do until then."""

    receivers: ReceiversConfig = ReceiversConfig()
    api: ApiConfig = ApiConfig()
    storage: StorageConfig = StorageConfig()
    trace_url: Annotated[str, AfterValidator(_trace_url)] | None = None
    contact_points: dict[str, AnyContact] = Field(default_factory=dict)
    prices: PricesConfig = PricesConfig()
    attributes: AttributesConfig = AttributesConfig()
    trace: TraceConfig = TraceConfig()
    limits: LimitsConfig = LimitsConfig()
    network: NetworkConfig = NetworkConfig()
    sampling: Sampling = Sampling.IGNORE
    log: LogConfig = LogConfig()
    rules: tuple[RuleConfig, ...] = ()
    """Of this file and of the rule files, disabled ones included."""
    rule_files: tuple[str, ...] = ()


def needs_restart(old: Configuration, new: Configuration) -> tuple[str, ...]:
    """Return the keys that differ and can't be changed while running, like `api.endpoint`; all others can."""
    return tuple(
        key for section in _NEEDS_RESTART for key in _differences(section, getattr(old, section), getattr(new, section))
    )


def _differences(name: str, old: object, new: object) -> list[str]:
    if old == new:
        return []
    if not isinstance(old, BaseModel) or type(old) is not type(new):
        return [name]
    parts = [
        (field.alias or key, getattr(old, key), getattr(new, key)) for key, field in type(old).model_fields.items()
    ]
    return [found for key, before, after in parts for found in _differences(f"{name}.{key}", before, after)]
