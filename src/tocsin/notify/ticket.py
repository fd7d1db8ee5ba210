"""Contact point `ticket`: an issue in Jira or GitHub for each alert, or each incident where a route groups alerts.

It is made once, commented on when the alert gets worse, and closed when it is over. No tracker takes an
id of ours for what is made, so an issue carries the alert's, and is looked for before one is made: the process may have
ended between making it and noting that. A search may show an issue only some time after it was made; so, for that time
after an attempt whose end nobody knows, none is made.
"""

import asyncio
import re
import time
from collections import OrderedDict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.model.settings import Duration
from tocsin.notify.contact import Answer, Attempt, ContactConfig, HttpUrl, Rate, RateLimit
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.notify.ticket_github import GitHub
from tocsin.notify.ticket_jira import Jira
from tocsin.notify.ticket_tracker import Ticket, Tracker, is_incident
from tocsin.notify.wording import clean
from tocsin.rules.rule import Severity

__all__ = ["Comment", "TicketConfig", "TicketSystem", "Tickets"]

_REMEMBERED: Final = 10_000
"""Alerts whose issue is remembered."""
_GITHUB: Final = "https://api.github.com"
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_PROJECT: Final = re.compile(r"[A-Z][A-Z0-9_]{0,254}")
_Kept = TypeVar("_Kept")
_OURS: Final = frozenset({"project", "issuetype", "summary", "description", "labels", "priority"})
_OF_JIRA: Final = ("user", "project", "issue_type", "priorities", "fields", "transition")


class TicketSystem(StrEnum):
    """Where issues are."""

    GITHUB = "github"
    JIRA = "jira"
    """Jira Cloud."""
    JIRA_SERVER = "jira-server"
    """Jira Data Center and Server."""


class Comment(StrEnum):
    """What is said in an issue that is there."""

    ESCALATION = "escalation"
    """The alert reached another level, or further alerts of its incident fire."""
    REMINDER = "reminder"
    ACKNOWLEDGEMENT = "acknowledgement"
    RESOLUTION = "resolution"


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _checked_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token is one word")
    return token


def _checked_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    if any(not label or len(label) > 50 or not label.isprintable() or " " in label for label in labels):
        raise ValueError("a label is a word of at most 50 characters")
    return labels


def _checked_repository(name: str | None) -> str | None:
    if name is not None and not _REPOSITORY.fullmatch(name):
        raise ValueError("write a repository as owner/name, like acme/llm-ops")
    return name


def _checked_project(key: str | None) -> str | None:
    if key is not None and not _PROJECT.fullmatch(key):
        raise ValueError("give the project's key, in capital letters, like OPS")
    return key


