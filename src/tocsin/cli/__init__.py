"""Arguments and exit codes, one module a command; the only sys.exit.

A command's module is imported when the command is used, so that `tocsin --help` answers at once.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from tocsin import __version__
from tocsin.errors import TocsinError

__all__ = ["COMMANDS", "app", "main"]

# Before grpc is first imported: its core writes a line for each hostile request, past our log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

COMMANDS: Final = {
    "serve": ("serve", "Run the service: spans in, alerts out."),
    "check": ("check", "Validate configuration and rule files; exit 1 on any error."),
    "backtest": ("backtest", "Replay recorded spans: what would these rules have done?"),
    "test": ("ruletests", "Run unit tests of rules; exit 1 on any failure."),
    "suggest": ("suggest", "Thresholds from history, and what each would have done."),
    "query": ("query", "SQL over the spans that were recorded, and over alerts."),
    "export": ("export", "Write the spans that were recorded to files of Parquet."),
    "demo": ("demo", "See it ring: a night's story, live in this terminal."),
    "top": ("top", "What is spent now, by whom, and what fires: live."),
    "alerts": ("alerts", "What fires and fired, with evidence; acknowledge; watch."),
    "notify-test": ("notify_test", "Send a test notification and show the receiver's answer."),
    "block": ("block", "The kill switch: list, add, remove and check blocks."),
    "silence": ("silence", "Silence alerts for a while; list silences, and end them."),
    "dead-letters": ("dead_letters", "List notifications that were given up; send them after all."),
    "import": ("import_", "Turn rules of Prometheus, Datadog, Grafana or Loki into rules."),
    "prices": ("prices", "Show what a model call costs, and why."),
    "token": ("token", "Make a bearer token and what the configuration says of it."),
}
"""Name -> module in this package, which has a function of the module's name; and one line of help."""


class _Lazy(TyperGroup):
    def list_commands(self, ctx: object) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | None:
        if cmd_name not in COMMANDS:
            return None
        module, summary = COMMANDS[cmd_name]
        function: Callable[..., Any] = getattr(importlib.import_module(f"tocsin.cli.{module}"), module)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(cmd_name, short_help=summary)(function)
        return cast("TyperCommand", typer.main.get_command(alone))

    def format_commands(self, ctx: object, formatter: Any) -> None:  # noqa: ANN401  # typer does not name it
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


app = typer.Typer(
    cls=_Lazy,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:  # noqa: FBT001  # typer gives flags by position
    if value:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tocsin, the alarm bell for LLM systems: rings the moment a rule is broken."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except TocsinError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
