"""`self_alerts:` in the configuration file."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from tocsin.model.settings import Duration, Settings
from tocsin.rules.rule import Severity

__all__ = ["SelfAlertsConfig"]


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("should be a URL that begins with http:// or https://")
    return text.rstrip("/")


class SelfAlertsConfig(Settings):
    """Who is told of what is wrong with Tocsin itself; the log and the metrics say it in any case."""

    enabled: bool = True
    """Whether anybody is told."""
    notify: tuple[str, ...] | None = None
    """Contact points; None: every one."""
    min_severity: Severity = Severity.LOW
    """What is less severe is only logged and counted."""
    cooldown: Duration = Field(default=timedelta(minutes=30), ge=timedelta(minutes=1))
    """As of a rule: between two notifications of one alert; one reminder each, as long as it fires."""
    runbooks: Annotated[str, AfterValidator(_web_address)] | None = None
    """Where your copy of docs/runbooks can be read; alerts link to NAME.md there."""

    def missing(self, contact_points: Iterable[str]) -> tuple[str, ...]:
        """Return the names under `notify` that no contact point has."""
        known = frozenset(contact_points)
        return tuple(name for name in self.notify or () if name not in known)
