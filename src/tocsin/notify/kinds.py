"""The list of contact points: a new one is a module and a name here."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from tocsin.notify.alertmanager import AlertmanagerConfig
from tocsin.notify.email import EmailConfig
from tocsin.notify.log import LogConfig
from tocsin.notify.pagerduty import PagerDutyConfig
from tocsin.notify.slack import SlackConfig
from tocsin.notify.webhook import WebhookConfig

__all__ = ["KINDS", "LATER_KINDS", "AnyContact"]

KINDS = ("alertmanager", "email", "log", "pagerduty", "slack", "webhook")
LATER_KINDS = ("apprise", "kafka", "otlp", "ticket")


def _not_later(value: object) -> object:
    """Say of kinds that are to come that they are; the union says what is wrong with all others."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in LATER_KINDS:
        raise ValueError(f"type {kind} comes in a later version; until then use one of {', '.join(KINDS)}")
    return value


AnyContact = Annotated[
    Annotated[
        WebhookConfig | SlackConfig | PagerDutyConfig | EmailConfig | AlertmanagerConfig | LogConfig,
        Field(discriminator="type"),
    ],
    BeforeValidator(_not_later),
]
"""What a user may write under `contact_points:`."""
