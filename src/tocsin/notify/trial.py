"""A test notification, sent once to one contact point."""

import asyncio
import time
from dataclasses import dataclass

from tocsin.errors import ConfigError, DeliveryError
from tocsin.notify.contact import Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.sample import sample_event
from tocsin.notify.templating.dressing import dressed

__all__ = ["Outcome", "send_test"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a test notification went."""

    delivered: bool
    text: str
    """The receiver's answer, or why there is none and what to do."""
    seconds: float


async def send_test(name: str, contact: ContactConfig, network: Network, writer: MessageWriter) -> Outcome:
    """Send one test event to a contact point, once, and return how it went.

    Never raises for the receiver's faults.
    """
    started = time.monotonic()
    try:
        notifier = await asyncio.to_thread(contact.build, network)
    except ConfigError as error:
        return Outcome(delivered=False, text=str(error), seconds=time.monotonic() - started)
    try:
        now_ns = time.time_ns()
        message, failures = dressed(writer.message_of(sample_event(name, now_ns)), contact.template)
        answer = await notifier.send(message, Attempt(now_ns))
    except DeliveryError as error:
        again = "; it may work later" if error.retryable else ""
        return Outcome(delivered=False, text=f"{error}{again}", seconds=time.monotonic() - started)
    finally:
        await notifier.aclose()
    text = f"{answer.status} {answer.excerpt}".strip()
    text += "".join(f"; the {field} of its template failed: {error}" for field, error in failures.items())
    return Outcome(delivered=True, text=text, seconds=time.monotonic() - started)
