"""`tocsin serve`: the service, in the foreground."""

import gc
import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["serve"]


def serve(
    *,
    config: Annotated[
        Path, typer.Option("--config", "-c", exists=True, dir_okay=False, help="The configuration file.")
    ],
) -> None:
    """Run the service: spans in, alerts out. SIGTERM drains and exits 0, SIGHUP reloads."""
    begun = time.perf_counter()  # before the imports: they are most of a start
    gc.disable()  # what a start makes is there to stay; the service looks for garbage once it is ready
    try:
        from tocsin.service.loop import run
        from tocsin.service.serve import serve as run_service

        run(run_service(config, say=typer.echo, begun=begun))
    finally:
        gc.enable()
