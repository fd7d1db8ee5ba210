"""Where the API of a running service is: the options that commands share which ask it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tocsin.errors import ConfigError
from tocsin.terminal.remote import Remote, address_of
from tocsin.terminal.wording import printable

__all__ = ["AsJson", "ConfigFile", "Token", "Url", "remote_at", "say_why"]

Url = Annotated[str | None, typer.Option(envvar="TOCSIN_URL", help="The API, like http://127.0.0.1:8417.")]
Token = Annotated[str | None, typer.Option(help="Of the API; better in TOCSIN_TOKEN, as others see options.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Take the address from this file.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def remote_at(url: str | None, token: str | None, config_file: Path | None) -> Remote:
    """Return the API of a service; the token is the environment's where none is said.

    Raises:
        ConfigError: the configuration is not valid.
    """
    return Remote(address_of(url, config_file), token or os.environ.get("TOCSIN_TOKEN"))


def say_why(error: ConfigError) -> None:
    """Write what is wrong to standard error, a line for each problem; a service's words begin none of their own."""
    for problem in error.problems:
        typer.echo(printable(problem), err=True)
