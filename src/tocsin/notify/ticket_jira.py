"""Issues of a Jira project: of Jira Cloud through REST API v3, of Jira Data Center and Server through v2.

Sources: Atlassian's "The Jira Cloud platform REST API" (issues, issue search, comments; the search may not show for
seconds what was just written) and "Atlassian Document Format"; "Jira Data Center platform REST API".
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.notify.ticket_tracker import Rest, Ticket, event_in, is_incident, text_of
from tocsin.notify.wording import clean

__all__ = ["Jira"]

_SUMMARY, _DESCRIPTION = 255, 32_000
_DONE: Final = "done"
"""The key of the category of statuses in which nothing is left to do; the same in every Jira."""
_ADVICE: Final = {
    400: "check issue_type, labels and fields: the project's create screen must have them",
    401: "check user and token",
    403: "the user may not do that in the project",
    404: "there is no such project or issue, or the user does not see it",
}


class Jira:
    """Issues of one project."""

    def __init__(
        self,
        api_url: str,
        project: str,
        user: str | None,
        token: str,
        network: Network,
        *,
        cloud: bool,
        issue_type: str,
        labels: tuple[str, ...],
        priorities: Mapping[str, str],
        fields: Mapping[str, Any],
        transition: str | None,
        allow_private: bool,
        timeout: float,
        ca_file: Path | None,
    ) -> None:
        login = b64encode(f"{user}:{token}".encode()).decode()
        self._cloud = cloud
        self._project = project
        self._fields = {
            **fields,
            "project": {"key": project},
            "issuetype": {"name": issue_type},
        }
        self._labels = labels
        self._priorities = priorities
        self._transition = transition
        self._rest = Rest(
            f"{api_url.rstrip('/')}/rest/api/{3 if cloud else 2}",
            # A user's token goes with the user's name; without one it is a personal access token.
            {"authorization": f"Bearer {token}" if user is None else f"Basic {login}", "accept": "application/json"},
            network,
            allow_private=allow_private,
            timeout=timeout,
            ca_file=ca_file,
            secrets=(token, login),
            judge=lambda _answer, _now_ns: None,
            advice=_ADVICE,
        )

    async def find(self, message: Message) -> Ticket | None:
        """See `Tracker`."""
        event = message.event
        jql = f'project = "{self._project}" AND labels = "{_label(event.alert_id)}"'
        if is_incident(event.alert_id):
            jql += f" AND statusCategory != {_DONE}"
        asked = {"jql": f"{jql} ORDER BY created ASC", "fields": ["description"], "maxResults": 1}
        found = await self._rest.ask("POST", "/search/jql" if self._cloud else "/search", asked)
        issues = found.get("issues") if isinstance(found, Mapping) else None
        if not isinstance(issues, list):
            raise DeliveryError("Jira's answer is no list of issues", retryable=True)
        return _ticket(issues[0]) if issues else None

    async def create(self, message: Message, attempt: Attempt) -> Ticket:
        """See `Tracker`."""
        event = message.event
        fields: dict[str, Any] = {
            **self._fields,
            "summary": clean(message.title, _SUMMARY),
            "description": self._document(message, attempt),
            "labels": [*self._labels, _label(event.alert_id)],
        }
        if priority := self._priorities.get(str(event.severity)):
            fields["priority"] = {"name": priority}
        made = _ticket(await self._rest.ask("POST", "/issue", {"fields": fields}))
        return Ticket(made.key, event.id)  # its answer says nothing but the key

    async def comment(self, ticket: Ticket, message: Message) -> None:
        """See `Tracker`."""
        event = message.event
        lines = [message.title, *text_of(message), f"Event {event.id}"]
        body = _adf([_paragraph([_text(line)]) for line in lines]) if self._cloud else _wiki(lines)
        await self._rest.ask("POST", f"/issue/{quote(ticket.key)}/comment", {"body": body})

    async def has_comment(self, ticket: Ticket, message: Message) -> bool:
        """See `Tracker`."""
        path = f"/issue/{quote(ticket.key)}/comment?orderBy=-created&maxResults=50"
        found = await self._rest.ask("GET", path)
        return message.event.id.encode() in orjson.dumps(found)

    async def close(self, ticket: Ticket) -> None:
        """See `Tracker`."""
        key = quote(ticket.key)
        found = await self._rest.ask("GET", f"/issue/{key}?fields=status")
        if _category(_at(found, "fields", "status")) == _DONE:
            return
        offered = _at(await self._rest.ask("GET", f"/issue/{key}/transitions"), "transitions")
        chosen = self._chosen([one for one in offered if isinstance(one, Mapping)] if isinstance(offered, list) else [])
        body = {"transition": {"id": str(chosen.get("id"))}}
        await self._rest.ask("POST", f"/issue/{key}/transitions", body)

    async def aclose(self) -> None:
        """See `Tracker`."""
        await self._rest.aclose()

    def _chosen(self, offered: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        wanted = self._transition
        for one in offered:
            names = {str(one.get("name")).casefold(), str(_at(one, "to", "name")).casefold()}
            if (wanted.casefold() in names) if wanted is not None else _category(one.get("to")) == _DONE:
                return one
        known = ", ".join(clean(one.get("name"), 40) for one in offered) or "none"
        missing = (
            f"no transition {wanted!r}" if wanted is not None else "no transition to a status of the category done"
        )
        raise DeliveryError(f"Jira offers {missing} (there are: {known}); set transition", retryable=False)

    def _document(self, message: Message, attempt: Attempt) -> object:
        event, links = message.event, message.links
        facts = [f"{fact.label}: {fact.text}" for fact in message.facts] if message.text is None else []
        facts += [f"Merged updates: {attempt.merged}"] if attempt.merged and message.text is None else []
        named = [
            ("Alert", links.alert),
            ("Runbook", links.runbook),
            ("Dashboard", links.dashboard),
            ("Silence", links.silence),
            *((f"Trace {trace.trace_id}", trace.url) for trace in message.traces),
        ]
        shown = [(name, url) for name, url in named if url]
        marks = f"Alert {event.alert_id}, event {event.id}"
        if not self._cloud:
            return _wiki([*text_of(message), "", *facts, "", *(f"{name}: {url}" for name, url in shown), "", marks])
        parts = [_paragraph([_text(line)]) for line in text_of(message)]
        if facts:
            items = [{"type": "listItem", "content": [_paragraph([_text(fact)])]} for fact in facts]
            parts.append({"type": "bulletList", "content": items})
        parts += [_paragraph([_text(name, url)]) for name, url in shown]
        return _adf([*parts, _paragraph([_text(marks)])])


def _label(alert_id: str) -> str:
    return f"tocsin-{alert_id}"


def _adf(content: Sequence[object]) -> dict[str, object]:
    return {"type": "doc", "version": 1, "content": content}


def _paragraph(content: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    return {"type": "paragraph", "content": [part for part in content if part["text"]]}


def _text(text: str, url: str | None = None) -> dict[str, Any]:
    """Return a text node, which has no markup of its own: nothing in it is read as such."""
    marks: dict[str, Any] = {"marks": [{"type": "link", "attrs": {"href": url}}]} if url else {}
    return {"type": "text", "text": text, **marks}


def _wiki(lines: Sequence[str]) -> str:
    """Return text in Jira's wiki markup that is shown as it is: within it nothing but its own end is markup."""
    text = "\n".join(lines).replace("{noformat}", "{no format}")
    return f"{{noformat}}\n{text[:_DESCRIPTION]}\n{{noformat}}"


def _ticket(issue: object) -> Ticket:
    key = _at(issue, "key")
    if not isinstance(key, str) or not key:
        raise DeliveryError("Jira's answer names no issue", retryable=True)
    return Ticket(key, event_in(orjson.dumps(_at(issue, "fields", "description")).decode()))


def _category(status: object) -> object:
    return _at(status, "statusCategory", "key")


def _at(value: object, *keys: str) -> object:
    """Return what is at a place of a JSON value, None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
