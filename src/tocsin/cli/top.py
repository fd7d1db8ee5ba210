"""`tocsin top`: what a running service sees now, live in this terminal.

It talks to the API of a running service: `--url` and `--token` (or TOCSIN_URL and TOCSIN_TOKEN), or the address that
`--config` says.
"""

import sys
import time
from typing import Annotated

import orjson
import typer
from rich.console import Console

from tocsin.api.spend import By, Order, SpendWindow
from tocsin.cli.api_place import ConfigFile, Token, Url, remote_at, say_why
from tocsin.errors import ConfigError
from tocsin.terminal.keys import Keyboard
from tocsin.terminal.reading import Pace, View, read
from tocsin.terminal.remote import Remote
from tocsin.terminal.screen import picture
from tocsin.terminal.top import Top, once

__all__ = ["top"]


def top(
    by: Annotated[By, typer.Option(help="Whose spend.")] = By.CONVERSATION,
    window: Annotated[SpendWindow, typer.Option(help="How far back.")] = SpendWindow.FIVE_MINUTES,
    order: Annotated[Order, typer.Option(help="What there is most of, first.")] = Order.USD,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 1.0,
    url: Url = None,
    token: Token = None,
    config_file: ConfigFile = None,
    *,
    only_once: Annotated[bool, typer.Option("--once", help="Look once, print it and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: a line for each look; with --once one document.")
    ] = False,
) -> None:
    """What is spent now and by whom, what fires, what is closest to firing; q ends it."""
    view = View(by, window, order)
    try:
        with remote_at(url, token, config_file) as remote:
            if only_once or (not as_json and not sys.stdout.isatty()):
                _look(remote, view, every, as_json=as_json)
            elif as_json:
                _lines(remote, view, every)
            else:
                Top(remote, view, Console(), Keyboard(), seconds=every).run()
    except ConfigError as error:
        say_why(error)
        raise typer.Exit(1) from error


def _look(remote: Remote, view: View, seconds: float, *, as_json: bool) -> None:
    reading = once(remote, view, lambda: time.sleep(min(seconds, 1.0)))
    if as_json:
        typer.echo(orjson.dumps(reading.document(), option=orjson.OPT_INDENT_2).decode())
        return
    console = Console(highlight=False)
    height = console.height if sys.stdout.isatty() else 60
    console.print(picture(reading, width=console.width, height=height, url=remote.url, keys=False))


def _lines(remote: Remote, view: View, seconds: float) -> None:
    pace = Pace()
    while True:
        typer.echo(orjson.dumps(read(remote, view, pace).document()).decode())
        time.sleep(seconds)
