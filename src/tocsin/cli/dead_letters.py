"""`tocsin dead-letters`: notifications that were given up, and sending them after all.

It works on the database, not through the API: it needs no token, it works while the service is down, and the service
that runs looks for what is to be sent again every few seconds anyway. Whoever may read the database may do this.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

from tocsin.errors import ConfigError
from tocsin.notify.message import rfc3339
from tocsin.service.config import Configuration
from tocsin.service.loading import load
from tocsin.storage.dead_letters import DeadLetter
from tocsin.storage.visit import visiting

__all__ = ["dead_letters"]


def dead_letters(
    config_file: Annotated[Path, typer.Option("--config", help="The configuration file.")],
    resend: Annotated[list[str] | None, typer.Option(metavar="ID", help="Send this one after all; repeatable.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Send all of them after all.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: an array of objects.")] = False,
) -> None:
    """List notifications that were given up, the latest first, or have them sent after all."""
    try:
        configuration = load(config_file).configuration
        letters, sent, refused = asyncio.run(_visit(configuration, resend or (), everything=everything))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if resend or everything:
        for line in refused:
            typer.echo(line, err=True)
        noun = "notification" if sent == 1 else "notifications"
        typer.echo(f"{sent} {noun} will be sent again: within seconds where the service runs, else when it starts")
        if refused:
            raise typer.Exit(1)
    elif as_json:
        typer.echo(orjson.dumps([letter.document() for letter in letters], option=orjson.OPT_INDENT_2).decode())
    else:
        for letter in letters:
            typer.echo(_line(letter))
        typer.echo(f"{len(letters)} dead letter{'' if len(letters) == 1 else 's'}")


async def _visit(
    configuration: Configuration, ids: Sequence[str], *, everything: bool
) -> tuple[list[DeadLetter], int, list[str]]:
    """Return the dead letters, how many of them will be sent again, and why which will not."""
    async with visiting(configuration.storage) as visit:
        letters = await visit.letters()
        present = {letter.id: letter for letter in letters}
        refused = [f"{one}: there is no such dead letter" for one in ids if one not in present]
        chosen = letters if everything else [present[one] for one in dict.fromkeys(ids) if one in present]
        sent = 0
        at = time.time_ns()
        for letter in reversed(chosen):  # the oldest first, as they were to be sent
            if letter.contact_point not in configuration.contact_points:
                refused.append(f"{letter.id}: there is no contact point {letter.contact_point!r} any more")
            elif await visit.resend(letter, at + sent):
                sent += 1
            else:
                refused.append(f"{letter.id}: its event can't be read any more")
        return letters, sent, refused


def _line(letter: DeadLetter) -> str:
    tries = f"{letter.attempts} attempt{'' if letter.attempts == 1 else 's'}"
    text = (
        f"{rfc3339(letter.finished)[:19]}Z {letter.id} {letter.project}/{letter.rule} {letter.transition} "
        f"{letter.status} after {tries}: {letter.reason}"
    )
    # Names and answers come from outside: none of them begins a line of its own or moves the cursor.
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
