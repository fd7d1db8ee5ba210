"""`tocsin notify-test`: sends one test notification, and says what the receiver answered."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tocsin.errors import ConfigError
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.trial import Outcome, send_test
from tocsin.service.loading import load

__all__ = ["Outcome", "notify_test", "send_test"]


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
