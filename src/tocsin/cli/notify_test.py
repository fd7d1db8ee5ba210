"""`tocsin notify-test`: sends a test notification and says what the receiver answered, or shows what would be sent."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from tocsin.errors import ConfigError
from tocsin.notify.contact import ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.templating.preview import STATES, Preview, preview_of_state
from tocsin.notify.trial import Outcome, send_test
from tocsin.service.config import Configuration
from tocsin.service.loading import load

__all__ = ["Outcome", "notify_test", "send_test"]


def notify_test(
    contact_point: Annotated[str, typer.Argument(help="The name under contact_points.")],
    config_file: Annotated[Path, typer.Option("--config", help="The configuration file.")],
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be sent, and send nothing.")] = False,  # noqa: FBT002  # typer's way
    state: Annotated[
        str | None,
        typer.Option(help=f"With --preview: of an alert of this state, all if left out: {', '.join(STATES)}."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Send a test notification and report the receiver's answer, or show what would be sent."""
    if state is not None and (not preview or state not in STATES):
        advice = f"states are {', '.join(STATES)}" if preview else "a test notification has the state 'test'"
        typer.echo(f"--state {state}: it is for --preview; {advice}", err=True)
        raise typer.Exit(2)
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
    if preview:
        _show(contact, STATES if state is None else (state,), as_json=as_json)
    else:
        _send(contact_point, contact, configuration, as_json=as_json)


def _show(contact: ContactConfig, states: tuple[str, ...], *, as_json: bool) -> None:
    previews = {state: preview_of_state(type(contact), contact.template, state) for state in states}
    if as_json:
        found = {state: asdict(each) for state, each in previews.items()}
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    for state, each in previews.items():
        typer.secho(f"── {state} ──", bold=True)
        typer.echo(_told(each))
        typer.echo("")


def _told(one: Preview) -> str:
    failed = [f"the {field} of its template failed: {reason}" for field, reason in one.problems.items()]
    return "\n".join([*failed, one.sent])


def _send(name: str, contact: ContactConfig, configuration: Configuration, *, as_json: bool) -> None:
    writer = MessageWriter(trace_url=configuration.trace_url, public_url=configuration.api.public_url)
    network = Network(allow_private=configuration.network.allow_private)
    outcome = asyncio.run(send_test(name, contact, network, writer))
    word = "delivered" if outcome.delivered else "not delivered"
    kind: Any = getattr(contact, "type", "")
    if as_json:
        found = {"contact_point": name, "type": kind, **asdict(outcome)}
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        text = f"{name} ({kind}): {word} in {outcome.seconds * 1000:.0f} ms: {outcome.text}"
        typer.echo(text, err=not outcome.delivered)
    if not outcome.delivered:
        raise typer.Exit(1)
