"""Issues of a GitHub repository.

Source: GitHub's REST API, version 2022-11-28: "Issues", "Rate limits". Issues are looked for in the repository's list,
which shows them at once, and only behind many others in the search, whose index lags. Labels say nothing of whose an
issue is: GitHub drops those of a token that may not set any.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpAnswer, retry_after_of
from tocsin.notify.message import Message
from tocsin.notify.ticket_tracker import Rest, Ticket, event_in, is_incident, text_of
from tocsin.notify.wording import clean

__all__ = ["GitHub"]

_TITLE, _BODY = 256, 65_000
_PAGE, _PAGES = 50, 6
"""Issues in a page of the list, and pages that are read before the search is asked."""
_EARLIER: Final = 600
"""Seconds by which GitHub's clock may be behind ours."""
_SECONDARY_WAIT: Final = 60.0
"""Seconds to wait where a rate limit does not say: GitHub asks for a minute at least."""
_ADVICE: Final = {
    401: "check the token",
    403: "the token needs the permission to write issues",
    404: "there is no such repository or issue, or the token does not see it",
    410: "the repository has no issues, or this one was deleted",
}


class GitHub:
    """Issues of one repository."""

    def __init__(
        self,
        api_url: str,
        repository: str,
        token: str,
        labels: tuple[str, ...],
        network: Network,
        *,
        allow_private: bool,
        timeout: float,
        ca_file: Path | None,
    ) -> None:
        self._repository = repository
        self._issues = f"/repos/{repository}/issues"
        self._labels = labels
        self._rest = Rest(
            api_url.rstrip("/"),
            {
                "authorization": f"Bearer {token}",
                "accept": "application/vnd.github+json",
                "x-github-api-version": "2022-11-28",
            },
            network,
            allow_private=allow_private,
            timeout=timeout,
            ca_file=ca_file,
            secrets=(token,),
            judge=_rate_limit,
            advice=_ADVICE,
        )

    async def find(self, message: Message) -> Ticket | None:
        """See `Tracker`."""
        event = message.event
        marker = _marker("alert", event.alert_id)
        asked = {"state": "open", "sort": "created", "direction": "desc", "per_page": str(_PAGE)}
        if not is_incident(event.alert_id):
            since = _rfc3339(min(event.fired_at, event.detected_at) // 10**9 - _EARLIER)
            asked |= {"state": "all", "since": since}
        for page in range(1, _PAGES + 1):
            issues = _objects(await self._rest.ask("GET", f"{self._issues}?{urlencode({**asked, 'page': str(page)})}"))
            for issue in issues:
                if marker in str(issue.get("body")) and "pull_request" not in issue:
                    return _ticket(issue)
            if len(issues) < _PAGE:
                return None
        words = f'repo:{self._repository} is:issue in:body "{event.alert_id}"'
        if is_incident(event.alert_id):
            words += " is:open"
        query = urlencode({"q": words, "sort": "created", "order": "desc"})
        found = await self._rest.ask("GET", f"/search/issues?{query}")
        issues = _objects(found.get("items") if isinstance(found, dict) else None)
        return next((_ticket(issue) for issue in issues if marker in str(issue.get("body"))), None)

    async def create(self, message: Message, attempt: Attempt) -> Ticket:
        """See `Tracker`."""
        body = {"title": clean(message.title, _TITLE), "body": _body(message, attempt), "labels": list(self._labels)}
        return _ticket(await self._rest.ask("POST", self._issues, body))

    async def comment(self, ticket: Ticket, message: Message) -> None:
        """See `Tracker`."""
        event = message.event
        lines = [f"**{_escaped(message.title)}**", "", *map(_escaped, text_of(message)), "", _marker("event", event.id)]
        body = {"body": "\n".join(lines)[:_BODY]}
        await self._rest.ask("POST", f"{self._issues}/{_number(ticket)}/comments", body)

    async def has_comment(self, ticket: Ticket, message: Message) -> bool:
        """See `Tracker`."""
        event = message.event
        asked = {"since": _rfc3339(event.detected_at // 10**9 - _EARLIER), "per_page": "100"}
        path = f"{self._issues}/{_number(ticket)}/comments?{urlencode(asked)}"
        comments = _objects(await self._rest.ask("GET", path))
        return any(_marker("event", event.id) in str(one.get("body")) for one in comments)

    async def close(self, ticket: Ticket) -> None:
        """See `Tracker`."""
        body = {"state": "closed", "state_reason": "completed"}
        await self._rest.ask("PATCH", f"{self._issues}/{_number(ticket)}", body)

    async def aclose(self) -> None:
        """See `Tracker`."""
        await self._rest.aclose()


def _rate_limit(answer: HttpAnswer, now_ns: int) -> tuple[bool, float | None] | None:
    """Return when to try again after a rate limit; None for what is none.

    The primary one is 403 or 429 with nothing remaining and the second of its reset; the secondary one is either with
    Retry-After, or says so in words alone.
    """
    if answer.status not in (403, 429):
        return None
    asked = retry_after_of(answer.headers, now_ns)
    if asked is not None:
        return True, asked
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdecimal():
        return True, max(1.0, int(reset[:12]) - now_ns / 1e9)
    if answer.status == 429 or b"rate limit" in answer.body.lower():
        return True, _SECONDARY_WAIT
    return None


def _body(message: Message, attempt: Attempt) -> str:
    event = message.event
    lines = [*map(_escaped, text_of(message)), ""]
    if message.text is None:
        lines += ["| | |", "|---|---|"]
        lines += [f"| {_escaped(fact.label)} | {_escaped(fact.text)} |" for fact in message.facts]
        if attempt.merged:
            lines.append(f"| Merged updates | {attempt.merged} |")
        lines.append("")
    links = message.links
    named = {"Alert": links.alert, "Runbook": links.runbook, "Dashboard": links.dashboard, "Silence": links.silence}
    shown = [f"[{name}](<{_linked(url)}>)" for name, url in named.items() if url]
    shown += [
        f"[Trace {trace.trace_id}](<{_linked(trace.url)}>)" if trace.url else f"Trace `{trace.trace_id}`"
        for trace in message.traces
    ]
    lines += [" · ".join(shown), ""] if shown else []
    marks = [_marker("alert", event.alert_id), _marker("event", event.id)]
    text = "\n".join(lines)
    return "\n".join([text[: _BODY - sum(map(len, marks)) - 2], *marks])


def _marker(kind: str, identifier: str) -> str:
    """Return a comment that nobody sees, by which a text is found again."""
    return f"<!-- tocsin:{kind}={identifier} -->"


_MARKUP: Final = re.compile(r"([\\`*_\[\]<>#|~$&])")
_FIRST: Final = re.compile(r"^(\d*)([-+=.)])")
"""What makes a list or a heading of a line that begins with it."""


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, and that tells nobody and links to nothing of the repository's."""
    shown = _FIRST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", text.strip()))
    # A character of no width keeps @team from being told and #1 from being linked.
    return shown.replace("@", "@\u200b").replace("\\#", "\\#\u200b")


def _linked(url: str) -> str:
    return quote(url, safe=":/?#[]@!$&'()*+,;=%~")


def _ticket(issue: object) -> Ticket:
    number = issue.get("number") if isinstance(issue, Mapping) else None
    if not isinstance(issue, Mapping) or not isinstance(number, int):
        raise DeliveryError("GitHub's answer names no issue", retryable=True)
    return Ticket(str(number), event_in(str(issue.get("body"))))


def _number(ticket: Ticket) -> str:
    return quote(ticket.key, safe="")


def _objects(found: object) -> list[Mapping[str, Any]]:
    if not isinstance(found, list):
        raise DeliveryError("GitHub's answer is no list of issues", retryable=True)
    return [one for one in found if isinstance(one, Mapping)]


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(max(0, seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
