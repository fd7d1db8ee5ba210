"""What a tracker of tickets is asked, and how: JSON over HTTP, with errors that say what to do."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt, host_of, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpAnswer, HttpSender, error_of
from tocsin.notify.message import Message

__all__ = ["Rest", "Ticket", "Tracker", "event_in", "is_incident", "text_of"]

_MOST: Final = 8 * 1024 * 1024
"""Bytes of an answer: a page of tickets with their texts."""
_EVENT: Final = re.compile(r"evt_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket in a tracker."""

    key: str
    """What it is addressed by: a number, `OPS-42`."""
    made_for: str = ""
    """Id of the event that it was made for, as far as the tracker says it."""


class Tracker(Protocol):
    """A place with tickets. All methods raise DeliveryError."""

    async def find(self, message: Message) -> Ticket | None:
        """Return the ticket of an alert, open or closed; of an incident, whose id comes again, an open one."""
        ...

    async def create(self, message: Message, attempt: Attempt) -> Ticket:
        """Make a ticket."""
        ...

    async def comment(self, ticket: Ticket, message: Message) -> None:
        """Say in a ticket what happened."""
        ...

    async def has_comment(self, ticket: Ticket, message: Message) -> bool:
        """Whether that was said before."""
        ...

    async def close(self, ticket: Ticket) -> None:
        """Close a ticket; one that is closed stays so."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class Rest:
    """Asks one tracker's REST interface."""

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        network: Network,
        *,
        allow_private: bool,
        timeout: float,
        ca_file: Path | None,
        secrets: tuple[str, ...],
        judge: Callable[[HttpAnswer, int], tuple[bool, float | None] | None],
        advice: Mapping[int, str],
    ) -> None:
        """Prepare.

        Args:
            base: address of the interface, without a slash at the end.
            headers: of every request.
            network: the way out.
            allow_private: whether private addresses may be used.
            timeout: seconds for one request.
            ca_file: certificates to trust.
            secrets: what no message may repeat.
            judge: (answer, now) -> for statuses that mean something else there: whether to try again, and when.
            advice: status -> what to do.
        """
        self._base = base
        self._host = host_of(base)
        self._headers = {**headers, "content-type": "application/json"}
        self._judge = judge
        self._advice = advice
        self._http = HttpSender(
            network, allow_private=allow_private, timeout=timeout, tls=tls_from(ca_file), secrets=secrets
        )

    async def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # JSON
        """Return what the tracker answers, None for nothing.

        Raises:
            DeliveryError: it refuses, or its answer is no JSON.
        """
        now_ns = time.time_ns()
        content = None if body is None else orjson.dumps(body)
        answer = await self._http.request(
            method, f"{self._base}{path}", content, self._headers, needs_body=True, most=_MOST
        )
        if error := error_of(answer, self._host, now_ns):
            judged = self._judge(answer, now_ns)
            if judged is not None:
                raise DeliveryError(str(error), retryable=judged[0], retry_after=judged[1])
            advice = self._advice.get(answer.status)
            if advice is not None:
                raise DeliveryError(f"{error}; {advice}", retryable=error.retryable, retry_after=error.retry_after)
            raise error
        if not answer.body:
            return None
        try:
            if not answer.complete:
                raise ValueError  # noqa: TRY301  # told below, with the other thing that is no JSON
            return orjson.loads(answer.body)
        except ValueError as error:
            raise DeliveryError(f"{self._host}: its answer is no JSON: {answer.excerpt}", retryable=True) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def is_incident(alert_id: str) -> bool:
    """Whether an id is that of an incident of several alerts, which has the same one when it begins anew."""
    return alert_id.startswith("inc_")


def event_in(text: str) -> str:
    """Return the id of the event that a text was written for; empty where it names none."""
    found = _EVENT.search(text)
    return found[0] if found is not None else ""


def text_of(message: Message) -> list[str]:
    """Return the lines that a ticket or a comment begins with."""
    return (message.text if message.text is not None else message.summary).splitlines() or [""]
