"""Arguments and exit codes, one module a command; the only sys.exit."""

import typer

from tocsin import __version__

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(value: bool) -> None:  # noqa: FBT001  # typer gives flags by position
    if value:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: bool = typer.Option(  # noqa: ARG001  # the callback answers it
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Tocsin, the alarm bell for LLM systems: rings the moment a rule is broken."""


def main() -> None:
    """Run the command line."""
    app()
