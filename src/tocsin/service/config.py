"""The configuration file's model, composed of the models of the packages that it configures."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, model_validator

from tocsin.api.config import ApiConfig
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.errors import ConfigError
from tocsin.forward.config import ForwardConfig
from tocsin.forward.forwarder import refuse_loop
from tocsin.guard.config import GuardConfig
from tocsin.history.config import HistoryConfig
from tocsin.journal.config import JournalConfig
from tocsin.model.settings import Settings
from tocsin.notify.kinds import AnyContact
from tocsin.notify.routing.inhibition import InhibitRule
from tocsin.notify.routing.timings import TimeInterval
from tocsin.notify.routing.tree import RouteConfig, missing_names
from tocsin.pricing.config import PricesConfig
from tocsin.receivers.config import ReceiversConfig
from tocsin.rules.config import RuleConfig, TimeZone
from tocsin.rules.rule import Sampling
from tocsin.rules.sql.config import SqlConfig
from tocsin.rules.templates import TemplateConfig
from tocsin.security.endpoint import endpoint_of
from tocsin.semconv.config import AttributesConfig
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.storage.config import StorageConfig

__all__ = [
    "Configuration",
    "LogConfig",
    "NetworkConfig",
    "needs_restart",
]

_NEEDS_RESTART = ("receivers", "api", "journal", "storage", "forward", "guard")
"""Sections whose sockets and files are opened once."""


def _trace_url(text: str) -> str:
    if "{trace_id}" not in text:
        raise ValueError("should contain {trace_id}, like https://jaeger.example/trace/{trace_id}")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("should be a URL that begins with http:// or https://")
    return text


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
        "cluster": "run one process",
    }
    """Keys of later versions -> what to do until then."""

    receivers: ReceiversConfig = ReceiversConfig()
    api: ApiConfig = ApiConfig()
    journal: JournalConfig = JournalConfig()
    history: HistoryConfig = HistoryConfig()
    storage: StorageConfig = StorageConfig()
    forward: ForwardConfig = ForwardConfig()
    guard: GuardConfig = GuardConfig()
    self_alerts: SelfAlertsConfig = SelfAlertsConfig()
    trace_url: Annotated[str, AfterValidator(_trace_url)] | None = None
    routes: tuple[RouteConfig, ...] = ()
    """Who is told of alerts whose rule does not say."""
    mute_timings: dict[str, tuple[TimeInterval, ...]] = Field(default_factory=dict)
    inhibit_rules: tuple[InhibitRule, ...] = ()
    contact_points: dict[str, AnyContact] = Field(default_factory=dict)
    prices: PricesConfig = PricesConfig()
    attributes: AttributesConfig = AttributesConfig()
    trace: TraceConfig = TraceConfig()
    limits: LimitsConfig = LimitsConfig()
    network: NetworkConfig = NetworkConfig()
    sampling: Sampling = Sampling.IGNORE
    timezone: TimeZone = "UTC"
    """Of calendar windows, where the rule does not say."""
    templates: dict[str, TemplateConfig] = Field(default_factory=dict)
    sql: SqlConfig = SqlConfig()
    log: LogConfig = LogConfig()
    rules: tuple[RuleConfig, ...] = ()
    """Of this file and of the rule files, disabled ones included."""
    rule_files: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _tells_somebody(self) -> "Configuration":
        if missing := self.self_alerts.missing(self.contact_points):
            raise ValueError(f"self_alerts.notify: there is no contact point {missing[0]!r}; add it or take it out")
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> "Configuration":
        if mistake := missing_names(self.routes, self.contact_points, self.mute_timings):
            raise ValueError(mistake)
        for name, contact in self.contact_points.items():
            for timing in contact.mute_timings:
                if timing not in self.mute_timings:
                    raise ValueError(
                        f"contact_points.{name}.mute_timings: there is no {timing!r}; add it under mute_timings"
                    )
        return self

    @model_validator(mode="after")
    def _goes_on(self) -> "Configuration":
        otlp = self.receivers.otlp
        if self.forward.otlp is not None:
            listeners = [endpoint_of(each.endpoint) for each in (otlp.grpc, otlp.http) if each is not None]
            try:
                refuse_loop(self.forward.otlp, listeners)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return self


def needs_restart(old: Configuration, new: Configuration) -> tuple[str, ...]:
    """Return the keys that differ and can't be changed while running, like `api.endpoint`; all others can."""
    return tuple(
        key for section in _NEEDS_RESTART for key in _differences(section, getattr(old, section), getattr(new, section))
    )


def _differences(name: str, old: object, new: object) -> list[str]:
    if old == new or (name.endswith(".tokens") and old and new):
        return []  # other tokens are known at once; whether any are asked for is settled at the start
    if not isinstance(old, BaseModel) or type(old) is not type(new):
        return [name]
    parts = [
        (field.alias or key, getattr(old, key), getattr(new, key)) for key, field in type(old).model_fields.items()
    ]
    return [found for key, before, after in parts for found in _differences(f"{name}.{key}", before, after)]
