"""`tocsin notify-test`: sends one test notification, and says what the receiver answered."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tocsin.errors import ConfigError, DeliveryError
from tocsin.notify.contact import Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.sample import sample_event
from tocsin.service.loading import load

__all__ = ["Outcome", "notify_test", "send_test"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a test notification went."""

    delivered: bool
    text: str
    """The receiver's answer, or why there is none and what to do."""
    seconds: float


def notify_test(
    contact_point: Annotated[str, typer.Argument(help="The name under contact_points.")],
    config_file: Annotated[Path, typer.Option("--config", help="The configuration file.")],
) -> None:
    """Send a test notification and report the receiver's answer."""
    try:
        configuration = load(config_file).configuration
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    contact = configuration.contact_points.get(contact_point)
    if contact is None:
        names = ", ".join(sorted(configuration.contact_points)) or "none"
        typer.echo(f"{config_file}: no contact point {contact_point!r}; there are: {names}", err=True)
        raise typer.Exit(1)
    writer = MessageWriter(trace_url=configuration.trace_url, public_url=configuration.api.public_url)
    network = Network(allow_private=configuration.network.allow_private)
    outcome = asyncio.run(send_test(contact_point, contact, network, writer))
    word = "delivered" if outcome.delivered else "not delivered"
    typer.echo(
        f"{contact_point} ({contact.type}): {word} in {outcome.seconds * 1000:.0f} ms: {outcome.text}",
        err=not outcome.delivered,
    )
    if not outcome.delivered:
        raise typer.Exit(1)


async def send_test(name: str, contact: ContactConfig, network: Network, writer: MessageWriter) -> Outcome:
    """Send one test event to a contact point, once, and return how it went.

    Never raises for the receiver's faults.
    """
    started = time.monotonic()
    try:
        notifier = contact.build(network)
    except ConfigError as error:
        return Outcome(delivered=False, text=str(error), seconds=time.monotonic() - started)
    try:
        now_ns = time.time_ns()
        answer = await notifier.send(writer.message_of(sample_event(name, now_ns)), Attempt(now_ns))
    except DeliveryError as error:
        again = "; it may work later" if error.retryable else ""
        return Outcome(delivered=False, text=f"{error}{again}", seconds=time.monotonic() - started)
    finally:
        await notifier.aclose()
    text = f"{answer.status} {answer.excerpt}".strip()
    return Outcome(delivered=True, text=text, seconds=time.monotonic() - started)