class TicketConfig(ContactConfig):
    """A contact point of type ticket."""

    follows_alerts: ClassVar[bool] = True

    type: Literal["ticket"]
    system: TicketSystem
    api_url: HttpUrl | None = None
    """Of Jira, like https://example.atlassian.net; of GitHub its API, by default https://api.github.com."""
    token: Annotated[SecretStr, AfterValidator(_checked_token)]
    """An API token of Jira Cloud, a personal access token elsewhere."""
    repository: Annotated[str | None, AfterValidator(_checked_repository)] = None
    """GitHub: owner/name."""
    user: str | None = Field(default=None, min_length=1, pattern=r"^[!-9;-~]+$")
    """Jira: whose token it is, a mail address; Jira Data Center's personal tokens need none."""
    project: Annotated[str | None, AfterValidator(_checked_project)] = None
    """Jira: the project's key."""
    issue_type: str | None = Field(default=None, min_length=1, max_length=255)
    """Jira: Task by default."""
    priorities: dict[Severity, str] = Field(default_factory=dict)
    """Jira: severity -> the name of a priority; what is not there has the project's default."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Jira: further fields of a new issue, as its API takes them."""
    transition: str | None = Field(default=None, min_length=1, max_length=255)
    """Jira: the name of the transition, or of the status it leads to, that closes an issue; the first to a status of
    the category done by default."""
    labels: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_checked_labels)] = ("tocsin",)
    """Of a new issue; GitHub drops them where the token may not set any."""
    comments: Annotated[tuple[Comment, ...], BeforeValidator(_listed)] = (
        Comment.ESCALATION,
        Comment.ACKNOWLEDGEMENT,
        Comment.RESOLUTION,
    )
    """What is said in an issue that is there."""
    close_resolved: bool = True
    """Whether the end of an alert closes its issue."""
    search_lag: Duration = Field(default=timedelta(seconds=30), ge=timedelta(), le=timedelta(minutes=10))
    """How long the search may not show an issue that was just made."""
    rate_limit: RateLimit = Rate(30, 60.0)
    """GitHub takes 80 contents a minute at most."""
    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""

    @model_validator(mode="after")
    def _fits(self) -> "TicketConfig":
        if self.system is TicketSystem.GITHUB:
            if self.repository is None:
                raise ValueError("GitHub needs repository: owner/name")
            if others := [name for name in _OF_JIRA if getattr(self, name)]:
                raise ValueError(f"{others[0]} is Jira's; take it out, or set system: jira")
            return self
        if self.repository is not None:
            raise ValueError("repository is GitHub's; take it out, or set system: github")
        if self.api_url is None or self.project is None:
            raise ValueError("Jira needs api_url, like https://example.atlassian.net, and project, its key")
        if self.system is TicketSystem.JIRA and self.user is None:
            raise ValueError("Jira Cloud needs user: the mail address whose API token it is")
        if taken := sorted(_OURS & self.fields.keys()):
            raise ValueError(f"fields: {taken[0]} is set by Tocsin itself; take it out")
        return self

    @property
    def takes_acknowledgements(self) -> bool:
        """Whether they are to be said."""
        return Comment.ACKNOWLEDGEMENT in self.comments

    def build(self, network: Network) -> "Tickets":
        """Return what sends."""
        return Tickets(self, _tracker_of(self, network))


