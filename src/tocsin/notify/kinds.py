"""The list of contact points: a new one is a module and a name here."""

from typing import Annotated

from pydantic import Field

from tocsin.notify.alertmanager import AlertmanagerConfig
from tocsin.notify.apprise import AppriseConfig
from tocsin.notify.email import EmailConfig
from tocsin.notify.kafka import KafkaConfig
from tocsin.notify.log import LogConfig
from tocsin.notify.otlp import OtlpConfig
from tocsin.notify.pagerduty import PagerDutyConfig
from tocsin.notify.slack import SlackConfig
from tocsin.notify.ticket import TicketConfig
from tocsin.notify.webhook import WebhookConfig

__all__ = ["AnyContact"]

AnyContact = Annotated[
    AlertmanagerConfig
    | AppriseConfig
    | EmailConfig
    | KafkaConfig
    | LogConfig
    | OtlpConfig
    | PagerDutyConfig
    | SlackConfig
    | TicketConfig
    | WebhookConfig,
    Field(discriminator="type"),
]
"""What a user may write under `contact_points:`."""
