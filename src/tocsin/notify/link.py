"""Addresses in a notification: the page's own under `public_url`, traces through `trace_url`."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tocsin.alerts.event import AlertEvent
from tocsin.notify.wording import clean

__all__ = ["Links", "links_of", "trace_url_of", "web_address"]

_MAX_URL = 2048


@dataclass(frozen=True, slots=True)
class Links:
    """Where to look and what to do; None where the configuration does not say where the page is."""

    rule: str | None
    alert: str | None
    dashboard: str | None
    silence: str | None
    runbook: str | None = None
    """The rule's own; in the webhook body it stands with the rule."""


def links_of(event: AlertEvent, public_url: str | None, dashboard: str | None) -> Links:
    """Return the links of an event; `dashboard` was rendered from the rule's template."""
    runbook = web_address(event.rule.runbook_url)
    if not public_url:
        return Links(rule=None, alert=None, dashboard=dashboard, silence=None, runbook=runbook)
    base = public_url.rstrip("/")
    project, name = (quote(clean(part), safe="") for part in event.rule.key)
    matchers = [("project", clean(event.rule.project)), ("rule", clean(event.rule.name))]
    matchers += [(f"group.{clean(label)}", clean(value, 1024)) for label, value in event.group.items()]
    return Links(
        rule=f"{base}/rules/{project}/{name}",
        alert=f"{base}/alerts/{quote(event.alert_id, safe='')}",
        dashboard=dashboard,
        silence=f"{base}/silences/new?{urlencode(matchers)}",
        runbook=runbook,
    )


def trace_url_of(trace_url: str | None, trace_id: str) -> str | None:
    """Return the template with `{trace_id}` filled in; no other braces mean anything in it."""
    return web_address(trace_url.replace("{trace_id}", quote(trace_id, safe=""))) if trace_url else None


def web_address(url: str | None) -> str | None:
    """Return `url` if it is one that a person may follow: http(s), on one line, of a sane length."""
    if not url or not url.startswith(("http://", "https://")) or len(url) > _MAX_URL:
        return None
    return url if url == clean(url, _MAX_URL) and " " not in url else None