class Tickets:
    """Makes issues, comments on them, and closes them."""

    def __init__(self, config: TicketConfig, tracker: Tracker) -> None:
        self._config = config
        self._tracker = tracker
        self._timeout = config.timeout.total_seconds()
        self._lag = config.search_lag.total_seconds()
        self._began, self._began_ns = time.monotonic(), time.time_ns()
        self._known: OrderedDict[str, Ticket] = OrderedDict()
        """alert id -> its issue."""
        self._doubtful: OrderedDict[str, float] = OrderedDict()
        """alert id -> when an issue may have been made or not, monotonic seconds."""
        self._closed: OrderedDict[str, float] = OrderedDict()
        """key of an issue -> when it was closed, monotonic seconds."""

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Make, comment on or close the alert's issue."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._told(message, attempt)
        except TimeoutError as error:
            said = f"the ticket system gave no answer within {self._timeout:g} s"
            raise DeliveryError(said, retryable=True) from error
        except DeliveryError as error:
            if not error.retryable:
                # Somebody may have deleted the issue: the next event looks for it anew.
                self._known.pop(message.event.alert_id, None)
            raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._tracker.aclose()

    async def _told(self, message: Message, attempt: Attempt) -> Answer:
        event = message.event
        ticket = await self._found(message)
        if ticket is None:
            over = event.transition is Transition.RESOLVED and not attempt.merged
            if over or event.transition is Transition.ACKNOWLEDGED:
                return Answer("nothing to do", "the alert has no issue")
            ticket = await self._created(message, attempt)
            done = f"{ticket.key} made"
        elif event.id == ticket.made_for:
            done = f"{ticket.key} was made before"
        else:
            done = await self._commented(ticket, message, attempt)
        if event.transition is Transition.TEST or (
            event.transition is Transition.RESOLVED and self._config.close_resolved
        ):
            await self._tracker.close(ticket)
            _remember(self._closed, ticket.key, time.monotonic())
            done = f"{done}, closed"
        if event.transition is Transition.RESOLVED:
            self._known.pop(event.alert_id, None)
        return Answer("ok", clean(done))

    async def _found(self, message: Message) -> Ticket | None:
        """Return the alert's issue, None where it has none.

        Raises:
            DeliveryError: it may have one that can't be seen yet.
        """
        event = message.event
        ticket = self._known.get(event.alert_id) or await self._tracker.find(message)
        if ticket is not None and is_incident(event.alert_id) and self._within_lag(self._closed.get(ticket.key)):
            ticket = None  # the search shows as open what was closed a moment ago
        if ticket is not None:
            _remember(self._known, event.alert_id, ticket)
        elif self._may_be_hidden(event):
            raise DeliveryError("the alert may have an issue that the search does not show yet", retryable=True)
        return ticket

    async def _created(self, message: Message, attempt: Attempt) -> Ticket:
        alert_id = message.event.alert_id
        try:
            ticket = await self._tracker.create(message, attempt)
        except DeliveryError as error:
            if error.retryable and error.retry_after is None:
                _remember(self._doubtful, alert_id, time.monotonic())
            raise
        except BaseException:  # a timeout, or the end of the process
            _remember(self._doubtful, alert_id, time.monotonic())
            raise
        self._doubtful.pop(alert_id, None)
        _remember(self._known, alert_id, ticket)
        return ticket

    async def _commented(self, ticket: Ticket, message: Message, attempt: Attempt) -> str:
        if _comment_of(message.event) not in self._config.comments:
            return f"nothing to say in {ticket.key}"
        if self._tried_before(message.event, attempt) and await self._tracker.has_comment(ticket, message):
            return f"{ticket.key} was commented on before"
        await self._tracker.comment(ticket, message)
        return f"{ticket.key} commented on"

    def _tried_before(self, event: AlertEvent, attempt: Attempt) -> bool:
        """Whether an attempt may have been made before: by this process, or by one before it."""
        return attempt.number > 1 or event.detected_at < self._began_ns

    def _may_be_hidden(self, event: AlertEvent) -> bool:
        if self._within_lag(self._doubtful.get(event.alert_id)):
            return True
        return event.detected_at < self._began_ns and self._within_lag(self._began)

    def _within_lag(self, moment: float | None) -> bool:
        return moment is not None and time.monotonic() - moment < self._lag


def _remember(kept: OrderedDict[str, _Kept], key: str, value: _Kept) -> None:
    kept[key] = value
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)


def _comment_of(event: AlertEvent) -> Comment | None:
    match event.transition:
        case Transition.FIRING:
            return Comment.ESCALATION
        case Transition.REMINDER:
            return Comment.REMINDER
        case Transition.ACKNOWLEDGED:
            return Comment.ACKNOWLEDGEMENT
        case Transition.RESOLVED:
            return Comment.RESOLUTION
        case Transition.TEST:
            return None


def _tracker_of(config: TicketConfig, network: Network) -> Tracker:
    token, timeout = config.token.get_secret_value(), config.timeout.total_seconds()
    if config.system is TicketSystem.GITHUB:
        return GitHub(
            config.api_url or _GITHUB,
            config.repository or "",
            token,
            config.labels,
            network,
            allow_private=config.allow_private,
            timeout=timeout,
            ca_file=config.ca_file,
        )
    return Jira(
        config.api_url or "",
        config.project or "",
        config.user,
        token,
        network,
        cloud=config.system is TicketSystem.JIRA,
        issue_type=config.issue_type or "Task",
        labels=config.labels,
        priorities={str(severity): name for severity, name in config.priorities.items()},
        fields=config.fields,
        transition=config.transition,
        allow_private=config.allow_private,
        timeout=timeout,
        ca_file=config.ca_file,
    )
