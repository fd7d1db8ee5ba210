"""`tocsin demo`: see it ring."""

from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    *,
    speed: Annotated[float, typer.Option(min=1.0, max=100.0, help="How many times as fast as it happened.")] = 15.0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a moving screen; so too where it is no terminal.")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
) -> None:
    """Replay a night's story against the real service, on free ports of 127.0.0.1, and watch it ring."""
    from rich.console import Console

    from tocsin.service.demo.play import play
    from tocsin.service.demo.screen import LiveScreen, PlainScreen
    from tocsin.service.loop import run

    console = Console(no_color=no_color or None, highlight=False)
    live = None if plain or not console.is_terminal else LiveScreen(console)
    try:
        stage = run(play(live or PlainScreen(typer.echo), speed=speed))
    finally:
        if live is not None:
            live.close()
    if not stage.rings:
        raise typer.Exit(1)
