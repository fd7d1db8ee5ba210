"""A contact point whose receiver does what a test says: the world's side of the outbox."""

import asyncio
from collections.abc import Callable
from typing import ClassVar, Literal

from tocsin.alerts.event import AlertEvent
from tocsin.notify.contact import Answer, Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import Message

__all__ = ["CountingObserver", "Scripted", "ScriptedConfig"]

Behaviour = Callable[[AlertEvent, int], BaseException | None]
"""(event, attempt number) -> what to raise, or None to take it."""


class Scripted:
    """Takes events, or fails as told; `gate` closed means that it hangs."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or (lambda _event, _number: None)
        self.taken: list[AlertEvent] = []
        self.attempts: list[tuple[AlertEvent, Attempt]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.closed = False
        self.at_once = 0

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        self.at_once += 1
        assert self.at_once == 1, "send was called twice at once"
        try:
            self.attempts.append((message.event, attempt))
            self.entered.set()
            await self.gate.wait()
            await asyncio.sleep(0)
            if error := self.behaviour(message.event, attempt.number):
                raise error
            self.taken.append(message.event)
            return Answer("taken")
        finally:
            self.at_once -= 1

    async def aclose(self) -> None:
        self.closed = True


class ScriptedConfig(ContactConfig):
    """Refers to a Scripted by name, since configuration is text."""

    receivers: ClassVar[dict[str, Scripted]] = {}

    type: Literal["scripted"] = "scripted"
    receiver: str

    def build(self, network: Network) -> Scripted:
        return self.receivers[self.receiver]


class CountingObserver:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.delivered_events: list[tuple[str, str]] = []
        self.failures: list[tuple[str, str, bool]] = []
        self.drops: list[tuple[str, str, str]] = []
        self.lengths: dict[str, int] = {}
        self.templates: list[str] = []

    def delivered(self, contact_point: str, seconds: float, event: AlertEvent) -> None:
        self.delivered_events.append((contact_point, event.id))

    def failed(self, contact_point: str, event: AlertEvent, *, retryable: bool) -> None:
        self.failures.append((contact_point, event.id, retryable))

    def dropped(self, contact_point: str, event: AlertEvent, *, reason: str) -> None:
        self.drops.append((contact_point, event.id, reason))

    def queue_length(self, contact_point: str, length: int) -> None:
        self.lengths[contact_point] = length

    def template_failed(self, field: str) -> None:
        self.templates.append(field)
